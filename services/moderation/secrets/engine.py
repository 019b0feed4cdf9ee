"""All rules over one text: where its secrets are.

Each rule of ours is tried where one of its literals stands, on bounded pieces, in the regions that
are worth looking at (gate.py).
"""

from collections.abc import Callable
from typing import TypeVar

import ahocorasick_rs

from services.moderation.secrets import assigned, blocks, columns, near, places, structures, values, words
from services.moderation.secrets.gate import regions
from services.moderation.secrets.linear import compiled
from services.moderation.secrets.spans import Span, merge, of_letters
from services.moderation.secrets.vendor import Vendor

T = TypeVar("T", str, bytes)

_LOOK_BACK = (
    structures.jwk,
    structures.told_before,
    structures.recovery_codes,
    places.answered,
    places.made,
    blocks.bare_key,
    columns.column,
)
"""Rules by which what comes later makes a secret of what came before, or what stands too far before
to be seen again in a stream.
"""
HITS_MAX = 90_000
"""Literals looked at in one question's texts, some 5 microseconds each; with more it could not be
answered in time.
"""
JUDGED_COST = 8
"""As how many literals a value counts that a rule judges."""
CANDIDATE_COST = 3
"""As how many one counts of which it is asked whether it stands near a name."""


_FULL_WIDTH = compiled(r"(?:\xef(?:\xbc[\x90-\xba]|\xbd[\x81-\x9a])){3}")
_FOLDED = {0xFEE0 + c: c for c in range(0x21, 0x7F) if chr(c).isalnum() or chr(c) in "=_-"}
"""Letters as wide as an ideograph: what stands in them is read as in ours."""


class TooMuchError(Exception):
    """A text made of nothing but names of secrets: not looked at to its end, so not answered."""


class Engine:
    def __init__(self, vendor: Vendor | None) -> None:
        self._vendor = vendor
        self._rules: list[tuple[str, structures.Rule | None]] = []
        for literals, rule in (*structures.RULES, *places.RULES):
            self._rules += [(literal, rule) for literal in literals]
        self._rules += [(literal, columns.column) for literal in columns.NAMES]
        self._rules += [(literal, None) for literal in (*words.LITERALS, *words.VENDORS)]
        patterns = [literal.encode() for literal, _ in self._rules]
        self._automaton = ahocorasick_rs.BytesAhoCorasick(patterns, matchkind=ahocorasick_rs.MatchKind.Standard)
        self._longest = max(map(len, patterns))

    def find(self, text: str, *, looks_back: bool = True) -> list[Span]:
        """Sorted, none overlapping another; in bytes of the text in UTF-8.

        Args:
            looks_back: whether what comes later may make a secret of what came before (`X is the
                password`). Not in answers: a stream would have to be held back for it, and an
                answer must not depend on how it was cut.
        """
        data = text.encode("utf-8", "surrogatepass")
        if not data.isascii() and _FULL_WIDTH.search(data) is not None:
            folded = text.translate(_FOLDED)
            return in_bytes(
                text, in_characters(folded, self._found(folded.encode("utf-8", "surrogatepass"), looks_back))
            )
        return self._found(data, looks_back)

    def _found(self, data: bytes, looks_back: bool) -> list[Span]:
        spans = self._vendor.find(data) if self._vendor is not None else []
        for span in list(spans):
            if span.type.startswith(("AWS Access", "Aws Access")):
                spans += structures.beside_aws_id(data, span.end)
        try:
            spans += self._own(data, looks_back)
        finally:
            values.forget()
            columns.forget()
        return merge(spans if data.isascii() else of_letters(data, spans))

    def _own(self, data: bytes, looks_back: bool) -> list[Span]:
        spans: list[Span] = []
        done = hits = 0
        for region, region_end in regions(data):
            piece = data[region : region_end + self._longest].lower()
            for index, start, end in self._automaton.find_matches_as_indexes(piece, overlapping=True):
                start, end = region + start, region + end
                if start < done or start >= region_end:
                    continue
                literal, rule = self._rules[index]
                if rule is None:
                    found = assigned.around(data, literal, start, end, looks_back=looks_back)
                elif looks_back or rule not in _LOOK_BACK:
                    found = rule(data, start)
                else:
                    continue
                hits += 1
                for span in found:
                    if span is None:
                        hits += JUDGED_COST
                    else:
                        spans.append(span)
                        done = max(done, span.end)
                    if hits > HITS_MAX:
                        raise TooMuchError
        known, at = merge(spans), 0
        for start, end in near.candidates(data):
            while at < len(known) and known[at].end <= start:
                at += 1
            if at < len(known) and known[at].start <= start and end <= known[at].end:
                continue
            hits += CANDIDATE_COST
            for drawn in near.near(data, start, end, looks_back=looks_back):
                if drawn is None:
                    hits += JUDGED_COST
                else:
                    spans.append(drawn)
            if hits > HITS_MAX:
                raise TooMuchError
        return spans

    def open_from(self, text: str) -> int:
        """From where on `text`, which may go on, may be the start of a secret: its last word, or a
        key's block that isn't over.
        """
        end = len(text)
        start = max(0, end - RUN_MAX)
        tail = text[start:]
        cut = max(tail.rfind(space) for space in " \n\t\r") + 1
        opened = start + cut if cut or not start else end - RUN_MAX // 2
        block = blocks.open_block(text[max(0, end - BLOCK_MAX) :])
        return opened if block is None else min(opened, max(0, end - BLOCK_MAX) + block)


RUN_MAX = 8_192
"""A longer run without white space is no secret: half of it is let go."""
BLOCK_MAX = 32_768


def in_bytes(text: str, spans: list[Span]) -> list[Span]:
    """Spans of characters in bytes of the text in UTF-8."""
    return _restated(text, spans, lambda part: len(part.encode("utf-8", "surrogatepass")))


def in_characters(text: str, spans: list[Span]) -> list[Span]:
    """The same spans in characters."""
    if not spans or text.isascii():
        return spans
    data = text.encode("utf-8", "surrogatepass")
    return _restated(data, spans, lambda part: len(part.decode("utf-8", "surrogatepass")))


def _restated(whole: T, spans: list[Span], length: Callable[[T], int]) -> list[Span]:
    """Spans of `whole`, in order, by what `length` says of its pieces: each is looked at once."""
    out, at, before = [], 0, 0
    for span in spans:
        before += length(whole[at : span.start])
        inside = length(whole[span.start : span.end])
        out.append(Span(before, before + inside, span.type))
        before, at = before + inside, span.end
    return out

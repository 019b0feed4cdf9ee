"""Finding any of many keywords in a text, whatever the case and the Unicode spelling, in time linear in the text. Pure.

A text is looked at twice: folded to one case, and, where that differs, folded and composed (NFKC: full-width letters, ligatures,
separate accents). Twice, because composing can also hide what stands there: "cafe" followed by a combining accent becomes "café".

Long texts are cut into pieces that overlap by the longest a match can be, so that no step takes long: the interpreter is
then free for others in between, when this runs in a thread.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import ahocorasick_rs

SPAN_CHARACTERS_MAX = 256
"""The most characters of a text one match may span: what a stream's window and a piece's overlap must hold."""
PIECE_CHARACTERS = 16_384
"""About 1 ms of work with 10,000 keywords, a few where composing makes a text longer (U+FDFA becomes 18 characters)."""
MARKS_MAX = 30
"""Combining marks on one letter, as in Unicode's stream-safe text; more are left out, as sorting them takes quadratic time."""


def span_characters(keyword: str) -> int:
    """The most characters of a text that can say `keyword`: fully decomposed, one character may have become several."""
    return max(len(unicodedata.normalize("NFKD", form)) for form in _forms(keyword))


def effort(text: str) -> int:
    """What looking at `text` costs, in ASCII characters: composing takes longer, and may make it longer."""
    return len(text) if text.isascii() else 8 * len(text)


class Matcher:
    """Knows keywords; says which of them a text contains."""

    def __init__(self, keywords: list[str]) -> None:
        """`keywords`: each with `span_characters` of at most SPAN_CHARACTERS_MAX, and not empty."""
        named: dict[str, str] = {}
        for keyword in keywords:
            for form in _forms(keyword):
                named.setdefault(form, keyword)
        self._names = list(named.values())
        self._automaton = ahocorasick_rs.AhoCorasick(list(named), store_patterns=False)
        _long_marks()  # made now, not while somebody waits

    def find(self, text: str) -> str | None:
        """The keyword, as it was configured, that `text` contains; of several the one whose match ends first."""
        for piece in _pieces(text):
            for form in _forms(piece):
                matches = self._automaton.find_matches_as_indexes(form)
                if matches:
                    return self._names[matches[0][0]]
        return None


def _pieces(text: str) -> Iterator[str]:
    if len(text) <= PIECE_CHARACTERS:
        yield text
        return
    step = PIECE_CHARACTERS - SPAN_CHARACTERS_MAX
    for start in range(0, len(text) - SPAN_CHARACTERS_MAX, step):
        yield text[start : start + PIECE_CHARACTERS]


def _forms(text: str) -> Iterator[str]:
    """`text` in one case, and composed where that is another text."""
    folded = text.casefold()
    yield folded
    if text.isascii():
        return
    composed = unicodedata.normalize("NFKC", _fewer_marks(text)).casefold()
    composed = unicodedata.normalize("NFKC", composed)
    if composed != folded:
        yield composed


def _fewer_marks(text: str) -> str:
    return _long_marks().sub(r"\1", text)


@cache
def _long_marks() -> re.Pattern[str]:
    """A run of more combining marks than a letter of any script carries; the marks up to MARKS_MAX are group 1.

    Marks are in the first two planes of Unicode; some (U+0F73) only show as marks when decomposed.
    """
    marks = [c for c in map(chr, range(0x300, 0x20000)) if unicodedata.combining(unicodedata.normalize("NFKD", c)[0])]
    each = "[" + "".join(map(re.escape, marks)) + "]"
    return re.compile(f"({each}{{{MARKS_MAX}}}){each}+")

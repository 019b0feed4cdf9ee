"""Finding any of many keywords in a text, whatever the case and the Unicode spelling, in time
linear in the text. Pure.

A text is compared as Unicode's NFKC_Casefold makes it (UAX #31: full-width letters, ligatures,
separate accents and case folded away, default-ignorable characters removed), with white space
collapsed to one space each, never removed. And once more without composing: composing can also hide
what stands there ("cafe" followed by a combining accent becomes "café"). And once without the marks
that compose with nothing: a stroke through each letter hides no word.

Most texts need no composing, and are compared in one step (plain.py). Of the others long ones are
cut into pieces that overlap by the longest a match can be, so that no step takes long: the
interpreter is then free for others, when this runs in a thread.
"""

import bisect
import hashlib
import re
import unicodedata
from collections.abc import Iterator
from functools import cache

import ahocorasick_rs

from shared.keywords import plain
from shared.keywords.confusables import LATIN
from shared.keywords.detector import Detector, one_space
from shared.keywords.plain import in_steps

SPAN_CHARACTERS_MAX = 256
"""The most characters of a text one match may span, invisible ones and repeated white space not
counted: what a stream's window and a piece's overlap must hold."""
PIECE_CHARACTERS = 16_384
"""About 1 ms of work with 10,000 keywords, a few where composing makes a text longer (U+FDFA
becomes 18 characters).
"""
STRAYS_MAX = 15
"""Of the marks on a letter that hide a keyword: as many on each are seen through where two pieces
meet, and any number elsewhere.
"""
MARKS_MAX = 30
"""Combining marks on one letter, as in Unicode's stream-safe text; more are left out, as sorting
them takes quadratic time.
"""

_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f"  # controls that are no white space
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"  # Default_Ignorable_Code_Point
    "\u2800"  # Braille without a dot
)
_invisible = re.compile(f"[{_INVISIBLE}]+")
_stray = re.compile("[\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]+")
"""Marks that any letter can carry. What is left of them after composing belongs to no letter of an
alphabet.
"""
_astral = re.compile("[\U00010000-\U0010ffff]")
_odd_space = re.compile(r"[^\S ]")
_ASCII_GONE = bytes([*range(0x09), *range(0x0E, 0x1C), 0x7F])
_ASCII_SPACES = bytes.maketrans(b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f" + _ASCII_GONE, b" " * 9 + b"\x00" * len(_ASCII_GONE))
"""White space becomes a space, what nobody sees a zero byte."""
_ASCII_LOWER = bytes(range(256)).lower().translate(_ASCII_SPACES)

_plain = plain.Plain(lambda character: _invisible.match(character) or _stray.match(character), _ASCII_LOWER)


def span_characters(keyword: str) -> int:
    """The most characters of a text that can say `keyword`: fully decomposed, one character may
    have become several.
    """
    return max(len(unicodedata.normalize("NFKD", form)) for form in _forms(keyword))


def effort(text: str) -> int:
    """What looking at `text` costs, in ASCII characters: composing takes longer, and may make it
    longer.
    """
    return len(text) if text.isascii() else 8 * len(text)


class Matcher:
    """Knows keywords; says which of them a text contains."""

    def __init__(self, keywords: list[str], *, homoglyphs: bool = False) -> None:
        """
        Args:
            keywords: each with `span_characters` of at most SPAN_CHARACTERS_MAX, and not empty.
            homoglyphs: whether letters of other scripts that look like Latin ones count as those.
        """
        self._homoglyphs = homoglyphs
        self.version = hashlib.sha256(
            "\n".join([*keywords, str(homoglyphs)]).encode("utf-8", "surrogatepass")
        ).hexdigest()[:12]
        """Of the list."""
        named: dict[bytes, str] = {}
        for keyword in keywords:
            for form in self._compared(keyword):
                if form.strip():
                    named.setdefault(form, keyword)
        self._names = list(named.values())
        self._sorted = sorted(named)
        self._longest = max((len(form.decode("utf-8", "surrogatepass")) for form in named), default=0)
        self._automaton = ahocorasick_rs.BytesAhoCorasick(list(named))
        self._detector = Detector(list(named))
        self._bases = {base for form in named for base in _bases(form)}
        self._spaced = any(b" " in form for form in named)
        plain.warm()
        for astral in (False, True):
            _long_marks(astral)  # made now, not while somebody waits

    def find(self, text: str) -> str | None:
        """The keyword, as it was configured, that `text` contains; of several the one whose match
        ends first.
        """
        form = self._plainly(text)
        if form is not None:
            return self._named(form)
        for piece in _pieces(text):
            for form in self._compared(piece):
                if (name := self._named(form)) is not None:
                    return name
        return None

    def _named(self, form: bytes) -> str | None:
        if not self._detector.any(form):
            return None
        return self._names[self._automaton.find_matches_as_indexes(form)[0][0]]

    def _plainly(self, text: str) -> bytes | None:
        """The one form that is enough, where one is."""
        if text.isascii():
            form: bytes | None = text.encode().translate(_ASCII_LOWER)
        else:
            form = None if self._homoglyphs else _plain.form(text)
        return None if form is None else _shown(form, spaced=self._spaced)

    def clear_at_once(self, parts: list[str]) -> bool:
        """Whether `find_across` finds nothing, where one quick step says so; what would have to be
        composed may take a thousand times as long, and is left to others.
        """
        for joint in ("", " ") if len(parts) > 1 else ("",):
            form = self._plainly(joint.join(parts))
            if form is None or self._detector.any(form):
                return False
        return True

    def find_across(self, parts: list[str]) -> str | None:
        """As `find`, of parts that a model reads one after the other: joined, and with a space
        between them.
        """
        whole = "".join(parts)
        return self.find(whole) or (self.find(" ".join(parts)) if len(parts) > 1 else None)

    def open_from(self, text: str) -> int:
        """From where on `text`, which may go on, may be the start of a keyword; its length: from
        nowhere.
        """
        for start in range(_start_of_last(text, self._longest), len(text)):
            end = text[start:]
            for form in self._compared(end):
                if not end.isascii():  # what comes may still change the last letter: what is before it counts
                    form = form.decode("utf-8", "surrogatepass")[:-1].encode("utf-8", "surrogatepass")
                elif form in self._bases:  # an accent may follow
                    return start
                if self._begins(form):
                    return start
        return len(text)

    def _begins(self, head: bytes) -> bool:
        at = bisect.bisect_left(self._sorted, head)
        return at < len(self._sorted) and self._sorted[at].startswith(head)

    def _compared(self, text: str) -> Iterator[bytes]:
        if text.isascii():
            yield _shown(text.encode().translate(_ASCII_LOWER))
            return
        for form in _forms(text):
            yield form.encode("utf-8", "surrogatepass")
            if self._homoglyphs and not form.isascii():
                yield in_steps(_latin, form).encode("utf-8", "surrogatepass")


def _bases(form: bytes) -> Iterator[bytes]:
    """Beginnings of a keyword that end in an accented letter, which a text may say as a plain one
    and then its accent.
    """
    said = form.decode("utf-8", "surrogatepass")
    for i, letter in enumerate(said):
        base = unicodedata.normalize("NFD", letter)[0]
        if base != letter:
            yield (said[:i] + base).encode("utf-8", "surrogatepass")


def is_visible(text: str) -> bool:
    """Whether anything of `text` counts when it is compared."""
    return bool(_visible(text).strip())


LOOK_BACK_MAX = 16_384


def _start_of_last(text: str, characters: int) -> int:
    """Where the last `characters` that count begin."""
    end = len(text)
    start = max(0, end - characters)
    tail = text[start:]
    missing = len(tail) - len(_stray.sub("", _visible(tail)))
    while missing and start and end - start < LOOK_BACK_MAX:
        start = max(0, start - missing)
        tail = text[start:]
        missing = min(characters, end) - len(_stray.sub("", _visible(tail)))
        missing = max(0, missing)
    return start


def _pieces(text: str) -> Iterator[str]:
    """Overlapping pieces. What counts for nothing is left out first: else a long run of it could
    part a keyword in two.
    """
    if len(text) <= PIECE_CHARACTERS:
        yield text
        return
    text = _visible(text)
    overlap = SPAN_CHARACTERS_MAX * (1 + STRAYS_MAX)
    step = PIECE_CHARACTERS - overlap
    for start in range(0, max(1, len(text) - overlap), step):
        yield text[start : start + PIECE_CHARACTERS]


def _visible(text: str) -> str:
    """Without invisible characters, each run of white space one space."""
    if text.isascii():
        return _shown(text.encode().translate(_ASCII_SPACES)).decode()
    return _one_space(in_steps(_seen, text))


def _seen(text: str) -> str:
    return _odd_space.sub(" ", _invisible.sub("", text))


def _latin(text: str) -> str:
    return text.translate(LATIN)


def _without_strays(text: str) -> str:
    return _stray.sub("", text)


def _one_space(text: str) -> str:
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def _shown(data: bytes, *, spaced: bool = True) -> bytes:
    """What went through an ASCII table, without what nobody sees.

    Args:
        spaced: whether each run of spaces has to become one: not where no keyword holds a space.
    """
    if b"\x00" in data:
        data = data.replace(b"\x00", b"")
    return one_space(data) if spaced else data


def _forms(text: str) -> Iterator[str]:
    """`text` in one case, and composed where that is another text."""
    text = _visible(text)
    if text.isascii():
        yield text.lower()
        return
    folded = text.casefold()
    yield folded
    composed = unicodedata.normalize("NFKC", _fewer_marks(text)).casefold()
    composed = _one_space(
        unicodedata.normalize("NFKC", composed)
    )  # composing makes spaces where there were none: U+FDFA
    if composed != folded:
        yield composed
    bare = in_steps(_without_strays, composed)
    if bare != composed:
        yield bare


def _fewer_marks(text: str) -> str:
    """No longer runs of combining marks than a letter of any script carries."""
    return _long_marks(_astral.search(text) is not None).sub(lambda run: run[0][:MARKS_MAX], text)


@cache
def _long_marks(astral: bool) -> re.Pattern[str]:
    """Marks are in the first two planes of Unicode; some (U+0F73) only show as marks when
    decomposed.

    `astral`: for texts with characters past the first plane; such a class is much slower, as the
    interpreter has no table for it.
    """
    planes = range(0x300, 0x20000 if astral else 0x10000)
    marks = [c for c in map(chr, planes) if unicodedata.combining(unicodedata.normalize("NFKD", c)[0])]
    each = "[" + "".join(map(re.escape, marks)) + "]"
    return re.compile(f"{each}{each}{{{MARKS_MAX},}}")

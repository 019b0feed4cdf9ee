"""Texts in slices that fit a bus message; one too long for a slice is cut with an overlap, so that
nothing can hide at the cut. Pure.
"""

from collections.abc import Iterator

import msgspec

from services.edge.formats.base import Text

SLICE_CHARACTERS_MAX = 200_000
"""Of one question: at most 4 bytes a character, under NATS's 1 MB default."""
OVERLAP_CHARACTERS_MAX = SLICE_CHARACTERS_MAX // 2
TEXT_COST = 32
"""What a text adds to a question besides its characters: its kind, role and group."""
PARTS = frozenset({"content", "input", "output", "system"})
"""A list under one of these names is read as one text in parts."""


class Piece(msgspec.Struct, frozen=True):
    """Part of a text, or all of it."""

    text: int
    """Index of the text."""
    start: int
    said: str


def slices(said: list[str], overlap: int, groups: list[int] | None = None) -> Iterator[list[Piece]]:
    """Lists of pieces, each list small enough for one question.

    Args:
        overlap: characters that two pieces of one text share; also what a slice repeats of the part
            before, in one message.
        groups: as `groups_of` gives them.
    """
    overlap = min(overlap, OVERLAP_CHARACTERS_MAX)
    part: list[Piece] = []
    room = SLICE_CHARACTERS_MAX
    for index, text in enumerate(said):
        start = 0
        while True:
            piece = text[start : start + SLICE_CHARACTERS_MAX]
            if part and len(piece) + TEXT_COST > room:
                yield part
                part, room = [], SLICE_CHARACTERS_MAX
                if start == 0 and groups and index and groups[index] and groups[index] == groups[index - 1]:
                    before = said[index - 1]
                    tail = before[max(0, len(before) - _seen_again(before, overlap)) :]
                    if len(tail) + len(piece) + 2 * TEXT_COST <= room:
                        part.append(Piece(index - 1, len(before) - len(tail), tail))
                        room -= len(tail) + TEXT_COST
            part.append(Piece(index, start, piece))
            room -= len(piece) + TEXT_COST
            if start + SLICE_CHARACTERS_MAX >= len(text):
                break
            start += SLICE_CHARACTERS_MAX - _seen_again(piece, overlap)
    if part:
        yield part


def _seen_again(piece: str, overlap: int) -> int:
    """How much of a piece's end the next one repeats: as much as holds `overlap` letters and
    digits. A run of what nobody sees can't part a word."""
    length = min(overlap, len(piece))
    while length < min(len(piece), OVERLAP_CHARACTERS_MAX) and sum(map(str.isalnum, piece[-length:])) < overlap:
        length *= 2
    return min(length, OVERLAP_CHARACTERS_MAX)


def groups_of(texts: list[Text]) -> list[int]:
    """Of each text a number above 0 that it shares with the other parts of its message; 0: it
    stands alone.
    """
    seen: dict[tuple[str | int, ...], int] = {}
    numbers: dict[int, int] = {}
    groups = []
    for text in texts:
        at = text.address
        number = 0
        if len(at) >= 3 and isinstance(at[-2], int) and at[-3] in PARTS and text.kind not in ("id", "key"):
            number = seen.setdefault(at[:-2], len(seen) + 1)
            numbers[number] = numbers.get(number, 0) + 1
        groups.append(number)
    return [number if number and numbers[number] > 1 else 0 for number in groups]

"""Texts whose compared form is made letter by letter: nothing in them combines with what is before
it, and nothing is invisible. Pure.

Nearly every text is one, in any script. Telling so looks at its distinct characters only, and
remembers those; the rest are a few replacements. For such a text one compared form (folded and
composed) is enough: where a keyword stands in it as it was written, the keyword's composed form
stands in its composed form.
"""

import unicodedata
from collections.abc import Callable
from functools import cache

KNOWN_MAX = 20_000
"""Characters whose form is remembered."""
REPLACED_MAX = 12
"""As many distinct letters are replaced one by one."""
_ASCII = bytes(range(128))
STEP_CHARACTERS = 8_192


def in_steps(change: Callable[[str], str], text: str) -> str:
    """`change`, which looks at each character by itself, of one piece after the other: one call of
    it holds the interpreter to its end, so others would wait for a whole text.
    """
    if len(text) <= STEP_CHARACTERS:
        return change(text)
    return "".join(change(text[at : at + STEP_CHARACTERS]) for at in range(0, len(text), STEP_CHARACTERS))


class Plain:
    """Knows characters."""

    def __init__(self, is_invisible: Callable[[str], object], ascii_table: bytes) -> None:
        """
        Args:
            ascii_table: for `bytes.translate`: ASCII in one case; bytes from 128 on stay.
        """
        self._is_invisible = is_invisible
        self._ascii_table = ascii_table
        self._forms: dict[str, str] = {}

    def form(self, text: str) -> bytes | None:
        """`text` as it is compared, its ASCII as the table has it; None: not such a text."""
        data = text.encode("utf-8", "surrogatepass")
        try:
            odd = set(data.translate(None, _ASCII).decode())
        except UnicodeDecodeError:  # half a surrogate pair
            return None
        changed = []
        for character in odd:
            form = self._forms.get(character)
            if form is None:
                form = self._learnt(character)
                if form is None:
                    return None
            if form != character:
                changed.append((character, form))
        if len(changed) <= REPLACED_MAX:
            data = data.translate(self._ascii_table)
            for character, form in changed:
                data = data.replace(character.encode(), form.encode())
            return data
        spelled = [(character, form) for character, form in changed if form != character.casefold()]
        if len(spelled) > REPLACED_MAX:
            table = {ord(character): form for character, form in spelled}
            text = in_steps(lambda piece: piece.translate(table), text)
        else:
            for character, form in spelled:
                text = text.replace(character, form)
        return text.casefold().encode().translate(self._ascii_table)

    def _learnt(self, character: str) -> str | None:
        form = " " if character.isspace() else unicodedata.normalize("NFKC", character).casefold()
        form = unicodedata.normalize("NFKC", form)
        if any(self._is_invisible(c) or unicodedata.combining(c) or c in _joining() for c in character + form):
            return None
        if len(self._forms) < KNOWN_MAX:
            self._forms[character] = form
        return form


@cache
def _joining() -> frozenset[str]:
    """What composes with a character before it, though it isn't a mark: vowels of some scripts,
    parts of Korean syllables.
    """
    found = set(map(chr, (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))))
    for code in range(0x20000):
        pair = unicodedata.decomposition(chr(code)).split()
        if len(pair) == 2 and not pair[0].startswith("<"):
            found.add(chr(int(pair[1], 16)))
    return frozenset(found)


def warm() -> None:
    """Before somebody waits for it."""
    _joining()

"""Texts with holes: `<<name>>` is filled with a credential, `((name))` with what looks like one.
Part of the templates may be looked at while rules are tuned; the rest is only counted.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

Make = Callable[[Random], str]
_HEADING = re.compile(r"^=== (.+)\n", re.MULTILINE)
_HOLE = re.compile(r"<<([a-z]\w*)>>|\(\(([a-z]\w*)\)\)", re.IGNORECASE)


def templates(beside: str, file: str) -> dict[str, str]:
    """A heading's name: the text up to the next heading. `beside`: a file of the same folder."""
    _, *parts = _HEADING.split((Path(beside).parent / file).read_text())
    return dict(zip(parts[::2], parts[1::2], strict=True))


@dataclass(frozen=True)
class Case:
    """A text, and the credentials in it (none: nothing may be touched)."""

    name: str
    text: str
    secrets: tuple[str, ...]
    shown: bool


@dataclass(frozen=True)
class Corpus:
    """Its name goes into the values that are drawn and into which half a template is in."""

    name: str
    credentials: Mapping[str, Make]
    harmless: Mapping[str, Make]
    shown_of_four: tuple[int, ...] = (0, 2)

    def rng(self, name: str, turn: int | None = None) -> Random:
        return Random(" ".join(str(part) for part in (self.name, name, turn) if part is not None))

    def shown(self, name: str) -> bool:
        return hashlib.sha256(f"{self.name} {name}".encode()).digest()[0] % 4 in self.shown_of_four

    def fill(self, name: str, template: str, turn: int) -> Case:
        rng, secrets = self.rng(name, turn), []

        def value(hole: re.Match[str]) -> str:
            if hole[2]:
                return self.harmless[hole[2]](rng)
            secrets.append(self.credentials[hole[1]](rng))
            return secrets[-1]

        text = _HOLE.sub(value, template)
        return Case(name, text, tuple(secrets), self.shown(name))

    def filled(self, beside: str, *files: str, turns: int) -> list[Case]:
        """Every template of these files, so often. Of several files, a case says which."""
        return [
            self.fill(f"{file} {name}" if len(files) > 1 else name, text, turn)
            for file in files
            for name, text in templates(beside, file).items()
            for turn in range(turns)
        ]

    def single(self, name: str, text: str, token: str) -> Case:
        secret = token.rpartition("/")[2] if token.startswith("https://") else token
        return Case(name, text.format(token), (secret,), self.shown(name))

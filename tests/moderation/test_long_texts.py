"""Honest long texts are read to their end, though they hold many values: what they cost, in the
engine's own count, is well under its bound.
"""

import json
import random
import uuid
from collections.abc import Callable

import pytest

from services.edge.screening.slices import SLICE_CHARACTERS_MAX
from services.moderation.secrets import engine
from tests.moderation.documents.values import B64, HEX, of

R = random.Random(7)


def _env(line: int) -> str:
    name = R.choice(["API_KEY", "PASSWORD", "TOKEN", "SECRET_KEY", "HOST"])
    return f"APP_{name}_{line}={of(R.choice([24, 32, 40]))(R)}\n"


def _lock(line: int) -> str:
    name = of(8, "abcdefghij")(R)
    return f'"@x/{name}@^{line}.1.0":\n  resolved "https://r.example.com/{name}.tgz#{of(40, HEX)(R)}"\n  integrity sha512-{of(86, B64)(R)}==\n'


def _log(line: int) -> str:
    return f"2026-11-27T10:00:{line % 60:02}Z INFO auth request_id={uuid.UUID(int=R.getrandbits(128))} user={line} key=cache:{of(10)(R)}\n"


LINES: dict[str, Callable[[int], str]] = {
    ".env": _env,
    "lock file": _lock,
    "ids": lambda _: of(22)(R) + "\n",
    "log": _log,
    "JSON": lambda _: json.dumps({"id": of(20)(R), "token": of(24)(R)}) + ",\n",
    "cookies": lambda _: f"GET /x HTTP/1.1\ncookie: session={of(32)(R)}; _ga=GA1.2.3; csrftoken={of(64)(R)}\n",
    "addresses": lambda line: f"user{line}@example.org:{of(8)(R)}!{of(2)(R)}\n",
}


@pytest.mark.parametrize("kind", LINES)
def test_a_slice_of_it_costs_less_than_the_bound(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "HITS_MAX", engine.HITS_MAX * 9 // 10)
    lines, length = [], 0
    while length < SLICE_CHARACTERS_MAX:
        lines.append(LINES[kind](len(lines)))
        length += len(lines[-1])
    engine.Engine(None).find("".join(lines)[:SLICE_CHARACTERS_MAX])  # no TooMuchError

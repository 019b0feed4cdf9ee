"""What the tests of hide_secrets ask of a text."""

from collections.abc import Iterable
from typing import Any

from services.moderation.secrets.engine import Engine, in_characters
from tests.moderation.templates import Case


def hidden(engine: Engine, text: str, **how: Any) -> str:
    """As it goes on. `how`: of Engine.find."""
    for span in reversed(in_characters(text, engine.find(text, **how))):
        text = text[: span.start] + "[REDACTED]" + text[span.end :]
    return text


def is_left(secret: str, out: str) -> bool:
    """Whether ten characters of it in a row are."""
    length = min(len(secret), 10)
    return any(secret[i : i + length] in out for i in range(len(secret) - length + 1))


def missed(engine: Engine, cases: Iterable[Case]) -> tuple[list[tuple[str, str]], int]:
    """((case, secret) of what is left, how many secrets there are)."""
    left, secrets = [], 0
    for case in cases:
        out = hidden(engine, case.text)
        left += [(case.name, secret) for secret in case.secrets if is_left(secret, out)]
        secrets += len(case.secrets)
    return left, secrets


def touched(engine: Engine, cases: Iterable[Case]) -> list[str]:
    return [case.name for case in cases if hidden(engine, case.text) != case.text]

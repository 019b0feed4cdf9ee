"""What the tests of hide_secrets ask of a text."""

from typing import Any

from services.moderation.secrets.engine import Engine, in_characters


def hidden(engine: Engine, text: str, **how: Any) -> str:
    """As it goes on. `how`: of Engine.find."""
    for span in reversed(in_characters(text, engine.find(text, **how))):
        text = text[: span.start] + "[REDACTED]" + text[span.end :]
    return text


def is_left(secret: str, out: str) -> bool:
    """Whether ten characters of it in a row are."""
    length = min(len(secret), 10)
    return any(secret[i : i + length] in out for i in range(len(secret) - length + 1))

"""Guardrails: each looks at texts and says what it found. One class in one file; `table.py` lists them all.

A guardrail doesn't decide: `verdict.py` turns the findings of all of them into one verdict. It sees the texts of every role, tool
results included, in order. Whatever it holds lives as long as the process; it keeps nothing of what it read.
"""

from collections.abc import Awaitable
from typing import Protocol

import msgspec

from shared.requests import Redaction


class Finding(msgspec.Struct, frozen=True):
    """One thing a guardrail objects to: words to replace, or a reason to refuse the whole."""

    redactions: list[Redaction] = []
    """Spans to replace; ignored when `block`."""
    block: bool = False
    message: str = ""
    """For the client, when `block`: LiteLLM's wording."""
    status: int = 400
    """HTTP status of the refusal."""


class Guardrail(Protocol):
    """The interface."""

    name: str
    """As in `litellm_settings.callbacks`."""
    stages: frozenset[str]
    """Where it may run: pre_call, during_call, post_call."""
    reads: str
    """What it looks at, for people: `all` texts, or which of them."""
    on_error: str
    """What it advises when it can't answer: `block` or `allow`. The grant decides."""
    deadline_ms: int

    def inspect(self, texts: list[str], stage: str) -> list[Finding] | Awaitable[list[Finding]]:
        """What is wrong with these texts; an empty list: nothing. At once, or by an awaitable (a coroutine function will do).

        May raise anything and may be cancelled at its deadline: both count as "could not answer". Must not keep the loop from
        other questions for more than a few milliseconds.
        """
        ...

"""Guardrails: each looks at texts and says what it found. One class in one file;
shared/guardrails.py has their rows, `table.py` their code.

A guardrail doesn't decide: `verdict.py` turns the findings of all of them into one verdict. It sees
the texts of every role, tool results included, in order, as the guardrails before it left them.
Whatever it holds lives as long as the process; it keeps nothing of what it read.
"""

from collections.abc import Awaitable
from typing import Protocol

from services.moderation.inspection import Finding, Inspection
from shared.guardrails import Spec

__all__ = ["Finding", "Guardrail", "Inspection", "Spec"]


class Guardrail(Protocol):
    """The interface."""

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        """What is wrong with these texts; an empty list: nothing. At once, or by an awaitable (a
        coroutine function will do).

        May raise anything and may be cancelled at its deadline: both count as "could not answer".
        Must not keep the loop from other questions for more than a few milliseconds.
        """
        ...

    def open_from(self, text: str) -> int | None:
        """Of a text that may go on: from where on it may be the start of a finding. None: the
        spec's window is held back.
        """
        ...

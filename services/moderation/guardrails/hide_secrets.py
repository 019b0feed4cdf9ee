"""`hide_secrets`: credentials are replaced by `[REDACTED]` before a call leaves, whoever said them
and wherever they stand.

Matched on the text as it is. Never refuses a call; never shows or logs what it found, only of what
type.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Awaitable, Iterator
from itertools import accumulate
from pathlib import Path

import structlog

from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from services.moderation.secrets import rules_version
from services.moderation.secrets.engine import Engine, in_characters
from services.moderation.secrets.vendor import Vendor
from services.moderation.verdict import merge
from shared.guardrails import WORDS, Enabled
from shared.requests import Redaction

log = structlog.get_logger()

REPLACEMENT = "[REDACTED]"
INLINE_CHARACTERS_MAX = 32_768
"""Longer texts are looked at in a thread: up to here it is about 1 ms. The engine's scan leaves the
interpreter to others.
"""
NAMED_CHARACTERS_MAX = 4_096
"""A longer value is no credential by its name alone."""
BETWEEN = "\n\x1e\n"
"""Stands between two messages when they are looked at in one go; no rule reads across it."""


class HideSecrets:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.rules = rules_version()
        """For the book."""

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "HideSecrets":
        directory = None
        if parts.cache_dir is not None:
            directory = str(Path(parts.cache_dir) / "kingfisher")
            with contextlib.suppress(OSError):  # without a cache the rules are compiled at each start
                Path(directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        vendor = Vendor(directory)
        log.info("secret_rules_ready", cache=vendor.cache_status)
        return cls(Engine(vendor))

    def inspect(self, inspection: Inspection) -> list[Finding] | Awaitable[list[Finding]]:
        messages = inspection.messages(WORDS)
        if sum(len(part) for message in messages for part in message.parts) > INLINE_CHARACTERS_MAX:
            return asyncio.to_thread(self._find, messages, inspection)
        return self._find(messages, inspection)

    def open_from(self, text: str) -> int | None:
        return self._engine.open_from(text)

    def _find(self, messages: list[Message], inspection: Inspection) -> list[Finding]:
        looks = [*map(_Look, messages), *_apart(messages), *_named(messages, inspection)]
        if not looks:
            return []
        whole = BETWEEN.join(look.text for look in looks)
        spans = in_characters(whole, self._engine.find(whole, looks_back=inspection.stage != "post_call"))
        if not spans:
            return []
        starts = list(accumulate((len(look.text) + len(BETWEEN) for look in looks[:-1]), initial=0))
        redactions: list[Redaction] = []
        types: set[str] = set()
        for span in spans:
            at = bisect_right(starts, span.start) - 1
            placed = looks[at].placed(span.start - starts[at], span.end - starts[at])
            redactions += placed
            if placed:
                types.add(span.type)
        if not redactions:
            return []
        found = sorted(types)
        what = "prompt" if inspection.call_type == "atext_completion" else "message"
        if not inspection.partial:
            log.warning(f"Detected and redacted secrets in {what}: {found}")
        return [Finding(redactions=merge(redactions), types=found)]


class _Look:
    """A message as it is scanned: alone, or with words around it that say what it is."""

    __slots__ = ("_before", "_message", "text")

    def __init__(self, message: Message, before: str = "", after: str = "") -> None:
        self._message = message
        self._before = len(before)
        self.text = f"{before}{message.text}{after}" if before else message.text

    def placed(self, start: int, end: int) -> list[Redaction]:
        """A span of `text` in the message's parts."""
        start, end = max(0, start - self._before), end - self._before
        end = min(end, sum(map(len, self._message.parts)))
        return list(self._message.redactions(start, end, REPLACEMENT)) if start < end else []


def _apart(messages: list[Message]) -> Iterator[_Look]:
    """Parts of one message are looked at together, and each by itself: where they meet, one may
    hide the end of another.
    """
    for message in messages:
        if len(message.parts) > 1:
            for index, part in zip(message.indexes, message.parts, strict=True):
                yield _Look(Message(0, message.role, [index], [part]))


def _named(messages: list[Message], inspection: Inspection) -> Iterator[_Look]:
    """Values with their names before them, as they would stand in a JSON text."""
    for message in messages if inspection.names else ():
        for index, part in zip(message.indexes, message.parts, strict=True):
            name = inspection.name(index)
            if name and part and len(part) <= NAMED_CHARACTERS_MAX:
                for said in {
                    name.replace(".", "_"),
                    name.rpartition(".")[2],
                }:  # what it stands in may say whose it is, or mislead
                    yield _Look(Message(0, message.role, [index], [part]), f'"{said}": "', '"')

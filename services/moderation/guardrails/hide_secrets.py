"""`hide_secrets`: credentials are replaced by `[REDACTED]` before a call leaves, whoever said them and wherever they stand.

Matched on the text as it is. Never refuses a call; never shows or logs what it found, only of what type.
"""

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Awaitable
from itertools import accumulate
from pathlib import Path

import structlog

from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection, Message
from services.moderation.secrets.engine import Engine, in_characters
from services.moderation.secrets.spans import Span
from services.moderation.secrets.vendor import Vendor
from services.moderation.verdict import merge
from shared.guardrails import WORDS, Enabled
from shared.requests import Redaction

log = structlog.get_logger()

REPLACEMENT = "[REDACTED]"
INLINE_CHARACTERS_MAX = 32_768
"""Longer texts are looked at in a thread: up to here it is about 1 ms. The engine's scan leaves the interpreter to others."""
BETWEEN = "\n\x1e\n"
"""Stands between two messages when they are looked at in one go; no rule reads across it."""


class HideSecrets:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

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
        messages = _also_apart(messages)
        texts = [message.text for message in messages]
        if not texts:
            return []
        whole = BETWEEN.join(texts)
        spans = in_characters(whole, self._engine.find(whole, looks_back=inspection.stage != "post_call"))
        if not spans:
            return []
        starts = list(accumulate((len(text) + len(BETWEEN) for text in texts[:-1]), initial=0))
        redactions: list[Redaction] = []
        types: set[str] = set()
        for span in spans:
            redactions += _placed(span, starts, messages, texts, types)
        if not redactions:
            return []
        found = sorted(types)
        what = "prompt" if inspection.call_type == "atext_completion" else "message"
        if not inspection.partial:
            log.warning(f"Detected and redacted secrets in {what}: {found}")
        return [Finding(redactions=merge(redactions), types=found)]


def _also_apart(messages: list[Message]) -> list[Message]:
    """Parts of one message are looked at together, and each by itself: where they meet, one may hide the end of another."""
    apart = [
        Message(0, message.role, [index], [part])
        for message in messages
        if len(message.parts) > 1
        for index, part in zip(message.indexes, message.parts, strict=True)
    ]
    return messages + apart if apart else messages


def _placed(
    span: Span, starts: list[int], messages: list[Message], texts: list[str], types: set[str]
) -> list[Redaction]:
    at = bisect_right(starts, span.start) - 1
    start, end = span.start - starts[at], min(span.end - starts[at], len(texts[at]))
    if start >= end:
        return []
    types.add(span.type)
    return list(messages[at].redactions(start, end, REPLACEMENT))

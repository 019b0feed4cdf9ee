"""A guardrail of the operator's own as a Python class: `guardrail: my_file.MyGuardrail`, the file
beside config.yaml.

    class MyGuardrail:
        def __init__(self, **params): ...          # the entry's litellm_params
        def inspect(self, texts, stage): ...       # or `async def`

`inspect` gets what people, models and tools said, and the stage; it returns None (fine), the texts
as they are to be, or raises an exception with a `message` (to refuse; `status` 400 unless set).
Whatever else it raises counts as "could not answer".
"""

import asyncio
import inspect
from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import Finding, Inspection
from shared import own_code
from shared.config import ConfigError
from shared.guardrails import LANGUAGE, Enabled
from shared.requests import Redaction

_OURS = ("guardrail", "mode", "default_on", "on_error", "unreachable_fallback", "deadline_ms")


class Custom:
    def __init__(self, guardrail: Any) -> None:
        self._guardrail = guardrail

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "Custom":
        """Raises ConfigError with the kind of what went wrong in the file."""
        named = str(enabled.params["guardrail"])
        try:
            wanted = own_code.load(parts.config.directory, named)
        except own_code.OwnCodeError as error:
            raise ConfigError(f"the guardrail {enabled.name!r}: {error}") from None
        try:
            made = wanted(**{k: v for k, v in enabled.params.items() if k not in _OURS})
        except Exception as error:
            raise ConfigError(f"the guardrail {enabled.name!r}: {named}: {type(error).__name__}: {error}") from None
        if not callable(getattr(made, "inspect", None)):
            raise ConfigError(f"the guardrail {enabled.name!r}: {named} has no method inspect(texts, stage)")
        return cls(made)

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        read = list(inspection.read(LANGUAGE))
        texts = [text for _, text in read]
        if not texts:
            return []
        try:
            if inspect.iscoroutinefunction(self._guardrail.inspect):
                new = await self._guardrail.inspect(list(texts), inspection.stage)
            else:
                new = await asyncio.to_thread(self._guardrail.inspect, list(texts), inspection.stage)
        except Exception as no:
            message = getattr(no, "message", None)
            if not isinstance(message, str):
                raise
            status = getattr(no, "status", 400)
            status = status if isinstance(status, int) and 400 <= status < 500 else 400
            return [Finding(block=True, message=message[:500], status=status)]
        if new is None or new == texts:
            return []
        if not isinstance(new, list) or len(new) != len(texts) or not all(isinstance(text, str) for text in new):
            raise TypeError("inspect must return None or as many texts as it got")
        changed = [
            Redaction(index, 0, len(text), other)
            for (index, text), other in zip(read, new, strict=True)
            if text != other
        ]
        return [Finding(redactions=changed)]

    def open_from(self, text: str) -> int | None:
        return 0

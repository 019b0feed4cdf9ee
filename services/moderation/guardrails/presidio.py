"""`presidio`: Microsoft Presidio's analyzer finds personal data; each finding is replaced by its
type (`<PERSON>`), or refuses the call.

Only the analyzer is asked: the spans it gives are all that replacing takes.
"""

from collections.abc import Mapping
from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, each, setting
from services.moderation.inspection import Finding, Inspection
from services.moderation.verdict import merge
from shared.config import ConfigError
from shared.guardrails import LANGUAGE, Enabled
from shared.requests import Redaction

ACTIONS = ("MASK", "BLOCK")


class Presidio:
    def __init__(
        self, service: Service, language: str, actions: Mapping[str, str], score_threshold: float | None
    ) -> None:
        """`actions`: entity type -> MASK or BLOCK; empty: everything Presidio finds is masked."""
        self._service = service
        self._language = language
        self._actions = actions
        self._score_threshold = score_threshold

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "Presidio":
        """Raises ConfigError."""
        base = setting(parts, enabled, "presidio_analyzer_api_base", "PRESIDIO_ANALYZER_API_BASE") or setting(
            parts, enabled, "api_base"
        )
        if base is None:
            raise ConfigError("Missing `PRESIDIO_ANALYZER_API_BASE` from environment")
        actions = enabled.params.get("pii_entities_config") or {}
        if not isinstance(actions, dict) or not all(action in ACTIONS for action in actions.values()):
            raise ConfigError(f"the guardrail {enabled.name!r}: pii_entities_config must give each type MASK or BLOCK")
        threshold = enabled.params.get("presidio_score_threshold")
        if threshold is not None and not isinstance(threshold, int | float):
            raise ConfigError(f"the guardrail {enabled.name!r}: presidio_score_threshold must be a number")
        language = setting(parts, enabled, "presidio_language") or "en"
        return cls(Service.of(parts, enabled, base), language, actions, threshold)

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        texts = [(index, text) for index, text in inspection.read(LANGUAGE) if text.strip()]
        found = await each(texts, self._one)
        return [finding for finding in found if finding is not None]

    def open_from(self, text: str) -> int | None:
        return 0

    async def _one(self, item: tuple[int, str]) -> Finding | None:
        index, text = item
        question: dict[str, Any] = {"text": text, "language": self._language}
        if self._actions:
            question["entities"] = list(self._actions)
        if self._score_threshold is not None:
            question["score_threshold"] = self._score_threshold
        said = await self._service.ask("/analyze", question)
        if not isinstance(said, list):
            raise NoAnswerError("not Presidio's answer")
        redactions, types = [], set()
        for entity in said:
            start, end, kind = _read(entity, len(text))
            if self._actions.get(kind) == "BLOCK":
                message = f"Blocked entity detected: {kind} by Guardrail: presidio. This entity is not allowed to be used in this request."
                return Finding(block=True, message=message, status=400, types=[kind])
            if not self._actions or kind in self._actions:
                redactions.append(Redaction(index, start, end, f"<{kind}>"))
                types.add(kind)
        return Finding(redactions=merge(redactions), types=sorted(types)) if redactions else None


def _read(entity: Any, length: int) -> tuple[int, int, str]:
    if isinstance(entity, dict):
        start, end, kind = entity.get("start"), entity.get("end"), entity.get("entity_type")
        if isinstance(start, int) and isinstance(end, int) and isinstance(kind, str) and 0 <= start < end <= length:
            return start, end, kind[:64]
    raise NoAnswerError("not Presidio's answer")

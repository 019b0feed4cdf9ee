"""`llmguard_moderations`: an LLM Guard API server says what is wrong with a text, and how it reads
without that.

Every text is asked about by itself; the sanitised text takes its place. `is_valid: false` refuses
the whole.
"""

import structlog

from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, each, setting
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import AFTER, LANGUAGE, Enabled
from shared.requests import Redaction

log = structlog.get_logger()

VIOLATED = "Violated content safety policy"


class LLMGuard:
    def __init__(self, service: Service) -> None:
        self._service = service

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "LLMGuard":
        """Raises ConfigError where nobody says where the server is."""
        base = setting(parts, enabled, "api_base", "LLM_GUARD_API_BASE")
        if base is None:
            raise ConfigError("Missing `LLM_GUARD_API_BASE` from environment")
        key = setting(parts, enabled, "api_key", "LLM_GUARD_API_KEY")
        return cls(Service.of(parts, enabled, base, {"authorization": f"Bearer {key}"} if key else None))

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        async def one(item: tuple[int, str]) -> Finding | None:
            return await self._one(item[0], item[1], inspection.stage)

        texts = [(index, text) for index, text in inspection.read(LANGUAGE) if text.strip()]
        return [finding for finding in await each(texts, one) if finding is not None]

    def open_from(self, text: str) -> int | None:
        return 0

    async def _one(self, index: int, text: str, stage: str) -> Finding | None:
        if stage == AFTER:
            path, field, question = "/analyze/output", "sanitized_output", {"prompt": "", "output": text}
        else:
            path, field, question = "/analyze/prompt", "sanitized_prompt", {"prompt": text}
        said = await self._service.ask(path, question)
        if not isinstance(said, dict) or not isinstance(said.get("is_valid"), bool):
            raise NoAnswerError("not LLM Guard's answer")
        log.debug(f"LLM Guard: Received response - {said}")
        if not said["is_valid"]:
            return Finding(block=True, message=VIOLATED, status=400, types=_failed(said.get("scanners")))
        sanitized = said.get(field)
        if not isinstance(sanitized, str):
            raise NoAnswerError("not LLM Guard's answer")
        if sanitized == text:
            return None
        return Finding(redactions=[Redaction(index, 0, len(text), sanitized)])


def _failed(scanners: object) -> list[str]:
    if not isinstance(scanners, dict):
        return []
    return [str(name)[:64] for name, score in scanners.items() if isinstance(score, int | float) and score > 0]

"""`generic_guardrail_api`: a guardrail of the operator's own, behind HTTP, in the shape of
LiteLLM's generic guardrail API.

POST {api_base}/beta/litellm_basic_guardrail_api
{"texts": ["..."], "input_type": "request" | "response", "request_data": {"call_type",
"customer_id"},
 "additional_provider_specific_params": {...}}
-> {"action": "NONE"} | {"action": "BLOCKED", "blocked_reason": "..."} | {"action":
"GUARDRAIL_INTERVENED", "texts": ["..."]}
"""

from typing import Any

from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, setting
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import AFTER, LANGUAGE, Enabled
from shared.requests import Redaction

PATH = "/beta/litellm_basic_guardrail_api"
REASON_CHARACTERS_MAX = 500


class GenericAPI:
    def __init__(self, service: Service, path: str, more: dict[str, Any]) -> None:
        self._service = service
        self._path = path
        self._more = more

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "GenericAPI":
        """Raises ConfigError."""
        base = setting(parts, enabled, "api_base", "GENERIC_GUARDRAIL_API_BASE")
        if base is None:
            raise ConfigError(f"the guardrail {enabled.name!r} needs litellm_params.api_base")
        headers = enabled.params.get("headers") or {}
        if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
            raise ConfigError(f"the guardrail {enabled.name!r}: headers must be a mapping of strings")
        key = setting(parts, enabled, "api_key", "GENERIC_GUARDRAIL_API_KEY")
        if key:
            headers = {"x-api-key": key, **headers}
        more = enabled.params.get("additional_provider_specific_params") or {}
        path = "" if base.rstrip("/").endswith(PATH) else PATH
        return cls(Service.of(parts, enabled, base, headers), path, more if isinstance(more, dict) else {})

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        texts = [(index, text) for index, text in inspection.read(LANGUAGE) if text.strip()]
        if not texts:
            return []
        said = await self._service.ask(
            self._path,
            {
                "texts": [text for _, text in texts],
                "input_type": "response" if inspection.stage == AFTER else "request",
                "request_data": {"call_type": inspection.call_type, "customer_id": inspection.customer_id},
                "additional_provider_specific_params": self._more,
            },
        )
        action = said.get("action") if isinstance(said, dict) else None
        if action == "NONE":
            return []
        if action == "BLOCKED":
            reason = said.get("blocked_reason")
            message = reason[:REASON_CHARACTERS_MAX] if isinstance(reason, str) and reason else "Blocked by a guardrail"
            return [Finding(block=True, message=message, status=400)]
        new = said.get("texts") if action == "GUARDRAIL_INTERVENED" else None
        if not isinstance(new, list) or len(new) != len(texts) or not all(isinstance(text, str) for text in new):
            raise NoAnswerError("not a guardrail's answer")
        changed = [
            Redaction(index, 0, len(text), other)
            for (index, text), other in zip(texts, new, strict=True)
            if text != other
        ]
        return [Finding(redactions=changed)] if changed else []

    def open_from(self, text: str) -> int | None:
        return 0

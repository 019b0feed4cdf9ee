"""`openai_moderations`: OpenAI's moderation endpoint, or another in its shape, flags a text."""

from services.moderation.guardrails.llm_guard import VIOLATED
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, setting
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import LANGUAGE, Enabled

OPENAI = "https://api.openai.com/v1"
MODEL = "omni-moderation-latest"
TEXTS_MAX = 32
"""Of one question."""


class OpenAIModeration:
    def __init__(self, service: Service, model: str) -> None:
        self._service = service
        self._model = model

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "OpenAIModeration":
        """The model may be a name of `model_list`: its address and key are used then. Raises
        ConfigError without a key.
        """
        model = setting(parts, enabled, "model") or parts.config.litellm.openai_moderations_model_name or MODEL
        base = setting(parts, enabled, "api_base", "OPENAI_API_BASE", "OPENAI_BASE_URL")
        key = setting(parts, enabled, "api_key", "OPENAI_API_KEY")
        for deployment in parts.config.deployments:
            if deployment.model_name == model:
                model, base = deployment.upstream_model, base or deployment.api_base
                key = key or (deployment.api_key.reveal() if deployment.api_key else None)
                break
        if not key and not base:
            raise ConfigError(f"the guardrail {enabled.name!r} needs OPENAI_API_KEY, or api_base and api_key")
        headers = {"authorization": f"Bearer {key}"} if key else None
        return cls(Service.of(parts, enabled, base or OPENAI, headers), model)

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        texts = [message.text for message in inspection.messages(LANGUAGE) if message.text.strip()]
        for start in range(0, len(texts), TEXTS_MAX):
            some = texts[start : start + TEXTS_MAX]
            said = await self._service.ask("/moderations", {"model": self._model, "input": some})
            results = said.get("results") if isinstance(said, dict) else None
            if not isinstance(results, list) or not results:
                raise NoAnswerError("not OpenAI's answer")
            for result in results:
                if not isinstance(result, dict) or not isinstance(result.get("flagged"), bool):
                    raise NoAnswerError("not OpenAI's answer")
                if result["flagged"]:
                    return [Finding(block=True, message=VIOLATED, status=403, types=_categories(result))]
        return []

    def open_from(self, text: str) -> int | None:
        return 0


def _categories(result: dict[str, object]) -> list[str]:
    found = result.get("categories")
    return [str(name)[:64] for name, hit in found.items() if hit is True] if isinstance(found, dict) else []

"""`llamaguard_moderations`: a Llama Guard model judges the whole conversation: on SageMaker, or
behind any OpenAI-compatible endpoint.

The prompt is made here (llamaguard_prompt.py), so that the operator's own categories really are in
it. What isn't `safe` or `unsafe` on its first line is no answer.
"""

import re
from collections.abc import Awaitable, Callable
from typing import Any

from services.moderation.guardrails import llamaguard_prompt as prompts
from services.moderation.guardrails.llm_guard import VIOLATED
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.remote import NoAnswerError, Service, setting
from services.moderation.guardrails.sagemaker import SageMaker
from services.moderation.inspection import Finding, Inspection
from shared.config import ConfigError
from shared.guardrails import AFTER, LANGUAGE, Enabled

Ask = Callable[[str, list[dict[str, str]]], Awaitable[str]]
"""(the whole prompt, the conversation as messages) -> what the model says."""
ANSWER_TOKENS_MAX = 64


class LlamaGuard:
    def __init__(self, ask: Ask, version: int, categories: str | None) -> None:
        """`categories`: the operator's list, in the place of the model's own; None: those it was
        made with.
        """
        self._ask = ask
        self._version = version
        self._categories = categories

    @classmethod
    def made(cls, parts: Parts, enabled: Enabled) -> "LlamaGuard":
        """Raises ConfigError."""
        litellm = parts.config.litellm
        model = setting(parts, enabled, "model") or litellm.llamaguard_model_name
        if not model:
            raise ConfigError("llamaguard_moderations needs litellm_settings.llamaguard_model_name")
        file = setting(parts, enabled, "unsafe_content_categories") or litellm.llamaguard_unsafe_content_categories
        version = enabled.params.get("llamaguard_version", prompts.version_of(model))
        if version not in prompts.VERSIONS:
            raise ConfigError(f"the guardrail {enabled.name!r}: llamaguard_version must be 1, 2 or 3")
        return cls(_asker(parts, enabled, model), version, prompts.categories_from(file, parts.config.directory))

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        agent = inspection.stage == AFTER
        turns = [
            prompts.Turn("assistant" if agent or message.role == "assistant" else "user", message.text)
            for message in inspection.messages(LANGUAGE)
            if message.text.strip()
        ]
        if not turns:
            return []
        judged = "Agent" if agent else "User"
        prompt = prompts.render(turns, judged, self._version, self._categories)
        said = await self._ask(prompt, [{"role": turn.role, "content": turn.text} for turn in turns])
        verdict, categories = read(said)
        if verdict == "safe":
            return []
        return [Finding(block=True, message=VIOLATED, status=400, types=categories)]

    def open_from(self, text: str) -> int | None:
        return 0


def read(said: str) -> tuple[str, list[str]]:
    """("safe" or "unsafe", categories). Raises NoAnswerError for anything else: a model that
    rambles has judged nothing.
    """
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    first = lines[0].lower().rstrip(".") if lines else ""
    if first not in ("safe", "unsafe"):
        raise NoAnswerError("neither safe nor unsafe")
    categories = re.findall(r"[OS]\d{1,2}", " ".join(lines[1:3])) if first == "unsafe" else []
    return first, categories[:16]


def alternating(messages: list[dict[str, str]]) -> list[dict[str, str]]:
    """As these models' own templates want them: the user begins, and nobody speaks twice in a
    row.
    """
    turns = [] if messages[0]["role"] == "user" else [{"role": "user", "content": "-"}]
    for message in messages:
        if turns and turns[-1]["role"] == message["role"]:
            turns[-1] = {**message, "content": f"{turns[-1]['content']}\n\n{message['content']}"}
        else:
            turns.append(message)
    return turns


def _asker(parts: Parts, enabled: Enabled, model: str) -> Ask:
    if model.startswith("sagemaker/"):
        return SageMaker(model.removeprefix("sagemaker/"), parts, enabled).ask
    base, key = setting(parts, enabled, "api_base"), setting(parts, enabled, "api_key")
    for deployment in parts.config.deployments:
        if deployment.model_name == model:
            model, base = deployment.upstream_model, base or deployment.api_base
            key = key or (deployment.api_key.reveal() if deployment.api_key else None)
            break
    else:
        model = model.removeprefix("openai/")
    if base is None:
        raise ConfigError(
            f"the guardrail {enabled.name!r}: {model!r} is neither sagemaker/..., nor in model_list, nor has it an api_base"
        )
    service = Service.of(parts, enabled, base, {"authorization": f"Bearer {key}"} if key else None)
    chat = enabled.params.get("llamaguard_api", "completions")
    if chat not in ("completions", "chat"):
        raise ConfigError(f"the guardrail {enabled.name!r}: llamaguard_api must be completions or chat")

    extra = enabled.params.get("extra_body") or {}
    if not isinstance(extra, dict):
        raise ConfigError(f"the guardrail {enabled.name!r}: extra_body must be an object")
    usual = {"model": model, "max_tokens": ANSWER_TOKENS_MAX, "temperature": 0, **extra}

    async def completed(prompt: str, _: list[dict[str, str]]) -> str:
        question = {**usual, "prompt": prompt}
        return _text(await service.ask("/completions", question), lambda choice: choice.get("text"))

    async def chatted(_: str, messages: list[dict[str, str]]) -> str:
        """For servers that make the prompt themselves; the categories are theirs then."""
        question = {**usual, "messages": alternating(messages)}
        return _text(
            await service.ask("/chat/completions", question),
            lambda choice: (choice.get("message") or {}).get("content"),
        )

    return chatted if chat == "chat" else completed


def _text(answer: Any, of: Callable[[dict[str, Any]], Any]) -> str:
    choices = answer.get("choices") if isinstance(answer, dict) else None
    text = of(choices[0]) if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None
    if not isinstance(text, str):
        raise NoAnswerError("not a completion")
    return text

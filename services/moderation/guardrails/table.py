"""The code of each row of shared/guardrails.py: what makes a guardrail from the configuration."""

from collections.abc import Callable
from functools import partial

from services.moderation.guardrails import Guardrail
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.bedrock import Bedrock
from services.moderation.guardrails.content_filter import ContentFilter
from services.moderation.guardrails.custom import Custom
from services.moderation.guardrails.generic_api import GenericAPI
from services.moderation.guardrails.google_text_moderation import GoogleTextModeration
from services.moderation.guardrails.hide_secrets import HideSecrets
from services.moderation.guardrails.llamaguard import LlamaGuard
from services.moderation.guardrails.llm_guard import LLMGuard
from services.moderation.guardrails.loaded import Loaded
from services.moderation.guardrails.openai_moderation import OpenAIModeration
from services.moderation.guardrails.parts import Parts
from services.moderation.guardrails.presidio import Presidio
from services.moderation.guardrails.prompt_injection import PromptInjection
from services.moderation.guardrails.remote import circuits_of
from services.moderation.guardrails.scanners import SCANNERS, Scanned
from shared import guardrails
from shared.guardrails import Enabled

MAKERS: dict[str, Callable[[Parts, Enabled], Guardrail]] = {
    "hide-secrets": HideSecrets.made,
    "litellm_content_filter": ContentFilter.made,
    "presidio": Presidio.made,
    "llm_guard": LLMGuard.made,
    "bedrock": Bedrock.made,
    "generic_guardrail_api": GenericAPI.made,
    "custom": Custom.made,
    "banned_keywords": BannedKeywords.made,
    "detect_prompt_injection": PromptInjection.made,
    "openai_moderation": OpenAIModeration.made,
    "google_text_moderation": GoogleTextModeration.made,
    "llamaguard": LlamaGuard.made,
    **dict.fromkeys(SCANNERS, Scanned.made),
}
"""By integration."""


def load(parts: Parts) -> list[Loaded]:
    """Make the guardrails that are enabled, in the order they run. Raises ConfigError. May take
    seconds: it is done before ready.

    Other callbacks (loggers, metrics) aren't moderation's and are left alone.
    """
    loaded = []
    for each in guardrails.enabled(parts.config):
        guardrail, circuits = circuits_of(partial(MAKERS[each.spec.integration], parts, each))
        loaded.append(Loaded(each, guardrail, circuits))
    return loaded

"""The one list of guardrails: a name in `litellm_settings.callbacks` -> what makes it from the configuration."""

from collections.abc import Callable

from services.moderation.guardrails import Guardrail
from services.moderation.guardrails.banned_keywords import BannedKeywords
from shared.config import Config, ConfigError

GUARDRAILS: dict[str, Callable[[Config], Guardrail]] = {
    "banned_keywords": BannedKeywords.from_config,
}
"""In the order their outcomes are given; of two that block, the first one's message reaches the client."""


def load(config: Config) -> list[Guardrail]:
    """Make the guardrails that are enabled, in the table's order. Raises ConfigError.

    Other callbacks (loggers, metrics) aren't moderation's and are left alone.
    """
    callbacks = config.litellm_settings.get("callbacks") or []
    if isinstance(callbacks, str):
        callbacks = [callbacks]
    if not isinstance(callbacks, list) or not all(isinstance(name, str) for name in callbacks):
        raise ConfigError("litellm_settings.callbacks must be a list of names")
    return [make(config) for name, make in GUARDRAILS.items() if name in callbacks]

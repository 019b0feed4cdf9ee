"""The code of each row of shared/guardrails.py: what makes a guardrail from the configuration."""

from collections.abc import Callable

from services.moderation.guardrails import Guardrail
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.screen import Loaded
from shared import guardrails
from shared.config import Config
from shared.guardrails import Enabled

MAKERS: dict[str, Callable[[Config, Enabled], Guardrail]] = {
    "banned_keywords": lambda config, _: BannedKeywords.from_config(config),
}
"""By integration."""


def load(config: Config) -> list[Loaded]:
    """Make the guardrails that are enabled, in the order they run. Raises ConfigError.

    Other callbacks (loggers, metrics) aren't moderation's and are left alone.
    """
    return [Loaded(each, MAKERS[each.spec.integration](config, each)) for each in guardrails.enabled(config)]

"""The code of each row of shared/guardrails.py: what makes a guardrail from the configuration."""

from collections.abc import Callable

from services.moderation.guardrails import Guardrail
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.hide_secrets import HideSecrets
from services.moderation.guardrails.parts import Parts
from services.moderation.screen import Loaded
from shared import guardrails
from shared.config import ConfigError
from shared.guardrails import Enabled

MAKERS: dict[str, Callable[[Parts, Enabled], Guardrail]] = {
    "hide-secrets": HideSecrets.made,
    "banned_keywords": BannedKeywords.made,
}
"""By integration."""


def load(parts: Parts) -> list[Loaded]:
    """Make the guardrails that are enabled, in the order they run. Raises ConfigError. May take seconds: it is done before ready.

    Other callbacks (loggers, metrics) aren't moderation's and are left alone.
    """
    return [Loaded(each, _maker(each)(parts, each)) for each in guardrails.enabled(parts.config)]


def _maker(enabled: Enabled) -> Callable[[Parts, Enabled], Guardrail]:
    try:
        return MAKERS[enabled.spec.integration]
    except KeyError:
        raise ConfigError(f"the guardrail {enabled.name!r} can't run yet") from None

"""What the configuration says of keys that are made. Pure."""

import re
from typing import Any

import msgspec

from shared.config import Config, ConfigError


class NewKeys(msgspec.Struct, frozen=True):
    """What the configuration says of keys that are made (commands/key_defaults.py)."""

    defaults: dict[str, Any] = {}
    bounds: dict[str, Any] = {}
    team: dict[str, Any] = {}
    personal: dict[str, Any] = {}
    alias: str | None = None
    """What the whole alias must match."""


def of(config: Config) -> NewKeys:
    """Raises ConfigError."""
    settings = config.litellm.key_generation_settings
    for name, part in settings.items():
        if not isinstance(part, dict):
            raise ConfigError(f"litellm_settings.key_generation_settings.{name} must be a mapping")
    return NewKeys(
        config.litellm.default_key_generate_params,
        config.litellm.upperbound_key_generate_params,
        settings.get("team_key_generation", {}),
        settings.get("personal_key_generation", {}),
        _pattern(config.litellm.key_alias_pattern, "key_alias_pattern"),
    )


def _pattern(given: str | None, name: str) -> str | None:
    """Raises ConfigError."""
    try:
        re.compile(given or "")
    except (re.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"litellm_settings.{name} is no regular expression: {error}") from None
    return given

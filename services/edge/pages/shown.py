"""What the admin page shows of the configuration: settings that differ from their defaults, models,
and what was left out.

By type, not by name: numbers, switches and short strings are shown; of an object only its names
are, as nobody can say which of its values is a secret; a Secret never.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared import guardrails
from shared.config import Config
from shared.secrets.value import Secret
from shared.settings import PREFIX

STRING_CHARACTERS_MAX = 200
MASKED = "***"
_ADDRESS = re.compile(r"://|:[^@\s]*@|@[^@\s]*:[0-9]")
"""Which may have a password in it; the broker's client takes one without a scheme, too."""


class Model(msgspec.Struct, frozen=True):
    name: str
    upstream: str
    reason: str = ""
    """Why it isn't served; empty: it is."""


class Guardrail(msgspec.Struct, frozen=True):
    name: str
    kind: str
    stages: tuple[str, ...]
    default_on: bool
    on_error: str


class Value(msgspec.Struct, frozen=True):
    """One that differs from its default."""

    name: str
    """As the configuration or the environment has it."""
    value: Any
    references: tuple[str, ...] = ()
    """What the file refers to for it: `os.environ/NAME`, `vault/NAME`."""


class ShownSettings(msgspec.Struct, frozen=True):
    values: list[Value] = []
    """Of the file, as they are in effect."""
    models: list[Model] = []
    guardrails: list[Guardrail] = []
    warnings: list[str] = []


def of(config: Config) -> ShownSettings:
    values = [
        Value(f"{section}.{name}", value, config.references.get(f"{section}.{name}", ()))
        for section, settings in (
            ("general_settings", config.general),
            ("litellm_settings", config.litellm),
            ("router_settings", config.router),
        )
        for name, value in _set(settings)
    ]
    served = [Model(each.model_name, f"{each.provider}/{each.upstream_model}") for each in config.deployments]
    left_out = [Model(each.model_name or "?", "", each.reason) for each in config.left_out]
    kept = [
        Guardrail(each.name, each.spec.integration, each.stages, each.default_on, each.on_error)
        for each in guardrails.enabled(config)
    ]
    return ShownSettings(values, [*served, *left_out], kept, list(config.warnings))


def of_environment(settings: msgspec.Struct) -> list[Value]:
    """What this service was told by the environment (shared/settings.py)."""
    return [Value(PREFIX + name.upper(), value) for name, value in _set(settings)]


def _set(settings: msgspec.Struct) -> Iterator[tuple[str, Any]]:
    """Names and values of what differs from its default, as they may be shown."""
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != _default(field):
            yield field.encode_name, shown(value)


def shown(value: Any) -> Any:
    """A value without what may be secret in it."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret):
        return MASKED
    if isinstance(value, str):
        return MASKED if len(value) > STRING_CHARACTERS_MAX or _ADDRESS.search(value) else value
    if isinstance(value, list | tuple | set | frozenset):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {str(name): MASKED for name in value}
    return MASKED


def _default(field: Any) -> Any:
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory() if field.default_factory is not msgspec.NODEFAULT else None

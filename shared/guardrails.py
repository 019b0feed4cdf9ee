"""The one table of guardrails: what each is called, where it may run, what it reads, and what happens when it can't answer.

Policy makes grants from it, edge asks by it, moderation runs by it; `services/moderation/guardrails/` has the code of each row.
`enabled` reads the configuration: LiteLLM's older form (`litellm_settings.callbacks`) and the newer one (`guardrails:`). Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared.config import Config
from shared.grant import GuardrailRef

LANGUAGE = frozenset({"text", "arguments", "result", "reasoning", "file"})
"""What people, models and tools said."""
WORDS = LANGUAGE | {"name", "schema", "url", "key", "tokens", "unknown"}
"""Also what stands around it: names, descriptions, addresses, fields that nobody knows."""
EVERYTHING = WORDS | {"id", "opaque"}

BEFORE, BESIDE, AFTER, SHADOW = "pre_call", "during_call", "post_call", "logging_only"
MODES = (BEFORE, BESIDE, AFTER, SHADOW)


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of guardrail."""

    integration: str
    """As in `litellm_params.guardrail` of the `guardrails:` list."""
    callback: str = ""
    """As in `litellm_settings.callbacks`; empty: only in the list."""
    also: tuple[str, ...] = ()
    """Other spellings of either."""
    stages: tuple[str, ...] = (BEFORE,)
    """Where it runs when it is enabled as a callback."""
    may: tuple[str, ...] = (BEFORE, BESIDE, AFTER)
    """Where the list may put it. What redacts can't run beside the call: the text would already be with the provider."""
    reads: frozenset[str] = LANGUAGE
    """Kinds of texts (services.edge.formats.base.Text)."""
    redacts: bool = False
    on_error: str = "block"
    deadline_ms: int = 1_000
    window_characters: int = 0
    """How much of a stream one finding may span at most."""
    at_once: bool = False
    """It waits for nobody, so questions to it may travel together."""
    needs: str = ""
    """The service it asks, for people; empty: none."""


TABLE: tuple[Spec, ...] = (
    Spec(
        integration="hide-secrets",
        callback="hide_secrets",
        stages=(BEFORE,),
        may=(BEFORE, AFTER),
        reads=WORDS,
        redacts=True,
        deadline_ms=2_000,
        window_characters=4_096,
        at_once=True,
    ),
    Spec(
        integration="banned_keywords",
        callback="banned_keywords",
        stages=(BEFORE, AFTER),
        reads=EVERYTHING,
        window_characters=256,
        at_once=True,
    ),
)
"""In the order they run: what redacts goes first, so that nobody else sees what is hidden."""

_BY_NAME = {name: spec for spec in TABLE for name in (spec.integration, spec.callback, *spec.also) if name}


class Enabled(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail of this configuration."""

    name: str
    """What outcomes, headers and requests call it."""
    spec: Spec
    stages: tuple[str, ...]
    default_on: bool = True
    """False: only where a key, team, project or request names it."""
    permission: str = ""
    """Only for who has this permission (key's `permissions`, or the request's `metadata.permissions`): LLM Guard's modes."""
    permission_of: str = ""
    """key or request."""
    on_error: str = "block"
    deadline_ms: int = 1_000
    params: Mapping[str, Any] = {}
    """`litellm_params` of the list's entry; of a callback: nothing."""
    info: Mapping[str, Any] = {}

    def ref(self) -> GuardrailRef:
        return GuardrailRef(
            self.name,
            list(self.stages),
            self.on_error,
            self.deadline_ms,
            self.spec.window_characters,
            self.spec.at_once,
        )


def enabled(config: Config) -> list[Enabled]:
    """In the order they run. Raises ConfigError, with the place."""
    found = _callbacks(config)
    position = {spec.integration: i for i, spec in enumerate(TABLE)}
    return sorted(found, key=lambda each: position[each.spec.integration])


def unknown_callbacks(config: Config) -> list[str]:
    """Names in `litellm_settings.callbacks` that are no guardrails of ours."""
    return [name for name in callback_names(config) if name not in _BY_NAME]


def callback_names(config: Config) -> list[str]:
    """Each once."""
    callbacks = config.litellm.callbacks
    return list(dict.fromkeys([callbacks] if isinstance(callbacks, str) else callbacks))


def _callbacks(config: Config) -> Iterable[Enabled]:
    for name in callback_names(config):
        spec = _BY_NAME.get(name)
        if spec is not None and spec.callback:
            yield Enabled(
                name=spec.callback,
                spec=spec,
                stages=spec.stages,
                on_error=spec.on_error,
                deadline_ms=spec.deadline_ms,
            )

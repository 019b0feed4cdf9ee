"""The one table of guardrails: what each is called, where it may run, what it reads, and what
happens when it can't answer.

Policy makes grants from it, edge asks by it, moderation runs by it;
`services/moderation/guardrails/` has the code of each row. `enabled` reads the configuration:
LiteLLM's older form (`litellm_settings.callbacks`) and the newer one (`guardrails:`). Pure.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from shared.config import Config, ConfigError, callbacks
from shared.grant import GuardrailRef
from shared.money import picousd_from_usd

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
    may: tuple[str, ...] = (BEFORE, BESIDE, AFTER, SHADOW)
    """Where the list may put it. What redacts can't run beside the call: the text would already be
    with the provider.
    """
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

    @property
    def names(self) -> tuple[str, ...]:
        """Every spelling."""
        return tuple(name for name in (self.integration, self.callback, *self.also) if name)


TABLE: tuple[Spec, ...] = (
    Spec(
        integration="hide-secrets",
        callback="hide_secrets",
        may=(BEFORE, AFTER, SHADOW),
        reads=WORDS,
        redacts=True,
        deadline_ms=2_000,
        window_characters=4_096,
        at_once=True,
    ),
    Spec(
        integration="litellm_content_filter",
        may=(BEFORE, AFTER, SHADOW),
        redacts=True,
        deadline_ms=2_000,
        window_characters=512,
        at_once=True,
    ),
    Spec(
        integration="presidio",
        callback="presidio",
        stages=(BEFORE, AFTER),
        may=(BEFORE, AFTER, SHADOW),
        redacts=True,
        deadline_ms=5_000,
        needs="a Presidio analyzer",
    ),
    Spec(
        integration="llm_guard",
        callback="llmguard_moderations",
        also=("llm-guard", "llmguard"),
        may=(BEFORE, AFTER, SHADOW),
        redacts=True,
        deadline_ms=10_000,
        needs="an LLM Guard API server",
    ),
    Spec(
        integration="bedrock",
        may=(BEFORE, AFTER, SHADOW),
        redacts=True,
        deadline_ms=10_000,
        needs="an Amazon Bedrock guardrail",
    ),
    Spec(
        integration="generic_guardrail_api",
        also=("generic",),
        may=(BEFORE, AFTER, SHADOW),
        redacts=True,
        deadline_ms=5_000,
        needs="an HTTP service",
    ),
    Spec(integration="custom", redacts=True, may=(BEFORE, AFTER, SHADOW), deadline_ms=5_000),
    Spec(
        integration="banned_keywords",
        callback="banned_keywords",
        stages=(BEFORE, AFTER),
        reads=EVERYTHING,
        window_characters=256,
        at_once=True,
    ),
    Spec(
        integration="detect_prompt_injection",
        callback="detect_prompt_injection",
        also=("prompt_injection",),
        may=(BEFORE, BESIDE, SHADOW),
        at_once=True,
    ),
    Spec(
        integration="openai_moderation",
        callback="openai_moderations",
        also=("openai-moderation",),
        deadline_ms=10_000,
        needs="OpenAI's moderation",
    ),
    Spec(
        integration="google_text_moderation",
        callback="google_text_moderation",
        deadline_ms=10_000,
        needs="Google's Natural Language API",
    ),
    Spec(
        integration="llamaguard",
        callback="llamaguard_moderations",
        also=("llama_guard", "llama-guard"),
        deadline_ms=30_000,
        needs="a Llama Guard model",
    ),
    Spec(
        integration="azure/text_moderations",
        also=("azure/text_moderation",),
        deadline_ms=10_000,
        needs="Azure AI Content Safety",
    ),
    Spec(integration="azure/prompt_shield", deadline_ms=10_000, needs="Azure AI Content Safety"),
    Spec(integration="lakera_v2", also=("lakera", "lakera_ai"), deadline_ms=10_000, needs="Lakera Guard"),
    Spec(integration="aporia", also=("aporia_ai",), deadline_ms=10_000, needs="Aporia"),
    Spec(
        integration="panw_prisma_airs",
        deadline_ms=10_000,
        needs="Prisma AIRS",
    ),
)
"""In the order they run: what redacts goes first, so that nobody else, and no service outside, sees
what is hidden.
"""

_BY_NAME = {name: spec for spec in TABLE for name in spec.names}

LLM_GUARD_PERMISSION = "enable_llm_guard_check"
BY_PERMISSION = {LLM_GUARD_PERMISSION: "llmguard_moderations"}
"""What `permissions` may turn on → the guardrail, as it is called in `litellm_settings.callbacks`.
By the others' own names permissions only turn off: `hide_secrets: true` is what every key has."""


class Enabled(msgspec.Struct, frozen=True, kw_only=True):
    """One guardrail of this configuration."""

    name: str
    """What outcomes, headers and requests call it."""
    spec: Spec
    stages: tuple[str, ...]
    default_on: bool = True
    """False: only where a key, team, project or request names it."""
    permission: str = ""
    """Only for who has this permission (key's `permissions`, or the request's
    `metadata.permissions`): LLM Guard's modes.
    """
    permission_of: str = ""
    """key or request."""
    on_error: str = "block"
    deadline_ms: int = 1_000
    params: Mapping[str, Any] = {}
    """`litellm_params` of the list's entry; of a callback: nothing."""
    info: Mapping[str, Any] = {}
    """`guardrail_info`, for people."""
    question_picousd: int = 0
    """What one question to its service costs (`litellm_params.cost_per_request`, USD)."""
    shadow: bool = False
    """`logging_only`: it runs, its outcome is recorded, and nothing else comes of it."""

    def ref(self) -> GuardrailRef:
        return GuardrailRef(
            self.name,
            list(self.stages),
            self.on_error,
            self.deadline_ms,
            1 if self.shadow else self.spec.window_characters,
            self.spec.at_once,
        )


def enabled(config: Config) -> list[Enabled]:
    """In the order they run. Raises ConfigError, with the place."""
    found = [*_callbacks(config), *_listed(config)]
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(
                f"the guardrail {name!r} is configured twice: in callbacks and in guardrails, or in two entries"
            )
    position = {spec.integration: i for i, spec in enumerate(TABLE)}
    return sorted(found, key=lambda each: position[each.spec.integration])


def not_known(config: Config) -> list[str]:
    """A guardrail that isn't known refuses, unless the operator said that it may be left undone:
    then it is a warning.
    """
    warnings = []
    for name in callback_names(config):
        if name not in _BY_NAME and callbacks.kind(name) == "guardrail":
            sentence = f"litellm_settings.callbacks: the guardrail {name} isn't known here"
            warnings.append(config.unenforced(name, sentence))
    names = {each.name for each in enabled(config)}
    for number, entry in enumerate(config.guardrails):
        name = str(entry.get("guardrail_name") or f"guardrails[{number}]")
        if name not in names:
            warnings.append(config.unenforced(name, f"guardrails[{number}]: the guardrail {name!r} isn't known here"))
    return warnings


def callback_names(config: Config) -> list[str]:
    """Each once."""
    callbacks = config.litellm.callbacks
    return list(dict.fromkeys([callbacks] if isinstance(callbacks, str) else callbacks))


LLM_GUARD_MODES = {"all": "", "key-specific": "key", "request-specific": "request"}


ASKS_A_MODEL = dict.fromkeys(_BY_NAME["detect_prompt_injection"].names, "llm_api_check")
"""Spellings of a guardrail -> its switch for a check that isn't done."""


def _callbacks(config: Config) -> Iterable[Enabled]:
    for name in callback_names(config):
        spec = _BY_NAME.get(name)
        if spec is None or not spec.callback:
            continue
        permission_of = ""
        if spec.integration == "llm_guard":
            mode = config.litellm.llm_guard_mode or "all"
            if mode not in LLM_GUARD_MODES:
                raise ConfigError(f"litellm_settings.llm_guard_mode must be one of {', '.join(LLM_GUARD_MODES)}")
            permission_of = LLM_GUARD_MODES[mode]
        if name in ASKS_A_MODEL and config.litellm.prompt_injection_params.get(ASKS_A_MODEL[name]):
            asked = ASKS_A_MODEL[name]
            config.unenforced(asked, f"litellm_settings.prompt_injection_params.{asked}: no model is asked here")
        yield Enabled(
            name=spec.callback,
            spec=spec,
            stages=spec.stages,
            permission=LLM_GUARD_PERMISSION if permission_of else "",
            permission_of=permission_of,
            on_error=spec.on_error,
            deadline_ms=spec.deadline_ms,
        )


def _listed(config: Config) -> Iterable[Enabled]:
    for i, entry in enumerate(config.guardrails):
        at = f"guardrails[{i}]"
        if (
            not isinstance(entry, dict)
            or not isinstance(entry.get("guardrail_name"), str)
            or not entry["guardrail_name"]
        ):
            raise ConfigError(f"{at}.guardrail_name must be a string")
        params = entry.get("litellm_params")
        if not isinstance(params, dict) or not isinstance(params.get("guardrail"), str):
            raise ConfigError(f"{at}.litellm_params.guardrail must be a string, one of {_known()}")
        yield _entry(at, entry["guardrail_name"], params, entry.get("guardrail_info") or {})


def _known() -> str:
    return ", ".join(spec.integration for spec in TABLE) + ", or module.Class of a file"


def _entry(at: str, name: str, params: dict[str, Any], info: Any) -> Enabled:
    integration = params["guardrail"]
    spec = _BY_NAME.get(integration)
    if spec is None and "." in integration:
        spec = _BY_NAME["custom"]
    if spec is None:
        raise ConfigError(f"{at}.litellm_params.guardrail: {integration!r} is not known: {_known()}")
    stages = _modes(f"{at}.litellm_params.mode", params.get("mode", BEFORE))
    shadow = SHADOW in stages
    for stage in stages:
        if stage not in spec.may:
            why = ": the text would already be with the provider" if stage == BESIDE and spec.redacts else ""
            raise ConfigError(f"{at}.litellm_params.mode: {integration} can't run {stage}{why}")
    on_error = _on_error(at, params, spec)
    default_on = params.get("default_on", False)
    if not isinstance(default_on, bool):
        raise ConfigError(f"{at}.litellm_params.default_on must be true or false")
    return Enabled(
        name=name,
        spec=spec,
        stages=(BEFORE, AFTER) if shadow else stages,
        default_on=default_on,
        on_error="allow" if shadow else on_error,
        deadline_ms=_deadline_ms(at, params, spec),
        params=params,
        question_picousd=_price(at, params),
        info=info if isinstance(info, dict) else {},
        shadow=shadow,
    )


def _modes(at: str, value: Any) -> tuple[str, ...]:
    """A name, a list of them, or LiteLLM's `{default, tags}`, of which the default counts."""
    if isinstance(value, dict):
        value = value.get("default", BEFORE)
    modes = [value] if isinstance(value, str) else value
    if not isinstance(modes, list) or not modes or not all(mode in MODES for mode in modes):
        raise ConfigError(f"{at} must be one of {', '.join(MODES)}, or a list of them")
    if SHADOW in modes and len(modes) > 1:
        raise ConfigError(f"{at}: {SHADOW} stands alone")
    return tuple(modes)


def _on_error(at: str, params: dict[str, Any], spec: Spec) -> str:
    """Ours, or LiteLLM's `unreachable_fallback`, or one guardrail's own `fallback_on_error`."""
    fallback = params.get("unreachable_fallback")
    if fallback is not None and fallback not in ("fail_closed", "fail_open"):
        raise ConfigError(f"{at}.litellm_params.unreachable_fallback must be fail_closed or fail_open")
    usual = {"fail_open": "allow", "fail_closed": "block"}.get(fallback or "", spec.on_error)
    said = params.get("on_error", params.get("fallback_on_error", usual))
    if said not in ("block", "allow"):
        raise ConfigError(f"{at}.litellm_params.on_error must be block or allow")
    return str(said)


def _price(at: str, params: dict[str, Any]) -> int:
    said = params.get("cost_per_request", 0)
    if isinstance(said, bool) or not isinstance(said, int | float) or not 0 <= said <= PRICE_USD_MAX:
        raise ConfigError(f"{at}.litellm_params.cost_per_request must be USD, from 0 to {PRICE_USD_MAX}")
    return picousd_from_usd(said)


PRICE_USD_MAX = 1_000
DEADLINE_MS_MAX = 600_000


def _deadline_ms(at: str, params: dict[str, Any], spec: Spec) -> int:
    said = params.get("deadline_ms", spec.deadline_ms)
    if isinstance(said, bool) or not isinstance(said, int) or not 1 <= said <= DEADLINE_MS_MAX:
        raise ConfigError(f"{at}.litellm_params.deadline_ms must be a whole number from 1 to {DEADLINE_MS_MAX}")
    return said

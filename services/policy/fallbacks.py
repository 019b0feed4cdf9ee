"""Fallbacks and aliases, as the configuration has them: which other models a call may go to. Pure.

LiteLLM's spellings: `fallbacks: [{model: [other, another]}]` (a model may be `*`),
`default_fallbacks: [other]`, and the same for `context_window_fallbacks` and
`content_policy_fallbacks`; in `router_settings`, else in `litellm_settings`. The operator's word
goes before a key's list of models: whoever may call a model gets its fallbacks.
"""

from typing import Any

import msgspec

from shared.config import Config, ConfigError

ANY = "*"
FALLBACKS_MAX = 5
"""LiteLLM's `max_fallbacks`: models asked in all, beyond the first."""


class FallbackRoute(msgspec.Struct, frozen=True):
    """One line of them."""

    model: str
    """`*`: every model that no other line of its kind names."""
    others: list[str]
    reason: str = ""


def routes(config: Config) -> list[FallbackRoute]:
    """In the order to try: what is meant for a kind of failure first. Raises ConfigError."""
    router, litellm = config.router, config.litellm
    most = next((n for n in (router.max_fallbacks, litellm.max_fallbacks) if n is not None), FALLBACKS_MAX)
    found = [
        *_lines(router.context_window_fallbacks or litellm.context_window_fallbacks, "context_window"),
        *_lines(router.content_policy_fallbacks or litellm.content_policy_fallbacks, "content_policy"),
        *_lines(router.fallbacks or litellm.fallbacks, ""),
    ]
    default = router.default_fallbacks or litellm.default_fallbacks
    if default:
        found.append(FallbackRoute(ANY, list(default)))
    return [FallbackRoute(each.model, each.others[: max(0, int(most))], each.reason) for each in found]


def of(lines: list[FallbackRoute], *names: str) -> list[tuple[str, str]]:
    """(other model, reason) for a model by these names of its own, in the order to try; `*` only
    where no line of its kind names the model."""
    found: dict[tuple[str, str], None] = {}
    for reason in dict.fromkeys(line.reason for line in lines):
        of_kind = [line for line in lines if line.reason == reason]
        named = [line for line in of_kind if line.model in names] or [line for line in of_kind if line.model == ANY]
        found.update(((other, reason), None) for line in named for other in line.others if other not in names)
    return list(found)


def _lines(section: list[dict[str, list[str]]], reason: str) -> list[FallbackRoute]:
    return [FallbackRoute(model, list(others), reason) for line in section for model, others in line.items()]


def aliases(config: Config) -> tuple[dict[str, str], frozenset[str]]:
    """`model_group_alias` → (alias → model, the hidden ones). Raises ConfigError."""
    found: dict[str, str] = {}
    hidden = set()
    for alias, meant in config.router.model_group_alias.items():
        model = _target(alias, meant)
        found[str(alias)] = model
        if isinstance(meant, dict) and meant.get("hidden") is True:
            hidden.add(str(alias))
    return found, frozenset(hidden)


def _target(alias: object, meant: Any) -> str:
    model = meant.get("model") if isinstance(meant, dict) else meant
    if not isinstance(model, str) or not model:
        raise ConfigError(f"router_settings.model_group_alias.{alias} must name a model, or have a `model`")
    return model

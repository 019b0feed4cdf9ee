"""What of the cache a request may use. Pure.

LiteLLM's controls: `ttl` (seconds an answer is kept), `s-maxage` (seconds an answer may be old),
`no-cache` (don't look), `no-store` (don't keep), `namespace` (apart from others), `use-cache` (in
`mode: default_off`: only then). In a request's `cache` object; a key's `metadata.cache` wins over
it, its team's over that where the key has none. Which of them a key's requests may have
(`allowed_cache_controls`) is looked at before, as who may do what is (shared.admission).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared import errors
from shared.config import ConfigError, caching
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

CALL_TYPES = ("acompletion", "atext_completion", "aembedding")
"""LiteLLM's names of what can be cached here."""
CONTROLS = frozenset({"ttl", "s-maxage", "no-cache", "no-store", "namespace", "use-cache"})
TTL_S = 600.0
NAMESPACE_CHARACTERS_MAX = 256
_SHARED = ("default_in_redis_ttl", "default_redis_ttl")
_TERMS = {"local": ("default_in_memory_ttl",), "redis": _SHARED, "nats": _SHARED}
"""Where `ttl` isn't said: LiteLLM has a term for each of its two caches."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`litellm_settings.cache_params`."""

    kind: str = "local"
    """nats, local or redis."""
    ttl_s: float = TTL_S
    namespace: str = ""
    default_off: bool = False
    call_types: frozenset[str] = frozenset(CALL_TYPES)
    redis_url: str = ""
    scope: str = "team"
    """For whom answers are kept together: team (of a key without one: the key), key, or all."""


class Control(msgspec.Struct, frozen=True):
    """For one request."""

    look: bool = False
    keep: bool = False
    ttl_s: float = TTL_S
    age_s_max: float | None = None
    namespace: str = ""


def read(enabled: bool, params: Mapping[str, Any], environ: Mapping[str, str]) -> Settings | None:
    """None: no caching. Raises ConfigError."""
    if not enabled:
        return None
    at = "litellm_settings.cache_params"
    kind = caching.kind(params)
    mode = params.get("mode", "default_on")
    if mode not in ("default_on", "default_off"):
        raise ConfigError(f"{at}.mode must be default_on or default_off")
    scope = params.get("cache_scope", "team")
    if scope not in ("team", "key", "all"):
        raise ConfigError(f"{at}.cache_scope must be team, key or all")
    types = params.get("supported_call_types")
    if types is not None and (not isinstance(types, list) or not all(isinstance(each, str) for each in types)):
        raise ConfigError(f"{at}.supported_call_types must be a list such as ['acompletion']")
    wanted = CALL_TYPES if types is None else types
    named = next((name for name in ("ttl", *_TERMS[kind]) if params.get(name) is not None), "ttl")
    ttl = caching.seconds(params.get(named))
    if params.get(named) is not None and ttl is None:
        raise ConfigError(f"{at}.{named} must be a number of seconds")
    if kind == "redis" and (why := caching.why_no_redis(params, environ)):
        raise ConfigError(f"{at}: {why}")
    return Settings(
        kind=kind,
        ttl_s=TTL_S if ttl is None else ttl,
        namespace=str(params.get("namespace") or ""),
        default_off=mode == "default_off",
        call_types=frozenset(each if each.startswith("a") else "a" + each for each in wanted),
        redis_url=caching.redis_url(params, environ) if kind == "redis" else "",
        scope=scope,
    )


def control(settings: Settings, call_type: str, asked: msgspec.Raw | None, project: Mapping[str, Any]) -> Control:
    """
    Args:
        asked: the request's `cache`, as its key may have it (shared.admission).
        project: `metadata.cache` of key or team.

    Raises RefusedError.
    """
    said: dict[str, Any] = {}
    if asked is not None and bytes(asked) != b"null":
        try:
            said = msgspec.json.decode(asked, type=dict[str, Any])
        except UNREADABLE:
            raise RefusedError(
                errors.bad_request("cache must be an object such as {'no-cache': true}", "cache")
            ) from None
        for name in said:
            if name not in CONTROLS:
                raise RefusedError(errors.bad_request(f"cache has no control {name[:40]!r}", "cache"))
    if call_type not in settings.call_types:
        return Control()
    merged = {**said, **{name: value for name, value in project.items() if name in CONTROLS}}
    if settings.default_off and merged.get("use-cache") is not True:
        return Control()
    ttl = _number(merged, "ttl")
    namespace = merged.get("namespace") or settings.namespace
    if not isinstance(namespace, str) or len(namespace) > NAMESPACE_CHARACTERS_MAX:
        raise RefusedError(errors.bad_request("cache.namespace must be a short text", "cache.namespace"))
    return Control(
        look=merged.get("no-cache") is not True,
        keep=merged.get("no-store") is not True and (ttl is None or ttl > 0),
        ttl_s=settings.ttl_s if ttl is None else ttl,
        age_s_max=_number(merged, "s-maxage"),
        namespace=namespace,
    )


def _number(merged: Mapping[str, Any], name: str) -> float | None:
    value = merged.get(name)
    if value is None:
        return None
    found = caching.seconds(value)
    if found is None:
        raise RefusedError(errors.bad_request(f"cache.{name} must be a number of seconds", f"cache.{name}"))
    return found

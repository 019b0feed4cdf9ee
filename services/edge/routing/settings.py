"""What the configuration says of routing, as values: `router_settings`, and what of it may stand in `litellm_settings`. Pure."""

from typing import Final

import msgspec

from services.edge.routing.plan import Rules
from shared.config import Config, ConfigError, Deployment

COOLDOWN_S: Final = 5.0
ALLOWED_FAILS: Final = 3
RETRIES_MAX: Final = 10

POLICIES: Final[dict[str, tuple[str, ...]]] = {
    "TimeoutErrorRetries": ("timeout", "early_timeout", "no_connection"),
    "RateLimitErrorRetries": ("limited",),
    "InternalServerErrorRetries": ("failed", "error_answer", "empty", "unreadable", "connect", "tls", "hung_up", "reset", "early_end"),
    "AuthenticationErrorRetries": ("deployment", "no_credential"),
    "BadRequestErrorRetries": ("refused",),
    "ContentPolicyViolationErrorRetries": (),
}  # fmt: skip
"""LiteLLM's `retry_policy`: its names for kinds of failures → ours (causes.py). What is wrong with a request isn't tried again."""


class RoutingSettings(msgspec.Struct, frozen=True):
    rules: Rules
    strategy: str
    cooldown_s: float
    """0: nobody rests."""
    allowed_fails: int
    timeout_ms: int | None
    """For a call with all its attempts."""
    check_windows: bool
    """Whether a deployment is passed over whose context window the prompt exceeds."""


def of(config: Config) -> RoutingSettings:
    """Raises ConfigError."""
    router, litellm = config.router, config.litellm
    retries = _first(router.num_retries, router.max_retries, litellm.num_retries)
    rules = Rules(
        retries=None if retries is None else max(0, min(int(retries), RETRIES_MAX)),
        unsafe=router.retry_unsafe,
        wait_s=router.retry_after or 0.0,
        by_cause=_by_cause(router.retry_policy),
    )
    cooldown_s = _first(router.cooldown_time, litellm.cooldown_time)
    allowed_fails = _first(router.allowed_fails, litellm.allowed_fails)
    return RoutingSettings(
        rules=rules,
        strategy=router.routing_strategy,
        cooldown_s=0.0 if router.disable_cooldowns else COOLDOWN_S if cooldown_s is None else cooldown_s,
        allowed_fails=ALLOWED_FAILS if allowed_fails is None else int(allowed_fails),
        timeout_ms=_milliseconds(router.timeout),
        check_windows=router.enable_pre_call_checks,
    )


def with_defaults(deployments: list[Deployment], config: Config) -> list[Deployment]:
    """The entries, with the file's timeouts where they set none of their own."""
    usual, streaming = _milliseconds(config.litellm.request_timeout), _milliseconds(config.router.stream_timeout)
    found = []
    for deployment in deployments:
        changes: dict[str, int] = {}
        params = deployment.params
        if usual is not None and params.timeout is None:
            changes["timeout_ms"] = usual
        if streaming is not None and deployment.stream_timeout_ms is None:
            changes["stream_timeout_ms"] = streaming
        found.append(msgspec.structs.replace(deployment, **changes) if changes else deployment)
    return found


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None or not 0 < seconds < 1e9 else max(1, int(seconds * 1000))


def _by_cause(policy: dict[str, object]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number in policy.items():
        if name not in POLICIES:
            raise ConfigError(f"router_settings.retry_policy: {name!r} is none of {', '.join(POLICIES)}")
        if number is None:
            continue
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            raise ConfigError(f"router_settings.retry_policy.{name} must be a number of zero or more")
        found.update(dict.fromkeys(POLICIES[name], min(number, RETRIES_MAX)))
    return found

"""What the configuration says of routing, as values: `router_settings`, and what of it may stand in
`litellm_settings`. Pure.
"""

from typing import Any, Final

import msgspec

from services.edge.routing.health import LATENCY_BUFFER, LATENCY_S
from services.edge.routing.plan import Rules
from shared.config import Config, Deployment

COOLDOWN_S: Final = 5.0
ALLOWED_FAILS: Final = 3
RETRIES_MAX: Final = 10

CAUSES: Final[dict[str, tuple[str, ...]]] = {
    "TimeoutError": ("timeout", "early_timeout", "no_connection"),
    "RateLimitError": ("limited",),
    "InternalServerError": ("failed", "error_answer", "empty", "unreadable", "connect", "tls", "hung_up", "reset", "early_end"),
    "AuthenticationError": ("deployment", "no_credential"),
    "BadRequestError": ("refused",),
    "ContentPolicyViolationError": (),
}  # fmt: skip
"""LiteLLM's names for kinds of failures (`FAILURES` of shared/config/schema/router.py) → ours
(causes.py). What is wrong with a request isn't tried again.
"""
FAILS_MAX: Final = 1_000_000


class RoutingSettings(msgspec.Struct, frozen=True):
    rules: Rules = Rules()
    """Of a call that asks for nothing else."""
    strategy: str = "simple-shuffle"
    cooldown_s: float = COOLDOWN_S
    """0: nobody rests."""
    allowed_fails: int = ALLOWED_FAILS
    timeout_ms: int | None = None
    """For a call with all its attempts."""
    check_windows: bool = False
    """Whether a deployment is passed over whose context window the prompt exceeds."""
    rules_by_model: dict[str, Rules] = {}
    """Of models with a `retry_policy` of their own."""
    fails_by_cause: dict[str, int] = {}
    """Failures of a cause that a deployment may have in a minute (`allowed_fails_policy`)."""
    latency_ttl_s: float = LATENCY_S
    latency_buffer: float = LATENCY_BUFFER
    """How latencies are compared (`routing_strategy_args`)."""
    filter_tags: bool = False
    """Whether only deployments with one of a request's tags are asked."""


def of(config: Config) -> RoutingSettings:
    router, litellm = config.router, config.litellm
    args = router.routing_strategy_args
    retries = _first(router.num_retries, router.max_retries, litellm.num_retries)
    rules = Rules(
        retries=None if retries is None else max(0, min(int(retries), RETRIES_MAX)),
        unsafe=router.retry_unsafe,
        wait_s=router.retry_after or 0.0,
        by_cause=_by_cause(router.retry_policy, "Retries", RETRIES_MAX),
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
        rules_by_model=_by_model(router.model_group_retry_policy, rules),
        fails_by_cause=_by_cause(router.allowed_fails_policy, "AllowedFails", FAILS_MAX),
        latency_ttl_s=LATENCY_S if args.ttl is None else args.ttl,
        latency_buffer=LATENCY_BUFFER if args.lowest_latency_buffer is None else args.lowest_latency_buffer,
        filter_tags=router.enable_tag_filtering,
    )


def _by_model(policies: dict[str, Any], usual: Rules) -> dict[str, Rules]:
    """A model's own policy stands in the place of the one for all."""
    return {
        model: msgspec.structs.replace(usual, by_cause=_by_cause(policy, "Retries", RETRIES_MAX))
        for model, policy in policies.items()
    }


def with_defaults(deployments: list[Deployment], config: Config) -> list[Deployment]:
    """The entries, with the file's timeouts and limits where they set none of their own."""
    litellm = config.litellm
    usual = _milliseconds(_first(litellm.request_timeout, litellm.timeout))
    streaming = _milliseconds(_first(config.router.stream_timeout, litellm.stream_timeout))
    parallel = _first(config.router.default_max_parallel_requests, config.general.max_parallel_requests)
    found = []
    for deployment in deployments:
        changes: dict[str, Any] = {}
        params = deployment.params
        if parallel is not None and params.max_parallel_requests is None:
            params = changes["params"] = msgspec.structs.replace(params, max_parallel_requests=int(parallel))
        if deployment.provider.startswith("vertex_ai"):
            places = {
                name: value
                for name, value in (
                    ("vertex_project", litellm.vertex_project),
                    ("vertex_location", litellm.vertex_location),
                )
                if value is not None and getattr(params, name) is None
            }
            if places:
                changes["params"] = msgspec.structs.replace(params, **places)
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


def _by_cause(policy: dict[str, int | None], end: str, most: int) -> dict[str, int]:
    """Of a policy of which only what means something is left (shared/config/usable.py)."""
    found: dict[str, int] = {}
    for name, number in policy.items():
        if number is not None:
            found.update(dict.fromkeys(CAUSES[name.removesuffix(end)], min(number, most)))
    return found

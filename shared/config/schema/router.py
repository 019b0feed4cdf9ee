"""`router_settings`: which deployment of a model is asked, and what happens when it fails."""

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from shared.config.fields import By
from shared.config.schema.litellm import Fallbacks, Names

Strategy = Literal[
    "simple-shuffle", "least-busy", "latency-based-routing", "latency-based", "usage-based-routing", "usage-based-routing-v2",
    "usage-based", "cost-based-routing", "cost-based", "provider-budget-routing",
]  # fmt: skip


FAILURES = (
    "TimeoutError", "RateLimitError", "InternalServerError", "AuthenticationError", "BadRequestError", "ContentPolicyViolationError",
)  # fmt: skip
"""LiteLLM's kinds of failures: with `Retries` the keys of a `retry_policy`, with `AllowedFails`
those of an `allowed_fails_policy`.
"""


class StrategyArgs(Struct, frozen=True, kw_only=True):
    """What isn't here, LiteLLM doesn't read either."""

    ttl: Annotated[float, Meta(gt=0)] | None = None
    """Of latency-based-routing: seconds after which nothing is known of a deployment that nobody
    was answered by since; an hour where it isn't said."""
    lowest_latency_buffer: Annotated[float, Meta(ge=0, le=100)] | None = None
    """Of the same: what takes at most this share longer than the fastest is as fast; 0.1 where it
    isn't said."""


class RouterSettings(Struct, frozen=True, kw_only=True):
    """What is also in `litellm_settings` goes before it here, as in LiteLLM's router."""

    routing_strategy: Annotated[Strategy, By("edge")] = "simple-shuffle"
    """Which deployment of a model is tried first. Another name would route elsewhere than its
    operator thinks: it is refused.
    """
    routing_strategy_args: Annotated[StrategyArgs, By("edge")] = StrategyArgs()
    """Settings of the strategy."""
    num_retries: Annotated[int | None, By("edge")] = None
    """More attempts after a failure."""
    max_retries: Annotated[int | None, By("edge")] = None
    """The same."""
    timeout: Annotated[float | None, By("edge")] = None
    """Seconds a call may take, all attempts together."""
    stream_timeout: Annotated[float | None, By("edge")] = None
    """Seconds until a stream's first bytes."""
    retry_after: Annotated[float | None, By("edge")] = None
    """Seconds to wait before another attempt, at least."""
    retry_unsafe: Annotated[bool, By("edge")] = False
    """Ours: a call whose work may have been done, and billed (it timed out, its answer broke off),
    is tried again all the same.
    """
    retry_policy: Annotated[dict[str, Any], By("edge")] = {}
    """Attempts a kind of failure."""
    model_group_retry_policy: Annotated[dict[str, Any], By("edge")] = {}
    """The same a model."""
    allowed_fails: Annotated[int | None, By("edge")] = None
    """Failures a minute after which a deployment rests."""
    allowed_fails_policy: Annotated[dict[str, Any], By("edge")] = {}
    """The same a kind of failure."""
    cooldown_time: Annotated[float | None, By("edge")] = None
    """Seconds a deployment rests."""
    disable_cooldowns: Annotated[bool, By("edge")] = False
    """No deployment ever rests."""
    fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Other models to ask when one fails."""
    default_fallbacks: Annotated[Names, By("policy")] = []
    """The same for models that `fallbacks` doesn't name."""
    context_window_fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Where the prompt is too long for the model."""
    content_policy_fallbacks: Annotated[Fallbacks, By("policy")] = []
    """Where the provider refuses the content."""
    max_fallbacks: Annotated[int | None, By("policy")] = None
    """Models asked in all."""
    model_group_alias: Annotated[dict[str, Any], By("policy")] = {}
    """Other names of models: `{alias: model}`, or `{alias: {model: ..., hidden: true}}`."""
    enable_pre_call_checks: Annotated[bool, By("edge")] = False
    """Don't ask a deployment whose context window the prompt exceeds."""
    enable_tag_filtering: Annotated[bool, By("edge")] = False
    """Ask only deployments with one of the request's tags."""
    default_max_parallel_requests: Annotated[
        Annotated[int, Meta(ge=0)] | None, By("edge", differently="from each edge; who comes when it is full waits")
    ] = None
    """Calls that a deployment has at once whose entry doesn't say; 0: no limit."""
    default_litellm_params: Annotated[dict[str, Any], By("config")] = {}
    """What an entry's `litellm_params` have where they don't say."""
    cache_responses: Annotated[bool, By("edge")] = False
    """Answer the same request from a cache."""
    ignore_invalid_deployments: Annotated[bool, By("config")] = True
    """A model that can't be served is left out; false: it refuses the start."""
    provider_budget_config: Annotated[
        dict[str, Any], By("policy", differently="looked at in the book every second")
    ] = {}
    """Provider -> `{budget_limit: 10, time_period: 1d}`: USD it may be paid in a term (in UTC,
    whole days). What is over it isn't asked.
    """
    set_verbose: Annotated[bool, By("config")] = False
    """Debug lines in the log."""

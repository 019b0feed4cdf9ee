"""What we, or a provider, could not do."""

from shared.errors.refusal import Refusal


def blocked_content(message: str, status: int = 400) -> Refusal:
    return Refusal("blocked_content", status, message, "invalid_request_error", echoed=message)


def guardrail_unavailable(name: str) -> Refusal:
    return Refusal(
        "guardrail_unavailable", 503, f"Guardrail {name} could not answer", "service_unavailable_error", None, 1
    )


def guardrail_not_here(name: str) -> Refusal:
    """No `retry-after`: only who sets up the gateway, or the key, can help."""
    return Refusal(
        "guardrail_not_here",
        503,
        f"The guardrail {name[:128]!r}, which this key, its team or its project names, is not configured on this gateway any more: "
        "nothing is served without it. Configure it again, or take its name away.",
        "service_unavailable_error",
        None,
    )


def policy_unavailable() -> Refusal:
    return Refusal(
        "policy_unavailable", 503, "The policy service could not answer in time", "auth_provider_unavailable", None, 1
    )


def book_unavailable() -> Refusal:
    return Refusal(
        "book_unavailable",
        503,
        "Nothing can be recorded right now, so nothing is served",
        "service_unavailable_error",
        None,
        1,
    )


def outcome_unknown() -> Refusal:
    return Refusal(
        "outcome_unknown",
        503,
        "The change was sent, but its confirmation did not come in time: whether it happened is unknown. "
        "Read the current state before you retry.",
        "service_unavailable_error",
        None,
        1,
    )


def key_not_stored(reason: str) -> Refusal:
    """`reason`: a SecretError's, which names no value."""
    return Refusal(
        "key_not_stored",
        503,
        f"The secret manager could not store the key, so nothing was changed: {reason}",
        "service_unavailable_error",
        None,
        1,
    )


def command_too_late() -> Refusal:
    """Mostly nobody reads it any more; somebody does where the clocks of edge and policy are
    seconds apart.
    """
    return Refusal(
        "command_too_late",
        503,
        "The change reached policy after its deadline and was not made (or the services' clocks differ)",
        "service_unavailable_error",
        None,
        1,
    )


def sealing_unavailable() -> Refusal:
    return Refusal(
        "sealing_unavailable",
        503,
        "Credentials can't be kept here: no key to seal them with. Set LITELLM_SALT_KEY for policy, edge and ledger",
        "service_unavailable_error",
    )


def cache_unavailable() -> Refusal:
    return Refusal("cache_unavailable", 503, "The cache could not answer in time", "service_unavailable_error", None, 1)


def ledger_unavailable() -> Refusal:
    return Refusal(
        "ledger_unavailable", 503, "The ledger could not answer in time", "service_unavailable_error", None, 1
    )


def question_too_long(limit_s: int) -> Refusal:
    message = f"The question took the book longer than {limit_s} s: narrow its days, filter, or group by less"
    return Refusal("question_too_long", 503, message, "service_unavailable_error")


def overloaded() -> Refusal:
    return Refusal("overloaded", 503, "Too many requests are running here", "service_unavailable_error", None, 1)


def shutting_down() -> Refusal:
    return Refusal("shutting_down", 503, "Shutting down", "service_unavailable_error", None, 1)


def no_deployment(model: str) -> Refusal:
    return Refusal("no_deployment", 429, f"No deployments available for model={model}", "rate_limit_error", None, 1)


def no_deployment_in_budget(model: str) -> Refusal:
    """Each has spent what it, or its provider, may."""
    text = f"No deployments available - crossed budget: those of model={model}, or their providers, have spent what they may"
    return Refusal("no_deployment_in_budget", 429, text, "budget_exceeded")


def deployment_full(provider: str) -> Refusal:
    """As many calls as it may have (`max_parallel_requests`) are running, and none of them ended in
    time.
    """
    return Refusal("deployment_full", 429, f"{provider} has as many calls as it may", "rate_limit_error", None, 1)


def no_deployment_for_tags(model: str) -> Refusal:
    """LiteLLM's words and status."""
    text = f"Not allowed to access model due to tags configuration: no deployment of {model!r} has one of the request's tags"
    return Refusal("no_deployment_for_tags", 401, text, "authentication_error", "tags")


def provider_unreachable(provider: str) -> Refusal:
    return Refusal("provider_unreachable", 502, f"{provider} could not be reached", "api_connection_error")


def provider_timeout(provider: str) -> Refusal:
    return Refusal("provider_timeout", 504, f"{provider} did not answer in time", "timeout_error")


def provider_broke_off(provider: str) -> Refusal:
    return Refusal("provider_broke_off", 502, f"{provider} broke off its answer", "api_connection_error")


def provider_bad_answer(provider: str) -> Refusal:
    """What came as a success isn't an answer: empty, an error page, or nothing that can be read."""
    return Refusal("provider_bad_answer", 502, f"{provider} gave no usable answer", "api_error")


def not_served(model: str, what: str) -> Refusal:
    return Refusal("not_served", 400, f"model {model!r} can't be called here: {what}", "invalid_request_error", "model")


def internal() -> Refusal:
    return Refusal("internal", 500, "Internal server error", "internal_server_error")

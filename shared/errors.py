"""Refusals: one closed list of codes, each with its status, type and wording, rendered in OpenAI's error shape.

The code crosses the bus and goes into facts and metrics; the prose is for people. Wordings are LiteLLM's where it has one
(contract §0.1, §0.2). No refusal carries a raw key, a stack trace, or what a provider said unless that was meant for the client.
"""

from datetime import UTC, datetime

import msgspec

DECISION = "x-tollgate-decision"
"""The header that carries `Refusal.decision`."""


class Refusal(msgspec.Struct, frozen=True, array_like=True):
    """A no, with everything its HTTP answer needs."""

    code: str
    """Ours, closed: what facts and metrics count."""
    status: int
    message: str
    type: str
    param: str | None = None
    retry_after_s: int | None = None
    echoed: str | None = None
    """What LiteLLM repeats beside the error as `provider_specific_fields.error`; None: nothing."""
    code_is_number: bool = False
    """The page shows this error's `code` as a number; all others are strings."""
    decision: str | None = None
    """Of a no to who asks for what: the rule that refused, and whose it is (`team_models; of=control.team.eng`), as
    POST /policy/explain names them. Goes into a header."""


class RefusedError(Exception):
    """Carries a refusal up to the one place that renders it."""

    def __init__(self, refusal: Refusal, request_id: str | None = None, call_id: str | None = None) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.request_id = request_id
        """Of the fact that records it, where there is one."""
        self.call_id = call_id
        """The client's name for it, or ours."""


def render(refusal: Refusal, call_id: str | None = None) -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`, code the HTTP status as a string (contract §0.2).

    Args:
        call_id: to be said in it; None: it isn't.
    """
    error: dict[str, object] = {
        "message": refusal.message,
        "type": refusal.type,
        "param": refusal.param,
        "code": refusal.status if refusal.code_is_number else str(refusal.status),
    }
    if refusal.echoed is not None:
        error["provider_specific_fields"] = {"error": refusal.echoed}
    if call_id is not None:
        error["litellm_call_id"] = call_id
    return msgspec.json.encode({"error": error})


def _auth(
    code: str, message: str, *, status: int = 401, kind: str = "auth_error", param: str | None = "None"
) -> Refusal:
    return Refusal(code, status, f"Authentication Error, {message}", kind, param)


# Who are you.


def no_key() -> Refusal:
    return _auth("no_key", "No api key passed in.")


def malformed_key() -> Refusal:
    return _auth("malformed_key", "Malformed API Key passed in. Ensure Key has `Bearer ` prefix.")


def not_a_virtual_key() -> Refusal:
    return _auth("not_a_virtual_key", "LiteLLM Virtual Key expected. It must start with 'sk-'.")


def unknown_key(key_sha256: str) -> Refusal:
    return _auth(
        "unknown_key",
        f"Invalid proxy server token passed. Unable to find token. Key Hash (Token)={key_sha256}",
        kind="token_not_found_in_db",
        param="key",
    )


def blocked_key() -> Refusal:
    return _auth("blocked_key", "Key is blocked. Update via `/key/unblock` if you're an admin.")


def blocked_team(team_id: str) -> Refusal:
    return _auth("blocked_team", f"Team={team_id} is blocked. Update via `/team/unblock` if you're an admin.")


def blocked_project(project_id: str) -> Refusal:
    """Also one that isn't there any more."""
    return _auth("blocked_project", f"Project={project_id} is blocked, or doesn't exist.")


def unknown_team(team_id: str) -> Refusal:
    """The key's team was deleted: a key never outlives its team, even where its own deletion is still on its way."""
    return _auth("unknown_team", f"Team={team_id} of this key doesn't exist.")


def unknown_organization(alias: str) -> Refusal:
    return _auth("unknown_organization", f"The token names an organization that doesn't exist: {alias[:100]}")


def expired_key(expires_at_ms: int, now_ms: int) -> Refusal:
    expiry, now = (datetime.fromtimestamp(ms / 1000, UTC).isoformat() for ms in (expires_at_ms, now_ms))
    return Refusal(
        "expired_key",
        401,
        f"Authentication Error - Expired Key. Key Expiry time {expiry} and current time {now}",
        "expired_key",
        "key",
    )


# What may you do.


def token_refused(code: str, message: str) -> Refusal:
    """An identity provider's token is no good. `code`: of shared.identity.tokens.TokenError."""
    if code == "expired":
        return Refusal("expired_token", 401, "Token Expired", "expired_key", "None")
    return _auth("token_refused", f"Validation fails: {message}")


def token_without_role() -> Refusal:
    message = (
        "Unmatched token passed in. enforce_rbac is set to True. Token must belong to a proxy admin, team, or user."
    )
    return Refusal("token_without_role", 403, message, "auth_error", "None")


def token_client_unknown(client: str) -> Refusal:
    return _auth("token_client_unknown", f"No key is registered for the token's client: {client[:100]}")


def token_route_not_allowed(who: str, route: str, allowed: list[str]) -> Refusal:
    return _auth(
        "token_route_not_allowed", f"{who} not allowed to access this route. Route={route}, Allowed Routes={allowed}"
    )


def role_route_not_allowed(role: str, route: str) -> Refusal:
    message = f"Role={role} not allowed to call route={route}."
    return Refusal("role_route_not_allowed", 403, message, "auth_error", "None")


def scope_not_allowed(route: str) -> Refusal:
    message = f"No scope of the token allows route={route}."
    return Refusal("scope_not_allowed", 403, message, "auth_error", "None")


def no_team_for_model(model: str) -> Refusal:
    message = f"No team has access to the requested model: {model}."
    return Refusal("no_team_for_model", 403, message, "auth_error", "model")


def not_a_team_of_the_token(team_id: str) -> Refusal:
    message = f"The token isn't of the team in x-litellm-team-id: {team_id[:100]}"
    return Refusal("not_a_team_of_the_token", 403, message, "auth_error", "None")


def identity_provider_unavailable() -> Refusal:
    message = "The identity provider's keys can't be fetched at the moment. Try again shortly."
    return Refusal("identity_provider_unavailable", 503, message, "auth_provider_unavailable", None, retry_after_s=5)


def model_not_allowed(model: str, holder: str = "key") -> Refusal:
    return Refusal(
        "model_not_allowed",
        403,
        f"The requested model '{model}' is not available for this API key, or the model name is invalid. "
        "Check the models available to you and try again.",
        f"{holder}_model_access_denied",
        "model",
    )


def unknown_model(route: str, model: str) -> Refusal:
    return Refusal(
        "unknown_model",
        400,
        f"{route}: Invalid model name passed in model={model}. Call `/v1/models` to view available models for your key.",
        "invalid_request_error",
        "model",
    )


def model_left_out(model: str, reason: str) -> Refusal:
    """Configured, and can't be served: the caller may do nothing about it, the operator can."""
    return Refusal(
        "model_left_out",
        503,
        f"The model {model} is configured, but can't be served: {reason}",
        "service_unavailable_error",
        "model",
    )


def admin_only(route: str, role: str) -> Refusal:
    return _auth(
        "admin_only",
        "Only proxy admin can be used to generate, delete, update info for new keys/users/teams. "
        f"Route={route}. Your role={role}.",
    )


def route_not_allowed(route: str) -> Refusal:
    return Refusal("route_not_allowed", 403, f"Route {route} not allowed", "auth_error", "None")


def key_route_not_allowed(allowed_routes: list[str], route: str) -> Refusal:
    return Refusal(
        "key_route_not_allowed",
        403,
        f"Virtual key is not allowed to call this route. Only allowed to call routes: {allowed_routes}. "
        f"Tried to call route: {route}",
        "auth_error",
        "None",
    )


def admin_only_route(route: str) -> Refusal:
    return Refusal(
        "admin_only_route",
        403,
        f"user not allowed to access this route. Route={route} is an admin only route",
        "auth_error",
        "None",
    )


def endpoints_disabled(which: str) -> Refusal:
    return Refusal("endpoints_disabled", 403, f"{which} disabled for this instance.", "auth_error", "None")


def ip_not_allowed(ip: str | None) -> Refusal:
    return Refusal(
        "ip_not_allowed", 403, f"Access forbidden: IP address {ip or 'unknown'} not allowed.", "auth_error", "None"
    )


def missing_param(path: list[str]) -> Refusal:
    """The page's answer: 401, with its number as `code`."""
    name = path[0] if len(path) == 1 else "".join(f"[{part}]" for part in path)
    return Refusal(
        "missing_param",
        401,
        f"Authentication Error, BadRequest please pass param={name} in request body. This is a required param",
        "auth_error",
        "None",
        code_is_number=True,
    )


def blocked_customer(customer_id: str) -> Refusal:
    message = f"User blocked from making LLM API Calls. User={customer_id}"
    return Refusal("blocked_customer", 400, message, "invalid_request_error", echoed=message)


def may_not_modify_guardrails() -> Refusal:
    return Refusal(
        "may_not_modify_guardrails",
        403,
        "Your team does not have permission to modify guardrails.",
        "auth_error",
        "None",
    )


def unknown_guardrail(name: object) -> Refusal:
    return bad_request(f"There is no guardrail {str(name)[:64]!r} here", "guardrails")


def clientside_tags_rejected() -> Refusal:
    return Refusal(
        "clientside_tags_rejected",
        400,
        "Client-side 'metadata.tags' not allowed in request. 'reject_clientside_metadata_tags'=True. "
        "Tags can only be set via API key metadata.",
        "bad_request_error",
        "metadata.tags",
    )


# What is wrong with what you sent.


def unsafe_field(name: str) -> Refusal:
    """LiteLLM answers 401: who may set this could send our secrets, or its prompts, anywhere."""
    return _auth("unsafe_field", f"Rejected Request: {name} is not allowed in request body", param=name)


def bad_request(message: str, param: str | None = None) -> Refusal:
    return Refusal("bad_request", 400, message, "invalid_request_error", param)


def spend_calculate(message: str) -> Refusal:
    """LiteLLM's, with type and param as it has them."""
    return Refusal("bad_request", 400, message, "None", "None")


def unreadable_body(message: str) -> Refusal:
    """What came can't be read on: the connection ends with the answer."""
    return Refusal("unreadable_body", 400, message, "invalid_request_error")


def malformed_http(status: int) -> Refusal:
    return Refusal("malformed_http", status, "This is not a request that HTTP/1.1 allows", "invalid_request_error")


def body_too_large(size_bytes: int | None, limit_bytes: int) -> Refusal:
    size = "" if size_bytes is None else f" Request size is {size_bytes / 1048576} MB."
    return Refusal(
        "body_too_large",
        413,
        f"Request size is too large.{size} Max size is {limit_bytes / 1048576} MB",
        "bad_request_error",
        "content-length",
    )


def request_too_large(size_bytes: int, limit_mb: float) -> Refusal:
    """Over `max_request_size_mb`: LiteLLM's answer, as its page has it."""
    return Refusal(
        "request_too_large",
        400,
        f"Request size is too large. Request size is {size_bytes / 1048576} MB. Max size is {limit_mb} MB",
        "bad_request_error",
        "content-length",
        code_is_number=True,
    )


def response_too_large(size_bytes: int, limit_mb: float) -> Refusal:
    return Refusal(
        "response_too_large",
        400,
        f"Response size is too large. Response size is {size_bytes / 1048576} MB. Max size is {limit_mb} MB",
        "bad_request_error",
        "content-length",
        code_is_number=True,
    )


def file_too_large(size_bytes: int, limit_mb: float) -> Refusal:
    return Refusal(
        "file_too_large",
        400,
        "File size is too large. Please check your file size. "
        f"Passed file size: {size_bytes / 1048576} MB. Max file size: {limit_mb} MB",
        "bad_request",
        "file",
    )


def file_extension(extension: str, allowed: tuple[str, ...] | None) -> Refusal:
    known = "" if allowed is None else f" Allowed extensions: {', '.join(allowed)}"
    return Refusal(
        "file_extension", 400, f"Files of type '{extension[:40]}' are not allowed.{known}", "bad_request", "file"
    )


def unsupported_encoding(encoding: str) -> Refusal:
    return Refusal(
        "unsupported_encoding", 415, f"Content-Encoding {encoding[:40]!r} is not supported", "invalid_request_error"
    )


def not_found(method: str, path: str) -> Refusal:
    return Refusal("not_found", 404, f"There is no {method} {path[:200]} here", "not_found_error")


def model_not_found(model: str) -> Refusal:
    """Also where it exists for others: who may not call it learns no more."""
    return Refusal(
        "model_not_found",
        404,
        f"The model {model[:200]!r} does not exist or you do not have access to it",
        "not_found_error",
        "model",
    )


def method_not_allowed(method: str, path: str) -> Refusal:
    return Refusal("method_not_allowed", 405, f"{method} is not allowed on {path[:200]}", "invalid_request_error")


def entity_not_found(message: str, param: str | None = None) -> Refusal:
    return Refusal("entity_not_found", 404, message, "not_found_error", param)


def passthrough_not_allowed(path: str) -> Refusal:
    return Refusal(
        "passthrough_not_allowed", 403, f"Key/team not allowed to access passthrough route {path}", "auth_error", "None"
    )


def target_refused() -> Refusal:
    """Its name stands for an address in a private network that nobody listed."""
    return Refusal(
        "target_refused", 502, "The endpoint's target is not an address that may be asked", "api_connection_error"
    )


def conflict(what: str) -> Refusal:
    return Refusal(
        "conflict",
        409,
        f"{what} was changed by somebody else at the same time. Read it again and retry.",
        "conflict_error",
    )


def already_done() -> Refusal:
    """The answer was too large to keep."""
    return Refusal(
        "already_done",
        409,
        "A call with this Idempotency-Key was made already, and its answer is no longer at hand",
        "conflict_error",
        "Idempotency-Key",
    )


def not_yours(message: str) -> Refusal:
    return Refusal("not_yours", 403, message, "auth_error", "None")


def for_admins(field: str) -> Refusal:
    """A field that may weaken a check."""
    return Refusal("for_admins", 403, f"Only proxy admins may set {field}, or make it less strict", "auth_error", field)


# What we could not do.


def blocked_content(message: str, status: int = 400) -> Refusal:
    return Refusal("blocked_content", status, message, "invalid_request_error", echoed=message)


def guardrail_unavailable(name: str) -> Refusal:
    return Refusal(
        "guardrail_unavailable", 503, f"Guardrail {name} could not answer", "service_unavailable_error", None, 1
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
    """Mostly nobody reads it any more; somebody does where the clocks of edge and policy are seconds apart."""
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


def overloaded() -> Refusal:
    return Refusal("overloaded", 503, "Too many requests are running here", "service_unavailable_error", None, 1)


def shutting_down() -> Refusal:
    return Refusal("shutting_down", 503, "Shutting down", "service_unavailable_error", None, 1)


def no_deployment(model: str) -> Refusal:
    return Refusal("no_deployment", 429, f"No deployments available for model={model}", "rate_limit_error", None, 1)


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

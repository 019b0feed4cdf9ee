"""Who asks is known, and may not do that."""

from shared.errors.refusal import Refusal, _auth
from shared.errors.request import bad_request


def token_refused(code: str, message: str) -> Refusal:
    """An identity provider's token is no good. `code`: of shared.identity.tokens.TokenError."""
    if code == "expired":
        return Refusal("expired_token", 401, "Token Expired", "expired_key", "None")
    return _auth("token_refused", f"Validation fails: {message}")


def own_auth_refused(message: str = "", status: int = 401) -> Refusal:
    """The operator's own function (`custom_auth`) says no.

    Args:
        message: its word for the client.
    """
    return _auth("custom_auth_refused", message or "The credential isn't accepted here.", status=status)


def key_not_chosen(field: str) -> Refusal:
    """`disable_custom_api_keys`."""
    message = "Custom API key values are disabled by your administrator. Keys must be auto-generated."
    return Refusal("key_not_chosen", 403, message, "auth_error", field)


def own_auth_unavailable() -> Refusal:
    message = "The gateway's custom_auth doesn't answer at the moment. Try again shortly."
    return Refusal("custom_auth_unavailable", 503, message, "auth_provider_unavailable", None, retry_after_s=5)


def own_hook_refused(message: str = "", status: int = 400) -> Refusal:
    """Python of the operator's own (`callbacks`) says no to a call.

    Args:
        message: its word for the client.
    """
    return Refusal(
        "hook_refused", status, message or "The gateway's own rules refuse this call.", "invalid_request_error"
    )


def own_hook_unavailable() -> Refusal:
    message = "The gateway's own rules can't be asked at the moment. Try again shortly."
    return Refusal("hook_unavailable", 503, message, "service_unavailable", None, retry_after_s=5)


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


def cache_control_not_allowed(name: str) -> Refusal:
    """A key's `allowed_cache_controls`."""
    message = f"Not allowed to set {name[:64]} as a cache control. Contact admin to change permissions."
    return Refusal("cache_control_not_allowed", 403, message, "auth_error", f"cache.{name[:64]}")


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


def over_budget(spent: str, most: str) -> Refusal:
    """LiteLLM's words and status.

    Args:
        spent: USD, like the other.
    """
    message = f"Budget has been exceeded! Current cost: {spent}, Max budget: {most}"
    return Refusal("over_budget", 422, message, "budget_exceeded")


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

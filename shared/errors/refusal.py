"""A no, as a value, and its rendering in OpenAI's error shape."""

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
    """Of a no to who asks for what: the rule that refused, and whose it is (`team_models;
    of=control.team.eng`), as POST /policy/explain names them. Goes into a header."""


class RefusedError(Exception):
    """Carries a refusal up to the one place that renders it."""

    def __init__(self, refusal: Refusal, request_id: str | None = None, call_id: str | None = None) -> None:
        super().__init__(refusal.code)
        self.refusal = refusal
        self.request_id = request_id
        """Of the fact that records it, where there is one."""
        self.call_id = call_id
        """The client's name for it, or ours."""
        self.wire = ""
        """`anthropic`: said to a client of Anthropic's."""


ANTHROPIC_TYPES = {
    400: "invalid_request_error", 401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error",
    413: "request_too_large", 429: "rate_limit_error", 504: "timeout_error", 529: "overloaded_error",
}  # fmt: skip


def anthropic_type(status: int) -> str:
    """What Anthropic's API calls an error of this status."""
    return ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def render(refusal: Refusal, call_id: str | None = None, wire: str = "") -> bytes:
    """`{"error": {"message", "type", "param", "code"}}`, code the HTTP status as a string.

    Args:
        call_id: to be said in it; None: it isn't.
        wire: `anthropic`: as Anthropic's errors are, `{"type": "error", ...}` with its types.
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
    if wire != "anthropic":
        return msgspec.json.encode({"error": error})
    return msgspec.json.encode({"type": "error", "error": {**error, "type": anthropic_type(refusal.status)}})


def _auth(
    code: str, message: str, *, status: int = 401, kind: str = "auth_error", param: str | None = "None"
) -> Refusal:
    return Refusal(code, status, f"Authentication Error, {message}", kind, param)

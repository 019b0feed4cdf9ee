"""What was sent is wrong, or isn't there."""

from typing import Final

from shared.errors.refusal import Refusal, _auth


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
    message = _MALFORMED.get(status, "This is not a request that HTTP/1.1 allows")
    return Refusal("malformed_http", status, message, "invalid_request_error")


_MALFORMED: Final = {
    414: "The address of this request is too long: 8,190 bytes are allowed",
    431: "The headers of this request are too large: 100 fields of up to 16,384 bytes, together 65,536, are allowed",
}


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


def not_kept(what: str, id: str, param: str) -> Refusal:
    """As OpenAI says it, also where it is somebody else's."""
    return Refusal("not_kept", 404, f"{what} with id {id[:200]!r} not found.", "invalid_request_error", param)


def still_running() -> Refusal:
    """What it used isn't known, or isn't booked yet: deleted it never would be."""
    return Refusal(
        "still_running",
        409,
        "This response runs in the background, or was over a moment ago: cancel it, or try again shortly",
        "conflict_error",
        "response_id",
        5,
    )


def passthrough_not_allowed(path: str) -> Refusal:
    return Refusal(
        "passthrough_not_allowed", 403, f"Key/team not allowed to access passthrough route {path}", "auth_error", "None"
    )


def target_refused() -> Refusal:
    """Its name stands for an address in a private network that nobody listed."""
    return Refusal(
        "target_refused", 502, "The endpoint's target is not an address that may be asked", "api_connection_error"
    )


def already_exists(message: str, param: str) -> Refusal:
    return Refusal("already_exists", 409, message, "conflict_error", param)


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

"""How an attempt failed, and what the client is told of it. Pure, but for reading the provider's
answer.
"""

import functools
import re
from typing import Any, Final

import msgspec

from services.edge.answers import whole
from services.edge.formats.wire import answer_head, decode_leniently
from services.edge.http import WholeAnswer
from services.edge.providers.base import ErrorSaid, Translator
from services.edge.routing import causes
from services.edge.routing.causes import CAUSES, OF_UPSTREAM, Cause
from services.edge.routing.plan import Failed
from services.edge.upstream import UpstreamError
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import Refusal
from shared.errors.refusal import anthropic_type

ERROR_BYTES_MAX: Final = 1024 * 1024
ERROR_BYTES_PASSED_MAX: Final = 65_536
MESSAGE_CHARACTERS_MAX: Final = 4_000
RETRY_AFTER_S_MAX: Final = 86_400.0


class Failure(Exception):
    """An attempt that came to nothing, while the client has nothing of an answer yet."""

    def __init__(
        self,
        cause: str,
        provider: str,
        *,
        status: int = 0,
        body: bytes = b"",
        kind: str = "",
        retry_after_s: float | None = None,
        passed: str = "",
    ) -> None:
        super().__init__(cause)
        self.cause = cause
        self.provider = provider
        self.status = status
        """The provider's, where it answered."""
        self.body = body
        """What the provider said, in OpenAI's shape; empty: nothing."""
        self.kind = kind
        """`context_window`, `content_policy`."""
        self.retry_after_s = retry_after_s
        self.passed = passed
        """Rendered lines of the provider's that the client gets."""

    @property
    def row(self) -> Cause:
        return CAUSES[self.cause]

    @property
    def code(self) -> str:
        """What the fact says went wrong."""
        return f"provider_{self.status}" if self.status >= 300 else self.refusal().code

    def refusal(self) -> Refusal:
        if self.cause == "no_room":
            return errors.overloaded()
        refusal: Refusal = getattr(errors, self.row.error)(self.provider)
        return refusal

    @property
    def answer_status(self) -> int:
        """What the client is told. We follow no redirect, nor make a client do so."""
        if not self.body:
            return self.refusal().status
        return self.status if self.status >= 400 else 502

    def answer(self, named: str) -> WholeAnswer:
        """For the client, when nothing follows: what the provider said, else what we say of it."""
        return whole(
            named + self.passed,
            self.body or errors.render(self.refusal()),
            self.answer_status,
            b"application/json",
            None,
        )

    def failed(self) -> Failed:
        """As plan.py needs it."""
        return Failed(self.cause, self.kind, self.retry_after_s)


def of_upstream(error: UpstreamError, provider: str) -> Failure:
    """Before the client has anything of an answer."""
    if error.safe_to_retry:
        cause = error.kind if error.kind in ("connect", "tls") else "connect"
        return Failure("no_connection" if error.kind == "timeout" else cause, provider)
    return Failure("hung_up" if error.nothing_came else OF_UPSTREAM[error.kind], provider)


def of_status(
    status: int, body: bytes, headers: list[tuple[bytes, bytes]], provider: str, translator: Translator | None = None
) -> Failure:
    """An answer that says it is none."""
    said = translator.error(body, status) if translator is not None and body else None
    shown, words = (as_openai(said, status), f"{said.code} {said.message}") if said else _shown(body, status, provider)
    if said is not None and said.status is not None:
        status = said.status
    cause = causes.of_status(status)
    return Failure(
        cause,
        provider,
        status=status,
        body=shown,
        kind=causes.kind_of(status, words),
        retry_after_s=retry_after_s(headers),
        passed=retry_lines(headers),
    )


def of_error_answer(body: bytes, provider: str) -> Failure:
    """A 200, or the first event of a stream, that holds an error: what it says may have a status in
    it.
    """
    body = _in_its_place(body)
    status = _status_in(body)
    shown, words = _shown(body, status, provider)
    cause = causes.of_status(status)
    return Failure(
        "error_answer" if cause == "failed" else cause,
        provider,
        status=status,
        body=shown,
        kind=causes.kind_of(status, words),
    )


def of_nothing(cause: str, body: bytes, provider: str) -> Failure:
    """A 200 without an answer in it, nor an `error`: providers may say why in words of their own
    (MiniMax's `base_resp`).
    """
    message = _reason(body) if body[:1] == b"{" and len(body) <= ERROR_BYTES_PASSED_MAX else ""
    if not message:
        return Failure(cause, provider)
    return Failure(cause, provider, status=502, body=as_openai(ErrorSaid(message), 502))


def _in_its_place(body: bytes) -> bytes:
    """With a choice's error where others have theirs."""
    try:
        error = answer_head(body).choice_error()
    except UNREADABLE:
        return body
    return body if error is None else b'{"error":%b}' % error


class _Coded(msgspec.Struct):
    code: Any = None
    status: Any = None
    status_code: Any = None


class _CodedError(msgspec.Struct):
    error: _Coded | str | bool | None = None


def _status_in(body: bytes) -> int:
    """`{"error": {"code": 429}}`; 502 where it names none that is an error's."""
    try:
        found = msgspec.json.decode(body, type=_CodedError).error
    except UNREADABLE:
        return 502
    if isinstance(found, _Coded):
        for value in (found.code, found.status_code, found.status):
            if isinstance(value, str) and value.isdigit():
                value = int(value[:4])
            if type(value) is int and 400 <= value < 600:
                return value
    return 502


# ── what a provider said, in OpenAI's shape ──


class _Said(msgspec.Struct):
    message: str = ""


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")


def provider_error(body: bytes, status: int, provider: str) -> bytes:
    """The provider's error as it said it, if it is in OpenAI's shape; else its reason, whatever
    shape that is in.

    What it says of *our* key (401, 403) is not the client's business, and may hold part of it.
    """
    return _shown(body, status, provider)[0]


def _shown(body: bytes, status: int, provider: str) -> tuple[bytes, str]:
    """(body for the client, the provider's words)."""
    if status not in (401, 403) and len(body) <= ERROR_BYTES_PASSED_MAX:
        try:
            body.decode("utf-8")  # what the decoder skips over may be anything
            found = bytes(msgspec.json.decode(body, type=_ErrorBody).error)
            if msgspec.json.decode(found or b"{}", type=_Said).message:
                return body, found.decode()
        except UNREADABLE:
            pass
        message = _reason(body)
        if message:
            return as_openai(ErrorSaid(message), status), message
    return as_openai(ErrorSaid(f"{provider} answered with status {status}", "api_error"), status), ""


def as_openai(said: ErrorSaid, status: int) -> bytes:
    error = {
        "message": said.message,
        "type": said.type or _TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error"),
        "param": said.param,
        "code": said.code or str(status),
    }
    return msgspec.json.encode({"error": error})


def as_anthropic(body: bytes, status: int) -> bytes:
    """An error in OpenAI's shape, with what Anthropic's clients read. Anthropic's own stays as it
    is.
    """
    try:
        said = msgspec.json.decode(body)
    except UNREADABLE:
        return body
    if not isinstance(said, dict) or said.get("type") == "error" or not isinstance(said.get("error"), dict):
        return body
    return msgspec.json.encode({"type": "error", **said, "error": {**said["error"], "type": anthropic_type(status)}})


_TYPES: Final = {
    401: "authentication_error", 403: "permission_error", 404: "not_found_error", 408: "timeout_error", 429: "rate_limit_error",
}  # fmt: skip

_TAGS = re.compile(rb"<\s*(?:!doctype|html|head|body|title|\?xml)", re.IGNORECASE)
_PLACES = (
    "message", "detail", "details", "error", "errors", "msg", "error_message", "error_msg", "errormessage", "fault", "faultstring",
    "reason", "title", "description", "text", "base_resp", "status_msg", "inner", "innererror", "body",
)  # fmt: skip
"""Where providers put what they have to say, the likelier first; in any case."""


def _reason(body: bytes) -> str:
    """The provider's words, wherever they stand; empty: none that a person would read."""
    text = body.strip()
    if not text or _TAGS.search(text[:1024]):
        return ""
    if text[:1] in b'{["':
        try:
            return _clean(_words(decode_leniently(text), 5))
        except UNREADABLE:
            return ""
    try:
        return _clean(text.decode("utf-8"))
    except UnicodeDecodeError:
        return ""


def _words(value: Any, depth: int) -> str:
    """FastAPI's `detail: [{"msg"}]`, xAI's `{"error": "..."}`, vLLM's `{"message"}`, Gemini's list
    of one error ...
    """
    if isinstance(value, str):
        return _quoted(value, depth) if value[:1] == "{" and depth else value
    if depth == 0:
        return ""
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(item, depth - 1) for item in value[:10])))
    if isinstance(value, dict):
        said = {name.lower(): item for name, item in value.items()}
        for name in _PLACES:
            words = _words(said[name], depth - 1) if name in said else ""
            if words:
                return words
    return ""


def _quoted(text: str, depth: int) -> str:
    """JSON in a string: what it says, else as it is."""
    try:
        return _words(decode_leniently(text.encode("utf-8", "replace")), depth - 1) or text
    except UNREADABLE:
        return text


def _clean(text: str) -> str:
    if text in ("null", "None", "{}", "[]"):
        return ""
    text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text[:MESSAGE_CHARACTERS_MAX])
    return text.strip()


# ── a provider's headers ──

_PASSED: Final = frozenset(
    {
        b"x-request-id",
        b"openai-processing-ms",
        b"openai-version",
        b"openai-organization",
        b"x-should-retry",
        b"request-id",
    }
)
_RETRY: Final = (b"retry-after", b"retry-after-ms", b"x-should-retry")
VALUE_BYTES_MAX: Final = 256


def passed_lines(headers: list[tuple[bytes, bytes]]) -> str:
    """What the provider says of limits and of its own request, as it said it and under LiteLLM's
    `llm_provider-`.
    """
    lines = ""
    for name, value in headers:
        if name[:2] in _FIRST and (name in _PASSED or name.startswith((b"x-ratelimit-", b"anthropic-ratelimit-"))):
            lines += _line(name, value)
    return lines


def told_lines(headers: list[tuple[str, str]]) -> str:
    """As `passed_lines`, of headers that are passed on by their own names already."""
    return "".join(
        f"llm_provider-{name}: {value}\r\n"
        for name, value in headers
        if (name.encode() in _PASSED or name.startswith(("x-ratelimit-", "anthropic-ratelimit-")))
        and value.isascii()
        and value.isprintable()
        and len(value) <= VALUE_BYTES_MAX
    )


_FIRST: Final = frozenset({b"x-", b"op", b"re", b"an"})


@functools.lru_cache(maxsize=512)
def _line(name: bytes, value: bytes) -> str:
    if len(value) > VALUE_BYTES_MAX or not value.isascii() or not value.decode().isprintable():
        return ""
    line = f"{name.decode()}: {value.decode()}\r\n"
    return line if name in _RETRY else f"{line}llm_provider-{line}"


def retry_lines(headers: list[tuple[bytes, bytes]]) -> str:
    """When the provider says to come back: clients wait by it."""
    return "".join(_line(name, value) for name, value in headers if name in _RETRY) + passed_lines(
        [(name, value) for name, value in headers if name not in _RETRY]
    )


def retry_after_s(headers: list[tuple[bytes, bytes]]) -> float | None:
    """`retry-after-ms`, or `Retry-After` in seconds. A date isn't waited for: clients get it as it
    is.
    """
    for wanted, divisor in ((b"retry-after-ms", 1000.0), (b"retry-after", 1.0)):
        for name, value in headers:
            if name == wanted:
                try:
                    seconds = float(value) / divisor
                except ValueError:
                    continue
                if 0 <= seconds <= RETRY_AFTER_S_MAX:
                    return seconds
    return None

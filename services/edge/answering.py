"""The HTTP answers of an exchange: headers LiteLLM's clients read, and ours."""

import asyncio
import functools
from typing import TYPE_CHECKING

import msgspec

from services.edge.http import StreamAnswer, WholeAnswer
from services.edge.openai import UNREADABLE
from services.edge.upstream import Response, UpstreamError
from shared.money import format_usd

if TYPE_CHECKING:
    from services.edge.exchange import Exchange

VERSION = "0.1.0"
ERROR_BYTES_MAX = 1024 * 1024
ERROR_BYTES_PASSED_MAX = 65_536
DRAIN_S = 1.0
JSON = "application/json"

SAFE = (
    "server: tollgate\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
    "content-security-policy: frame-ancestors 'none'\r\n"
)
"""Lines that every answer of ours has."""
_SAFE = f"{SAFE}x-litellm-version: {VERSION}\r\n"


def _headers(exchange: "Exchange", overhead_s: float) -> str:
    """Lines ending in CRLF. Whatever comes from configuration or client is printable ASCII, or left out."""
    overhead_ms = f"{overhead_s * 1000:.3f}"
    return (
        f"{_same_for(exchange.candidate.deployment_id, exchange.call.model)}"
        f"x-litellm-call-id: {exchange.head.litellm_call_id or exchange.id}\r\nx-tollgate-request-id: {exchange.id}\r\n"
        f"x-litellm-overhead-duration-ms: {overhead_ms}\r\nx-tollgate-overhead-ms: {overhead_ms}\r\n"
    )


@functools.lru_cache(maxsize=1024)
def _same_for(deployment_id: str, model: str) -> str:
    """The lines that are the same in every answer of one model's deployment."""
    lines = _SAFE
    if deployment_id.isascii() and deployment_id.isprintable():
        lines += f"x-litellm-model-id: {deployment_id}\r\n"
    if model.isascii() and model.isprintable():
        lines += f"x-litellm-model-group: {model}\r\n"
    return lines


def whole(
    exchange: "Exchange",
    body: bytes,
    status: int,
    content_type: bytes | None,
    cost: int | None,
    overhead_s: float,
    more: str = "",
) -> WholeAnswer:
    """An answer in one piece. An unknown cost has no header: it is not zero. `more`: rendered lines."""
    headers = f"{_headers(exchange, overhead_s)}{more}Content-Type: {_content_type(content_type, JSON)}\r\n"
    if cost is not None:
        headers += f"x-litellm-response-cost: {format_usd(cost)}\r\n"
    return WholeAnswer(status, headers, body)


def stream(exchange: "Exchange", content_type: bytes | None, overhead_s: float) -> StreamAnswer:
    """The head of a stream; its cost isn't known yet."""
    content_type_ = _content_type(content_type, "text/event-stream")
    return StreamAnswer(
        200, f"{_headers(exchange, overhead_s)}Content-Type: {content_type_}\r\nCache-Control: no-cache\r\n"
    )


def own(body: bytes, status: int = 200, more: str = "") -> WholeAnswer:
    """JSON that no provider had a part in: management, health, refusals. `more`: rendered lines."""
    return WholeAnswer(status, f"{SAFE}Content-Type: {JSON}\r\n{more}", body)


def own_json(value: object, status: int = 200) -> WholeAnswer:
    return own(msgspec.json.encode(value), status)


@functools.lru_cache(maxsize=64)
def _content_type(raw: bytes | None, default: str) -> str:
    if raw is None or not raw.isascii() or len(raw) > 200:
        return default
    text = raw.decode()
    return text if text.isprintable() else default


class _ErrorBody(msgspec.Struct):
    error: msgspec.Raw = msgspec.Raw(b"")


def provider_error(body: bytes, status: int, provider: str) -> bytes:
    """The provider's error as it said it, if it is in OpenAI's shape; else one that names the provider.

    What it says of *our* key (401, 403) is not the client's business, and may hold part of it.
    """
    if status not in (401, 403) and len(body) <= ERROR_BYTES_PASSED_MAX:
        try:
            body.decode("utf-8")  # what the decoder skips over may be anything
            found = msgspec.json.decode(body, type=_ErrorBody).error
            if bytes(found).lstrip()[:1] == b"{":
                return body
        except UNREADABLE:
            pass
    message = f"{provider} answered with status {status}"
    error = {"message": message, "type": "api_error", "param": None, "code": str(status)}
    return msgspec.json.encode({"error": error})


def retry_headers(response: Response) -> str:
    """When the provider says to come back: clients wait by it."""
    lines = ""
    for name in (b"retry-after", b"retry-after-ms"):
        value = response.header(name)
        if value is not None and len(value) <= 40 and value.isascii() and value.decode().isprintable():
            lines += f"{name.decode()}: {value.decode()}\r\n"
    return lines


async def drain(response: Response) -> None:
    """Read what is left of a body that is over, for a moment; past that the connection is closed."""
    try:
        async with asyncio.timeout(DRAIN_S):
            while await response.next_chunk():
                pass
    except (UpstreamError, TimeoutError):
        pass
    finally:
        if not response.complete:
            response.abort()

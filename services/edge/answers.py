"""HTTP answers, from plain values: headers LiteLLM's clients read, and ours."""

import functools
from collections.abc import Iterable

import msgspec

from services.edge.http import StreamAnswer, WholeAnswer
from shared.money import format_usd

VERSION = "0.1.0"
JSON = "application/json"

SAFE = (
    "server: tollgate\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
    "content-security-policy: frame-ancestors 'none'\r\nvary: Origin\r\n"
)
"""Lines that every answer of ours has."""
_SAFE = f"{SAFE}x-litellm-version: {VERSION}\r\n"


def named(about: str, request_id: str, call_id: str, duration_s: float, overhead_s: float, passed: str = "") -> str:
    """What an answer says of the call it belongs to: lines ending in CRLF. Whatever comes from
    configuration or client is printable ASCII, or left out.

    Args:
        about: of whoever answers (`about`).
        duration_s: until now, since the request's head was there.
        overhead_s: what of it no provider took.
        passed: rendered lines: what the provider said and clients may know.
    """
    overhead_ms = f"{overhead_s * 1000:.3f}"
    return (
        f"{about}x-litellm-call-id: {call_id}\r\nx-tollgate-request-id: {request_id}\r\n"
        f"x-litellm-response-duration-ms: {duration_s * 1000:.3f}\r\n"
        f"x-litellm-overhead-duration-ms: {overhead_ms}\r\nx-tollgate-overhead-ms: {overhead_ms}\r\n{passed}"
    )


@functools.lru_cache(maxsize=1024)
def about(deployment_id: str, model: str, name: str, api_base: str, region: str) -> str:
    """The lines that are the same in every answer of one model's deployment.

    Args:
        model: as the client names it.
        name: as LiteLLM's configuration does: `openai/gpt-4o`.
        api_base: without credentials and query.
    """
    lines = _SAFE
    for header, value in (
        ("model-id", deployment_id), ("model-group", model), ("model-name", name), ("model-api-base", api_base), ("model-region", region),
    ):  # fmt: skip
        if value and value.isascii() and value.isprintable():
            lines += f"x-litellm-{header}: {value}\r\n"
    return lines


def whole(
    named: str,
    body: bytes,
    status: int,
    content_type: bytes | None,
    cost: int | None,
    parts: Iterable[tuple[str, int]] = (),
) -> WholeAnswer:
    """An answer in one piece. An unknown cost has no header: it is not zero.

    Args:
        named: see `named`.
        cost: pico-USD.
        parts: what of it was for what, by LiteLLM's names.
    """
    headers = f"{named}Content-Type: {_content_type(content_type, JSON)}\r\n"
    if cost is not None:
        usd = format_usd(cost)
        headers += f"x-litellm-response-cost: {usd}\r\nx-litellm-response-cost-original: {usd}\r\n"
        for name, amount in parts:
            headers += f"x-litellm-response-cost-{name}: {format_usd(amount)}\r\n"
    return WholeAnswer(status, headers, body)


def stream(named: str) -> StreamAnswer:
    """The head of a stream of events; its cost isn't known yet. No proxy on the way should hold
    them back.
    """
    return StreamAnswer(
        200,
        f"{named}Content-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Accel-Buffering: no\r\n",
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

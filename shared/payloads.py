"""What was asked and answered, of calls whose key, team or configuration wants it kept, or sent to
a sink that shows it.

It never is in TRAFFIC, the request log or the audit log: it has a stream (PAYLOAD), a table and a
term of its own, and isn't evidence. Edge publishes it before the call's end, so that whoever has
seen the end finds it.
"""

from typing import Any

import msgspec

from shared.decoding import UNREADABLE
from shared.facts import Caller
from shared.ids import RequestId

SENT = "sent"
"""`Grant.content`: only for sinks; no answer shows it."""
KEPT = "kept"
"""For sinks, and for who asks the book."""
FIELDS_BYTES_MAX = 400_000
"""Of request and answer each, whatever the setting says: a message must fit."""


class Payload(msgspec.Struct, frozen=True, array_like=True, tag="payload.v1"):
    """Fields are only ever appended, with a default."""

    id: RequestId
    at_ms: int
    caller: Caller
    kept: bool
    """False: only sinks get it."""
    request: bytes
    """JSON: what went to the provider, after guardrails, without the gateway's own fields; cut to
    its limit.
    """
    answer: bytes
    """What the client got: JSON, or a stream's events; cut likewise."""
    cut: list[str] = []
    """`request`, `answer`: those that were longer."""
    stream: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Payload])


def encode(payload: Payload) -> bytes:
    return _encoder.encode(payload)


def unpack(message: bytes) -> list[Payload]:
    """Raises msgspec.DecodeError when the bytes are no list of payloads."""
    try:
        return _decoder.decode(message)
    except (UnicodeDecodeError, RecursionError) as error:
        raise msgspec.DecodeError(f"unreadable: {type(error).__name__}") from None


def shown(request: bytes, answer: bytes, cut: list[str], *, stream: bool) -> dict[str, Any]:
    """(messages, response, the whole request) as LiteLLM's rows have them. What can't be read as
    JSON (it was cut) is a string.
    """
    asked = _json(request)
    said = assembled(answer) if stream and "answer" not in cut else _json(answer)
    messages: Any = {}
    if isinstance(asked, dict):
        messages = next((asked[name] for name in ("messages", "input", "prompt") if name in asked), {})
    elif asked is not None:
        messages = asked
    return {
        "messages": messages,
        "response": {} if said is None else said,
        "proxy_server_request": {} if asked is None else asked,
        "truncated": cut,
    }


def _json(raw: bytes) -> Any:
    if not raw:
        return None
    try:
        return msgspec.json.decode(raw)
    except UNREADABLE:
        return raw.decode("utf-8", "replace")


def assembled(events: bytes) -> Any:
    """A stream's events as the answer they make together: texts and tool calls joined, by choice.
    Other wires' stay as they came.
    """
    found: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for line in events.decode("utf-8", "replace").split("\n"):
        if not line.startswith("data:") or line[5:].strip() in ("", "[DONE]"):
            continue
        event = _json(line[5:].strip().encode())
        if not isinstance(event, dict) or not isinstance(event.get("choices"), list):
            return events.decode("utf-8", "replace")
        found.update({name: value for name, value in event.items() if name != "choices" and value is not None})
        for choice in event["choices"]:
            if isinstance(choice, dict):
                _join(choices.setdefault(choice.get("index") or 0, {}), choice)
    if found.get("object") == "chat.completion.chunk":
        found["object"] = "chat.completion"
    return {**found, "choices": [{"index": index, **choices[index]} for index in sorted(choices)]}


def _join(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        if name == "index" or value is None:
            continue
        place = "message" if name == "delta" else name
        known = whole.get(place)
        if isinstance(value, dict):
            known = whole.setdefault(place, {})
            if isinstance(known, dict):
                _join(known, value)
        elif isinstance(value, list) and name == "tool_calls":
            _join_calls(whole.setdefault(place, []), value)
        elif (
            isinstance(value, str)
            and isinstance(known, str)
            and name in ("content", "text", "arguments", "refusal", "reasoning_content")
        ):
            whole[place] = known + value
        else:
            whole[place] = value


def _join_calls(whole: list[Any], parts: list[Any]) -> None:
    for part in parts:
        if not isinstance(part, dict):
            continue
        index = part.get("index") or 0
        known = next((call for call in whole if call["index"] == index), None)
        if known is None:
            known = {"index": index}
            whole.append(known)
        _join(known, part)

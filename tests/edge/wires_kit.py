"""What providers of several wires say, and one that says it and keeps what it was asked."""

import json
from typing import Any

from tests.edge.fakes import Peer

AWS = {"aws_access_key_id": "AKID", "aws_secret_access_key": "sekret", "aws_region_name": "eu-west-1", "api_key": None}
WHOLE = {
    "id": "c", "choices": [{"index": 0, "message": {"role": "assistant", "content": "Grüße"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
}  # fmt: skip
MESSAGE = {
    "type": "message",
    "model": "claude-sonnet-4-5-20250929",
    "content": [{"type": "text", "text": "hi"}],
    "usage": {"input_tokens": 12, "output_tokens": 5, "cache_read_input_tokens": 8},
}
CLAUDE_EVENTS = [
    {
        "type": "message_start",
        "message": {"model": "claude-sonnet-4-5-20250929", "usage": {"input_tokens": 12, "cache_read_input_tokens": 8, "output_tokens": 1}},
    },
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "\"usage\": {\"output_tokens\": 999}"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
    {"type": "message_stop"},
]  # fmt: skip
RESPONSE = {
    "id": "r",
    "object": "response",
    "model": "gpt-4o-2024-08-06",
    "usage": {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 8},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 25,
    },
}


def sse(*events: dict[str, Any], names: bool = False) -> bytes:
    return b"".join(
        (f"event: {event['type']}\n" if names else "").encode() + b"data: " + json.dumps(event).encode() + b"\n\n"
        for event in events
    )


def answering(body: bytes, status: str = "200 OK", content_type: str = "application/json") -> Any:
    """A script; its `asked`: the lines of the head, and the body."""

    async def script(peer: Peer) -> None:
        head, sent = await peer.request()
        script.asked = (head.decode().split("\r\n"), json.loads(sent))  # type: ignore[attr-defined]
        lines = f"HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {len(body)}\r\n\r\n"
        await peer.send(lines.encode() + body)

    return script

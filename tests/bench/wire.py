"""The bytes of the benchmark: what is asked, what the upstream answers, and how an answer is
recognised as whole and right.

A model's name says how the upstream behaves: `bench` answers at once, `bench-50ms` after 50 ms; a
stream of `bench-10ms` has 10 ms between chunks, and one of `bench` comes all at once.
"""

import json
import re

MODELS = ("bench", "bench-10ms", "bench-50ms")
INPUT_TOKENS, OUTPUT_TOKENS = 120, 50
CHUNKS = 50
"""Content chunks of a stream; the usage chunk and `[DONE]` follow in one more."""
CONTENT = "Measured on this very machine. " * 5
PATH = "/v1/chat/completions"

_HEAD = {"id": "chatcmpl-bench", "created": 1_700_000_000, "model": "bench"}
_USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}
_DELAY = re.compile(rb'"(?:openai/)?bench-(\d{1,4})ms"')


def request_body(model: str = "bench", size_bytes: int = 1024, *, stream: bool = False) -> bytes:
    """A chat request of `size_bytes` (at least 200). It asks for usage in a stream, as clients that
    watch their spend do.
    """
    tree: dict[str, object] = {"model": model, "stream": stream}
    if stream:
        tree["stream_options"] = {"include_usage": True}
    tree["temperature"] = 0.5
    tree["messages"] = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": ""}]
    missing = size_bytes - len(json.dumps(tree))
    filler = "The quick brown fox jumps over the lazy dog. "
    text = (filler * (missing // len(filler) + 1))[: max(0, missing)]
    tree["messages"] = [
        {"role": "system", "content": "You are a helpful assistant."},
        {"role": "user", "content": text},
    ]
    return json.dumps(tree).encode()


def delay_ms(body: bytes) -> int:
    """How long the upstream waits. Model and `stream` are looked for at both ends only: a large
    body must not cost the upstream time.
    """
    found = _DELAY.search(body, 0, 512) or _DELAY.search(body, max(0, len(body) - 512))
    return int(found[1]) if found else 0


def wants_stream(body: bytes) -> bool:
    """Peers re-encode the body, with and without spaces, in another order."""
    ends = body[:512] + body[-512:]
    return b'"stream":true' in ends or b'"stream": true' in ends


def answer_json() -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": CONTENT}, "finish_reason": "stop"}
    return json.dumps({**_HEAD, "object": "chat.completion", "choices": [choice], "usage": _USAGE}).encode()


def answer_chunks() -> list[bytes]:
    """The events of a stream as they are written: CHUNKS with content, then usage and `[DONE]`
    together.
    """

    def event(choices: list[object], **more: object) -> bytes:
        tree = {**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}
        return b"data: " + json.dumps(tree).encode() + b"\n\n"

    events = []
    for i in range(CHUNKS):
        delta = {"role": "assistant", "content": "word "} if i == 0 else {"content": "word "}
        events.append(event([{"index": 0, "delta": delta, "finish_reason": "stop" if i == CHUNKS - 1 else None}]))
    return [*events, event([], usage=_USAGE) + b"data: [DONE]\n\n"]


def wrong_json(status: int, body: bytes) -> str | None:
    """Why this isn't the answer, or None when it is."""
    if status != 200:
        return f"status {status}: {body[:200]!r}"
    try:
        tree = json.loads(body)
        if tree["choices"][0]["message"]["content"] != CONTENT:
            return "the content was changed"
        if tree["usage"]["completion_tokens"] != OUTPUT_TOKENS:
            return "the usage was changed"
    except (ValueError, KeyError, IndexError, TypeError) as error:
        return f"not a completion ({error!r}): {body[:200]!r}"
    return None


def wrong_stream(status: int, body: bytes) -> str | None:
    """The same for a whole stream."""
    if status != 200:
        return f"status {status}: {body[:200]!r}"
    events = [line[5:].strip() for line in body.split(b"\n") if line.startswith(b"data:")]
    if not events or events[-1] != b"[DONE]":
        return f"the stream did not end with [DONE]: {body[-200:]!r}"
    try:
        trees = [json.loads(event) for event in events[:-1]]
        words = [c["delta"].get("content") or "" for tree in trees for c in tree["choices"]]
    except (ValueError, KeyError, TypeError) as error:
        return f"not a stream of chunks ({error!r})"
    if "".join(words) != "word " * CHUNKS:
        return f"{len(words)} deltas do not make the upstream's text"
    if not any(tree.get("usage") for tree in trees):
        return "the usage chunk is missing"
    return None

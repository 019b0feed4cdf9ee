"""A fake OpenAI: answers as the real one does on the wire, misbehaves as it is told, and keeps its
own bill.

How to behave comes from the request itself, from its field `fake` (an unknown field, so a gateway
must pass it on), or from `FakeUpstream.behaviours[model]`; see `Behaviour`. A call's id on the bill
is `fake.id`, else `metadata.request_id`, else `user`.

    async with FakeUpstream() as upstream:
        config = f"... api_base: {upstream.base_url}"
        upstream.behaviours["broken"] = Behaviour(fault="break", chunks=5, break_after=2)
        ...
        upstream.requests[0].headers["Authorization"], upstream.bill["id-1"]

As a process of its own: `python -m tests.support.upstream PORT`; then GET /fake/requests, GET
/fake/bill, POST /fake/reset.
"""

import asyncio
import sys
import time
from collections import Counter
from typing import Any, Literal

import msgspec
from aiohttp import web


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer is like. Times in milliseconds."""

    id: str = ""
    """Names the call on the bill."""
    status: int = 200
    """An error status answers with OpenAI's error body."""
    fail_first: int = 0
    """Only the first so many calls with this id (or model) get `status`; later ones get 200. 0: all
    do.
    """
    retry_after_s: int | None = None
    text: str = "Hello from upstream"
    """The answer; a stream's chunks are its words, over and over. A plain answer has `chunks` words
    too.
    """
    chunks: int | None = None
    """How many words; None: those of `text`."""
    usage: bool = True
    """False: the answer tells no usage, as some providers don't."""
    cached_tokens: int = 0
    delay_ms: float = 0
    """Before the head of the answer."""
    chunk_delay_ms: float = 0
    fault: Literal["", "hang", "reset", "break", "garbage"] = ""
    """hang: no head, ever; reset: the connection is cut before the head; break: it is cut in the
    body (after `break_after` chunks of a stream, in the middle of a plain answer); garbage: a 200
    that isn't JSON."""
    break_after: int = 1


class Recorded(msgspec.Struct):
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    id: str
    model: str
    stream: bool
    at: float
    """time.monotonic() when its head was here; the same clock below."""
    ended_at: float = 0.0
    outcome: str = "running"
    """complete: the whole answer went out (also an error's); cancelled: the caller left; broken: we
    broke it off.
    """

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Billed(msgspec.Struct):
    """What the provider would charge for one id, all calls together."""

    calls: int = 0
    """Answered 200, wholly or in part."""
    complete: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of complete calls, as told in their usage."""


class FakeUpstream:
    """An upstream in this process. Use as an async context manager."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.behaviours: dict[str, Behaviour] = {}
        """By model name; a request's own `fake` field wins, field by field."""
        self.requests: list[Recorded] = []
        self.bill: dict[str, Billed] = {}
        self.keys: set[str] | None = None
        """Bearer keys that are taken; others are answered 401, before anything is billed. None:
        all.
        """
        self._failures: Counter[str] = Counter()
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> "FakeUpstream":
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{route:chat/completions|completions|embeddings}", self._answer)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/fake/requests", self._show_requests)
        app.router.add_get("/fake/bill", self._show_bill)
        app.router.add_post("/fake/reset", self._reset)
        # A caller that leaves must be noticed at once: tests measure it.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self._port, backlog=1024)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def base_url(self) -> str:
        """For `api_base`."""
        return f"http://{self._host}:{self._port}/v1"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        at = time.monotonic()
        body = await request.read()
        try:
            asked = msgspec.json.decode(body)
            behaviour = self._behaviour(asked)
        except (msgspec.DecodeError, msgspec.ValidationError, AttributeError) as error:
            return _error(400, f"unreadable: {error}")
        record = Recorded(
            method=request.method, path=request.path, headers=dict(request.headers), body=body, id=behaviour.id,
            model=str(asked.get("model")), stream=bool(asked.get("stream")), at=at,
        )  # fmt: skip
        self.requests.append(record)
        try:
            return await self._behave(request, asked, behaviour, record)
        except (asyncio.CancelledError, ConnectionError):
            record.outcome = "cancelled" if record.outcome == "running" else record.outcome
            raise
        finally:
            record.ended_at = time.monotonic()

    def _behaviour(self, asked: dict[str, Any]) -> Behaviour:
        named = self.behaviours.get(str(asked.get("model")), Behaviour())
        own = {**msgspec.structs.asdict(named), **(asked.get("fake") or {})}
        behaviour = msgspec.convert(own, Behaviour)
        metadata = asked.get("metadata") or {}
        return msgspec.structs.replace(
            behaviour, id=behaviour.id or str(metadata.get("request_id") or asked.get("user") or "")
        )

    async def _behave(
        self, request: web.Request, asked: dict[str, Any], behaviour: Behaviour, record: Recorded
    ) -> web.StreamResponse:
        if behaviour.fault == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(behaviour.delay_ms / 1000)
        if self.keys is not None and request.headers.get("Authorization", "").removeprefix("Bearer ") not in self.keys:
            record.outcome = "complete"
            return _error(401, "Incorrect API key provided", None)
        if behaviour.fault == "reset":
            return self._cut(request, record)
        if behaviour.status != 200 and self._fails_now(behaviour, record):
            record.outcome = "complete"
            return _error(behaviour.status, f"scripted {behaviour.status}", behaviour.retry_after_s)
        billed = self.bill.setdefault(behaviour.id, Billed())
        billed.calls += 1
        if behaviour.fault == "garbage":
            record.outcome = "complete"
            return web.Response(text="<html>not JSON</html>", content_type="text/html")
        words = _words(behaviour)
        usage = _usage(asked, 0 if "embeddings" in request.path else len(words), behaviour.cached_tokens)
        if asked.get("stream"):
            response = await self._stream(request, asked, behaviour, words, usage, record)
        else:
            response = await self._plain(request, asked, behaviour, words, usage, record)
        if record.outcome == "complete":
            billed.complete += 1
            billed.prompt_tokens += usage["prompt_tokens"]
            billed.completion_tokens += usage.get("completion_tokens", 0)
        return response

    def _fails_now(self, behaviour: Behaviour, record: Recorded) -> bool:
        if behaviour.fail_first == 0:
            return True
        key = behaviour.id or record.model
        self._failures[key] += 1
        return self._failures[key] <= behaviour.fail_first

    async def _plain(
        self, request: web.Request, asked: dict[str, Any], behaviour: Behaviour, words: list[str],
        usage: dict[str, Any], record: Recorded,
    ) -> web.StreamResponse:  # fmt: skip
        answer = _object(request.path, asked, words)
        if behaviour.usage:
            answer["usage"] = usage
        body = msgspec.json.encode(answer)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "x-request-id": answer["id"]}
        response = web.StreamResponse(headers=headers)
        await response.prepare(request)
        if behaviour.fault == "break":
            await response.write(body[: len(body) // 2])
            self._cut(request, record)
            return response
        await response.write(body)
        record.outcome = "complete"
        return response

    async def _stream(
        self, request: web.Request, asked: dict[str, Any], behaviour: Behaviour, words: list[str],
        usage: dict[str, Any], record: Recorded,
    ) -> web.StreamResponse:  # fmt: skip
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        wants_usage = bool((asked.get("stream_options") or {}).get("include_usage")) and behaviour.usage
        head = _chunk_head(request.path, asked)
        for number, delta in enumerate(_deltas(request.path, words)):
            if behaviour.fault == "break" and number == behaviour.break_after:
                self._cut(request, record)
                return response
            chunk = {**head, "choices": [delta], **({"usage": None} if wants_usage else {})}
            await response.write(b"data: " + msgspec.json.encode(chunk) + b"\n\n")
            if behaviour.chunk_delay_ms:
                await asyncio.sleep(behaviour.chunk_delay_ms / 1000)
        if wants_usage:
            await response.write(b"data: " + msgspec.json.encode({**head, "choices": [], "usage": usage}) + b"\n\n")
        await response.write(b"data: [DONE]\n\n")
        record.outcome = "complete"
        return response

    def _cut(self, request: web.Request, record: Recorded) -> web.Response:
        record.outcome = "broken"
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _models(self, _: web.Request) -> web.Response:
        data = [{"id": name, "object": "model", "created": 1, "owned_by": "fake"} for name in self.behaviours]
        return web.json_response({"object": "list", "data": data})

    async def _show_requests(self, _: web.Request) -> web.Response:
        shown = [{**msgspec.structs.asdict(r), "body": r.body.decode("utf-8", "replace")} for r in self.requests]
        return web.json_response(shown)

    async def _show_bill(self, _: web.Request) -> web.Response:
        return web.Response(body=msgspec.json.encode(self.bill), content_type="application/json")

    async def _reset(self, _: web.Request) -> web.Response:
        self.requests.clear()
        self.bill.clear()
        self._failures.clear()
        return web.json_response({})


def _error(status: int, message: str, retry_after_s: int | None = None) -> web.Response:
    kinds = {429: "rate_limit_error", 401: "invalid_request_error", 400: "invalid_request_error"}
    error = {"message": message, "type": kinds.get(status, "server_error"), "param": None, "code": None}
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.json_response({"error": error}, status=status, headers=headers)


def _words(behaviour: Behaviour) -> list[str]:
    words = behaviour.text.split() or [""]
    count = len(words) if behaviour.chunks is None else behaviour.chunks
    return [words[i % len(words)] + ("" if i == count - 1 else " ") for i in range(count)]


def prompt_tokens(asked: dict[str, Any]) -> int:
    """A token a word, in every text of the request: what a test can count by hand."""
    texts: list[str] = []
    for message in asked.get("messages") or []:
        content = message.get("content") or ""
        texts += [content] if isinstance(content, str) else [str(part.get("text", "")) for part in content]
    for field in ("prompt", "input"):
        value = asked.get(field) or []
        texts += [value] if isinstance(value, str) else [str(item) for item in value]
    return sum(len(text.split()) for text in texts)


def _usage(asked: dict[str, Any], completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    prompt = prompt_tokens(asked)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "total_tokens": prompt + completion_tokens}
    if completion_tokens:
        usage["completion_tokens"] = completion_tokens
    if cached_tokens:
        usage["prompt_tokens_details"] = {"cached_tokens": cached_tokens}
    return usage


_ids = iter(range(1, sys.maxsize))


def _chunk_head(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    chat = "chat" in path
    kind = "chat.completion.chunk" if chat else "text_completion"
    prefix = "chatcmpl" if chat else "cmpl"
    return {
        "id": f"{prefix}-fake{next(_ids)}", "object": kind, "created": 1_700_000_000, "model": asked.get("model"),
        "system_fingerprint": "fp_fake",
    }  # fmt: skip


def _deltas(path: str, words: list[str]) -> list[dict[str, Any]]:
    """The `choices` entries of a stream: chat begins with the role alone; both end with the reason
    alone.
    """
    if "chat" not in path:
        return [
            *({"index": 0, "text": word, "finish_reason": None, "logprobs": None} for word in words),
            {"index": 0, "text": "", "finish_reason": "stop", "logprobs": None},
        ]
    return [
        {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None},
        *({"index": 0, "delta": {"content": word}, "finish_reason": None} for word in words),
        {"index": 0, "delta": {}, "finish_reason": "stop"},
    ]


def _object(path: str, asked: dict[str, Any], words: list[str]) -> dict[str, Any]:
    head = _chunk_head(path, asked)
    if "embeddings" in path:
        inputs = asked.get("input")
        count = len(inputs) if isinstance(inputs, list) else 1
        data = [{"object": "embedding", "index": i, "embedding": [0.25, -0.5, 0.125]} for i in range(count)]
        return {"id": head["id"], "object": "list", "model": head["model"], "data": data}
    text = "".join(words)
    choice: dict[str, Any] = {"index": 0, "finish_reason": "stop", "logprobs": None}
    if "chat" in path:
        choice["message"] = {"role": "assistant", "content": text, "refusal": None}
        return {**head, "object": "chat.completion", "choices": [choice]}
    return {**head, "choices": [{**choice, "text": text}]}


async def _serve(port: int) -> None:
    async with FakeUpstream(port=port) as upstream:
        print(upstream.base_url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    try:
        asyncio.run(_serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0))
    except KeyboardInterrupt:
        pass

"""What the edge's tests share: a broker, a bus, a provider and a client that do exactly what a
script says.
"""

import asyncio
import json
import socket
import struct
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any

import msgspec

from services.edge.journal import JournalFullError
from services.edge.publisher import PublishError
from shared import subjects
from shared.facts import TrafficFact, unpack
from shared.requests import (
    AdminRequest,
    CountRequest,
    DecideRequest,
    DecodeTokensRequest,
    KeywordsRequest,
    ScreenRequest,
    ServicesRequest,
    ShownRequest,
)

# ── the broker ──


class FakePublisher:
    """A broker that lands each message id once, and answers as `script` says, one word a try; after
    it "ack".

    ack     landed and acknowledged            lost    landed, the acknowledgement never comes
    refuse  not landed, an error at once       away    not landed, not even on the wire
    hold    waits for `release`, then as ack   crash   raises what nobody expects
    """

    def __init__(self, *script: str) -> None:
        self.script = list(script)
        self.default = "ack"
        self.tries: list[tuple[str, bytes]] = []
        self.landed: dict[str, bytes] = {}
        self.acked: set[str] = set()
        self.running = self.most_running = 0
        self.release = asyncio.Event()

    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        self.tries.append((message_id, payload))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            word = self.script.pop(0) if self.script else self.default
            if word == "crash":
                raise RuntimeError("nobody expects this")
            if word == "away":
                raise PublishError("unreachable")
            await asyncio.sleep(0)
            on_wire()
            if word == "hold":
                await self.release.wait()
            if word == "refuse":
                raise PublishError("refused")
            assert self.landed.setdefault(message_id, payload) == payload, "one id, two contents"
            if word == "lost":
                raise PublishError("TimeoutError")
            self.acked.add(message_id)
            return len(self.landed)
        finally:
            self.running -= 1

    async def close(self) -> None:
        pass

    def facts(self) -> list[TrafficFact]:
        return [fact for payload in self.landed.values() for fact in unpack(payload)]


def numbers(payloads: Iterable[bytes]) -> list[int]:
    """The facts of a recorder's test: packed as facts are, but only numbers."""
    return [number for payload in payloads for number in msgspec.msgpack.decode(payload)]


async def until(condition: Callable[[], Any], within_s: float = 10.0) -> None:
    """Returns when it holds; AssertionError when it doesn't in time."""
    try:
        async with asyncio.timeout(within_s):
            while not condition():
                await asyncio.sleep(0.002)
    except TimeoutError:
        raise AssertionError("it did not come to that") from None


class NoJournal:
    """Disabled, and without a file."""

    bytes_waiting = 0

    def append(self, message_id: str, payload: bytes) -> None:
        raise JournalFullError("disabled")

    def close(self) -> None:
        pass


# ── the bus ──

_QUESTIONS: dict[str, type[msgspec.Struct]] = {
    subjects.POLICY_DECIDE: DecideRequest,
    subjects.POLICY_ADMIN: AdminRequest,
    subjects.POLICY_SHOWN: ShownRequest,
    subjects.MODERATION_SCREEN: ScreenRequest,
    subjects.MODERATION_COUNT: CountRequest,
    subjects.MODERATION_TOKENS: DecodeTokensRequest,
    subjects.MODERATION_SERVICES: ServicesRequest,
    subjects.MODERATION_KEYWORDS: KeywordsRequest,
}


class FakeBus:
    """In a NATS client's place: questions go to `answers[subject]`, which may be a coroutine
    function, or None for silence.
    """

    wire = None

    def __init__(self) -> None:
        self.is_connected = True
        self.answers: dict[str, Callable[[Any], Any] | None] = {}
        self.sent: list[bytes] = []
        self.asked: list[Any] = []

    async def request(self, subject: str, data: bytes, timeout: float) -> Any:
        self.sent.append(data)
        question = msgspec.msgpack.decode(data, type=_QUESTIONS[subject])
        self.asked.append(question)
        answer = self.answers.get(subject)
        await asyncio.sleep(0)
        if answer is None:
            await asyncio.sleep(min(timeout, 0.02))
            raise TimeoutError
        reply = answer(question)
        if asyncio.iscoroutine(reply):
            async with asyncio.timeout(timeout):
                reply = await reply
        return SimpleNamespace(data=msgspec.msgpack.encode(reply))


class FakeFeed:
    """What Grants looks at of the control feed."""

    def __init__(self) -> None:
        self.stale_ms = 0.0
        self.caught_up = True
        self.seq = 0

    def is_current(self, stale_ms_max: float) -> bool:
        return self.caught_up and self.stale_ms < stale_ms_max


# ── a provider ──

Script = Callable[["Peer"], Awaitable[None]]


class Peer:
    """The provider's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def request(self) -> tuple[bytes, bytes]:
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        return head, await self.reader.readexactly(length)

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            if self.writer.is_closing():
                raise ConnectionResetError
            self.writer.write(piece)
            await self.writer.drain()
            await asyncio.sleep(0.001)

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def gone(self) -> None:
        """Until the edge has closed its end."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass


class Provider:
    """Runs `script` for every connection; what a script raises fails the test."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.bodies: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failures: list[Exception] = []

    async def __aenter__(self) -> "Provider":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        peer = Peer(reader, writer)
        ask = peer.request

        async def noted() -> tuple[bytes, bytes]:
            head, body = await ask()
            self.heads.append(head)
            self.bodies.append(body)
            return head, body

        peer.request = noted  # type: ignore[method-assign]
        try:
            await self.script(peer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        except Exception as failure:
            self._failures.append(failure)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._failures and kind is None:
            raise self._failures[0]


def response(body: bytes, status: str = "200 OK", kind: str = "application/json", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}\r\n".encode() + body


STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def always(*pieces: bytes, close: bool = False) -> Script:
    """Every request is answered with these pieces."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(*pieces)
            if close:
                return

    return script


USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def completion(text: str = "Hi there", usage: dict[str, Any] | None = USAGE, **more: Any) -> bytes:
    message = {"role": "assistant", "content": text}
    answer = {
        "id": "chatcmpl-p",
        "object": "chat.completion",
        "model": "gpt-x-1",
        "choices": [{"index": 0, "message": message}],
    }
    return json.dumps({**answer, **({"usage": usage} if usage is not None else {}), **more}).encode()


def delta(text: str, **more: Any) -> bytes:
    body = {"id": "chatcmpl-p", "model": "gpt-x-1", "choices": [{"index": 0, "delta": {"content": text}}], **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


USAGE_EVENT = (
    b"data: " + json.dumps({"id": "chatcmpl-p", "model": "gpt-x-1", "choices": [], "usage": USAGE}).encode() + b"\n\n"
)
DONE = b"data: [DONE]\n\n"

# ── a client ──


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def error_message(self) -> str:
        """Of an error in whatever a provider passes for OpenAI's shape."""
        return str(self.json()["error"]["message"])

    def error(self) -> dict[str, Any]:
        """The error object, checked to be OpenAI's shape."""
        assert self.headers["content-type"].startswith("application/json"), self
        found = self.json()
        assert list(found) == ["error"], found
        error: dict[str, Any] = found["error"]
        assert set(error) - {"provider_specific_fields"} == {"message", "type", "param", "code"}, error
        assert error["code"] == str(self.status)
        return error


class Caller_:
    """A client's connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def connect(cls, port: int) -> "Caller_":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=2**22))

    async def __aenter__(self) -> "Caller_":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def post(self, path: str, body: bytes, headers: dict[str, str] | None = None) -> None:
        fields = {
            "Host": "edge",
            "Authorization": "Bearer sk-client-key",
            "Content-Length": str(len(body)),
            **(headers or {}),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        await self.send(f"POST {path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)

    async def chat(self, model: str = "m", **fields: Any) -> None:
        body = {"model": model, "messages": [{"role": "user", "content": "Hello you"}], **fields}
        await self.post("/v1/chat/completions", json.dumps(body).encode())

    async def head(self) -> Answer:
        async with asyncio.timeout(10):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return Answer(int(lines[0].split(" ")[1]), headers, b"")

    async def answer(self) -> Answer:
        """One whole answer. IncompleteReadError when it is cut."""
        answer = await self.head()
        async with asyncio.timeout(10):
            if answer.headers.get("transfer-encoding") == "chunked":
                while piece := await self.chunk():
                    answer.body += piece
            else:
                answer.body = await self.reader.readexactly(int(answer.headers["content-length"]))
        return answer

    async def chunk(self) -> bytes:
        """The next chunk of a chunked body; b"" for the last."""
        async with asyncio.timeout(10):
            size = int((await self.reader.readuntil(b"\r\n"))[:-2], 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    def leave(self) -> None:
        self.writer.transport.abort()

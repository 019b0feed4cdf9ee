"""The bus: connecting to NATS, asking with a deadline, and answering.

A service has two connections: the client library's, for streams and all that is rare, and
`shared.wire`'s, for what every request waits for. Where no server takes the second one, there is
only the library's.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

import msgspec
import nats.errors
import structlog
from nats.aio.msg import Msg

from shared import batching, settings, subjects
from shared.batching import Bundler
from shared.bus_client import BusClient as BusClient
from shared.bus_client import Complaints
from shared.bus_tls import BusSettings
from shared.decoding import UNREADABLE
from shared.requests import Fault
from shared.wire import Wire
from shared.wire_connection import WireError

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.1
AGAIN_MAX = 10
"""Waits for another server of the broker, of a question that may be asked again. Where there is
none by then, there is no broker.
"""
PENDING_BYTES_MAX = 8 * 1024 * 1024
"""What the client may buffer while it reconnects; past that a publish raises at once."""
CONCURRENT_ANSWERS_MAX = 1024
"""Questions one replica works on at a time; more wait in line."""
WAITING_QUESTIONS_MAX = 8192
"""More are told at once that nobody has time for them."""

COMPLAIN_EVERY_S = 1.0
ONCE_TIMEOUT_S = 10.0

T = TypeVar("T", bound=msgspec.Struct)


_encode = msgspec.msgpack.Encoder().encode


class BusError(Exception):
    """The bus or the service behind a subject could not answer. `code` is shared.requests.Fault's,
    or `timeout`, `unreachable`.
    """

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


async def connect(
    service: str,
    url: str,
    *,
    on_lost: Callable[[], None] | None = None,
    on_back: Callable[[], None] | None = None,
) -> BusClient:
    """Connect as `service`, and reconnect for ever. Waits until the first connection stands.

    Args:
        url: one or more comma-separated `nats://user:password@host:port`, or `tls://...`: then
            nothing is sent in the clear but the server's own introduction, and its certificate is
            checked (BusSettings). Credentials never reach the log.
        on_lost, on_back: when the connection breaks, and stands again; they must not block.
    """

    async def lost() -> None:
        if client.is_closed:  # by us
            return
        log.warning("bus_lost", service=service)
        if on_lost is not None:
            on_lost()

    async def back() -> None:
        log.info("bus_back", service=service)
        if on_back is not None:
            on_back()

    complaints = Complaints(service)

    async def error(exc: Exception) -> None:
        complaints.say(exc, time.monotonic())

    given = settings.read(BusSettings, os.environ)
    tls, nkey_file = given.context(url), given.nkey()
    client = BusClient()
    client.nkey_file = nkey_file
    await client.connect(
        tls=tls,
        servers=url.split(","),
        name=service,
        inbox_prefix=subjects.inbox_prefix(service).encode(),
        connect_timeout=CONNECT_TIMEOUT_S,
        reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # annotated int, used as seconds of any kind
        max_reconnect_attempts=-1,
        pending_size=PENDING_BYTES_MAX,
        ping_interval=2,  # the third without an answer, and another server is tried
        max_outstanding_pings=2,
        disconnected_cb=lost,
        reconnected_cb=back,
        error_cb=error,
    )
    wire = Wire(url, service, tls, nkey_file)
    client.wire = wire if await wire.start() else None
    client.bundler = Bundler(wire.request, wire.flush)
    return client


async def connect_once(service: str, url: str, timeout_s: float = ONCE_TIMEOUT_S) -> BusClient:
    """As `connect`, for a command: where nobody lets it in, it says so and ends. Raises OSError
    with a sentence, and what `connect` raises.
    """
    try:
        return await asyncio.wait_for(connect(service, url), timeout_s)
    except TimeoutError:
        hosts = ", ".join(part.rpartition("@")[2].rpartition("/")[2] for part in url.split(","))
        raise OSError(
            f"no broker at {hosts} let us in within {timeout_s:g} s: is it there, are user and password right?"
        ) from None


async def close(client: BusClient) -> None:
    """Send what waits, and close. Raises nothing: with the broker gone there is nobody to tell."""
    # RuntimeError: what uvloop says of a connection that is already closed.
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, RuntimeError):
        await asyncio.wait_for(client.close(), CONNECT_TIMEOUT_S)


async def ask(
    client: BusClient,
    subject: str,
    question: msgspec.Struct,
    answer: type[T],
    timeout_ms: int,
    *,
    tries: int = 1,
    again: bool = False,
    together: bool = False,
) -> T:
    """Ask and decode. Raises BusError; never waits longer than `timeout_ms`.

    Args:
        tries: how often to ask within that time, where nobody answers; more than one only for
            questions without effects.
        again: what a broken connection took along is asked again by the next one, as by more
            `tries`, but each has all the time.
        together: it may travel with others of this turn: only for questions without effects that
            are answered at once.
    """
    encoded = _encode(question)
    now = asyncio.get_running_loop().time
    deadline, left, patience = now() + timeout_ms / 1000, tries, AGAIN_MAX if again else 0
    wait_s = timeout_ms / 1000 / tries  # the same for all of a turn: those travel together
    while True:
        lost = False
        try:
            data = await _asked(client, subject, encoded, wait_s, together)
            break
        except WireError as error:
            lost = error.code == "unreachable"
            code = "timeout" if error.code == "timeout" else "unreachable"
        except (nats.errors.TimeoutError, TimeoutError):
            code = "timeout"
        except nats.errors.Error:
            code = "unreachable"
        if lost and patience:
            patience -= 1
        else:
            left -= 1
        pause_s = RECONNECT_WAIT_S if lost else 0.0  # the other connection may stand, or this one be back
        if left == 0 or not (lost or code == "timeout") or now() + pause_s >= deadline:
            raise BusError(code)
        if lost:
            await asyncio.sleep(pause_s)
        wait_s = (deadline - now()) / left
    if data.startswith(_FAULT_HEAD):
        raise BusError(_fault_decoder.decode(data).code)
    try:
        return _decoder(answer).decode(data)
    except UNREADABLE:
        raise BusError("internal") from None


def _asked(client: BusClient, subject: str, question: bytes, timeout_s: float, together: bool) -> Awaitable[bytes]:
    wire = client.wire
    if wire is not None and wire.is_connected:
        return (client.bundler.ask if together else wire.request)(subject, question, timeout_s)
    if not client.is_connected:
        raise WireError("unreachable")
    return _by_library(client, subject, question, timeout_s)


async def _by_library(client: BusClient, subject: str, question: bytes, timeout_s: float) -> bytes:
    return bytes((await client.request(subject, question, timeout=timeout_s)).data)


_decoders: dict[type[Any], Any] = {}
"""Made once for each type of answer."""


def _decoder(answer: type[T]) -> "msgspec.msgpack.Decoder[T]":
    found: msgspec.msgpack.Decoder[T] | None = _decoders.get(answer)
    if found is None:
        found = _decoders[answer] = msgspec.msgpack.Decoder(answer)
    return found


_FAULT_HEAD = _encode(Fault("x"))[: -len(msgspec.msgpack.encode("x"))]
_fault_decoder = msgspec.msgpack.Decoder(Fault)

Handler = Callable[[T], msgspec.Struct | Awaitable[msgspec.Struct]]
"""Answers a question at once, or, where it has to wait for something, by an awaitable."""


class Answering(Protocol):
    """Questions being answered."""

    async def drain(self, timeout_s: float = 10.0) -> None:
        """No more questions; returns when those received are answered, or after `timeout_s`."""
        ...


async def answer(client: BusClient, subject: str, queue: str, question: type[T], handler: Handler[T]) -> Answering:
    """Answer `subject` in queue group `queue`: decode, handle, reply, until `drain()`. On return
    questions come here.

    Questions that have to wait are worked on side by side, at most CONCURRENT_ANSWERS_MAX at once.
    A question that can't be read is answered with Fault("bad_request"); an exception of the handler
    is logged and answered with Fault("internal").
    """
    desk = _Desk(subject, question, handler)
    wire = client.wire

    def by_library(reply: bytes, data: bytes) -> None:
        desk.start(client.publish(reply.decode(), data))

    desk.otherwise = by_library
    if wire is not None:
        desk.send = wire.send
        sid = await wire.subscribe(subject, queue, desk.take)
        desk.stop = lambda: wire.unsubscribe(sid)
        return desk

    async def receive(message: Msg) -> None:
        desk.take(message.reply.encode(), message.data)

    desk.send = by_library
    subscription = await client.subscribe(subject, queue=queue, cb=receive)
    desk.stop = subscription.drain
    with contextlib.suppress(nats.errors.Error):  # a broker that went away again gets the subscription when it is back
        await client.flush(timeout=CONNECT_TIMEOUT_S)
    return desk


class _Desk(Generic[T]):
    """Where questions come in and answers go out: at once where that can be, else from tasks."""

    def __init__(self, subject: str, question: type[T], handler: Handler[T]) -> None:
        self._subject = subject
        self._decode = msgspec.msgpack.Decoder(question).decode
        self._decode_bundle = msgspec.msgpack.Decoder(list[question]).decode  # type: ignore[valid-type]
        self._handler = handler
        self._line: deque[tuple[bytes, bytes]] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self.misdirected = 0
        """Questions refused because their answer was wanted elsewhere than in an inbox."""
        self._complained_at = -COMPLAIN_EVERY_S
        self.send: Callable[[bytes, bytes], None]
        """(reply subject, answer): hands an answer to the connection."""
        self.otherwise: Callable[[bytes, bytes], None]
        """The same where that connection is away: another may stand, or its server be replaced."""
        self.stop: Callable[[], Awaitable[None]]
        """Ends the subscription, once what was received has been taken."""

    def take(self, reply: bytes, data: bytes) -> None:
        """One question, or a bundle of them. Never raises.

        One that wants its answer anywhere but in an inbox is refused before it is read: we would
        write there in the asker's place.
        """
        if not subjects.is_inbox(reply):
            self._misdirected(reply)
        elif len(self._running) < CONCURRENT_ANSWERS_MAX:
            self._work(reply, data)
        elif len(self._line) < WAITING_QUESTIONS_MAX:
            self._line.append((reply, data))
        else:
            self._reply(reply, Fault("unavailable"))

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._done)

    async def drain(self, timeout_s: float = 10.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(nats.errors.Error):  # the connection is gone: nothing more comes in
                    await self.stop()
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            log.warning("answers_cut_off", running=len(self._running))

    def _work(self, reply: bytes, data: bytes) -> None:
        try:
            bundled = data.startswith(batching.HEAD)
            questions: list[T] = self._decode_bundle(data) if bundled else [self._decode(data)]
        except UNREADABLE:
            self._reply(reply, Fault("bad_request"))  # a bundle's are then asked one by one
            return
        answers = [self._answer(question) for question in questions]
        at_once = [answer for answer in answers if isinstance(answer, msgspec.Struct)]
        if len(at_once) < len(answers):
            self.start(self._wait(reply, answers, bundled))
        elif bundled:
            self._reply_all(reply, at_once)
        else:
            self._reply(reply, at_once[0])

    def _answer(self, question: T) -> msgspec.Struct | Awaitable[msgspec.Struct]:
        try:
            return self._handler(question)
        except Exception as error:
            return self._fault(error)

    async def _wait(
        self, reply: bytes, answers: list[msgspec.Struct | Awaitable[msgspec.Struct]], bundled: bool
    ) -> None:
        if bundled:
            self._reply_all(reply, await asyncio.gather(*map(self._answered, answers)))
        else:
            self._reply(reply, await self._answered(answers[0]))

    async def _answered(self, answer: msgspec.Struct | Awaitable[msgspec.Struct]) -> msgspec.Struct:
        if isinstance(answer, msgspec.Struct):
            return answer
        try:
            return await answer
        except Exception as error:
            return self._fault(error)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.warning("reply_lost", subject=self._subject, error=type(error).__name__)
        if self._line:
            self._work(*self._line.popleft())

    def _misdirected(self, reply: bytes) -> None:
        self.misdirected += 1
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            log.error(
                "question_without_inbox", subject=self._subject, reply=reply[:80].decode("ascii", "replace"), so_far=self.misdirected
            )  # fmt: skip

    def _fault(self, error: Exception) -> Fault:
        if isinstance(error, BusError):
            return Fault(error.code)
        log.error("answer_failed", subject=self._subject, exc_info=error)
        return Fault("internal")

    def _reply(self, reply: bytes, answered: msgspec.Struct) -> None:
        try:
            self._send(reply, _encode(answered))
        except WireError as error:
            log.warning("reply_lost", subject=self._subject, error=error.code)

    def _reply_all(self, reply: bytes, answered: list[msgspec.Struct]) -> None:
        try:
            self._send(reply, batching.pack([_encode(each) for each in answered]))
        except WireError:
            self._reply(reply, Fault("too_large"))

    def _send(self, reply: bytes, data: bytes) -> None:
        """Raises WireError (too_large)."""
        try:
            self.send(reply, data)
        except WireError as error:
            if error.code != "unreachable":
                raise
            self.otherwise(reply, data)

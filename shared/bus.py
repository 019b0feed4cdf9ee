"""The bus: connecting to NATS, asking with a deadline, and the two streams.

Only this module, `shared.feed` and the ledger's consumer know the NATS client.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
import nats.errors
import nats.js.errors
import structlog
from nats.aio.client import PING_PROTO, Client
from nats.aio.msg import Msg
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

from shared import subjects
from shared.requests import Fault

log = structlog.get_logger()

CONNECT_TIMEOUT_S = 2
RECONNECT_WAIT_S = 0.1
PENDING_BYTES_MAX = 8 * 1024 * 1024
"""What the client may buffer while it reconnects; past that a publish raises at once."""
CONCURRENT_ANSWERS_MAX = 1024
"""Questions one replica works on at a time; more wait in the subscription's bounded queue."""

T = TypeVar("T", bound=msgspec.Struct)

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes somebody else wrote may raise: not text, or nested without end, is unreadable too."""

_encode = msgspec.msgpack.Encoder().encode


class BusError(Exception):
    """The bus or the service behind a subject could not answer. `code` is shared.requests.Fault's, or `timeout`, `unreachable`."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class _OrderedClient(Client):
    """nats-py writes a PING past the commands that still wait to be sent, so that after `flush()` a subscription may not exist
    yet, and while a subscription drains questions are lost. Here the PING waits its turn.
    """

    async def _send_ping(self, future: asyncio.Future[Any] | None = None) -> None:
        self._pongs.append(asyncio.get_running_loop().create_future() if future is None else future)
        await self._send_command(PING_PROTO)
        await self._flush_pending()


async def connect(
    service: str,
    url: str,
    *,
    on_lost: Callable[[], None] | None = None,
    on_back: Callable[[], None] | None = None,
) -> Client:
    """Connect as `service`, and keep reconnecting for ever. Waits until the first connection stands.

    Args:
        url: one or more comma-separated `nats://user:password@host:port`; credentials never reach the log.
        on_lost, on_back: called when the connection breaks, and when it stands again. They must not block.
    """

    async def lost() -> None:
        log.warning("bus_lost", service=service)
        if on_lost is not None:
            on_lost()

    async def back() -> None:
        log.info("bus_back", service=service)
        if on_back is not None:
            on_back()

    async def error(exc: Exception) -> None:
        log.warning("bus_error", service=service, error=type(exc).__name__, detail=str(exc)[:200])

    client = _OrderedClient()
    await client.connect(
        servers=url.split(","),
        name=service,
        inbox_prefix=subjects.inbox_prefix(service).encode(),
        connect_timeout=CONNECT_TIMEOUT_S,
        reconnect_time_wait=RECONNECT_WAIT_S,  # type: ignore[arg-type]  # annotated int, used as seconds of any kind
        max_reconnect_attempts=-1,
        pending_size=PENDING_BYTES_MAX,
        ping_interval=5,
        max_outstanding_pings=2,
        disconnected_cb=lost,
        reconnected_cb=back,
        error_cb=error,
    )
    return client


async def close(client: Client) -> None:
    """Send what waits to be sent, and close. Raises nothing: with the broker gone there is nobody left to tell."""
    # RuntimeError: what uvloop says of a connection that is already closed.
    with contextlib.suppress(nats.errors.Error, OSError, TimeoutError, RuntimeError):
        await asyncio.wait_for(client.close(), CONNECT_TIMEOUT_S)


async def ask(client: Client, subject: str, question: msgspec.Struct, answer: type[T], timeout_ms: int) -> T:
    """Ask and decode. Raises BusError; never waits longer than `timeout_ms`."""
    if not client.is_connected:
        raise BusError("unreachable")
    try:
        message = await client.request(subject, _encode(question), timeout=timeout_ms / 1000)
    except (nats.errors.TimeoutError, TimeoutError):
        raise BusError("timeout") from None
    except nats.errors.Error:
        raise BusError("unreachable") from None
    data = message.data
    fault = _as_fault(data)
    if fault is not None:
        raise BusError(fault.code)
    try:
        return msgspec.msgpack.decode(data, type=answer)
    except UNREADABLE:
        raise BusError("internal") from None


_FAULT_HEAD = _encode(Fault("x"))[: -len(msgspec.msgpack.encode("x"))]
_fault_decoder = msgspec.msgpack.Decoder(Fault)


def _as_fault(data: bytes) -> Fault | None:
    return _fault_decoder.decode(data) if data.startswith(_FAULT_HEAD) else None


class Answering:
    """Questions being answered."""

    def __init__(self, subscription: Any, running: set[asyncio.Task[None]]) -> None:
        self._subscription = subscription
        self._running = running

    async def drain(self, timeout_s: float = 10.0) -> None:
        """Take no more questions; return when those already received are answered, or after `timeout_s`. Raises nothing."""
        try:
            async with asyncio.timeout(timeout_s):
                with contextlib.suppress(nats.errors.Error):  # the connection is gone: nothing more comes in
                    await self._subscription.drain()
                while self._running:
                    await asyncio.wait(self._running)
        except TimeoutError:
            log.warning("answers_cut_off", running=len(self._running))


async def answer(
    client: Client,
    subject: str,
    queue: str,
    question: type[T],
    handler: Callable[[T], Awaitable[msgspec.Struct]],
) -> Answering:
    """Answer `subject` in queue group `queue`: decode, handle, reply, until `drain()`.

    Each question runs in its own task, at most CONCURRENT_ANSWERS_MAX at once. A question that can't be read is answered with
    Fault("bad_request"); an exception of the handler is logged and answered with Fault("internal").
    """
    decoder = msgspec.msgpack.Decoder(question)
    slots = asyncio.Semaphore(CONCURRENT_ANSWERS_MAX)
    running: set[asyncio.Task[None]] = set()

    async def work(message: Msg) -> None:
        reply: msgspec.Struct
        try:
            try:
                asked = decoder.decode(message.data)
            except UNREADABLE:
                reply = Fault("bad_request")
            else:
                reply = await handler(asked)
        except BusError as failure:
            reply = Fault(failure.code)
        except Exception:
            log.exception("answer_failed", subject=subject)
            reply = Fault("internal")
        finally:
            slots.release()
        try:
            await message.respond(_encode(reply))
        except nats.errors.Error as failure:
            log.warning("reply_lost", subject=subject, error=type(failure).__name__)

    async def receive(message: Msg) -> None:
        await slots.acquire()
        task = asyncio.create_task(work(message))
        running.add(task)
        task.add_done_callback(running.discard)

    return Answering(await client.subscribe(subject, queue=queue, cb=receive), running)


async def ensure_control_stream(client: Client) -> None:
    """The whole history of control facts: no age limit, nothing deleted."""
    await _ensure(
        client,
        StreamConfig(
            name=subjects.CONTROL_STREAM,
            subjects=[subjects.CONTROL_ALL],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            duplicate_window=120,
            deny_delete=True,
            allow_direct=True,
            allow_atomic=True,  # a command's facts stand or fall together
            num_replicas=1,
        ),
    )


async def ensure_traffic_stream(client: Client, max_bytes: int) -> None:
    """Facts on their way to the book. When it is full it refuses (`discard: new`) instead of dropping money; the ledger trims what is final."""
    await _ensure(
        client,
        StreamConfig(
            name=subjects.TRAFFIC_STREAM,
            subjects=[subjects.TRAFFIC_ALL],
            retention=RetentionPolicy.LIMITS,
            storage=StorageType.FILE,
            discard=DiscardPolicy.NEW,
            max_bytes=max_bytes,
            duplicate_window=120,
            num_replicas=1,
        ),
    )


async def _ensure(client: Client, config: StreamConfig) -> None:
    """Create the stream, or leave an existing one as its operator configured it (replicas, limits)."""
    stream = client.jetstream(timeout=5)
    try:
        await stream.add_stream(config)
    except nats.js.errors.BadRequestError as refusal:
        if refusal.err_code != 10058:  # "stream name already in use" with another configuration
            raise
        log.info("stream_kept_as_configured", stream=config.name)

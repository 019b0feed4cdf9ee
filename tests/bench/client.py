"""Our own load client, in a process of its own: `python -m tests.bench.client` with a Job as JSON
on stdin, a Load as JSON on stdout.

Two ways to ask:
- a constant rate (open loop): call i is due at start + i/rate whatever became of the others, and
  its latency counts from when it was *due*, so a gateway that stalls can't hide the calls that had
  to wait (coordinated omission);
- a closed loop (`rate` 0) with a fixed number of connections: only where wrk can't be had.

Timers: asyncio's epoll and libuv round them to a millisecond, more than what is measured here, so
the open loop runs on select(), which takes microseconds. `late_p50_ms` says how late the client
itself was.
"""

import asyncio
import collections
import selectors
import sys
import time
from typing import cast

import httptools
import msgspec
import uvloop

RESPONSE_TAIL_BYTES = 64
DRAIN_S_MAX = 30.0


class Job(msgspec.Struct, frozen=True):
    port: int
    request: bytes
    """A whole HTTP/1.1 request."""
    seconds: float
    rate: float = 0.0
    """Calls a second; 0: closed loop."""
    connections: int = 64
    """Of a closed loop; an open loop starts with `connections` and opens more when all are busy."""
    stream: bool = False
    """An answer is right only if it ends with [DONE]."""


class Load(msgspec.Struct, frozen=True):
    """What a load client saw in one slice."""

    ok: int
    bad: int
    unfinished: int
    """Sent, and not answered when the slice ended."""
    seconds: float
    p50_ms: float
    p99_ms: float
    body_bytes: int
    first_p50_ms: float = 0.0
    """Until the first byte of the body."""
    first_p99_ms: float = 0.0
    late_p50_ms: float = 0.0
    """How late the client itself sent."""
    late_p99_ms: float = 0.0
    trouble: str = ""
    """The first thing that went wrong."""


class Call:
    __slots__ = ("due", "first")

    def __init__(self, due: float) -> None:
        self.due = due
        self.first = 0.0


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one call on it."""

    def __init__(self, driver: "Driver") -> None:
        self.driver = driver
        self.call: Call | None = None
        self.tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's don't inherit from it
        self.parser = httptools.HttpResponseParser(self)

    def send(self, call: Call) -> None:
        self.call = call
        self.tail = b""
        self.transport.write(self.driver.job.request)

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            self.driver.failed(self, f"unreadable answer: {error!r}")
            self.transport.abort()

    def on_body(self, part: bytes) -> None:
        if self.call is not None and not self.call.first:
            self.call.first = time.perf_counter()
        self.driver.body_bytes += len(part)
        self.tail = part[-RESPONSE_TAIL_BYTES:] if len(part) >= 16 else (self.tail + part)[-RESPONSE_TAIL_BYTES:]

    def on_message_complete(self) -> None:
        status = self.parser.get_status_code()
        whole = not self.driver.job.stream or b"[DONE]" in self.tail
        alive = self.parser.should_keep_alive()
        self.parser = httptools.HttpResponseParser(self)
        if status == 200 and whole:
            self.driver.done(self, alive)
        else:
            self.driver.failed(self, f"status {status}: {self.tail!r}")

    def connection_lost(self, exc: Exception | None) -> None:
        if self.call is not None:
            self.driver.failed(self, f"connection lost: {exc!r}")
        self.driver.forget(self)


class Driver:
    """Runs one Job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.loop = asyncio.get_running_loop()
        self.free: collections.deque[Connection] = collections.deque()
        self.busy: set[Connection] = set()
        self.opening: set[asyncio.Task[None]] = set()
        self.latency: list[float] = []
        self.first: list[float] = []
        self.late: list[float] = []
        self.bad = 0
        self.body_bytes = 0
        self.trouble = ""
        self.closing = False

    async def connect(self) -> Connection:
        _, connection = await self.loop.create_connection(lambda: Connection(self), "127.0.0.1", self.job.port)
        return connection

    async def run(self) -> Load:
        for _ in range(self.job.connections):
            self.free.append(await self.connect())
        self.started = time.perf_counter()
        self.ends = self.started + self.job.seconds
        if self.job.rate:
            await self.open_loop()
        else:
            await self.closed_loop()
        self.closing = True
        unfinished = len(self.busy)
        for connection in [*self.free, *self.busy]:
            connection.call = None
            connection.transport.abort()
        return self.report(unfinished)

    async def open_loop(self) -> None:
        for i in range(int(self.job.seconds * self.job.rate)):
            due = self.started + i / self.job.rate
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            self.send(Call(due))
        give_up = time.perf_counter() + DRAIN_S_MAX
        while (self.busy or self.opening) and time.perf_counter() < give_up:
            await asyncio.sleep(0.005)

    async def closed_loop(self) -> None:
        while self.free:
            self.send(Call(time.perf_counter()))
        await asyncio.sleep(self.ends - time.perf_counter())

    def send(self, call: Call) -> None:
        if not self.free:
            task = asyncio.create_task(self.send_on_new(call))
            self.opening.add(task)
            task.add_done_callback(self.opening.discard)
            return
        connection = self.free.popleft()
        self.busy.add(connection)
        self.late.append(time.perf_counter() - call.due)
        connection.send(call)

    async def send_on_new(self, call: Call) -> None:
        try:
            self.free.append(await self.connect())
        except OSError as error:
            self.bad += 1
            self.trouble = self.trouble or f"no connection: {error}"
        else:
            self.send(call)

    def done(self, connection: Connection, alive: bool) -> None:
        now, call = time.perf_counter(), connection.call
        if call is None:
            return
        self.latency.append(now - call.due)
        self.first.append(call.first - call.due)
        self.released(connection, alive)

    def failed(self, connection: Connection, why: str) -> None:
        if connection.call is not None and not self.closing:
            self.bad += 1
            self.trouble = self.trouble or why
        self.released(connection, False)

    def released(self, connection: Connection, alive: bool) -> None:
        connection.call = None
        self.busy.discard(connection)
        if not alive:
            connection.transport.abort()
        elif not self.job.rate and time.perf_counter() < self.ends:
            self.busy.add(connection)
            connection.send(Call(time.perf_counter()))
        else:
            self.free.append(connection)

    def forget(self, connection: Connection) -> None:
        if connection in self.free:
            self.free.remove(connection)

    def report(self, unfinished: int) -> Load:
        return Load(
            ok=len(self.latency),
            bad=self.bad,
            unfinished=unfinished,
            seconds=time.perf_counter() - self.started,
            p50_ms=quantile_ms(self.latency, 0.5),
            p99_ms=quantile_ms(self.latency, 0.99),
            body_bytes=self.body_bytes,
            first_p50_ms=quantile_ms(self.first, 0.5),
            first_p99_ms=quantile_ms(self.first, 0.99),
            late_p50_ms=quantile_ms(self.late, 0.5),
            late_p99_ms=quantile_ms(self.late, 0.99),
            trouble=self.trouble[:300],
        )


def quantile_ms(values_s: list[float], share: float) -> float:
    ordered = sorted(values_s)
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 4) if ordered else 0.0


async def _run(job: Job) -> Load:
    return await Driver(job).run()


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    if job.rate:
        loop: asyncio.AbstractEventLoop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    else:
        loop = uvloop.new_event_loop()
    load = loop.run_until_complete(_run(job))
    sys.stdout.buffer.write(msgspec.json.encode(load))


if __name__ == "__main__":
    main()

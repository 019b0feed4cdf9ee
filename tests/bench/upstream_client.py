"""CPU a request of the edge's upstream client and of aiohttp's ClientSession, interleaved, in one
process.

    python tests/bench/upstream_client.py [--seconds 1] [--rounds 8] [--concurrency 64] [--loop
    uvloop|asyncio]

The upstream is a tiny asyncio server in a process of its own that answers every request with the
same bytes. What counts is the ratio in the last line (the median of the rounds' ratios): absolute
numbers are this machine's, now.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import aiohttp
import uvloop

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from services.edge.upstream import Client, Deadlines, Origin, render_headers

BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "word " * 90}]}).encode()
ANSWER = json.dumps({"id": "x", "choices": [{"message": {"role": "assistant", "content": "word " * 80}}]}).encode()
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: 0123456789abcdef\r\n"
    b"openai-processing-ms: 12\r\ndate: Mon, 23 Nov 2026 00:00:00 GMT\r\ncontent-length: %d\r\n\r\n" % len(ANSWER)
)
HEADERS = [("content-type", "application/json"), ("authorization", "Bearer sk-0123456789"), ("user-agent", "bench")]
DEADLINES = Deadlines()
Step = Callable[[], Awaitable[None]]


class Fixed(asyncio.Protocol):
    """Answers when a whole request (head and the known body) has arrived; parses nothing."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.seen = b""

    def data_received(self, data: bytes) -> None:
        self.seen += data
        head = self.seen.find(b"\r\n\r\n")
        if head >= 0 and len(self.seen) >= head + 4 + len(BODY):
            self.seen = self.seen[head + 4 + len(BODY) :]
            self.transport.write(HEAD + ANSWER)  # type: ignore[attr-defined]


def serve(pipe: Pipe) -> None:
    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Fixed, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.get_running_loop().run_in_executor(None, pipe.poll, 600)

    uvloop.run(main())


async def slice_of(step: Step, seconds: float, concurrency: int) -> tuple[float, float]:
    """→ (CPU µs a request, requests a second)."""
    done = 0
    until = time.perf_counter() + seconds

    async def worker() -> None:
        nonlocal done
        while time.perf_counter() < until:
            await step()
            done += 1

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(concurrency)))
    return (time.process_time() - cpu) / done * 1e6, done / (time.perf_counter() - wall)


async def measure(port: int, options: argparse.Namespace) -> None:
    origin, base = Origin.parse(f"http://127.0.0.1:{port}/v1")
    client = Client()
    block = render_headers(HEADERS)
    session = aiohttp.ClientSession(
        auto_decompress=False, connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.DummyCookieJar()
    )
    url, pairs = f"http://127.0.0.1:{port}/v1/chat/completions", dict(HEADERS)

    async def ours() -> None:
        response = await client.send(origin, "POST", base + "/chat/completions", block, BODY, DEADLINES)
        if len(await response.read(1 << 20)) != len(ANSWER):
            raise RuntimeError("a wrong answer")

    async def theirs() -> None:
        async with session.post(url, data=BODY, headers=pairs) as response:
            if len(await response.read()) != len(ANSWER):
                raise RuntimeError("a wrong answer")

    ratios: list[float] = []
    for step in (ours, theirs):
        await slice_of(step, 0.3, options.concurrency)
    for number in range(options.rounds):
        order = (ours, theirs) if number % 2 else (theirs, ours)
        result = {step: await slice_of(step, options.seconds, options.concurrency) for step in order}
        (ours_us, ours_rate), (theirs_us, theirs_rate) = result[ours], result[theirs]
        ratios.append(theirs_us / ours_us)
        print(
            f"round {number + 1}: aiohttp {theirs_us:6.1f} µs {theirs_rate:7.0f}/s   "
            f"ours {ours_us:6.1f} µs {ours_rate:7.0f}/s   ratio {ratios[-1]:.2f}"
        )
    await session.close()
    await client.close()
    print(f"aiohttp / ours, CPU a request: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--loop", choices=("uvloop", "asyncio"), default="uvloop")
    options = parser.parse_args()
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    try:
        factory = uvloop.new_event_loop if options.loop == "uvloop" else asyncio.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(measure(ours.recv(), options))
    finally:
        server.terminate()
        server.join(5)


if __name__ == "__main__":
    main()

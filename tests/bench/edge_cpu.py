"""`python -m tests.bench.edge_cpu`: what one warm call costs the edge's own code, in one process,
without a socket or a bus.

Everything between the client's bytes and the provider's is the real thing: parser, server,
pipeline, recorder, upstream client. In place of sockets there are transports in memory, in place of
the broker somebody who acknowledges in the next turn of the loop. So the number is Python's part
alone: no system calls, and nothing of other processes but their heat. The best of many short slices
stands for an undisturbed machine; compare two versions by running both, twice, in turn.

--calls N exactly N calls and no clock: under `valgrind --tool=none` or callgrind, the difference of
        two Ns counts instructions
--steps N bytecodes that N calls take, a call: the same on a busy machine as on a quiet one (CPython
        3.11; other versions have others)
"""

import argparse
import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvloop

from services.edge import front
from services.edge.cache import control
from services.edge.cache.state import Cache
from services.edge.cache.store import Local
from services.edge.clock import Clock
from services.edge.config import EdgeSettings
from services.edge.grants import Grants
from services.edge.group_commit import GroupCommit
from services.edge.http import Budget
from services.edge.http.connection import ClientConnection
from services.edge.metrics import RecorderMetrics
from services.edge.parts import Parts
from services.edge.providers import table
from services.edge.server import Server
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.upstream import Client, Origin, pool
from shared import config, subjects
from shared.asker import Signer
from shared.billing import Price
from shared.facts import Caller
from shared.grant import Candidate, Grant
from shared.ids import digest_key
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import DecideReply, DecideRequest
from tests.bench import wire
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, FakeBus, FakeFeed, NoJournal, chunk, response

CLIENTS = 64
"""At once, as in the benchmark's load."""
SLICE_CALLS = 500
KINDS = ("whole", "stream", "whole-hit", "stream-hit", "whole-idle")
"""`-hit`: all but the first calls find their answer in the cache; `-idle`: with what EVERYTHING
configures, of which the call uses nothing."""
KEY = "sk-bench-0123456789012345"
CALLER = Caller(key_sha256=digest_key(KEY), key_alias="bench", team_id="0199a1c2-team", team_alias="bench")
MODEL = "bench"


EVERYTHING = """
general_settings:
  master_key: sk-1234567890-of-the-bench
  max_request_size_mb: 32
  max_response_size_mb: 64
  max_file_size_mb: 16
  allowed_file_extensions: [pdf, wav, png]
  blocked_file_extensions: [exe]
  block_robots: true
  include_call_id_in_error_body: true
  alerting: [slack]
  alerting_threshold: 300
  pass_through_endpoints:
    - {path: /v1/rerank, target: "https://api.example.com/v1/rerank", methods: [POST], auth: true, headers: {Authorization: "Bearer sk-target"}}
    - {path: /bench, target: "https://api.example.com", include_subpath: true, forward_headers: true, cost_per_request: 0.01}
    - {path: /open, target: "https://api.example.com/open", auth: false}
litellm_settings:
  forward_traceparent_to_llm_provider: true
  public_model_groups: [bench]
  require_auth_for_metrics_endpoint: false
"""
CACHED = {"type": "local", "mode": "default_off"}


class Loop(uvloop.Loop):
    """Whoever connects is answered by the provider, in memory."""

    answer: tuple[bytes, ...] = ()

    async def create_connection(self, protocol_factory: Callable[[], Any], *_: Any, **__: Any) -> Any:
        protocol = protocol_factory()
        transport = _Provider(self, protocol)
        protocol.connection_made(transport)
        return transport, protocol


class _Transport:
    """One end in memory, as far as the edge looks at it."""

    def __init__(self, loop: Loop, protocol: Any) -> None:
        self.loop, self.protocol = loop, protocol
        self.closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def close(self) -> None:
        self.abort()

    def abort(self) -> None:
        if not self.closed:
            self.closed = True
            self.loop.call_soon(self.protocol.connection_lost, None)


class _Provider(_Transport):
    def write(self, _: bytes) -> None:
        self._say(0)

    def _say(self, number: int) -> None:
        answer = self.loop.answer
        if number:
            self.protocol.data_received(answer[number - 1])
        if number < len(answer):
            self.loop.call_soon(self._say, number + 1)


class _Client(_Transport):
    """Sends its request again as soon as the answer is whole, until the load is over."""

    def __init__(self, loop: Loop, protocol: Any, load: "Load") -> None:
        super().__init__(loop, protocol)
        self.load = load

    def ask(self) -> None:
        self.loop.call_soon(self.protocol.data_received, self.load.request)

    def write(self, data: bytes) -> None:
        load = self.load
        if not load.is_last(data):
            return
        load.answered += 1
        if not load.checked:
            load.checked = True
            assert b"HTTP/1.1 200" in data or load.stream, data[:2000]
        if load.answered <= load.wanted - CLIENTS:
            self.ask()
        elif load.answered == load.wanted:
            load.over.set()


class Load:
    """So many calls, CLIENTS at a time, all of one kind."""

    def __init__(self, *, stream: bool) -> None:
        body = wire.request_body(stream=stream)
        self.request = (
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:4000\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nUser-Agent: bench/1.0\r\nContent-Length: %d\r\n\r\n%b"
        ) % (KEY.encode(), len(body), body)
        self.stream = stream
        self.answer = (
            (STREAM_HEAD, *map(chunk, wire.answer_chunks()), LAST_CHUNK) if stream else (response(wire.answer_json()),)
        )
        self.wanted = self.answered = 0
        self.checked = False
        self.over = asyncio.Event()

    def is_last(self, data: bytes) -> bool:
        return data == LAST_CHUNK if self.stream else True

    async def run(self, clients: list[_Client], calls: int) -> float:
        """CPU seconds."""
        self.wanted, self.answered = calls, 0
        self.over.clear()
        begun = time.thread_time()
        for client in clients:
            client.load = self
            client.ask()
        await self.over.wait()
        return time.thread_time() - begun


class _Broker:
    """Acknowledges everything in the next turn."""

    async def publish(
        self, subject: str, message_id: str, payload: bytes, on_wire: Callable[[], None], timeout_ms: int
    ) -> int:
        await asyncio.sleep(0)
        on_wire()
        await asyncio.sleep(0)
        return 1

    async def close(self) -> None:
        pass


def _cache(clock: Clock, idle: bool) -> Cache:
    settings = control.read(True, CACHED if idle else {"type": "local"}, {})
    assert settings is not None
    return Cache(settings, Local(1_000_000, clock.seconds))


def _configured() -> dict[str, Any]:
    """Parts, as the edge reads them from a configuration."""
    environ = {"SLACK_WEBHOOK_URL": "https://hooks.example.com/bench", "OPENAI_API_KEY": "sk-of-the-bench"}
    found = config.parse(EVERYTHING, environ)
    return front.build(found, environ, Outbound(OutboundSettings(), Guard(any_address=True)))


def _server(*, caches: bool, idle: bool) -> Server:
    """As app.py connects one; grants come from a bus in memory."""
    entry = {
        "model_name": MODEL,
        "litellm_params": {"model": f"openai/{MODEL}", "api_base": "http://127.0.0.1:9/v1", "api_key": "sk-upstream"},
    }
    (deployment,) = config.parse(json.dumps({"model_list": [entry]}), {}).deployments
    price = Price(2_500_000, 10_000_000, source="config")

    def decide(asked: DecideRequest) -> DecideReply:
        candidate = Candidate(deployment.id, deployment.provider, deployment.upstream_model, price)
        depends_on = ["control.key.bench", "control.team.bench", "control.setting.>"]
        tags = ["bench-key", "bench-team"]
        return DecideReply(Grant(CALLER, asked.route, asked.model, 1, depends_on, [candidate], tags=tags))

    bus: Any = FakeBus()
    feed: Any = FakeFeed()
    bus.answers = {subjects.POLICY_DECIDE: decide}
    grants, customers = (
        Grants(bus, lambda: feed, ttl_ms=3_600_000, entries_max=100, timeout_ms=500, stale_ms=3_000) for _ in range(2)
    )
    journal: Any = NoJournal()
    recorder = GroupCommit(_Broker(), journal, "traffic.0", 500, 3_000, RecorderMetrics())
    recorder.start()
    clock = Clock()
    parts = Parts(
        settings=EdgeSettings(),
        edge_id="0199a1c2-edge",
        bus_client=bus,
        grants=grants,
        customers=customers,
        recorder=recorder,
        upstream=Client(),
        targets=table.build([deployment], "bench"),
        tasks=Tasks(),
        ledger=Origin("http", "127.0.0.1", 9),
        ledger_path="",
        passthrough_outbound=Outbound(OutboundSettings(), Guard(any_address=True)),
        signer=Signer("edge"),
        strangers=Strangers(recorder, clock.unix_ms),
        cache=_cache(clock, idle) if caches or idle else None,
        clock=clock,
        stopping=lambda: False,
        reason_not_ready=lambda: None,
        **(_configured() if idle else {}),
    )
    return Server(parts, Budget())


def _connected(loop: Loop, kind: str) -> tuple[Load, list[_Client]]:
    load = Load(stream=kind.startswith("stream"))
    loop.answer = load.answer
    listener = _server(caches=kind.endswith("hit"), idle=kind.endswith("idle")).listener()
    clients = []
    for _ in range(CLIENTS):
        connection = ClientConnection(listener, loop)
        client = _Client(loop, connection, load)
        connection.connection_made(client)
        clients.append(client)
    return load, clients


async def steps(loop: Loop, kind: str, calls: int) -> float:
    """Bytecodes of Python a warm call, without those of this file."""
    load, clients = _connected(loop, kind)
    await load.run(clients, 2 * CLIENTS)
    count = 0

    def begins(frame: FrameType, event: str, arg: Any) -> Any:
        if frame.f_code.co_filename == __file__:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return inside

    def inside(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return inside

    before = sys.gettrace()
    sys.settrace(begins)
    try:
        await load.run(clients, calls)
    finally:
        sys.settrace(before)
    return count / calls


async def measure(loop: Loop, kind: str, *, slices: int, calls: int) -> list[float]:
    """Microseconds of CPU a call, a slice each; one slice of `calls` where that is given."""
    load, clients = _connected(loop, kind)
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    if calls:
        return [1e6 * await load.run(clients, calls) / calls]
    size = SLICE_CALLS // (10 if load.stream else 1)
    await load.run(clients, size)
    return [1e6 * await load.run(clients, size) / size for _ in range(slices)]


def main() -> None:
    pool.FRESH_S = 1e9  # no socket to look at
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.edge_cpu", description=(__doc__ or "").split("\n\n")[0]
    )
    parser.add_argument("--slices", type=int, default=120)
    parser.add_argument("--calls", type=int, default=0)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--only", choices=KINDS, default=None)
    given = parser.parse_args()
    for name in KINDS if given.only is None else (given.only,):
        loop = Loop()
        asyncio.set_event_loop(loop)
        if given.steps:
            print(
                f"{name:10} {loop.run_until_complete(steps(loop, name, given.steps)):8.0f} bytecodes a call", flush=True
            )
            continue
        found = loop.run_until_complete(measure(loop, name, slices=given.slices, calls=given.calls))
        print(f"{name:10} best {min(found):6.1f} µs a call, median {statistics.median(found):6.1f}", flush=True)


if __name__ == "__main__":
    main()

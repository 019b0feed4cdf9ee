"""Whoever has no good key: what he can make an edge do, hold and write is bounded, and keeps nobody
else out.
"""

import asyncio
import gzip
import json
import random
import time
import zlib
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.edge import inflating, strangers
from shared import errors, subjects
from shared.facts import Refused
from shared.grant import Denial
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import Answer, until
from tests.edge.harness import Edge
from tests.support.pace import at_pace

MB = 1024 * 1024
GOOD_KEY = "sk-client-key"
CHAT = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()


@pytest_asyncio.fixture
async def edge() -> AsyncIterator[Edge]:
    """Knows one key; whoever has another, or none, is told so."""
    async with Edge({"m": ["mock:x"]}, limits={"bytes_max": 64 * MB, "requests_max": 64}) as edge:
        from shared.ids import digest_key

        def decide(asked: DecideRequest) -> DecideReply:
            if asked.key_sha256 == digest_key(GOOD_KEY):
                return DecideReply(edge.grant(asked))
            refusal = errors.no_key() if asked.key_sha256 is None else errors.unknown_key(asked.key_sha256)
            return DecideReply(Denial(refusal, 1, ["control.key.x"]))

        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        yield edge


def head(path: str = "/v1/chat/completions", method: str = "POST", **headers: str) -> bytes:
    fields = {"Host": "edge", **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode()


async def ask(edge: Edge, data: bytes) -> Answer:
    async with await edge.connect() as caller:
        await caller.send(data)
        return await caller.answer()


def refused(edge: Edge) -> list[Refused]:
    return [fact for fact in edge.facts() if isinstance(fact, Refused)]


# ── slots ──


async def test_bodies_that_never_come_keep_nobody_out(edge: Edge) -> None:
    """More heads without a key than there are slots: a good key, and the probe on the clients'
    port, are answered at once.
    """
    assert (await edge.chat()).status == 200
    attackers = []
    for _ in range(80):
        caller = await edge.connect()
        attackers.append(caller)
        await caller.send(head(Content_Length="1000"))
    await asyncio.sleep(0.1)
    assert (await edge.chat()).status == 200
    assert (await ask(edge, head("/health/readiness", "GET"))).status == 200
    for caller in attackers:
        caller.leave()


async def test_without_a_slot_the_probe_is_answered_and_others_are_told_to_come_back(edge: Edge) -> None:
    await edge.chat()
    edge.publisher.script = ["hold"] * 64
    callers = [await edge.connect() for _ in range(64)]
    for caller in callers:
        await caller.chat()
    await until(lambda: edge.server.running == 64)
    answer = await ask(edge, head("/v1/models", "GET", Authorization=f"Bearer {GOOD_KEY}"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert (await ask(edge, head("/health/readiness", "GET"))).status == 200
    assert (await ask(edge, head("/health/liveliness", "GET"))).status == 200
    edge.publisher.release.set()
    for caller in callers:
        caller.leave()


async def test_who_tries_out_keys_does_not_push_out_good_grants(edge: Edge) -> None:
    await edge.chat()
    asked = len(edge.bus.asked)
    for number in range(150):  # the cache has room for 100
        answer = await ask(edge, head("/v1/models", "GET", Authorization=f"Bearer sk-guess-{number}"))
        assert answer.status == 401
    assert len(edge.bus.asked) == asked + 150
    await edge.chat()
    assert len(edge.bus.asked) == asked + 150, "still kept"


# ── facts ──


async def test_a_strangers_refusals_leave_one_fact_and_one_with_their_number(edge: Edge) -> None:
    for number in range(300):
        answer = await ask(edge, head("/v1/models", "GET"))
        assert answer.status == 401, number
    assert [fact.error_code for fact in refused(edge)] == ["no_key"]
    edge.parts.strangers.flush()
    await until(lambda: len(refused(edge)) == 2)
    first, rest = refused(edge)
    assert first.spend_logs_metadata == {}
    assert rest.spend_logs_metadata["refusals"] == 299
    assert rest.requester_ip == "127.0.0.1" and rest.id != first.id
    await ask(edge, head("/v1/models", "GET"))
    await until(lambda: len(refused(edge)) == 3)  # a new minute, a first one again


async def test_kinds_of_refusals_are_bounded(edge: Edge) -> None:
    counted = edge.parts.strangers
    for number in range(3 * strangers.KINDS_MAX):
        caller = edge.grant(DecideRequest(None, "/models")).caller
        counted.keeps(
            Refused(str(number), 0, "e", caller, "/models", "", 401, "no_key", "policy", requester_ip=f"10.0.{number >> 8}.{number & 255}")
        )  # fmt: skip
    assert len(counted._counted) <= strangers.KINDS_MAX + 1
    total = sum(each.count for each in counted._counted.values())
    assert total == 3 * strangers.KINDS_MAX - strangers.FIRST_MAX
    assert counted._counted[(strangers.OTHER, "no_key", None)].count > strangers.KINDS_MAX


async def test_while_nothing_can_be_recorded_refusals_take_no_memory(edge: Edge) -> None:
    edge.recorder.healthy = False
    waiting = edge.recorder._waiting[-1]
    for _ in range(200):
        assert (await ask(edge, head("/v1/models", "GET"))).status == 401
    assert not waiting.facts and not edge.recorder._flying
    edge.parts.strangers.flush()
    assert refused(edge) == []
    edge.recorder.healthy = True
    edge.parts.strangers.flush()
    await until(lambda: refused(edge))
    assert refused(edge)[0].spend_logs_metadata["refusals"] == 200


# ── inflating ──


async def inflate(data: bytes, encoding: str = "gzip", bytes_max: int = 25 * MB) -> bytes:
    return await inflating.inflate(data, encoding, bytes_max, lambda _: True)


@pytest.mark.parametrize("members", [1, 3, 400])
async def test_members_are_joined(members: int) -> None:
    pieces = [bytes([n % 256]) * (n * 37 % 5_000) for n in range(members)]
    assert await inflate(b"".join(gzip.compress(piece) for piece in pieces)) == b"".join(pieces)


@pytest.mark.alone
async def test_a_hundred_thousand_empty_members_are_refused_at_once() -> None:
    data = gzip.compress(b"") * 100_000
    before = time.process_time()
    with pytest.raises(inflating.InflatingError, match="members"):
        await inflate(data)
    assert time.process_time() - before < at_pace(1)


async def test_members_cost_what_they_weigh(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind a member is copied where it ends: a slice, never all that is left."""
    copied, begin = 0, zlib.decompressobj

    class Counting:
        def __init__(self, bits: int) -> None:
            self._inner = begin(bits)

        def decompress(self, data: bytes, most: int) -> bytes:
            nonlocal copied
            piece = self._inner.decompress(data, most)
            copied += len(self._inner.unused_data)
            return piece

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

    monkeypatch.setattr(zlib, "decompressobj", Counting)
    piece = gzip.compress(random.Random(1).randbytes(1_000))
    await inflate(piece * 2_000)
    assert 0 < copied <= 2_000 * inflating.INPUT_BYTES


@pytest.mark.alone
async def test_the_loop_stands_still_for_no_bomb() -> None:
    """20 bodies of 15 kB that hold 15 MB each, as one attack had them."""
    bomb = zlib.compress(bytes(15 * MB), 9)
    assert len(bomb) < 20_000
    longest, stop = 0.0, False

    async def heartbeat() -> None:
        nonlocal longest
        while not stop:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    beating = asyncio.create_task(heartbeat())
    results = await asyncio.gather(*(inflate(bomb, "deflate") for _ in range(20)))
    stop = True
    await beating
    assert all(len(result) == 15 * MB for result in results)
    assert longest < at_pace(0.05)


async def test_it_stops_where_there_is_no_room() -> None:
    held = 0

    def hold(size_bytes: int) -> bool:
        nonlocal held
        held += size_bytes
        return held < 3 * MB

    with pytest.raises(inflating.NoRoomError):
        await inflating.inflate(zlib.compress(bytes(100 * MB)), "deflate", 200 * MB, hold)
    assert held <= 3 * MB + inflating.STEP_BYTES


@pytest.mark.parametrize("cut", [1, 10, 12, 100])
async def test_what_ends_early_is_no_body(cut: int) -> None:
    data = gzip.compress(bytes(range(256)) * 100)
    with pytest.raises(inflating.InflatingError):
        await inflate(data[:-cut])


@pytest.mark.parametrize("extra", [0, 1])
async def test_the_limit_is_exact(extra: int) -> None:
    data = gzip.compress(bytes(100_000 + extra))
    if extra:
        with pytest.raises(inflating.TooLargeError):
            await inflate(data, bytes_max=100_000)
    else:
        assert len(await inflate(data, bytes_max=100_000)) == 100_000


# ── paths ──


@pytest.mark.parametrize("path", ["/v1%2fmodels", "/v1/./models", "/x/../v1/models", "/v1/%2e/models"])
async def test_a_path_written_otherwise_is_nobodys(edge: Edge, path: str) -> None:
    answer = await ask(edge, head(path, "GET", Authorization=f"Bearer {GOOD_KEY}"))
    assert (answer.status, answer.error()["type"]) == (404, "not_found_error")

"""Head, credential, decision, and only then the body: who isn't known makes us do next to nothing,
whatever it sends.
"""

import asyncio
import gzip
import json
import time

import pytest

from shared import errors
from shared.grant import Denial
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import Caller_, always, completion, response, until
from tests.edge.harness import Edge
from tests.support.pace import at_pace

BUSY_S_MAX = 0.05
"""CPU time of the loop at a stretch, for one request."""
MB = 1_000_000


def bodies() -> dict[str, bytes]:
    """What made an edge work before it knew who asked."""
    start = b'{"model":"m","messages":[{"role":"user","content":"Hi"}],'
    return {
        "metadata": start + b'"metadata":{"spend_logs_metadata":{"a":[' + b"[]," * (4 * MB) + b"1]}}}",
        "user id": start + b'"metadata":{"user_id":[' + b"[]," * (4 * MB) + b"1]}}",
        "tags": start + b'"tags":[' + b'"a",' * (3 * MB) + b'"b"]}',
        "stream options": start + b'"stream":true,"stream_options":{"x":[' + b"[]," * (3 * MB) + b"1]}}",
        "names": start + b",".join(b'"%x":0' % i for i in range(MB)) + b"}",
        "names with space": start + b" , ".join(b'"%x" : 0' % i for i in range(700_000)) + b"}",
        "max_tokens": start + b'"max_tokens":' + b"9" * (5 * MB) + b"}",
        "model": b'{"messages":[1],"model":"' + b"m" * (10 * MB) + b'"}',
    }


BODIES = bodies()


def refuse_strangers(edge: Edge) -> None:
    refusal = errors.unknown_key("0" * 64)

    def decide(asked: DecideRequest) -> DecideReply:
        return DecideReply(Denial(refusal, 1, ["control.key.x"]))

    edge.bus.answers["policy.decide"] = decide


class Stretches:
    """The longest the loop's thread was busy without letting anybody else run, in CPU seconds."""

    def __init__(self) -> None:
        self.longest_s = 0.0
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Stretches":
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def _watch(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest_s = max(self.longest_s, time.thread_time() - before)

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        self._task.cancel()


async def test_a_stranger_is_refused_before_a_byte_of_the_body_is_here(start: Start) -> None:
    edge = await start(always(response(completion())))
    refuse_strangers(edge)
    async with await edge.connect() as caller:
        await caller.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-x\r\nContent-Length: 20000000\r\n\r\n"
        )
        answer = await asyncio.wait_for(caller.answer(), 10)
    assert answer.status == 401
    assert [asked.model for asked in edge.bus.asked] == [""]


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.alone
async def test_what_a_stranger_sends_is_never_decoded(start: Start, what: str) -> None:
    edge = await start(always(response(completion())))
    refuse_strangers(edge)
    packed = gzip.compress(BODIES[what], 1)
    async with Stretches() as stretches, await edge.connect() as caller:
        await caller.post("/v1/chat/completions", packed, {"Content-Encoding": "gzip"})
        assert (await caller.answer()).status == 401
    assert stretches.longest_s < at_pace(BUSY_S_MAX)


@pytest.mark.parametrize("what", BODIES)
@pytest.mark.alone
async def test_even_a_good_key_cant_keep_the_loop_busy(start: Start, what: str) -> None:
    """Every slice is bounded before it is decoded; what is left is a look at each byte."""
    edge = await start(always(response(completion())))
    assert (await edge.chat()).status == 200  # warm
    body = BODIES[what]
    begun = time.thread_time()
    json_like = body.isascii() and body.count(b'"') >= 0
    a_look_s = time.thread_time() - begun
    assert json_like
    async with await edge.connect() as caller, Stretches() as stretches:
        await caller.post("/v1/chat/completions", body)
        answer = await caller.answer()
    assert answer.status == 400, answer
    answer.error()
    assert stretches.longest_s < at_pace(BUSY_S_MAX) + 20 * a_look_s


@pytest.mark.parametrize("path", ["/v2/team/list", "/key/generate"])
async def test_a_management_call_of_tens_of_thousands_of_values_is_refused_unread(start: Start, path: str) -> None:
    """Each of them is looked at for raw keys, before policy says who asks."""
    edge = await start(always(response(completion())))
    refuse_strangers(edge)
    async with await edge.connect() as caller:
        await caller.post(path, b'{"models":[' + b"[]," * 50_000 + b"[]]}")
        answer = await caller.answer()
    assert answer.status in (400, 405), answer
    assert edge.bus.asked == []


async def test_a_warm_credential_costs_no_question_for_being_known(start: Start) -> None:
    edge = await start(always(response(completion())))
    for _ in range(3):
        assert (await edge.chat()).status == 200
    assert [asked.model for asked in edge.bus.asked] == ["", "m"]
    assert edge.grants.knows(None) is False
    edge.grants.forget("control.key.test", 1)
    assert (await edge.chat()).status == 200
    assert len(edge.bus.asked) == 4, "what was known is forgotten with the grant"


async def test_a_key_that_was_revoked_is_a_stranger_at_once(start: Start) -> None:
    edge = await start(always(response(completion())))
    assert (await edge.chat()).status == 200
    edge.grants.forget("control.key.test", 2)
    edge.grants.seen_seq = 0
    refuse_strangers(edge)
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", b"not even json")
        assert (await caller.answer()).status == 401


async def test_a_known_key_learns_what_is_wrong_with_its_body(start: Start) -> None:
    edge = await start(always(response(completion())))
    caller: Caller_
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", b"not even json")
        assert (await caller.answer()).status == 400
    await until(lambda: edge.server.running == 0)
    assert json.loads(completion())

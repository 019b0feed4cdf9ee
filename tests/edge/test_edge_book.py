"""Questions about the book: the credential and the question go to the ledger, its answer comes
back, and nothing else does.
"""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from services.edge.upstream import Origin
from shared import asker
from shared.ids import digest_key
from shared.requests import DecideRequest
from tests.edge.fakes import Answer, Peer, Provider, response
from tests.edge.harness import Edge

SECRET = "sk-the-callers-secret-0123456789"


class World:
    """An edge in front of a scripted ledger."""

    edge: Edge
    ledger: Provider
    answers = [response(b'[{"tag":"a"}]', extra="x-tollgate-more: 1\r\nserver: ledger\r\nset-cookie: a=b\r\n")]
    close = False

    async def script(self, peer: Peer) -> None:
        while True:
            head = await peer.reader.readuntil(b"\r\n\r\n")
            self.ledger.heads.append(head)
            await peer.send(*self.answers)
            if self.close:
                return

    def who(self, method: str, target: str) -> DecideRequest:
        """Whom the edge says it was, for this question."""
        (told,) = [line for line in self.ledger.heads[-1].decode().split("\r\n") if line.startswith(asker.HEADER)]
        key = self.edge.parts.signer.public_key
        return asker.read(told.partition(": ")[2], key, method, target, b"", time.time_ns() // 1_000_000)

    async def ask(self, line: bytes, *headers: bytes) -> Answer:
        async with await self.edge.connect() as caller:
            fields = [b"Host: e", b"Authorization: Bearer " + SECRET.encode(), *headers]
            await caller.send(line + b" HTTP/1.1\r\n" + b"".join(field + b"\r\n" for field in fields) + b"\r\n")
            return await caller.answer()


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with Provider(made.script) as made.ledger, Edge({"m": ["mock:x"]}) as made.edge:
        made.edge.parts.ledger = Origin("http", "127.0.0.1", made.ledger.port)
        made.edge.parts.ledger_path = "/base"
        yield made


async def test_question_and_credential_go_and_the_answer_comes_back(world: World) -> None:
    answer = await world.ask(b"GET /spend/logs?request_id=a%20b&x=%2F", b"Cookie: c=d", b"X-Other: y")
    assert (answer.status, answer.body) == (200, b'[{"tag":"a"}]')
    assert (answer.headers["content-type"], answer.headers["x-tollgate-more"]) == ("application/json", "1")
    assert "set-cookie" not in answer.headers
    head = world.ledger.heads[0].lower()
    assert head.startswith(b"get /base/spend/logs?request_id=a%20b&x=%2f http/1.1\r\n")
    assert SECRET.encode() not in head and b"authorization" not in head
    who = world.who("GET", "/spend/logs?request_id=a%20b&x=%2F")
    assert (who.key_sha256, who.credential_shape) == (digest_key(SECRET), "sk")
    assert b"x-forwarded-for: 127.0.0.1" in head
    assert b"cookie" not in head
    assert b"x-other" not in head


@pytest.mark.parametrize("header", [b"x-api-key: k", b"x-litellm-api-key: k", b"api-key: k"])
async def test_no_place_a_credential_may_be_in_goes_along(world: World, header: bytes) -> None:
    await world.ask(b"GET /audit", header)
    assert header not in world.ledger.heads[0].lower()
    assert world.who("GET", "/audit").key_sha256 in (digest_key(SECRET), digest_key("k"))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (b"/audit/an-id", 200),
        (b"/audit/%0d%0aHost:x", 200),
        (b"/audit/a%3Fb", 200),
        (b"/audit/a/b", 404),
        (b"/audit/..%2f..%2fx", 404),
    ],
)
async def test_a_path_cannot_say_more_than_a_path(world: World, path: bytes, status: int) -> None:
    answer = await world.ask(b"GET " + path)
    assert answer.status == status
    if status == 200:
        (head,) = world.ledger.heads
        assert (
            head.split(b"\r\n")[0]
            == b"GET /base" + path.replace(b":", b"%3A").replace(b"%0d%0a", b"%0D%0A") + b" HTTP/1.1"
        )
        assert head.lower().count(b"\r\nhost:") == 1


async def test_the_ledgers_refusals_pass(world: World) -> None:
    world.answers = [response(b'{"error":{}}', "403 Forbidden")]
    assert (await world.ask(b"GET /audit")).status == 403


async def test_a_header_that_is_not_passed_on_may_hold_anything(world: World) -> None:
    answer = await world.ask(b"GET /audit", b"x-api-key: \xff\xfe")
    assert answer.status == 200
    assert b"\xff" not in world.ledger.heads[0]


async def test_without_a_ledger_it_is_a_503(world: World) -> None:
    world.edge.parts.ledger = Origin("http", "127.0.0.1", 1)
    answer = await world.ask(b"GET /audit")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    answer.error()


async def test_half_an_answer_does_not_look_like_a_whole_one(world: World) -> None:
    world.answers, world.close = [response(b"x" * 100)[:-50]], True
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await world.ask(b"GET /audit")


async def test_a_large_answer_is_streamed(world: World) -> None:
    world.answers = [response(b"x" * 3_000_000)]
    assert len((await world.ask(b"GET /audit")).body) == 3_000_000

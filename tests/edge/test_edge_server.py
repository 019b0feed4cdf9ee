"""Raw sockets against the edge: whatever comes in, a clear answer in OpenAI's shape or a closed
connection, and it lives on.
"""

import asyncio
import socket
from typing import Any

import pytest
import structlog
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import errors, subjects
from shared.grant import Denial, Grant
from shared.requests import DecideReply
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Peer, Provider, chunk, delta, until
from tests.edge.harness import Edge
from tests.edge.raw import GOOD, HEAD, SECRET, chunked, refused, request, sent

# ── what isn't HTTP ──


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /v1/models HTTP/9.9\r\n\r\n",
        b"G\xc3\x89T /v1/models HTTP/1.1\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nNo-Colon\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nName : x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\n: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nA: b\r\n folded\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nA: b\x00c\r\n\r\n",
        HEAD + b"Content-Length: x\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\nhello\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 40 + b"\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        HEAD + b"X: " + b"x" * 40_000 + b"\r\n\r\n",
        HEAD + b"x" * 40_000 + b": y\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % i for i in range(500)) + b"\r\n",
    ],
)
async def test_what_http_does_not_allow_is_a_400_and_the_connection_ends(edge: Edge, data: bytes) -> None:
    async with await edge.connect() as caller:
        caller.writer.write(data)
        try:
            answer = await caller.answer()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        assert 400 <= answer.status < 500, answer
        answer.error()
        assert await asyncio.wait_for(caller.reader.read(), 10) == b"", "closed"
    assert edge.facts() == []


@given(
    junk=st.binary(max_size=200),
    before=st.sampled_from([b"", HEAD, b"GET / HTTP/1.1\r\n", HEAD + b"Content-Length: 20\r\n\r\n"]),
)
@settings(max_examples=60, deadline=None)
def test_junk_is_never_answered_with_a_500(junk: bytes, before: bytes) -> None:
    async def run() -> None:
        async with Edge({"m": ["mock:x"]}, edge_body_timeout_ms=30) as edge, await edge.connect() as caller:
            caller.writer.write(before + junk)
            caller.writer.write_eof()
            try:
                answer = await caller.answer()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            assert answer.status < 500, answer
            if answer.status >= 400:
                answer.error()

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    uvloop.run(run())
    structlog.reset_defaults()


# ── routes and methods ──


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"GET /nowhere", 404),
        (b"GET /v1/nothing", 404),
        (b"GET /v1/../v1/audit/a/b", 404),
        (b"GET /\xff\xfe", 404),
        (b"GET /%ff", 404),
        (b"GET /%00", 404),
        (b"GET /" + b"x" * 5_000, 404),
        (b"GET /v1/chat/completions", 405),
        (b"DELETE /v1/chat/completions", 405),
        (b"PATCH /v1/models", 405),
        (b"POST /v1/models", 405),
        (b"GET /key/generate", 405),
        (b"POST /health/liveliness", 405),
        (b"OPTIONS *", 404),
        (b"TRACE /v1/models", 405),
    ],
)
async def test_an_unknown_path_or_a_wrong_method_is_named(edge: Edge, line: bytes, status: int) -> None:
    async with await edge.connect() as caller:
        for _ in range(2):  # the connection goes on
            await caller.send(line + b" HTTP/1.1\r\nHost: e\r\n\r\n")
            answer = await caller.answer()
            if answer.status == 400:  # a path the parser itself doesn't take
                answer.error()
                return
            assert answer.status == status
            answer.error()


async def test_the_v1_twin_and_the_query_do_not_matter(edge: Edge) -> None:
    for path in (b"/models", b"/v1/models", b"/v1/models?x=1", b"http://elsewhere/v1/models"):
        answer = await sent(edge, b"GET " + path + b" HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer x\r\n\r\n")
        assert answer is not None
        assert [model["id"] for model in answer.json()["data"]] == ["m"]


async def test_health_needs_no_key_and_tells_when_it_stops(edge: Edge) -> None:
    for path, body in (
        (b"/health/liveliness", "I'm alive!"),
        (b"/health/readiness", {"status": "healthy", "db": "connected"}),
    ):
        answer = await sent(edge, b"GET " + path + b" HTTP/1.1\r\nHost: e\r\n\r\n")
        assert answer is not None
        assert (answer.status, answer.json()) == (200, body)
    edge.stopping = True
    answer = await sent(edge, b"GET /health/liveliness HTTP/1.1\r\nHost: e\r\n\r\n")
    assert answer is not None
    assert (answer.status, answer.headers["connection"]) == (503, "close")
    edge.stopping = False


async def test_a_stream_that_said_its_connection_goes_on_keeps_its_word_while_the_edge_stops() -> None:
    """Its client may have sent the next request already: closing behind the last byte resets it."""
    ended = asyncio.Event()

    async def held(peer: Peer) -> None:
        await peer.request()
        await peer.send(STREAM_HEAD, chunk(delta("Hi")))
        await ended.wait()
        await peer.send(chunk(b"data: [DONE]\n\n"), LAST_CHUNK)
        await peer.gone()

    async with Provider(held) as provider, Edge({"m": [provider.url]}) as edge, await edge.connect() as caller:
        await caller.chat(stream=True)
        assert (await caller.head()).headers.get("connection") != "close"
        edge.stopping = True
        edge.listener.stop()
        ended.set()
        while await caller.chunk():
            pass
        await caller.send(b"GET /v1/models HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer x\r\n\r\n")
        answer = await caller.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")


# ── connections ──


@pytest.mark.parametrize(
    "data", [b"", b"POST /v1", HEAD, HEAD + b"Content-Length: 50\r\n\r\n{", chunked(GOOD)[:-5], request()]
)
async def test_a_half_closed_connection_ends(edge: Edge, data: bytes) -> None:
    async with await edge.connect() as caller:
        caller.writer.write(data)
        caller.writer.write_eof()
        rest = await asyncio.wait_for(caller.reader.read(), 10)
        assert not rest or rest.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400")), rest
    await until(lambda: edge.server.running == 0)


@pytest.mark.parametrize("data", [b"POST /v1", HEAD, HEAD + b"Content-Length: 50\r\n\r\n{", request()])
async def test_a_reset_connection_leaves_nothing_running(edge: Edge, data: bytes) -> None:
    for _ in range(5):
        async with await edge.connect() as caller:
            caller.writer.write(data)
            await asyncio.sleep(0.002)
            caller.leave()
    await until(lambda: edge.server.running == 0)


async def test_a_request_byte_by_byte_is_a_request(edge: Edge) -> None:
    async with await edge.connect() as caller:
        caller.writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request():
            await caller.send(bytes([byte]))
            await asyncio.sleep(0)
        assert (await caller.answer()).status == 200


async def test_pipelined_requests_are_answered_in_order(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(request() + b"GET /nowhere HTTP/1.1\r\nHost: e\r\n\r\n" + request(b"{") + request())
        assert [(await caller.answer()).status for _ in range(4)] == [200, 404, 400, 200]


async def test_http_1_0_is_answered_and_closed(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert (await caller.answer()).status == 200
        assert await asyncio.wait_for(caller.reader.read(), 10) == b""


async def test_an_upgrade_is_not_taken(edge: Edge) -> None:
    answer = await sent(edge, request(GOOD, b"Connection: upgrade", b"Upgrade: websocket"))
    assert answer is None or answer.status in (200, 400)


async def test_head_has_no_body(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(b"HEAD /v1/models HTTP/1.1\r\nHost: e\r\n\r\nGET /v1/x HTTP/1.1\r\nHost: e\r\n\r\n")
        head = await caller.head()
        assert (head.status, int(head.headers["content-length"]) > 0) == (200, True)
        assert (await caller.answer()).status == 404


async def test_more_than_may_run_are_told_to_come_back() -> None:
    async with Edge({"m": ["mock:x"]}, edge_requests_max=2) as edge:
        await edge.chat()  # of strangers, one may come at a time
        edge.publisher.script = ["hold", "hold", "hold"]
        async with await edge.connect() as one, await edge.connect() as two:
            await one.chat()
            await two.chat()
            await until(lambda: edge.server.running == 2)
            answer = await edge.chat()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            answer.error()
            # people have places of their own
            for path, served in (("/ui/nothing", 403), ("/uix", 503), ("/v1/models", 503)):
                async with await edge.connect() as person:
                    await person.send(f"GET {path} HTTP/1.1\r\nHost: e\r\n\r\n".encode())
                    assert (await person.answer()).status == served, path
            edge.publisher.release.set()
            assert [(await caller.answer()).status for caller in (one, two)] == [200, 200]


# ── who asks ──


def denies(edge: Edge, refusal: errors.Refusal, rule: str = "credential") -> None:
    edge.bus.answers[subjects.POLICY_DECIDE] = lambda _: DecideReply(Denial(refusal, 1, ["control.key.x"], rule=rule))


async def test_without_permission_it_is_a_401_with_one_fact_and_no_secret(edge: Edge) -> None:
    denies(edge, errors.no_key())
    answer = await refused(edge, request())
    assert (answer.status, answer.error()["type"]) == (401, "auth_error")
    await until(lambda: edge.facts())
    (fact,) = edge.facts()
    assert (fact.status, fact.refused_by, fact.error_code) == (401, "policy", "no_key")
    assert SECRET.encode() not in b"".join([*edge.bus.sent, *edge.publisher.landed.values()])
    edge.bus.answers[subjects.POLICY_DECIDE] = edge.decide
    edge.grants.forget_all()


async def test_a_bad_body_is_only_told_to_who_may_know(edge: Edge) -> None:
    denies(edge, errors.no_key())
    assert (await refused(edge, request(b"{"))).status == 401
    denies(edge, errors.model_not_allowed("m"), "key_models")
    edge.grants.forget_all()
    assert (await refused(edge, request(b"{"))).status == 400
    edge.bus.answers[subjects.POLICY_DECIDE] = edge.decide
    edge.grants.forget_all()


async def test_with_policy_away_it_is_a_503(edge: Edge) -> None:
    edge.bus.answers[subjects.POLICY_DECIDE] = None
    answer = await sent(edge, request())
    assert answer is not None
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    answer.error()
    edge.bus.answers[subjects.POLICY_DECIDE] = edge.decide


@pytest.mark.parametrize(
    "header",
    [
        b"Authorization: x",
        b"Authorization: Bearer ",
        b"Authorization: Bearer " + b"k" * 9_000,
        b"x-litellm-api-key: ",
        b"Authorization: Digest y",
    ],
)
async def test_a_credential_that_cannot_be_read_is_a_401(edge: Edge, header: bytes) -> None:
    data = (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\n"
        + header
        + b"\r\nContent-Length: %d\r\n\r\n" % len(GOOD)
        + GOOD
    )
    assert (await refused(edge, data)).status == 401


async def test_headers_that_are_not_text_are_recorded_as_far_as_they_are(edge: Edge) -> None:
    headers = [b"User-Agent: \xff\xfe", b"x-litellm-tags: a\xff, b", b"x-litellm-call-id: \xff", b"X-Other: \x80"]
    answer = await sent(edge, request(GOOD, *headers))
    assert answer is not None
    assert answer.status == 200
    settled = await edge.the_settled()
    assert (settled.opened.user_agent, settled.opened.tags, settled.opened.litellm_call_id) == ("??", ["a?", "b"], None)


@pytest.mark.parametrize("call_id", ["abc", "é" * 10, "x" * 256])
async def test_the_clients_call_id_comes_back(edge: Edge, call_id: str) -> None:
    answer = await sent(edge, request(GOOD, b"x-litellm-call-id: " + call_id.encode()))
    assert answer is not None
    assert answer.status == 200
    assert answer.headers["x-tollgate-request-id"] != call_id
    if call_id.isascii():
        assert answer.headers["x-litellm-call-id"] == call_id


async def test_every_answer_says_who_it_is_of_and_not_what_runs_it(edge: Edge) -> None:
    for data in (request(), request(b"{"), b"GET /x HTTP/1.1\r\nHost: e\r\n\r\n", b"junk\r\n\r\n"):
        answer = await sent(edge, data)
        assert answer is not None
        assert "aiohttp" not in str(answer.headers).lower()
        assert "python" not in str(answer.headers).lower()


async def test_an_expired_grant_is_refused_at_the_request(edge: Edge) -> None:
    def expired(asked: Any) -> DecideReply:
        grant = edge.grant(asked)
        assert isinstance(grant, Grant)
        return DecideReply(Grant(grant.caller, grant.route, grant.model, 1, [], grant.candidates, expires_at_ms=1))

    edge.bus.answers[subjects.POLICY_DECIDE] = expired
    assert (await refused(edge, request())).status == 401
    edge.bus.answers[subjects.POLICY_DECIDE] = edge.decide
    edge.grants.forget_all()


async def test_a_model_without_a_deployment_here_is_a_429_and_recorded_nowhere_as_opened(edge: Edge) -> None:
    answer = await refused(edge, request(GOOD.replace(b'"m"', b'"unheard-of"')))
    assert answer.status == 429

"""Pass-through endpoints: our key before somebody else's API. What goes on, what doesn't, and what is in the book, however it ends."""

import asyncio
import itertools
import json
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from services.edge.passthrough import spoken
from services.edge.passthrough.files import Files
from services.edge.passthrough.headers import to_target
from services.edge.sizes import Sizes
from services.edge.surfaces.passthrough import model_of
from shared import errors, prices, subjects
from shared import passthrough as entries
from shared.billing import Usage, cost
from shared.config import ConfigError
from shared.errors import RefusedError
from shared.facts import Caller, Opened, Settled
from shared.grant import Denial
from shared.ids import KeyDigest, digest_key
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.passthrough import Entries, Entry, covers
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import Answer, Caller_, until
from tests.edge.harness import Edge
from tests.support.serving import handled_by, serving

MB = 1024 * 1024
KEY = "sk-client-key"
WHO = Caller(KeyDigest(digest_key(KEY)), "alias", "team")


class Target:
    """Somebody's API: says what it was asked, or does as it is told."""

    url: str

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.received = 0
        self.left = 0
        self.said, self.said_type = b"{}", "application/json"

    async def take(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/upload"):
            async for chunk in request.content.iter_any():
                self.received += len(chunk)
            return web.json_response({"received": self.received})
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.method, request.raw_path, headers, body))
        if request.path.endswith("/said"):
            return web.Response(body=self.said, headers={"Content-Type": self.said_type})
        if request.path.endswith("/sse"):
            answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
            await answer.prepare(request)
            for number in range(3):
                await answer.write(b"data: %d\n\n" % number)
                await asyncio.sleep(0.05)
            return answer
        if request.path.endswith("/large"):
            answer = web.StreamResponse()
            await answer.prepare(request)
            for _ in range(100):
                await answer.write(bytes(MB))
            return answer
        if request.path.endswith("/broken"):
            answer = web.StreamResponse(headers={"Content-Length": "1000"})
            await answer.prepare(request)
            await answer.write(b"half")
            assert request.transport is not None
            request.transport.abort()
            return answer
        if request.path.endswith("/slow"):
            try:
                await asyncio.sleep(30)
            finally:
                self.left += 1
        if request.path.endswith("/teapot"):
            return web.Response(status=418, body=b"\x00\xff short and stout")
        if request.path.endswith("/away"):
            return web.Response(status=302, headers={"Location": "http://169.254.169.254/"})
        return web.json_response(
            {"ok": True},
            headers={"X-Kept": "1", "Set-Cookie": "a=b", "Server": "theirs", "Content-Security-Policy": "x"},
        )


class World:
    edge: Edge
    target: Target

    def endpoint(self, **given: Any) -> Entry:
        self.edge.parts.passthrough = entries.read(
            [{"path": "/their", "target": f"{self.target.url}/base", **given}], {"SECRET": "s3cret", "EMPTY": ""}
        )
        return self.edge.parts.passthrough.all[0]

    async def ask(
        self, path: str = "/their", method: str = "POST", body: bytes = b"", key: str | None = KEY, **headers: str
    ) -> Answer:
        async with await self.edge.connect() as caller:
            await caller.send(head(path, method, body, key, **headers))
            return await caller.answer()

    async def settled(self) -> Settled:
        await until(self.edge.settled)
        (settled,) = self.edge.settled()
        (opened,) = [fact for fact in self.edge.facts() if isinstance(fact, Opened)]
        assert settled.opened.id == opened.id
        return settled


@asynccontextmanager
async def told_by(target: Target) -> AsyncIterator[Target]:
    """The target while it serves, with its URL. It takes bodies of any size."""
    server = serving(handled_by(target.take, body_bytes_max=0), handler_cancellation=True)
    async with server as target.url:
        yield target


def head(path: str, method: str, body: bytes = b"", key: str | None = KEY, **headers: str) -> bytes:
    fields = {"Host": "edge", "Content-Length": str(len(body)), **{n.replace("_", "-"): v for n, v in headers.items()}}
    if key is not None:
        fields.setdefault("Authorization", f"Bearer {key}")
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest_asyncio.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    async with told_by(Target()) as made.target, Edge({"m": ["mock:x"]}) as made.edge:
        edge = made.edge

        def decide(asked: DecideRequest) -> DecideReply:
            if asked.route == "/pass-through-public" or asked.key_sha256 == WHO.key_sha256:
                grant = edge.grant(asked)
                assert not isinstance(grant, Denial)
                return DecideReply(grant.__class__(WHO, asked.route, asked.model, 1, ["control.key.test"]))
            return DecideReply(Denial(errors.no_key(), 1, ["control.key.x"]))

        edge.bus.answers[subjects.POLICY_DECIDE] = decide
        yield made


# ── what goes on ──


async def test_a_request_goes_on_as_it_is_and_is_in_the_book(world: World) -> None:
    world.endpoint(headers={"Authorization": "Bearer os.environ/SECRET", "X-Own": "1"}, cost_per_request=0.25)
    answer = await world.ask(body=b'{"a": 1}', Content_Type="application/json", X_Other="no")
    assert (answer.status, answer.json()) == (200, {"ok": True})
    ((method, path, headers, body),) = world.target.seen
    assert (method, path, body) == ("POST", "/base", b'{"a": 1}')
    assert (headers["authorization"], headers["x-own"], headers["content-type"]) == (
        "Bearer s3cret",
        "1",
        "application/json",
    )
    assert "x-other" not in headers and KEY not in str(headers)
    assert answer.headers["x-kept"] == "1" and answer.headers["server"] == "tollgate"
    assert "set-cookie" not in answer.headers and "sandbox" in answer.headers["content-security-policy"]
    settled = await world.settled()
    assert (settled.outcome, settled.status, settled.cost_picousd) == ("success", 200, 250_000_000_000)
    opened = settled.opened
    assert (opened.route, opened.call_type, opened.caller) == ("/their", "pass_through_endpoint", WHO)
    assert answer.headers["x-litellm-call-id"] == opened.id


TABLE = list(
    itertools.product([True, False, None], [True, False], [True, False], ["", "/sub/path"], [KEY, None, "sk-stranger"])
)


@pytest.mark.parametrize(("auth", "forward", "subpath", "rest", "key"), TABLE)
async def test_every_combination(
    world: World, auth: bool | None, forward: bool, subpath: bool, rest: str, key: str | None
) -> None:
    """`auth` x `forward_headers` x `include_subpath`, with a good key, none, and one that isn't ours."""
    given: dict[str, Any] = {"forward_headers": forward, "include_subpath": subpath}
    if auth is not None:
        given["auth"] = auth
    world.endpoint(**given)
    answer = await world.ask(f"/their{rest}", key=key, X_Mine="1")
    if rest and not subpath:
        assert answer.status == 404
        assert not world.target.seen
    elif auth is not False and key != KEY:
        assert answer.status == 401
        assert not world.target.seen
    else:
        assert answer.status == 200
        ((_, path, headers, _),) = world.target.seen
        assert path == "/base" + rest
        assert ("x-mine" in headers) is forward
        assert KEY not in str(headers), "ours never goes on"
        theirs = forward and key == "sk-stranger"
        assert ("sk-stranger" in str(headers)) is theirs, "what isn't ours does, where headers are forwarded"


@pytest.mark.parametrize("carrier", ["x-litellm-api-key", "x-api-key", "api-key", "authorization", "x-key"])
async def test_our_key_stays_here_wherever_it_was(world: World, carrier: str) -> None:
    world.endpoint(forward_headers=True, headers={"litellm_user_api_key": "x-key"})
    value = f"Bearer {KEY}" if carrier == "authorization" else KEY
    answer = await world.ask(
        key=None, **{carrier: value, "X-Copy": f"again {KEY}", "Cookie": "token=x", "X-Pass-Other": "2"}
    )
    assert answer.status == 200
    headers = world.target.seen[0][2]
    assert KEY not in str(headers) and "cookie" not in headers
    assert headers["other"] == "2"


async def test_another_authorization_passes_beside_our_key(world: World) -> None:
    world.endpoint(forward_headers=True)
    answer = await world.ask(
        key=None, **{"x-litellm-api-key": KEY, "Authorization": "Bearer theirs", "X-Pass-Authorization": "no"}
    )
    assert answer.status == 200
    assert world.target.seen[0][2]["authorization"] == "Bearer theirs"


def test_hop_by_hop_headers_and_amazons_stay() -> None:
    entry = Entry(id="e", path="/e", target="http://t", forward_headers=True, headers={"X-Own": "ours"})
    sent = {
        "connection": "keep-alive, x-hop", "x-hop": "1", "keep-alive": "5", "te": "x", "transfer-encoding": "chunked", "upgrade": "h2c",
        "host": "edge", "accept-encoding": "br", "x-own": "theirs", "x-pass-x-amz-date": "1", "x-pass-host": "h", "x-pass-": "",
        "x-litellm-tags": "a", "x-forwarded-for": "1.2.3.4", "x-amz-date": "2", "user-agent": "u", "accept": "*/*",
    }  # fmt: skip
    assert dict(to_target(entry, sent, None)) == {
        "x-amz-date": "2",
        "user-agent": "u",
        "accept": "*/*",
        "X-Own": "ours",
    }


@pytest.mark.parametrize(
    ("given", "target", "query", "url"),
    [
        ({}, "", "", ""), ({}, "", "a=1&b", "?a=1&b"), ({}, "?t=1", "", "?t=1"), ({}, "?t=1", "a=%20", "?a=%20"),
        ({"merge_query_params": True}, "?t=1&a=0", "a=1", "?t=1&a=1"), ({"default_query_params": {"a": 0, "d": 1}}, "?d=2", "a=1", "?d=1&a=1"),
        ({"default_query_params": {"d": 1}}, "?d=2", "", "?d=2"),
    ],
)  # fmt: skip
def test_queries(given: dict[str, Any], target: str, query: str, url: str) -> None:
    entry = entries.entry_of({"path": "/e", "target": f"https://t/x{target}", **given}, "at", {})
    assert entry.url("", query) == f"https://t/x{url}"
    assert entry.url("/a%2Fb", query).startswith("https://t/x/a%2Fb")


async def test_methods_choose_between_targets(world: World) -> None:
    url = world.target.url
    world.edge.parts.passthrough = entries.read(
        [
            {"path": "/their", "target": f"{url}/read", "methods": ["get"]},
            {"path": "/their", "target": f"{url}/write", "methods": ["POST"]},
        ],
        {},
    )
    assert (await world.ask(method="GET")).status == 200
    assert (await world.ask(method="POST")).status == 200
    assert [path for _, path, _, _ in world.target.seen] == ["/read", "/write"]
    answer = await world.ask(method="DELETE")
    assert (answer.status, answer.headers["allow"]) == (405, "GET, POST")


@pytest.mark.parametrize("rest", ["/../x", "/%2e%2e/x", "/..%2fx", "/a/%2E./b", "/..%5cx", "/a/..", "/%2e"])
async def test_nobody_gets_above_the_target(world: World, rest: str) -> None:
    world.endpoint(include_subpath=True)
    assert (await world.ask(f"/their{rest}")).status == 404
    assert not world.target.seen


async def test_websocket_is_refused_with_a_sentence(world: World) -> None:
    world.endpoint()
    answer = await world.ask(method="GET", Upgrade="websocket", Connection="Upgrade")
    assert answer.status == 400 and "WebSocket" in answer.json()["error"]["message"]


# ── who may ──


async def test_lists_of_keys_and_teams(world: World) -> None:
    world.endpoint()
    edge = world.edge

    def limited(**fields: Any) -> None:
        edge.bus.answers[subjects.POLICY_DECIDE] = lambda asked: DecideReply(edge.grant(asked, **fields))
        edge.grants.forget_all()

    for allowed, denied, status in (
        (["/their"], [], 200), (["/th*"], [], 200), (["/other"], [], 403), ([], [], 403), (None, ["/their"], 403), (["/their"], ["/their"], 403),
    ):  # fmt: skip
        limited(passthrough_routes=allowed, passthrough_denied=denied)
        answer = await world.ask()
        assert answer.status == status, (allowed, denied)
    assert "not allowed to access passthrough route /their" in answer.json()["error"]["message"]
    assert covers(["/a"], "/a/b") and not covers(["/a"], "/ab") and covers(["/a*"], "/ab")


async def test_a_model_the_caller_may_not_use_is_refused(world: World) -> None:
    world.endpoint()
    edge = world.edge

    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "forbidden":
            return DecideReply(Denial(errors.model_not_allowed("forbidden"), 1, ["x"], WHO, "key_models"))
        return DecideReply(edge.grant(asked))

    edge.bus.answers[subjects.POLICY_DECIDE] = decide
    answer = await world.ask(body=b'{"model": "forbidden"}', Content_Type="application/json")
    assert (answer.status, answer.json()["error"]["type"]) == (403, "key_model_access_denied")
    assert not world.target.seen
    assert (await world.ask(body=b'{"model": "m"}', Content_Type="application/json")).status == 200
    for twice in (
        b'{"model": "m", "model": "forbidden"}',
        b'{"Model": "forbidden", "model": "m"}',
        b'{"model":"m","\\u006dodel":"forbidden"}',
    ):
        answer = await world.ask(body=twice, Content_Type="application/json")
        assert answer.status in (400, 403), twice
    assert len(world.target.seen) == 1


@pytest.mark.parametrize(
    ("body", "model"),
    [
        (b'{"model": "a"}', "a"),
        (b'{"x": {"model": "b"}, "model": "a"}', "a"),
        (b'{"x": 1}', ""),
        (b"[]", ""),
        (b"{", ""),
        (b'{"model": 5}', ""),
        (b'{"model": "a", "x": "\\"model\\""}', "a"),
        (b'{"model": "a", "model": "b"}', None),
        (b'{"MODEL": "a"}', None),
    ],
)
def test_which_model_a_body_names(body: bytes, model: str | None) -> None:
    if model is None:
        with pytest.raises(RefusedError):
            model_of(body)
    else:
        assert model_of(body) == model


# ── bodies of any size, and ends of any kind ──


@pytest.mark.alone
async def test_uploads_and_downloads_flow_through(world: World) -> None:
    """Memory stays flat: 20 uploads of 10 MB, and an answer of 100 MB."""
    world.endpoint(include_subpath=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most = 0
    for _ in range(20):
        caller = await Caller_.connect(world.edge.port)
        await caller.send(
            head("/their/upload", "PUT")[: -len("\r\n")].replace(b"Content-Length: 0", b"Content-Length: 10485760")
            + b"\r\n"
        )
        for _ in range(40):
            await caller.send(bytes(262_144))
            most = max(most, world.edge.server._budget.held_bytes)
        assert (await caller.answer()).status == 200
        caller.leave()
    assert world.target.received == 20 * 10 * MB
    caller = await Caller_.connect(world.edge.port)
    await caller.send(head("/their/large", "GET"))
    await caller.head()
    size = 0
    while piece := await caller.chunk():
        size += len(piece)
    caller.leave()
    assert size == 100 * MB
    assert most < 4 * MB
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 60, grown_mb  # the target and the client are in this process too


async def test_events_come_as_they_are_said(world: World) -> None:
    world.endpoint(include_subpath=True)
    async with await world.edge.connect() as caller:
        await caller.send(head("/their/sse", "GET"))
        assert (await caller.head()).headers["content-type"] == "text/event-stream"
        assert await caller.chunk() == b"data: 0\n\n"
        assert not world.edge.settled(), "the end isn't there yet"
        assert await caller.chunk() == b"data: 1\n\n"
    settled = await world.settled()
    assert settled.outcome in ("client_gone", "success")


@pytest.mark.parametrize(
    ("path", "status", "outcome"),
    [
        ("/their/teapot", 418, "provider_error"),
        ("/their/away", 302, "success"),
        ("/their/broken", None, "provider_error"),
    ],
)
async def test_whatever_the_target_says_is_passed_on_and_recorded(
    world: World, path: str, status: int | None, outcome: str
) -> None:
    world.endpoint(include_subpath=True)
    if status is None:
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await world.ask(path)
    else:
        answer = await world.ask(path)
        assert answer.status == status
        if status == 418:
            assert answer.body == b"\x00\xff short and stout"
    settled = await world.settled()
    assert settled.outcome == outcome


async def test_a_client_that_leaves_takes_the_targets_call_with_it(world: World) -> None:
    world.endpoint(include_subpath=True)
    caller = await world.edge.connect()
    await caller.send(head("/their/slow", "GET"))
    await until(lambda: world.target.seen)
    caller.leave()
    await until(lambda: world.target.left)
    settled = await world.settled()
    assert (settled.outcome, settled.status) == ("client_gone", 499)


async def test_a_target_that_is_slow_or_away(world: World) -> None:
    world.endpoint(include_subpath=True, timeout=0.2)
    answer = await world.ask("/their/slow")
    assert answer.status == 504
    assert (await world.settled()).outcome == "timeout"
    world.edge.parts.passthrough = entries.read([{"path": "/their", "target": "http://127.0.0.1:9/x"}], {})
    answer = await world.ask()
    assert answer.status == 502 and "127.0.0.1" not in answer.body.decode()
    await until(lambda: len(world.edge.settled()) == 2)
    assert world.edge.settled()[1].cost_picousd == 0, "it was never reached"


async def test_limits_hold_on_real_bytes(world: World) -> None:
    world.endpoint(include_subpath=True)
    world.edge.parts.sizes = Sizes(request_mb=1, response_mb=2)
    answer = await world.ask("/their/upload", body=bytes(MB + 1))
    assert answer.status == 400 and "Request size is too large" in answer.json()["error"]["message"]
    assert world.target.received == 0 and not world.edge.facts()
    async with await world.edge.connect() as caller:
        chunked = head("/their/upload", "PUT").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await caller.send(chunked)
        for _ in range(5):
            caller.writer.write(b"40000\r\n" + bytes(262_144) + b"\r\n")
        answer = await caller.answer()
        assert answer.status == 400 and "Request size is too large" in answer.json()["error"]["message"]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await world.ask("/their/large", "GET")
    await until(lambda: len(world.edge.settled()) == 2)
    assert [fact.error_code for fact in world.edge.settled()] == ["request_too_large", "response_too_large"]


# ── addresses ──

PRIVATE = [
    "http://127.0.0.1:{port}/", "http://localhost:{port}/", "http://[::1]:{port}/", "http://[::ffff:127.0.0.1]:{port}/", "http://2130706433:{port}/",
    "http://0177.0.0.1:{port}/", "http://0x7f000001:{port}/", "http://127.1:{port}/", "http://0:{port}/", "http://169.254.169.254/",
    "http://[64:ff9b::7f00:1]:{port}/", "http://localhost.:{port}/",
]  # fmt: skip


@pytest.mark.parametrize("target", PRIVATE)
async def test_a_named_target_in_a_private_network_is_not_asked(world: World, target: str) -> None:
    port = world.target.url.rpartition(":")[2]
    named = Outbound(OutboundSettings(), Guard.for_named_targets())
    world.edge.parts.passthrough_outbound = named
    world.edge.parts.passthrough = Entries([Entry(id="e", path="/their", target=target.format(port=port))])
    answer = await world.ask()
    await named.close()
    assert answer.status == 502, answer.body
    assert not world.target.seen


@pytest.mark.parametrize(
    "target",
    [
        "http://u:p@host/",
        "file:///etc/passwd",
        "unix:///x",
        "http://",
        "http://h/#f",
        "http://h:99999/",
        "http://h/ x",
        "//h",
        "gopher://h",
    ],
)
def test_what_is_no_target(target: str) -> None:
    with pytest.raises(ConfigError, match="target"):
        entries.entry_of({"path": "/e", "target": target}, "at", {})


# ── configuration ──


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"auth": "true"}, "auth"),
        ({"auth": 1}, "auth"),
        ({"forward_headers": "yes"}, "forward_headers"),
        ({"include_subpath": 0.5}, "include_subpath"),
        ({"path": "e"}, "path"),
        ({"path": "/"}, "path"),
        ({"path": "/a/../b"}, "path"),
        ({"path": "/key/generate"}, "own routes"),
        ({"path": "/health/readiness"}, "own routes"),
        ({"path": 5}, "path"),
        ({"target": None}, "target"),
        ({"methods": []}, "methods"),
        ({"methods": ["CONNECT"]}, "methods"),
        ({"methods": "GET"}, "methods"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": True}, "timeout"),
        ({"cost_per_request": "x"}, "cost_per_request"),
        ({"cost_per_request": -1}, "cost_per_request"),
        ({"headers": {"a b": "c"}}, "headers"),
        ({"headers": {"a": "b\nc"}}, "headers"),
        ({"headers": {"a": "Bearer os.environ/UNSET"}}, "UNSET"),
        ({"headers": {"a": "os.environ/EMPTY"}}, "EMPTY"),
        ({"guardrails": 5}, "guardrails"),
        ({"guardrails": {"pii": {"fields": ["a"]}}}, "guardrails.pii"),
        ({"guardrails": {"pii": {"request_fields": "query"}}}, "request_fields"),
        ({"guardrails": {"pii": {"request_fields": ["a b"]}}}, "request_fields"),
        ({"guardrails": {"pii": {"response_fields": ["a[x]"]}}}, "response_fields"),
        ({"custom_handler": "x"}, "custom_handler"),
        ({"atuh": True}, "atuh"),
        ({"default_query_params": [1]}, "default_query_params"),
    ],
)
def test_what_is_no_endpoint_is_refused_at_start(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        entries.read([{"path": "/e", "target": "https://t", **wrong}], {"EMPTY": ""})


def test_two_endpoints_for_one_method_are_refused() -> None:
    one = {"path": "/e", "target": "https://t"}
    with pytest.raises(ConfigError, match="already"):
        entries.read([one, {**one, "methods": ["GET"]}], {})
    found = entries.read(
        [{**one, "methods": ["POST"]}, {**one, "methods": ["GET"]}, {"path": "/e/f", "target": "https://u"}], {}
    )
    assert len(found.all) == 3


def test_the_longest_path_wins() -> None:
    found = entries.read(
        [
            {"path": "/e", "target": "https://one", "include_subpath": True},
            {"path": "/e/f", "target": "https://two", "include_subpath": True},
            {"path": "/e/f/g", "target": "https://three"},
        ],
        {},
    )

    def target(path: str) -> Any:
        hit = found.find("GET", path, path)
        return (hit[0].host, hit[1]) if hit and isinstance(hit[0], Entry) else hit

    assert target("/e") == ("one", "") and target("/e/x") == ("one", "/x")
    assert target("/e/f") == ("two", "") and target("/e/f/x/y") == ("two", "/x/y")
    assert target("/e/f/g") == ("three", "") and target("/ef") == ()
    assert json.dumps(target("/e/f/g/h")) == '["two", "/g/h"]'


# ── files ──


def form(*parts: tuple[str, bytes], boundary: str = "b0") -> bytes:
    lines = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="f"%b\r\n\r\n%b\r\n'
        % (boundary.encode(), f'; filename="{name}"'.encode() if name else b"", data)
        for name, data in parts
    )
    return lines + b"--%b--\r\n" % boundary.encode()


FORM = form(("a.txt", b"12345"), ("", b"no file.exe"), ("b.PDF", b"\r\n--b\r\n--b1"), ("empty.txt", b""))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("quoted", [True, False])
def test_files_are_seen_however_the_body_is_cut(step: int, quoted: bool) -> None:
    seen: dict[str, int] = {}

    def check(name: str, size: int) -> None:
        seen[name] = size

    files = Files('multipart/form-data; boundary="b0"' if quoted else "multipart/form-data; boundary=b0", check)
    for at in range(0, len(FORM), step):
        assert files.feed(FORM[at : at + step]) is None
    assert seen == {"a.txt": 5, "b.PDF": 11, "empty.txt": 0}


async def test_a_files_limits_hold_while_it_flows_by(world: World) -> None:
    world.endpoint(include_subpath=True)
    world.edge.parts.sizes = Sizes(file_mb=0.5, blocked_extensions=("exe",))
    kind = {"Content-Type": "multipart/form-data; boundary=b0"}
    good = form(("a.txt", bytes(400_000)), ("b.txt", bytes(400_000)))
    assert (await world.ask("/their/upload", body=good, **kind)).status == 200
    assert world.target.received == len(good)
    answer = await world.ask("/their/upload", body=form(("a.txt", bytes(600_000))), **kind)
    assert answer.status == 400 and "File size is too large" in answer.json()["error"]["message"]
    answer = await world.ask("/their/upload", body=form(("a.txt", b"x"), ("B.EXE", b"x")), **kind)
    assert answer.status == 400 and "'exe'" in answer.json()["error"]["message"]
    await until(lambda: len(world.edge.settled()) == 3)
    assert [fact.outcome for fact in world.edge.settled()] == ["success", "blocked", "blocked"]
    assert (await world.ask("/their/upload", body=good, **{"Content-Type": "multipart/form-data"})).status == 400
    assert (await world.ask("/their/upload", body=good, **kind, **{"Content-Encoding": "gzip"})).status == 400


# ── what the target says it cost ──


@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_target_says_was_used_is_priced_and_booked(
    world: World, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", "openai"))
    entry = world.endpoint(include_subpath=True)
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}
    said = {"model": "gpt-4o-2024-08-06", "choices": [], "usage": usage}
    world.target.said = (b"data: %b\n\ndata: [DONE]\n\n" if stream else b"%b") % json.dumps(said).encode()
    world.target.said_type = "text/event-stream" if stream else "application/json"
    body = json.dumps({"model": "gpt-4o", "stream": stream}).encode()
    answer = await world.ask("/their/said", body=body, content_type="application/json")
    assert answer.body == world.target.said, "as it was said"
    settled = await world.settled()
    price = prices.lookup("openai", "gpt-4o-2024-08-06")
    assert price is not None and settled.opened.price == price
    assert (settled.usage.input_tokens, settled.usage.output_tokens, settled.usage.source) == (1000, 100, "provider")
    assert settled.cost_picousd == cost(price, Usage(1000, 100, source="provider")).picousd
    assert settled.cost_picousd and settled.flags == ()
    assert (settled.opened.provider, settled.opened.upstream_model) == ("openai", "gpt-4o-2024-08-06")
    assert settled.opened.model == "gpt-4o" and settled.opened.deployment_id == f"pass_through:{entry.id}"


async def test_the_operators_price_goes_before_and_nobodys_is_unpriced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}
    world.target.said = json.dumps({"model": "gpt-4o", "usage": usage}).encode()
    world.endpoint(target=f"{world.target.url}/v1/chat/completions/said")
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", ""))
    await world.ask("/their", body=b"{}", content_type="application/json")
    await until(lambda: len(world.edge.settled()) == 1)
    settled = world.edge.settled()[0]
    assert settled.cost_picousd is None and settled.usage.input_tokens == 10, (
        "a server of one's own has no price of OpenAI's"
    )
    monkeypatch.setattr(spoken, "_of_host", lambda host: spoken.Spoken("openai", "openai"))
    world.endpoint(target=f"{world.target.url}/said", cost_per_request=0.5)
    await world.ask("/their", body=b"{}", content_type="application/json")
    await until(lambda: len(world.edge.settled()) == 2)
    settled = world.edge.settled()[1]
    assert settled.cost_picousd == 500_000_000_000 and settled.usage.output_tokens == 1
    world.endpoint(target=f"{world.target.url}/base")
    await world.ask("/their", "GET")
    await until(lambda: len(world.edge.settled()) == 3)
    assert world.edge.settled()[2].cost_picousd == 0, "looking is free"


async def test_a_model_that_the_path_names_is_held_to_the_list_too(world: World) -> None:
    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "gemini-forbidden":
            return DecideReply(Denial(errors.model_not_allowed(asked.model, "key"), 1, [], WHO, "key_models"))
        grant = world.edge.grant(asked)
        assert not isinstance(grant, Denial)
        return DecideReply(grant.__class__(WHO, asked.route, asked.model, 1, []))

    world.edge.bus.answers[subjects.POLICY_DECIDE] = decide
    world.endpoint(include_subpath=True)
    answer = await world.ask(
        "/their/models/gemini-forbidden:generateContent", body=b"{}", content_type="application/json"
    )
    assert answer.status in (401, 403) and not world.target.seen
    assert (await world.ask("/their/models/gemini-fine:generateContent", body=b"{}")).status == 200

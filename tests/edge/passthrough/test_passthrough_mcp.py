"""`mcp_servers`: streamable HTTP under our keys, and why another server isn't relayed."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from services.edge.passthrough import mcp_servers
from shared import credential
from shared.config import parse
from shared.passthrough import Entries
from tests.edge.passthrough.passthrough_kit import KEY, Given, Target, deciding

SESSION = "1868a90c"


class Server(Target):
    """A server of the protocol with one tool: it says which session it means, and answers a call in
    a stream of events, as the specification's does.
    """

    async def take(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.method, request.raw_path, {n.lower(): v for n, v in request.headers.items()}, body))
        if request.method == "DELETE":
            return web.json_response({})
        asked = json.loads(body)
        if asked["method"] == "initialize":
            found = {
                "protocolVersion": "2025-06-18",
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "s", "version": "1"},
            }
            return web.json_response(
                {"jsonrpc": "2.0", "id": asked["id"], "result": found}, headers={"Mcp-Session-Id": SESSION}
            )
        if request.headers.get("Mcp-Session-Id") != SESSION:
            return web.Response(status=400)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        result = {"content": [{"type": "text", "text": asked["params"]["arguments"]["city"]}]}
        said = json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        await answer.write(f"event: message\ndata: {said}\n\n".encode())
        return answer


class Served(Given):
    def serve(self, **given: Any) -> None:
        config = parse(json.dumps({"mcp_servers": {"weather": {"url": f"{self.target.url}/mcp", **given}}}), {})
        self.edge.parts.passthrough = Entries(mcp_servers.entries(config.mcp_servers))


@pytest_asyncio.fixture
async def world() -> AsyncIterator[Served]:
    async with deciding(Served(), Server()) as made:
        yield made


def said(method: str, **params: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()


async def test_a_session_is_relayed_with_our_credential_and_without_the_callers(world: Served) -> None:
    world.serve(auth_type="bearer_token", auth_value="theirs", allow_all_keys=True, extra_headers=["X-Tenant"])
    kinds: dict[str, Any] = {"Content_Type": "application/json", "Accept": "application/json, text/event-stream"}
    begun = await world.ask("/mcp/weather", body=said("initialize"), **kinds)
    assert begun.status == 200 and begun.headers["mcp-session-id"] == SESSION
    going: dict[str, Any] = {
        **kinds,
        "Mcp_Session_Id": SESSION,
        "Mcp_Protocol_Version": "2025-06-18",
        "X_Tenant": "t",
        "X_Other": "o",
    }
    called = await world.ask("/mcp/weather", body=said("tools/call", name="w", arguments={"city": "Ulm"}), **going)
    assert called.status == 200 and called.headers["content-type"] == "text/event-stream" and b'"Ulm"' in called.body
    assert (await world.ask("/mcp/weather", "DELETE", **going)).status == 200
    for _, path, headers, _ in world.target.seen:
        assert path == "/mcp" and headers["authorization"] == "Bearer theirs" and KEY not in str(headers)
    sent = world.target.seen[1][2]
    assert (sent["mcp-session-id"], sent["mcp-protocol-version"], sent["x-tenant"]) == (SESSION, "2025-06-18", "t")
    assert "x-other" not in sent
    assert len(world.edge.settled()) == 3  # each in the book


@pytest.mark.parametrize("name", credential.HEADERS)
async def test_the_callers_credential_stays_here_whatever_is_said_to_go_on(world: Served, name: str) -> None:
    world.serve(allow_all_keys=True, extra_headers=[*credential.HEADERS, "Cookie", "X-Again"])
    sent = {"X_Again": f"key={KEY}", "Cookie": f"session={KEY}", name: f"Bearer {KEY}"}
    path = f"/mcp/weather?key={KEY}&city=Ulm"
    answer = await world.ask(path, body=said("initialize"), key=None, Content_Type="application/json", **sent)
    assert answer.status == 200
    assert KEY not in str(world.target.seen) and world.target.seen[0][1] == "/mcp?city=Ulm"


async def test_nobody_has_a_server_who_was_not_given_it(world: Served) -> None:
    world.serve()
    for allowed, role, status in (
        (None, "internal_user", 403), (["/mcp/other"], "internal_user", 403), (["/mcp/weather"], "internal_user", 200),
        (["/mcp/*"], "internal_user", 200), (None, "proxy_admin", 200),
    ):  # fmt: skip
        world.allowed, world.role = allowed, role
        world.edge.grants.forget_all()
        answer = await world.ask("/mcp/weather", body=said("initialize"), Content_Type="application/json")
        assert answer.status == status, (allowed, role)
    assert (await world.ask("/mcp/elsewhere", body=b"{}")).status == 404
    assert (await world.ask("/mcp/weather/../x", body=b"{}")).status == 404


@pytest.mark.parametrize(
    ("given", "headers"),
    [
        ({"auth_type": "api_key", "auth_value": "v"}, {"X-API-Key": "v"}),
        ({"auth_type": "basic", "authentication_token": "a:b"}, {"Authorization": "Basic YTpi"}),
        ({"auth_type": "authorization", "auth_value": "Own v"}, {"Authorization": "Own v"}),
        ({"auth_type": "token", "auth_value": "v"}, {"Authorization": "token v"}),
        ({"auth_type": "none", "static_headers": {"X-A": "os.environ/A"}}, {"X-A": "of-a"}),
    ],
)
def test_how_a_server_is_shown_who_calls(given: dict[str, Any], headers: dict[str, str]) -> None:
    config = parse(json.dumps({"mcp_servers": {"s": {"url": "http://s.example/mcp", **given}}}), {"A": "of-a"})
    assert config.mcp_servers["s"].headers() == headers
    assert {key.verdict for key in config.keys} == {"acts", "differently"}
    assert "of-a" not in repr(config) and "a:b" not in repr(config)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"url": "http://s.example/sse"}, "sse"), ({"url": "http://s.example/mcp", "transport": "sse"}, "sse"),
        ({"command": "npx", "args": ["x"], "transport": "stdio"}, "no program"), ({}, "no url"), ([], "mapping"),
        ({"url": "https://s.example", "spec_path": "https://s.example/openapi.json"}, "OpenAPI"),
        ({"url": "http://s.example/mcp", "auth_type": "oauth2"}, "oauth2"), ({"url": "ftp://s.example"}, "no address"),
        ({"url": "http://u:p@s.example/mcp"}, "password"), ({"url": "os.environ/UNSET"}, "UNSET"),
        ({"url": "http://s.example/mcp", "allowed_tools": ["a"]}, "allowed_tools can't be enforced"),
        ({"url": "http://s.example/mcp", "available_on_public_internet": False}, "can't be enforced"),
        ({"url": "http://s.example/mcp", "auth_type": "api_key", "auth_value": "os.environ/UNSET"}, "UNSET"),
        ({"url": "http://s.example/mcp", "static_headers": {"X": "a\r\nb: c"}}, "can't be sent"),
        ({"url": "http://s.example/mcp", "static_headers": {"X Y": "a"}}, "can't be sent"),
        ({"url": "http://s.example/mcp", "static_headers": "x"}, "static_headers"),
    ],
)  # fmt: skip
def test_one_that_is_not_relayed_says_why_and_refuses_nothing(given: Any, why: str) -> None:
    config = parse(json.dumps({"mcp_servers": {"s": given, "t": {"url": "http://t.example/mcp"}}}), {})
    assert list(config.mcp_servers) == ["t"]
    (key,) = (each for each in config.keys if each.place == "mcp_servers.s")
    assert key.verdict == "no effect" and why in key.note
    assert any(sentence.startswith("mcp_servers.s: not relayed") for sentence in config.warnings)

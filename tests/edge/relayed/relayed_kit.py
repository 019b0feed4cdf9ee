"""Providers that speak Anthropic's and OpenAI's wires, or say what a test says, and an edge that
relays to them.
"""

import json
from typing import Any

import anthropic
import httpx
import openai
from aiohttp import web

from services.edge.providers import table
from shared import config
from shared.billing import Price
from shared.facts import Caller, Settled
from shared.grant import Candidate, Denial, Grant, GuardrailRef
from shared.requests import DecideReply, DecideRequest
from tests.edge.fakes import LAST_CHUNK, STREAM_HEAD, Answer, Peer, Provider, Script, chunk, response, until
from tests.edge.harness import Edge
from tests.edge.wires_kit import CLAUDE_EVENTS, MESSAGE, RESPONSE, sse
from tests.support.ports import free_port

PRICE = Price(1_000_000, 2_000_000, 100_000)
ASKED: dict[str, dict[str, Any]] = {
    "/v1/messages": {"max_tokens": 1, "messages": [{"role": "user", "content": "x"}]},
    "/v1/responses": {"input": "x"},
    "/v1/audio/speech": {"input": "x", "voice": "v"},
}
GOOD: dict[str, bytes] = {
    "/v1/messages": response(json.dumps({"type": "message", **MESSAGE}).encode()),
    "/v1/responses": response(json.dumps({"object": "response", "error": None, "output": [], **RESPONSE}).encode()),
    "/v1/audio/speech": response(b'{"sound', kind="audio/mpeg"),
}
CREATED = b'data: {"type": "response.created"}\n\n'
ENDED = b'data: {"type": "response.output_text.delta"}\n\ndata: {"type": "response.completed"}\n\n'


class Maker:
    """A provider that speaks both wires. `moods`: statuses of the next answers."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.moods: list[int] = []
        self.port = free_port()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.seen.append((request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        if self.moods and (status := self.moods.pop(0)) != 200:
            return web.json_response(
                {"type": "error", "error": {"type": "overloaded_error", "message": "no"}}, status=status
            )
        if request.path.endswith("/audio/speech"):
            return web.Response(body=b"\xff\xf3sound" * 1000, content_type="audio/mpeg")
        if request.path.endswith(("/transcriptions", "/translations")):
            return web.json_response(
                {
                    "text": "hello",
                    "usage": {"type": "tokens", "input_tokens": 14, "output_tokens": 2, "total_tokens": 16},
                }
            )
        if "/images/" in request.path:
            return web.json_response({"created": 1, "data": [{"b64_json": "eA=="}], "usage": RESPONSE["usage"]})
        if request.path.endswith("/count_tokens"):
            return web.json_response({"input_tokens": 14})
        asked = json.loads(body)
        if "/messages" in request.path:
            whole = {"id": "msg_1", "role": "assistant", "stop_reason": "end_turn", "stop_sequence": None, **MESSAGE}
            start = {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
            }
            events: list[Any] = [dict(event) for event in CLAUDE_EVENTS]
            events[0] = {"type": "message_start", "message": {**start, **events[0]["message"]}}
            events.insert(1, {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}})
            events.insert(3, {"type": "content_block_stop", "index": 0})
            events[4]["delta"]["stop_sequence"] = None
        else:
            whole = {**RESPONSE, "created_at": 1, "status": "completed", "output": [{"id": "o", "type": "message", "role": "assistant",
                     "status": "completed", "content": [{"type": "output_text", "text": "hi", "annotations": []}]}]}  # fmt: skip
            events = [{"type": "response.output_text.delta", "delta": "hi", "item_id": "o", "output_index": 0, "content_index": 0,
                       "sequence_number": 1, "logprobs": []},
                      {"type": "response.completed", "response": whole, "sequence_number": 2}]  # fmt: skip
        if not asked.get("stream"):
            return web.json_response(whole, headers={"request-id": "req_1", "set-cookie": "a=b"})
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        for event in events:
            await out.write(sse(event, names=True))
        return out


class World:
    edge: Edge
    maker: Maker
    guardrails: list[GuardrailRef]
    denied: Denial | None = None

    def decide(self, asked: DecideRequest) -> DecideReply:
        if self.denied is not None and asked.model:
            return DecideReply(self.denied)
        found = [each for each in self.deployments if each.model_name == asked.model]
        candidates = [Candidate(each.id, each.provider, each.upstream_model, PRICE) for each in found]
        return DecideReply(
            Grant(
                Caller(key_alias="k"),
                asked.route,
                asked.model,
                1,
                ["control.key.x"],
                candidates,
                guardrails=self.guardrails,
                tags=["of-key"],
            )
        )

    def serve(self, entries: list[dict[str, Any]]) -> None:
        """Deployments, as a configuration has them."""
        self.edge.parts.targets = table.build(config.parse(json.dumps({"model_list": entries}), {}).deployments, "test")

    @property
    def deployments(self) -> list[Any]:
        return [target.deployment for target in self.edge.parts.targets.values()]

    def anthropic(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(base_url=f"http://127.0.0.1:{self.edge.port}", api_key="sk-ours", max_retries=0)

    def openai(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{self.edge.port}/v1", api_key="sk-ours", max_retries=0)

    async def post(self, path: str, **kw: Any) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.post(
                f"http://127.0.0.1:{self.edge.port}{path}",
                headers={"authorization": "Bearer sk-ours", **kw.pop("headers", {})},
                **kw,
            )

    async def settled(self, count: int = 1) -> list[Settled]:
        await until(lambda: len(self.edge.settled()) == count)
        return self.edge.settled()


class Wires(World):
    """Each test says what the providers send, byte for byte."""

    def __init__(self) -> None:
        self.providers: list[Provider] = []

    async def ask(self, path: str, *answers: bytes, **more: Any) -> Answer:
        """Of as many deployments, each of which answers so."""

        def saying(data: bytes) -> Script:
            async def script(peer: Peer) -> None:
                await peer.request()
                await peer.send(data)

            return script

        await self.deployed(path, *map(saying, answers))
        async with await self.edge.connect() as caller:
            await caller.post(path, asking(path, **more))
            return await caller.answer()

    async def deployed(self, path: str, *scripts: Script, **params: Any) -> None:
        """As many deployments of one model."""
        entries = []
        for i, script in enumerate(scripts):
            provider = await Provider(script).__aenter__()
            self.providers.append(provider)
            entries.append(entry("m", f"m-{i}", provider, wire_of(path), **params))
        self.serve(entries)

    def decide(self, asked: DecideRequest) -> DecideReply:
        candidates = [
            Candidate(each.id, each.provider, each.upstream_model, PRICE, order=i, revision=1)
            for i, each in enumerate(self.deployments)
        ]
        return DecideReply(Grant(Caller(key_alias="k"), asked.route, asked.model, 1, ["control.key.x"], candidates))


def wire_of(path: str) -> str:
    return "anthropic" if path == "/v1/messages" else "openai"


def entry(name: str, id: str, provider: Provider, wire: str, **params: Any) -> dict[str, Any]:
    """A deployment that speaks a wire."""
    is_claude = wire == "anthropic"
    base = provider.url.removesuffix("/v1") if is_claude else provider.url
    model = "anthropic/claude-sonnet-4-5" if is_claude else "openai/gpt-4o"
    said = {"model": model, "api_key": "k", "api_base": base, **params}
    return {"model_name": name, "litellm_params": said, "model_info": {"id": id}}


def streamed(*events: bytes) -> bytes:
    return b"".join((STREAM_HEAD, *map(chunk, events), LAST_CHUNK))


def asking(path: str, **more: Any) -> bytes:
    return json.dumps({"model": "m", **ASKED.get(path, {}), **more}).encode()


def said(response: bytes) -> dict[str, Any]:
    """All of a Response but its id, which is the caller's."""
    return {name: value for name, value in json.loads(response).items() if name != "id"}

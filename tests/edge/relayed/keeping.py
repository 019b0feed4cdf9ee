"""A provider that keeps responses, as OpenAI does: whoever has its key may go on from any."""

import asyncio
import itertools
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from tests.edge.wires_kit import sse
from tests.support.ports import free_port

USAGE = {
    "input_tokens": 3, "output_tokens": 2, "total_tokens": 5, "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}  # fmt: skip


class Keeper:
    def __init__(self) -> None:
        self.port = free_port()
        self.kept: dict[str, dict[str, Any]] = {}
        self.items: dict[str, dict[str, Any]] = {}
        self.asked: list[dict[str, Any]] = []
        """Bodies of new responses."""
        self.bodies: list[bytes] = []
        """The same, byte for byte."""
        self.paths: list[str] = []
        self.keys: list[str] = []
        self.numbers: Iterator[int] = itertools.count(1)
        """Of the ids that it gives."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.paths.append(request.path_qs)
        self.keys.append(request.headers.get("authorization", ""))
        if request.path in ("/v1/responses", "/v1/responses/compact", "/v1/responses/input_tokens"):
            return await self.new(request)
        _, _, id, *below = request.path.removeprefix("/v1").split("/")
        if id not in self.kept:
            return self._none(id)
        if below == ["input_items"]:
            return web.json_response(
                {
                    "object": "list",
                    "data": self.kept[id]["asked"],
                    "first_id": "msg_in",
                    "last_id": "msg_in",
                    "has_more": False,
                }
            )
        if request.method == "DELETE":
            del self.kept[id]
            return web.json_response({"id": id, "object": "response.deleted", "deleted": True})
        if below == ["cancel"]:
            self.kept[id]["said"]["status"] = "cancelled"
        if request.query.get("stream") == "true":
            return await self._stream(request, self.kept[id]["said"])
        return web.json_response(self.kept[id]["said"])

    def over(self, status: str = "completed", **said: Any) -> None:
        """Whatever goes on in the background has come to its end."""
        for each in self.kept.values():
            each["said"] |= {"status": status, "usage": USAGE, **said}

    def _none(self, id: str, what: str = "Response") -> web.Response:
        return web.json_response(
            {
                "error": {
                    "message": f"{what} with id '{id}' not found.",
                    "type": "invalid_request_error",
                    "param": None,
                    "code": None,
                }
            },
            status=404,
        )

    async def new(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.read())
        asked = json.loads(self.bodies[-1])
        self.asked.append(asked)
        before = asked.get("previous_response_id")
        if before is not None and before not in self.kept:
            return self._none(before, "Previous response")
        for item in asked["input"] if isinstance(asked["input"], list) else []:
            if item.get("type") == "item_reference" and item["id"] not in self.items:
                return self._none(item["id"], "Item")
        if request.path.endswith("/input_tokens"):
            return web.json_response({"object": "response.input_tokens", "input_tokens": 3})
        number = next(self.numbers)
        said = (
            f"After {json.dumps(self.kept[before]['said']['output'][0]['content'][0]['text'])}" if before else "hello"
        )
        item = {"id": f"msg_{number:050}", "type": "message", "role": "assistant", "status": "completed",
                "content": [{"type": "output_text", "text": said, "annotations": []}]}  # fmt: skip
        made = {
            "id": f"resp_{number:050}", "object": "response", "created_at": 1.5, "status": "completed", "error": None, "model": "gpt-4o",
            "incomplete_details": None, "instructions": None, "metadata": {"id": "resp_mine"}, "output": [item], "parallel_tool_calls": True,
            "previous_response_id": before, "temperature": 1.0, "tool_choice": "auto", "tools": asked.get("tools", []), "top_p": 1.0,
            "usage": USAGE,
        }  # fmt: skip
        if asked.get("background"):
            made |= {"status": "queued", "background": True, "usage": None, "output": []}
        self.items[item["id"]] = item
        if asked.get("store") is not False:
            self.kept[made["id"]] = {
                "said": made, "asked": [{"id": "msg_in", "type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]}],
            }  # fmt: skip
        return await self._stream(request, made) if asked.get("stream") else web.json_response(made)

    async def _stream(self, request: web.Request, made: dict[str, Any]) -> web.StreamResponse:
        if not made["output"]:
            return await self._begin(request, made)
        item = made["output"][0]
        begun = {**made, "status": "in_progress", "output": [], "usage": None}
        at = {"item_id": item["id"], "output_index": 0, "content_index": 0}
        events: list[dict[str, Any]] = [
            {"type": "response.created", "response": begun},
            {"type": "response.in_progress", "response": begun},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {**item, "content": [], "status": "in_progress"},
            },
            {
                "type": "response.content_part.added",
                **at,
                "part": {"type": "output_text", "text": "", "annotations": []},
            },
            {"type": "response.output_text.delta", **at, "delta": 'say "id":"msg_1"', "logprobs": []},
            {"type": "response.output_text.done", **at, "text": item["content"][0]["text"], "logprobs": []},
            {"type": "response.content_part.done", **at, "part": item["content"][0]},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": made},
        ]
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        data = b"".join(sse({**event, "sequence_number": n}, names=True) for n, event in enumerate(events))
        for start in range(0, len(data), 97):  # cut anywhere
            await out.write(data[start : start + 97])
        return out

    async def _begin(self, request: web.Request, made: dict[str, Any]) -> web.StreamResponse:
        """Of one in the background: it goes on for as long as anybody listens."""
        out = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await out.prepare(request)
        events = [{"type": "response.created", "response": made}, {"type": "response.queued", "response": made}]
        await out.write(b"".join(sse({**event, "sequence_number": n}, names=True) for n, event in enumerate(events)))
        await asyncio.sleep(60)
        return out

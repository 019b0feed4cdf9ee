"""A service that a guardrail asks, and guardrails that ask it."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from services.moderation.guardrails import table
from services.moderation.guardrails.loaded import Loaded
from services.moderation.guardrails.parts import Parts
from services.moderation.screen import Screen
from shared.config import parse
from shared.outbound import Outbound
from shared.requests import ScreenRequest, Verdict
from tests.moderation.moderation_kit import answered


class StandIn:
    """A server that answers as it is told, and keeps what it was asked."""

    url: str

    def __init__(self) -> None:
        self.answers: dict[str, Callable[[Any], Any]] = {}
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    async def serve(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw[:1] in (b"{", b"[") else raw.decode()
        self.asked.append((request.path, {name.lower(): value for name, value in request.headers.items()}, body))
        answer = self.answers[request.path](body)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


def load(outbound: Outbound, environ: dict[str, str], directory: Path = Path(), **tree: Any) -> list[Loaded]:
    config = parse(json.dumps(tree), environ, directory=str(directory), service="moderation")
    return table.load(Parts(config=config, environ=environ, outbound=outbound))


def listed(
    outbound: Outbound, environ: dict[str, str] | None = None, directory: Path = Path(), **params: Any
) -> Screen:
    entry = {"guardrail_name": "g", "litellm_params": params}
    return Screen(load(outbound, environ or {}, directory, guardrails=[entry]))


async def screened(screen: Screen, *texts: str, name: str = "g", stage: str = "pre_call", **more: Any) -> Verdict:
    return await answered(screen.screen(ScreenRequest([name], stage, list(texts), **more)))

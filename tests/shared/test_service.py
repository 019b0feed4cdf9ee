"""A process's life: what its probes say of its loop."""

import asyncio
import time

import aiohttp
import pytest

from shared import service
from shared.service import Life, serve_probes
from tests.support.ports import free_port


async def get(port: int, path: str) -> tuple[int, dict[str, str]]:
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
        return answer.status, await answer.json()


async def test_a_loop_that_stood_still_is_not_live_and_then_is_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SILENT_S_MAX", 0.8)
    life, port = Life("test"), free_port()
    beating = asyncio.create_task(life.beat())
    probes = await serve_probes(life, "127.0.0.1", port)
    await asyncio.sleep(0.6)
    assert (await get(port, "/live"))[0] == 200
    assert (await get(port, "/ready"))[0] == 503, "it lives, and isn't ready: nobody restarts it for that"
    time.sleep(1.2)  # the loop stands still
    reason = life.reason_not_live()
    assert reason is not None and "silent" in reason
    await asyncio.sleep(0.7)
    assert (await get(port, "/live"))[0] == 200
    beating.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(1)
    status, body = await get(port, "/live")
    assert status == 503 and "silent" in body["reason"]
    await probes.cleanup()

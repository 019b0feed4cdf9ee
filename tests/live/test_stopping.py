"""SIGTERM: not ready, what runs goes on, everything is in the book, exit 0."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.live.conftest import MASTER, book_row
from tests.live.test_calls import config
from tests.support.suite import RunningSuite
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def stream(http: aiohttp.ClientSession, url: str, call_id: str, chunks: int) -> bytes:
    fake = {"text": "fine", "chunks": chunks, "chunk_delay_ms": 40}
    body = {"model": "fake", "stream": True, "messages": [{"role": "user", "content": "x"}], "fake": fake}
    headers = {**MASTER, "x-litellm-call-id": call_id}
    async with http.post(url + "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.status == 200
        return await answer.read()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def two_of_each(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    async with FakeUpstream() as upstream:
        text = config(upstream.base_url)
        async with RunningSuite(tmp_path_factory.mktemp("two"), text, replicas="policy=2,ledger=2") as running:
            yield running


def exits(suite: RunningSuite, since: int) -> list[str]:
    """What the supervisor logged of ends, past so many characters of its log."""
    return [line for line in suite.log()[since:].splitlines() if '"event":"died"' in line]


async def test_a_stopping_edge_finishes_its_streams_and_takes_no_new_calls(
    two_of_each: RunningSuite, http: aiohttp.ClientSession
) -> None:
    suite = two_of_each
    url, pid, since = suite.edge_url, suite.pids["edge"], len(suite.log())
    running = [asyncio.create_task(stream(http, url, f"stopping-{n}", 40)) for n in range(5)]
    await asyncio.sleep(0.5)
    suite.kill("edge", signal.SIGTERM)
    await asyncio.sleep(0.2)
    async with aiohttp.ClientSession() as stranger:
        with pytest.raises(aiohttp.ClientConnectionError):
            await stranger.get(url + "/health/liveliness")
        probe = suite.state()["processes"]["edge"]["probe_port"]
        async with stranger.get(f"http://127.0.0.1:{probe}/ready") as answer:
            assert answer.status == 503 and "stopping" in await answer.text()
    for said in await asyncio.gather(*running):
        assert said.endswith(b"data: [DONE]\n\n") and said.count(b"fine") == 40
    await suite.restarted("edge", pid)
    (died,) = exits(suite, since)
    assert '"name":"edge"' in died and '"exit":"status 0"' in died
    for n in range(5):
        assert (await book_row(http, suite.edge_url, f"stopping-{n}", MASTER))["status"] == "success"


async def test_what_outlives_the_limit_is_cut_and_settled(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    env = {"TOLLGATE_EDGE_DRAIN_MS": "700"}
    async with FakeUpstream() as upstream, RunningSuite(tmp_path, config(upstream.base_url), env=env) as suite:
        pid = suite.pids["edge"]
        running = asyncio.create_task(stream(http, suite.edge_url, "too-long", 100))
        await asyncio.sleep(0.5)
        stopped = time.monotonic()
        suite.kill("edge", signal.SIGTERM)
        with pytest.raises(aiohttp.ClientError):
            await running
        assert 0.5 < time.monotonic() - stopped < 3
        await suite.restarted("edge", pid)
        row = await book_row(http, suite.edge_url, "too-long", MASTER)
        assert row["status"] == "failure" and row["completion_tokens"] > 0


@pytest.mark.parametrize("service", ["policy", "moderation", "ledger"])
async def test_a_stopped_service_exits_0_and_no_call_is_lost(
    two_of_each: RunningSuite, http: aiohttp.ClientSession, service: str
) -> None:
    suite = two_of_each
    pid, since = suite.pids[service], len(suite.log())
    running = [asyncio.create_task(stream(http, suite.edge_url, f"{service}-{n}", 20)) for n in range(10)]
    await asyncio.sleep(0.3)
    suite.kill(service, signal.SIGTERM)
    said = await asyncio.gather(*running)
    await suite.restarted(service, pid)
    (died,) = exits(suite, since)
    assert f'"name":"{service}"' in died and '"exit":"status 0"' in died
    for n, text in enumerate(said):
        wanted = "success" if text.endswith(b"data: [DONE]\n\n") else "failure"
        assert wanted == "success" or service == "moderation"
        assert (await book_row(http, suite.edge_url, f"{service}-{n}", MASTER))["status"] == wanted

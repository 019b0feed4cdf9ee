"""The suite with its real services: the first call of a newcomer, deaths, and a second start."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.support.suite import ROOT, RunningSuite

HEADERS = {"Authorization": "Bearer sk-1234"}
CONFIG = (ROOT / "config.example.yaml").read_text()


async def chat(http: aiohttp.ClientSession, url: str, tag: str) -> int:
    """The status of one call, which carries `tag`; 0 when there was no answer."""
    body = {"model": "gpt-3.5-turbo", "messages": [{"role": "user", "content": "Hello"}], "metadata": {"tags": [tag]}}
    try:
        async with http.post(f"{url}/v1/chat/completions", json=body, headers=HEADERS) as answer:
            await answer.read()
            return answer.status
    except aiohttp.ClientError:
        return 0


async def counts(http: aiohttp.ClientSession, url: str) -> dict[str, int]:
    """Requests by tag, as the book has them; empty while it can't be read."""
    try:
        async with http.get(f"{url}/spend/tags", headers=HEADERS) as answer:
            rows: list[dict[str, Any]] = await answer.json() if answer.status == 200 else []
    except aiohttp.ClientError:
        return {}
    return {row["individual_request_tag"]: row["log_count"] for row in rows}


async def booked(http: aiohttp.ClientSession, url: str, tag: str, count: int) -> None:
    deadline = time.monotonic() + 20
    while (found := (await counts(http, url)).get(tag)) != count:
        assert time.monotonic() < deadline, f"{tag}: {found} of {count} in the book"
        await asyncio.sleep(0.1)


async def served(http: aiohttp.ClientSession, url: str, tag: str) -> None:
    """A call is answered, at last: the first attempts may meet a service that is being started."""
    deadline = time.monotonic() + 20
    while await chat(http, url, tag) != 200:
        assert time.monotonic() < deadline, "no call is answered"
        await asyncio.sleep(0.1)


async def test_the_first_call_is_in_the_book_after_a_second_start_too(tmp_path: Path) -> None:
    async with RunningSuite(tmp_path, CONFIG) as suite, aiohttp.ClientSession() as http:
        assert await chat(http, suite.edge_url, "first-try") == 200
        await booked(http, suite.edge_url, "first-try", 1)
        await booked(http, suite.ledger_url, "first-try", 1)
        assert "Tollgate is ready" in suite.log() and suite.edge_url in suite.log()
        assert await suite.stop() == 0
        assert suite.processes() == []
        await suite.start()
        await booked(http, suite.edge_url, "first-try", 1)
        suite.process.kill()
        await suite.wait(5)
        await suite.start()
        await booked(http, suite.edge_url, "first-try", 1)
        assert await chat(http, suite.edge_url, "first-try") == 200
        await booked(http, suite.edge_url, "first-try", 2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mortal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    """Ends as it should after everything in it had died once."""
    async with RunningSuite(tmp_path_factory.mktemp("mortal"), CONFIG) as suite:
        yield suite
        assert await suite.stop() == 0
        assert suite.processes() == []


@pytest.mark.parametrize("name", ["edge", "policy", "moderation", "ledger", "nats", "postgres"])
async def test_whatever_dies_comes_back_and_the_book_is_whole(mortal: RunningSuite, name: str) -> None:
    before, after = f"before {name}", f"after {name}"
    async with aiohttp.ClientSession() as http:
        assert await chat(http, mortal.edge_url, before) == 200
        old = mortal.kill(name)
        await mortal.restarted(name, old)
        await served(http, mortal.edge_url, after)
        await booked(http, mortal.edge_url, before, 1)
        assert (await counts(http, mortal.edge_url)).get(after, 0) <= 1
        await booked(http, mortal.edge_url, after, 1)


async def test_two_of_everything_share_one_book(tmp_path: Path) -> None:
    async with (
        RunningSuite(tmp_path, CONFIG, replicas="edge=2,policy=2,moderation=2,ledger=2") as suite,
        aiohttp.ClientSession() as http,
    ):
        for url in suite.edge_urls:
            assert await chat(http, url, "shared") == 200
        for url in (*suite.edge_urls, *suite.ledger_urls):
            await booked(http, url, "shared", 2)

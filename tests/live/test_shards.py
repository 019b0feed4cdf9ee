"""Shards are the stream's own: edges and ledgers read their number from it, so that nobody writes
where nobody records.
"""

import json
from pathlib import Path

import aiohttp
import nats
import pytest

from tests.live.conftest import MASTER, eventually
from tests.support.suite import MOCK_CONFIG, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def calls(http: aiohttp.ClientSession, suite: RunningSuite, tag: str) -> None:
    """One through each edge, and each in the book."""
    for url in suite.edge_urls:
        body = {"model": "mock", "messages": [{"role": "user", "content": "x"}], "metadata": {"tags": [tag]}}
        async with http.post(url + "/v1/chat/completions", json=body, headers=MASTER) as answer:
            assert answer.status == 200

    async def counted() -> int:
        async with http.get(suite.edge_url + "/spend/tags", headers=MASTER) as answer:
            rows = await answer.json()
            return sum(row["log_count"] for row in rows if row["individual_request_tag"] == tag)

    await eventually(counted, len(suite.edge_urls))


async def subjects_of(suite: RunningSuite) -> set[str]:
    operator = await nats.connect(suite.nats_url)
    reply = await operator.request("$JS.API.STREAM.INFO.TRAFFIC", b'{"subjects_filter":">"}', timeout=2)
    await operator.close()
    return set(json.loads(reply.data)["state"].get("subjects", {}))


async def test_an_edge_knows_the_shards_and_a_smaller_number_later_loses_none(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    env = {"TOLLGATE_TRAFFIC_SHARDS": "3", "TOLLGATE_EDGE_NAME": "edge-2"}
    async with RunningSuite(tmp_path, MOCK_CONFIG, env=env) as suite:
        await calls(http, suite, "three")
        assert await subjects_of(suite) == {"traffic.2"}, "the third of its like"
        await suite.stop()
        suite._env["TOLLGATE_TRAFFIC_SHARDS"] = "1"
        await suite.start()
        await calls(http, suite, "still three")
        assert await subjects_of(suite) == {"traffic.2"}


async def test_an_edge_that_was_told_another_number_writes_where_the_ledger_records(
    tmp_path: Path, http: aiohttp.ClientSession
) -> None:
    """Sixty-four for the edge and one for the ledger were calls answered, and no rows."""
    env = {"TOLLGATE_TRAFFIC_SHARDS": "1", "TOLLGATE_EDGE_NAME": "edge-63"}
    async with RunningSuite(tmp_path, MOCK_CONFIG, env=env) as suite:
        await calls(http, suite, "one")
        assert await subjects_of(suite) == {"traffic.0"}

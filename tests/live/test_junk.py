"""Ten seconds of junk at every management route; `make prove` goes on for ten minutes."""

import os
import time

import aiohttp
import pytest

from shared import routes
from tests.live.effective import CONFIG
from tests.live.junk import LEFT_OUT, Junk
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

SECONDS = float(os.environ.get("JUNK_SECONDS", "10"))


async def test_junk_is_answered_without_a_500_and_as_described(
    tmp_path_factory: pytest.TempPathFactory, http: aiohttp.ClientSession
) -> None:
    seed = int(os.environ.get("JUNK_SEED", str(int(time.time()) % 100_000)))
    config = CONFIG.replace("general_settings: {", "general_settings: {store_model_in_db: true, ")
    async with RunningSuite(tmp_path_factory.mktemp("junk"), config) as suite:
        counts = await Junk(suite.edge_url, seed).run(SECONDS)
        asked = {route for route, _ in counts}
        assert asked == {row.name for row in routes.of_surface("management")} - LEFT_OUT
        by_status: dict[int, int] = {}
        for (_, status), number in counts.items():
            by_status[status] = by_status.get(status, 0) + number
        print(f"seed {seed}: {sum(by_status.values())} calls, {dict(sorted(by_status.items()))}")
        good = {route for (route, status) in counts if status == 200}
        assert len(good) > len(asked) / 3, sorted(asked - good)
        async with http.get(suite.edge_url + "/health/readiness") as answer:
            assert answer.status == 200

"""Junk at every management route for ten minutes (JUNK_SECONDS), and schemathesis on our OpenAPI
document where there is one.

`SCHEMATHESIS` names its `st`; without it that part is skipped. Run by `make prove`.
"""

import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared import routes
from tests.live.effective import CONFIG
from tests.live.junk import LEFT_OUT, Junk
from tests.support.suite import MASTER_KEY, RunningSuite

SECONDS = float(os.environ.get("JUNK_SECONDS", "600"))
ST = os.environ.get("SCHEMATHESIS", "")


@pytest.fixture
async def suite(tmp_path: Path) -> AsyncIterator[RunningSuite]:
    config = CONFIG.replace("general_settings: {", "general_settings: {store_model_in_db: true, ")
    async with RunningSuite(tmp_path, config) as running:
        yield running


@pytest.mark.timeout(1800)
async def test_ten_minutes_of_junk(suite: RunningSuite) -> None:
    for seed in range(5):
        counts = await Junk(suite.edge_url, seed).run(SECONDS / 5)
        print(f"seed {seed}: {sum(counts.values())} calls")


@pytest.mark.skipif(not ST, reason="SCHEMATHESIS isn't set")
@pytest.mark.timeout(1800)
async def test_schemathesis_finds_nothing(suite: RunningSuite, tmp_path: Path) -> None:
    import asyncio

    config = tmp_path / "schemathesis.toml"
    config.write_text("")
    paths = sorted(
        {
            path.replace(":path}", "}")
            for row in routes.of_surface("management")
            if row.name not in LEFT_OUT
            for path in row.paths
        }
    )
    expression = (
        "^(" + "|".join(path.replace("{", r"\\{").replace("}", r"\\}").replace(".", r"\\.") for path in paths) + ")$"
    )
    command = [
        ST, "--config-file", str(config), "run", suite.edge_url + "/openapi.json", "-H", f"Authorization: Bearer {MASTER_KEY}",
        "--include-path-regex", expression, "--checks", "not_a_server_error,response_schema_conformance,content_type_conformance",
        "--phases", "examples,coverage,fuzzing", "--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "30"), "--no-color",
        "--request-timeout", "15",
    ]  # fmt: skip
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=1700, cwd=tmp_path)
    print(done.stdout[-4_000:])
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]

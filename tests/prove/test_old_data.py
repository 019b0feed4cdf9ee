"""A data directory of the first release, that of `make run`, goes on under today's: keys, calls,
sums, and evidence that is whole.
"""

import asyncio
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.kill_each import CONFIG, ENV, new_key, one_call, settled
from tests.prove.old_release import unpacked
from tests.support.suite import ROOT, RunningSuite, commands_env
from tests.support.upstream import FakeUpstream

FIRST = "e59dc7f"
CALLS = 40


@pytest.mark.timeout(400)
@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_the_first_releases_data_goes_on_under_todays(tmp_path: Path, killed: bool) -> None:
    tree = unpacked(tmp_path / "tree", FIRST)
    async with FakeUpstream() as upstream, aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
        config = CONFIG.format(base=upstream.base_url)

        async def calls(suite: RunningSuite, key: str) -> None:
            made = await asyncio.gather(*(one_call(http, suite.edge_url, key, number) for number in range(CALLS)))
            assert all(each.complete for each in made), [each for each in made if not each.complete][:3]
            seen.extend(made)

        seen: list = []
        async with RunningSuite(tmp_path / "suite", config, env=ENV, root=tree) as old:
            key, gone = await new_key(old), await new_key(old)
            await calls(old, key)
            headers = {"Authorization": "Bearer sk-1234"}
            async with http.post(f"{old.edge_url}/key/delete", json={"keys": [gone]}, headers=headers) as answer:
                assert answer.status == 200
            assert (await one_call(http, old.edge_url, gone, 1)).status == 401
            if killed:
                old.process.kill()  # and the kernel its children
                await old.wait(10)
        async with RunningSuite(tmp_path / "suite", config, env=ENV) as new:
            assert (await one_call(http, new.edge_url, gone, 1)).status == 401
            await calls(new, key)
            await calls(new, await new_key(new))
            counts = await settled(new, seen)
            assert counts.complete == 3 * CALLS
            assert (
                counts.lost == counts.duplicated == counts.mischarged == counts.unended == counts.rollup_differs == 0
            ), counts
            done = await asyncio.to_thread(
                subprocess.run, [sys.executable, "-m", "services.ledger", "verify"], cwd=ROOT, env=commands_env(new),
                capture_output=True, text=True,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
            print(done.stdout.strip().splitlines()[-1])

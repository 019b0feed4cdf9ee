"""The broker comes back without its data: everybody is refused, the streams are made again, and two
commands bring the keys back.
"""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.live.conftest import MASTER, eventually, new_key
from tests.support.suite import MOCK_CONFIG, ROOT, RunningSuite, commands_env

pytestmark = pytest.mark.asyncio(loop_scope="session")


def restore(suite: RunningSuite) -> str:
    """As an operator does it. Returns what the command said."""
    env = commands_env(suite)
    dumped = subprocess.run(
        [sys.executable, "-m", "services.ledger", "dump-control"], cwd=ROOT, env=env, capture_output=True, check=True
    )
    done = subprocess.run(
        [sys.executable, "-m", "services.policy", "restore-control"],
        cwd=ROOT, env=env, input=dumped.stdout, capture_output=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stderr.decode()


async def status(http: aiohttp.ClientSession, suite: RunningSuite, key: str) -> int:
    body = {"model": "mock", "messages": [{"role": "user", "content": "x"}]}
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(suite.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
        return answer.status


async def test_keys_and_calls_come_back(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    # Checkpoints are control facts too: without them the number of facts is known.
    async with RunningSuite(tmp_path, MOCK_CONFIG, env={"TOLLGATE_CHECKPOINT_MINUTES": "0"}) as suite:
        kept = await new_key(http, suite, key_alias="kept")
        gone = await new_key(http, suite)
        async with http.post(suite.edge_url + "/key/delete", json={"keys": [gone]}, headers=MASTER) as answer:
            assert answer.status == 200
        assert await status(http, suite, kept) == 200
        await eventually(lambda: audit_rows(http, suite), 4)  # with the configuration's

        shutil.rmtree(suite.data_dir / "nats" / "jetstream")
        pid = suite.kill("nats")
        await suite.restarted("nats", pid, 15)
        await eventually(lambda: status(http, suite, kept), 401, 20)
        later = await new_key(http, suite)
        await eventually(lambda: status(http, suite, later), 200, 20)

        said = await asyncio.to_thread(restore, suite)
        assert "5 control facts written, " in said  # of the later key the book may have heard, or not yet
        await eventually(lambda: status(http, suite, kept), 200)
        assert (await status(http, suite, gone), await status(http, suite, later)) == (401, 200)

        async def again() -> str:
            return await asyncio.to_thread(restore, suite)

        # The book follows the stream by milliseconds: what was made since is there to be compared
        # once the book has it.
        await eventually(again, lambda said: "0 control facts written, 6 were there" in said)
        await eventually(lambda: audit_rows(http, suite), 7)  # with the two by which it says what it did
        env = commands_env(suite)
        verify = [sys.executable, "-m", "services.ledger", "verify"]
        assert (await asyncio.to_thread(subprocess.run, verify, cwd=ROOT, env=env)).returncode == 0


async def audit_rows(http: aiohttp.ClientSession, suite: RunningSuite) -> int:
    async with http.get(suite.edge_url + "/audit", headers=MASTER) as answer:
        return int((await answer.json())["total"])

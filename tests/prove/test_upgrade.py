"""Yesterday's release beside today's on one broker, one book and one schema: while it is replaced,
and when the new one is taken back.

`PROVE_OLD_COMMIT` says which is yesterday's. The broker runs with today's accounts: it is the first
to be upgraded, and the last to go back.
"""

import asyncio
import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from shared.subjects import PERMISSIONS
from tests.chaos.kill_each import CONFIG, ENV, Seen, new_key, one_call, settled
from tests.ledger.servers import Postgres
from tests.prove.old_release import OLD, unpacked
from tests.support.broker import AccountsBroker
from tests.support.suite import MASTER_KEY, ROOT, RunningSuite
from tests.support.upstream import FakeUpstream

CALLS = 60


class Around:
    """Broker and database, which both releases use."""

    def __init__(self, broker: AccountsBroker, database_url: str) -> None:
        self.env = {
            **ENV,
            "TOLLGATE_NATS_URL": broker.url("operator"),
            **{f"TOLLGATE_NATS_URL_{kind.upper()}": broker.url(kind) for kind in PERMISSIONS},
            "TOLLGATE_DATABASE_URL": database_url,
            "TOLLGATE_CHECKPOINT_KEY": base64.b64encode(bytes(range(32))).decode(),
            "LITELLM_SALT_KEY": "salt-of-both-releases",
        }

    def suite(self, directory: Path, upstream: FakeUpstream, root: Path) -> RunningSuite:
        return RunningSuite(directory, CONFIG.format(base=upstream.base_url), env=self.env, root=root)


@pytest.fixture
def around(tmp_path: Path) -> Iterator[Around]:
    for name in ("nats", "postgres"):
        (tmp_path / name).mkdir()
    with AccountsBroker(tmp_path / "nats") as broker, Postgres(tmp_path / "postgres") as database:
        yield Around(broker, asyncio.run(database.new_database()))


async def calls(suites: list[RunningSuite], keys: list[str], seen: list[Seen]) -> None:
    """Plain ones and streams, on every edge with every key; all are answered whole."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
        one_by_one = [(suite.edge_url, key) for suite in suites for key in keys]
        made = await asyncio.gather(
            *(one_call(http, *one_by_one[number % len(one_by_one)], number) for number in range(CALLS))
        )
    assert all(each.complete for each in made), [each for each in made if not each.complete][:3]
    seen += made


async def revoked(by: RunningSuite, at: RunningSuite) -> None:
    """What one release takes back, the other's edge refuses within a second."""
    key = await new_key(by)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
        assert (await one_call(http, at.edge_url, key, 1)).complete
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        async with http.post(f"{by.edge_url}/key/delete", json={"keys": [key]}, headers=headers) as answer:
            assert answer.status == 200
        await asyncio.sleep(1.0)
        assert (await one_call(http, at.edge_url, key, 1)).status == 401


@pytest.mark.timeout(600)
async def test_yesterdays_release_and_todays_serve_side_by_side_and_the_new_one_can_be_taken_back(
    around: Around, tmp_path: Path
) -> None:
    old_tree = unpacked(tmp_path / "old-tree")
    seen: list[Seen] = []
    async with FakeUpstream() as upstream:
        new = around.suite(tmp_path / "new", upstream, ROOT)
        async with around.suite(tmp_path / "old", upstream, old_tree) as old:
            keys = [await new_key(old)]
            await calls([old], keys, seen)
            async with new:
                keys.append(await new_key(new))
                await calls([old, new], keys, seen)
                await revoked(old, new)
                await revoked(new, old)
                await old.stop()  # the upgrade is complete
                await calls([new], keys, seen)
                await old.start()  # and it is taken back
                await calls([old, new], keys, seen)
            keys.append(await new_key(old))
            await calls([old], keys, seen)
            counts = await settled(old, [each for each in seen if each.complete])
            assert counts.lost == counts.duplicated == counts.mischarged == counts.unended == 0, counts
    command = [sys.executable, "-m", "services.ledger", "verify"]
    done = await asyncio.to_thread(
        subprocess.run, command, cwd=ROOT, env={**around.env, "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    print(f"{len(seen)} calls on {OLD} and today's; {done.stdout.strip().splitlines()[-1]}")

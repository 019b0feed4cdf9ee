"""Restore drills on a running system, by the commands that docs/operations.md names: the book is
lost, the broker is lost, and both are.

Each ends with `verify` and `rebuild --check`, and prints what came back and what didn't.
"""

import asyncio
import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.chaos.kill_each import CONFIG, ENV, Seen, book, new_key, one_call, settled
from tests.live.test_broker_lost import restore
from tests.support.suite import ROOT, RunningSuite, commands_env
from tests.support.upstream import FakeUpstream

CALLS = 40


async def at_once(suite: RunningSuite, key: str) -> list[Seen]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=40)) as http:
        return list(await asyncio.gather(*(one_call(http, suite.edge_url, key, number) for number in range(CALLS))))


async def calls(suite: RunningSuite, key: str) -> list[Seen]:
    """Made, and in the book."""
    made = await at_once(suite, key)
    assert all(each.complete for each in made)
    counts = await settled(suite, made)
    assert counts.lost == counts.mischarged == counts.unended == 0, counts
    return made


async def ledger(suite: RunningSuite, *arguments: str) -> tuple[int, str]:
    env = {**commands_env(suite, "ledger"), "TOLLGATE_DATA_DIR": str(suite.data_dir)}
    command = [sys.executable, "-m", "services.ledger", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, cwd=ROOT, env=env, capture_output=True, text=True)
    print(f"$ {' '.join(command[2:])}\n{done.stdout}{done.stderr[-2000:] if done.returncode else ''}")
    return done.returncode, done.stdout


async def in_book(suite: RunningSuite, made: list[Seen]) -> int:
    rows, *_ = await book(suite.database_url)
    ids = {row.litellm_call_id for row in rows}
    return sum(each.id in ids for each in made)


async def still_open(suite: RunningSuite) -> int:
    return (await book(suite.database_url))[1]


async def proved(suite: RunningSuite) -> None:
    for check in (["verify"], ["rebuild", "--check"]):
        status, said = await ledger(suite, *check)
        assert status == 0, said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("lost", ["book", "book and broker"])
async def test_a_drill_brings_back_all_that_there_still_is(lost: str, tmp_path: Path) -> None:
    env = {**ENV, "TOLLGATE_CHECKPOINT_MINUTES": "0.05"}
    async with (
        FakeUpstream() as upstream,
        RunningSuite(tmp_path, CONFIG.format(base=upstream.base_url), env=env) as suite,
    ):
        key = await new_key(suite)
        before = await calls(suite, key)
        await suite.stop()
        backup = tmp_path / "backup"
        shutil.copytree(suite.data_dir / "postgres", backup)
        await suite.start()
        after = await calls(suite, key)
        await suite.stop()
        shutil.rmtree(suite.data_dir / "postgres")
        shutil.move(backup, suite.data_dir / "postgres")
        if lost == "book and broker":
            shutil.rmtree(suite.data_dir / "nats" / "jetstream")
        await suite.start()
        if lost == "book and broker":
            print(await asyncio.to_thread(restore, suite))
        status, said = await ledger(suite, "restore-traffic")
        kept = await in_book(suite, after)
        print(
            f"{lost} lost: {await in_book(suite, before)} of {CALLS} calls before the backup, {kept} of {CALLS} after it are in the book"
        )
        assert await in_book(suite, before) == CALLS
        assert (status, kept) == ((0, CALLS) if lost == "book" else (0, 0)), said
        await calls(suite, key)
        await proved(suite)


@pytest.mark.timeout(300)
async def test_a_drill_of_the_broker_alone_brings_back_the_keys_and_ends_what_was_open(tmp_path: Path) -> None:
    """Just before, an edge dies in mid-call, and the ledger stands still and dies: what the book
    has open expires, and what the broker alone knew is gone.
    """
    async with (
        FakeUpstream() as upstream,
        RunningSuite(tmp_path, CONFIG.format(base=upstream.base_url), env=ENV) as suite,
    ):
        key = await new_key(suite)
        before = await calls(suite, key)
        in_mid_call = asyncio.create_task(at_once(suite, key))
        while await still_open(suite) < CALLS // 2:
            await asyncio.sleep(0.02)
        pid = suite.kill("edge")
        cut_off = await in_mid_call
        await suite.restarted("edge", pid)
        suite.kill("ledger", signal.SIGSTOP)
        unread = await at_once(suite, key)
        assert all(each.complete for each in unread)

        shutil.rmtree(suite.data_dir / "nats" / "jetstream")
        pid = suite.kill("nats")
        suite.kill("ledger")
        await suite.restarted("nats", pid)
        print(await asyncio.to_thread(restore, suite))
        after = await calls(suite, key)
        rows, left, *_ = await book(suite.database_url)
        ends = Counter(row.outcome for row in rows if row.litellm_call_id in {each.id for each in cut_off})
        kept = await in_book(suite, unread)
        print(
            f"the broker lost: {await in_book(suite, before)} of {CALLS} calls before, {kept} of {CALLS} that the book "
            f"hadn't read, {await in_book(suite, after)} of {CALLS} after; cut off: {dict(ends)}, still open {left}"
        )
        assert (kept, left) == (0, 0) and await in_book(suite, before) == CALLS
        assert ends["expired"] and set(ends) <= {"expired", "success"}
        await proved(suite)

"""A journal without its edge: a command sends it, once, and leaves it empty."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.edge.journal import Journal
from shared import streams
from shared.ids import new_id
from tests.support.broker import AccountsBroker
from tests.support.suite import ROOT


def command(broker: AccountsBroker, path: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "TOLLGATE_NATS_URL": broker.url("edge"), "TOLLGATE_EDGE_NAME": "edge-1"}
    return subprocess.run(
        [sys.executable, "-m", "services.edge", "drain-journal", str(path)], env=env, cwd=ROOT, capture_output=True, text=True
    )  # fmt: skip


@pytest.fixture
def left(tmp_path: Path) -> Path:
    path = tmp_path / "edge-4000" / "journal"
    journal = Journal(path, 1_000_000)
    for number in range(3):
        journal.append(new_id(), b"fact %d" % number)
    journal.close()
    return path


async def test_what_a_journal_holds_reaches_the_stream_in_order_and_once(tmp_path: Path, left: Path) -> None:
    copy = left.read_bytes()
    with AccountsBroker(tmp_path) as broker:
        ledger = await broker.client("operator")
        await streams.ensure_traffic(ledger, 64 * 1024**2, 2)
        done = await asyncio.to_thread(command, broker, left)
        assert done.returncode == 0, done.stderr
        assert "3 messages sent" in done.stderr and left.stat().st_size == 0
        left.write_bytes(copy)  # as if it had been killed before it could empty the file
        assert (await asyncio.to_thread(command, broker, left)).returncode == 0
        js = ledger.jetstream()
        assert (await streams.state(ledger, "TRAFFIC")).messages == 3
        stored = [await js.get_msg("TRAFFIC", seq) for seq in (1, 2, 3)]
        assert [(m.subject, m.data) for m in stored] == [("traffic.1", b"fact %d" % n) for n in range(3)]
        await ledger.close()


async def test_one_in_use_and_one_that_isnt_there_are_left_alone(tmp_path: Path, left: Path) -> None:
    with AccountsBroker(tmp_path) as broker:
        ledger = await broker.client("operator")
        await streams.ensure_traffic(ledger, 64 * 1024**2)
        await ledger.close()
        owner = Journal(left, 1_000_000)
        done = await asyncio.to_thread(command, broker, left)
        assert done.returncode == 1 and "in use by another edge" in done.stderr
        owner.close()
        done = await asyncio.to_thread(command, broker, tmp_path / "nowhere")
        assert done.returncode == 1 and not (tmp_path / "nowhere").exists()

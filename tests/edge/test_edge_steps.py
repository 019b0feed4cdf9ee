"""The hot path's length, counted: bytecodes of a warm call, the same on any machine. Who makes it longer says so here, and why."""

import asyncio
import sys

import pytest

from services.edge.upstream import pool
from tests.bench import edge_cpu

STEPS_MAX = {"whole": 5_200, "stream": 31_000}
"""A call answered in one piece, and one of 50 events. Commit e59dc7f, the first with two facts a call, took 4,730 and 31,780."""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions have other bytecodes")
@pytest.mark.parametrize(("kind", "calls"), [("whole", 128), ("stream", 64)])
def test_a_warm_call_takes_no_more_steps(kind: str, calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "FRESH_S", 1e9)
    loop = edge_cpu.Loop()
    try:
        asyncio.set_event_loop(loop)
        assert loop.run_until_complete(edge_cpu.steps(loop, kind, calls)) <= STEPS_MAX[kind]
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    finally:
        asyncio.set_event_loop(None)
        loop.close()

"""The hot path's length, counted: bytecodes of a warm call, the same on any machine. Who makes it
longer says so here, and why.
"""

import subprocess
import sys

import pytest

STEPS_MAX = {"whole": 4_920, "stream": 30_700, "whole-idle": 5_040, "whole-hit": 3_000}
"""A call answered in one piece, and one of 50 events. Commit e59dc7f, the first with two facts a
call, took 4,730 and 31,780. `-idle`: with limits, cache, pass-through, alerts and the rest
configured, of which the call uses nothing: at most 2.6 % more Python. `-hit`: answered by the
cache.
"""


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="other versions have other bytecodes")
@pytest.mark.parametrize(("kind", "calls"), [("whole", 128), ("stream", 64), ("whole-idle", 128), ("whole-hit", 128)])
def test_a_warm_call_takes_no_more_steps(kind: str, calls: int) -> None:
    """In an interpreter of its own: how Python has specialised the code depends on what ran
    before.
    """
    command = [sys.executable, "-m", "tests.bench.edge_cpu", "--steps", str(calls), "--only", kind]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100).stdout
    name, steps, *_ = said.split()
    assert name == kind
    assert int(steps) <= STEPS_MAX[kind]

"""A cluster under faults, from a seed nobody tuned to, and everything replaced while it serves:
counts as in `make chaos`.
"""

import os
import subprocess
import sys

import pytest

from tests.chaos import network
from tests.support.suite import ROOT

MINUTES = os.environ.get("CHAOS_MINUTES", "1.5")


@pytest.mark.skipif(network.way() is None, reason="this system allows no network namespaces with devices of their own")
@pytest.mark.timeout(3600)
def test_a_cluster_loses_repeats_and_leaves_open_nothing() -> None:
    command = [sys.executable, "-m", "tests.chaos.run", "--cluster"]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "CHAOS_MINUTES": MINUTES}, capture_output=True, text=True
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert done.stdout.rstrip().endswith("clean")

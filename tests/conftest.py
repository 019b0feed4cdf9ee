"""Two files of tests run at a time (Makefile); a test that measures time, marked `alone`, has the
machine for itself.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

hypothesis.settings.register_profile("anywhere", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("anywhere")  # how fast a machine draws its examples says nothing of the code

TURNS = "PYTEST_TURNS"
"""Names the folder of this run's two locks: its workers inherit it, another run beside it has its
own.
"""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        os.environ[TURNS] = tempfile.mkdtemp(prefix="pytest-turns-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ.pop(TURNS), ignore_errors=True)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Outside of pytest-timeout's clock: waiting for one's turn isn't the test's time."""
    how = fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH
    turns = Path(os.environ[TURNS])
    # Who waits to be alone holds the gate, so that no later test slips in before it.
    with (turns / "gate").open("w") as gate, (turns / "running").open("w") as running:
        fcntl.flock(gate, how)
        fcntl.flock(running, how)
        if how == fcntl.LOCK_SH:
            fcntl.flock(gate, fcntl.LOCK_UN)
        return (yield)

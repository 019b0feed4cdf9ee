"""10,000 orders in which commands reach replicas that are behind, 30 commands each (INTERLEAVINGS):
every invariant of tests/policy/test_policy_interleavings.py after each command.
"""

import os

import pytest

from tests.policy.test_policy_interleavings import simulated

RUNS = int(os.environ.get("INTERLEAVINGS", "10000"))
STEPS = 30


@pytest.mark.timeout(1800)
def test_ten_thousand_orders_keep_the_invariants() -> None:
    accepted, conflicts = simulated(RUNS, STEPS)
    print(f"\n{RUNS * STEPS} commands: {accepted} accepted, {conflicts} refused for having seen too little")
    assert accepted > RUNS * 6 and conflicts > RUNS // 2

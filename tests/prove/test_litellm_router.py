"""Our routing and LiteLLM's Router on the same seeded traces: share of good answers and p95,
strategy by strategy.

LiteLLM's runs in real time, ours on a clock of its own. Needs the Python of an environment with
litellm in `LITELLM_PYTHON`; run by `make prove`, skipped without it. 30 runs of 12 s:
ROUTER_STRATEGIES and ROUTER_SCENARIOS (with commas) choose some.
"""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.edge.routing.places import SCENARIOS, SEED, World, arrivals
from tests.edge.routing.simulation import good_share, p95_s, run

PYTHON = os.environ.get("LITELLM_PYTHON", "")
STRATEGIES = {
    "simple-shuffle": "simple-shuffle",
    "least-busy": "least-busy",
    "latency-based-routing": "latency-based-routing",
    "usage-based-routing-v2": "usage-based-routing-v2",
    "cost-based-routing": "cost-based-routing",
}
NOISE_GOOD = 0.005
"""Of a share: five calls in a thousand."""
NOISE_P95 = 1.15


def chosen(variable: str, all_of_them: list[str]) -> list[str]:
    named = os.environ.get(variable, "")
    return [each for each in all_of_them if not named or each in named.split(",")]


def ours(scenario: str, strategy: str) -> dict[str, Any]:
    world = World(SCENARIOS[scenario], SEED)
    calls, _ = run(world, [(at, 0) for at in arrivals()], strategy, cooldown_s=5, allowed_fails=3)
    return {"good": good_share(calls), "p95_s": p95_s(calls), "attempts": len(world.attempts), "calls": len(calls)}


@pytest.mark.skipif(not PYTHON, reason="LITELLM_PYTHON names no Python with litellm")
@pytest.mark.timeout(1200)
def test_each_strategy_at_least_equals_litellms_router() -> None:
    wanted = [
        (scenario, strategy, SEED)
        for scenario in chosen("ROUTER_SCENARIOS", list(SCENARIOS))
        for strategy in chosen("ROUTER_STRATEGIES", list(STRATEGIES))
    ]
    script = Path(__file__).with_name("litellm_router.py")
    done = subprocess.run([PYTHON, str(script)], input=json.dumps(wanted), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    worse = []
    for theirs in json.loads(done.stdout.splitlines()[-1]):
        mine = ours(theirs["scenario"], theirs["strategy"])
        print(
            f"{theirs['scenario']:20} {theirs['strategy']:24} good {mine['good']:.3f} / {theirs['good']:.3f}  "
            f"p95 {mine['p95_s'] * 1000:5.0f} / {theirs['p95_s'] * 1000:5.0f} ms  attempts {mine['attempts']} / {theirs['attempts']}"
        )
        if mine["good"] < theirs["good"] - NOISE_GOOD or mine["p95_s"] > theirs["p95_s"] * NOISE_P95:
            worse.append((theirs["scenario"], theirs["strategy"], mine, theirs))
    assert not worse

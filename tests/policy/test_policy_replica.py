"""A replica that is behind the control stream answers nobody: what it doesn't know may be a revoked
key.
"""

from types import SimpleNamespace
from typing import Any

import pytest

from services.policy.replica import STALE_MS_MAX, Replica


def replica(*, caught_up: bool = True, seq: int = 9, stale_ms: int = 0, restoring: bool = False) -> Replica:
    client: Any = None
    found = Replica(client)
    feed: Any = SimpleNamespace(caught_up=caught_up, seq=seq, stale_ms=stale_ms, restoring=restoring)
    found.feed = feed
    return found


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ({}, None),
        ({"caught_up": False}, "catching up with the control stream"),
        (
            {"caught_up": False, "restoring": True},
            "restore-control hasn't ended: if it was stopped, run it again",
        ),
        ({"stale_ms": STALE_MS_MAX + 1}, "nothing heard from the control feed"),
    ],
)
def test_it_is_ready_only_while_it_has_seen_all_there_is(state: dict[str, Any], reason: str | None) -> None:
    found = replica(**state)
    assert found.reason_not_ready() == reason
    assert found.has_reached(9) is (reason is None)
    assert not found.has_reached(10)


def test_it_is_not_ready_while_it_reads_back_what_an_unreadable_fact_stands_for() -> None:
    found = replica()
    found._unread["control.key.x"] = 3
    assert found.reason_not_ready() == "reading back what an unreadable fact stands for"
    assert not found.has_reached(1)

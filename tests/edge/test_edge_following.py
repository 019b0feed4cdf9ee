"""Whether an edge may serve by what it knows of control facts."""

from types import SimpleNamespace
from typing import Any

import pytest

from services.edge.following import Following


@pytest.mark.parametrize(
    ("feed", "seen_seq", "ready"),
    [
        ({"caught_up": True, "seq": 3, "stale_ms": 0}, 3, True),
        ({"caught_up": False, "seq": 0, "stale_ms": 100}, 0, True),  # it is only beginning
        ({"caught_up": False, "seq": 0, "stale_ms": 10_000}, 0, False),
        ({"caught_up": False, "seq": 7, "stale_ms": 10_000}, 0, True),  # it began once: each decision looks by itself
        ({"caught_up": False, "seq": 0, "stale_ms": 10_000}, 5, True),
    ],
)
def test_a_feed_that_never_began_is_a_reason_not_to_be_ready(feed: dict[str, Any], seen_seq: int, ready: bool) -> None:
    known: Any = SimpleNamespace(
        feed=SimpleNamespace(**feed), grants=SimpleNamespace(seen_seq=seen_seq), _stale_ms_max=3_000
    )
    reason = Following.reason_not_ready(known)
    assert reason == (None if ready else "the control feed has not started")

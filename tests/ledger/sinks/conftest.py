"""The target, and sinks that don't wait for long."""

from collections.abc import AsyncIterator

import pytest

from tests.ledger.sinks.sinks_kit import Target
from tests.support.serving import handled_by, serving


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    made = Target()
    async with serving(handled_by(made.answer, "POST")) as made.url:
        yield made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.sinks.http.DEADLINE_MS", 1500)
    for name, value in {"IDLE_S": 0.02, "PAUSE_S_MIN": 0.02, "PAUSE_S_MAX": 0.05}.items():
        monkeypatch.setattr(f"services.ledger.sinks.run.{name}", value)

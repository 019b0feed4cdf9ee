"""Ledger and PostgreSQL die at random moments of recording: rows, sums, positions and chains agree.
(`make prove` does a hundred.)
"""

from pathlib import Path

import pytest
from nats.aio.client import Client

from tests.ledger import killing
from tests.ledger.servers import Nats

KILLS = 5


@pytest.mark.timeout(240)
async def test_kill_9_at_random_moments_loses_nothing(nats_server: Nats, client: Client, tmp_path: Path) -> None:
    sent = await killing.kill(tmp_path, nats_server, client, KILLS, 7)
    assert sent.calls > 0

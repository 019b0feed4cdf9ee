"""A connection that comes down under the client library, on uvloop, where its transport raises what
no library of NATS does.
"""

import asyncio
from pathlib import Path

import nats.errors
import pytest
import uvloop

from shared import bus
from shared.bus import BusError
from shared.requests import CountReply, CountRequest
from tests.support.broker import Broker


async def ask_as_it_comes_down(url: str) -> None:
    client = await bus.connect("policy", url)
    assert client.wire is not None and client._flusher_task is not None and client._transport is not None
    await client.wire.close()
    client.wire = None
    client._flusher_task.cancel()
    await asyncio.sleep(0)
    client._transport.close()
    assert client.is_connected, "as far as it knows"
    with pytest.raises(BusError, match="unreachable"):
        await bus.ask(client, "policy.x", CountRequest("m", []), CountReply, 500)
    with pytest.raises(nats.errors.Error):
        await client.publish("policy.x", b"")
    await bus.close(client)


def test_who_asks_and_who_publishes_hears_of_a_broken_connection(tmp_path: Path) -> None:
    with Broker(tmp_path) as broker, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask_as_it_comes_down(broker.url))

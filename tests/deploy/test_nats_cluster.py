"""The cluster's own configuration on three real servers: streams with three replicas, and what the
loss of any server costs.
"""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from services.edge.publisher import PublishError, publisher_for
from shared import bus, history, streams, subjects
from shared.bus import BusClient
from shared.ids import new_id
from shared.notices import ControlNotices
from tests.support.nats_cluster import Cluster

LOST = int(os.environ.get("TOLLGATE_PROVE_SERVERS_LOST", "1"))
"""One after the other. All three, with 3, take half a minute."""


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    running = Cluster(tmp_path)
    running.start_all()
    yield running
    running.stop()


async def eventually(attempt, timeout_s: float = 20.0):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return await attempt()
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.2)


@pytest.fixture
async def parts(cluster: Cluster) -> AsyncIterator[tuple[BusClient, BusClient, BusClient]]:
    """Policy, ledger and edge, with both streams made."""
    policy, ledger, edge = [await bus.connect(user, cluster.url(user)) for user in ("policy", "ledger", "edge")]
    await eventually(lambda: streams.ensure_control(policy, 3))
    await eventually(lambda: streams.ensure_traffic(ledger, 64 * 1024**2, 1, 3))
    yield policy, ledger, edge
    for client in (policy, ledger, edge):
        await bus.close(client)


async def leader(client: Client, stream: str) -> int:
    reply = await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=2)
    return int(json.loads(reply.data)["cluster"]["leader"].removeprefix("nats-"))


async def test_streams_have_three_replicas_and_survive_the_loss_of_their_leader(
    cluster: Cluster, parts: tuple[BusClient, BusClient, BusClient]
) -> None:
    policy, ledger, edge = parts
    for client, stream in ((policy, "CONTROL"), (ledger, "TRAFFIC")):
        info = json.loads((await client.request(f"$JS.API.STREAM.INFO.{stream}", b"", timeout=2)).data)
        assert info["config"]["num_replicas"] == 3 and len(info["cluster"]["replicas"]) == 2
    told: list[tuple[str, int]] = []
    resets: list[int] = []
    notices = ControlNotices(edge, lambda subject, seq: told.append((subject, seq)), lambda: resets.append(1))
    await notices.start()
    await asyncio.wait_for(notices.begun.wait(), 5)
    publisher = await publisher_for(edge)
    acknowledged = 0
    for number in range(LOST):
        gone = await leader(ledger, "TRAFFIC")
        cluster.kill(gone)
        message = new_id()

        async def publish(message: str = message) -> int:
            try:
                return await publisher.publish("traffic.0", message, b"[]", lambda: None, 1_000)
            except PublishError:
                raise TimeoutError from None

        await eventually(publish)
        acknowledged += 1
        fact = f"control.key.{number}"
        await eventually(
            lambda fact=fact: policy.jetstream(timeout=1).publish(fact, b"x", headers={"Nats-Msg-Id": fact})
        )
        cluster.start(gone)
        # An outage of two is an outage: one comes back before the next goes.
        await eventually(lambda: _all_current(policy))
    state = await eventually(lambda: streams.state(edge, "TRAFFIC"))
    assert state.messages == acknowledged, "each once"
    page = await eventually(lambda: history.read(ledger, 1))
    assert [stored.subject for stored in page.messages] == [f"control.key.{n}" for n in range(LOST)]
    deadline = time.monotonic() + 5
    while not (notices.caught_up and notices.seq == LOST):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert len(told) + len(resets) >= 1
    await notices.close()


async def _all_current(client: Client) -> None:
    reply = json.loads((await client.request(f"$JS.API.STREAM.INFO.{subjects.CONTROL_STREAM}", b"", timeout=2)).data)
    replicas = reply["cluster"]["replicas"]
    assert len(replicas) == 2 and all(each["current"] and not each.get("offline") for each in replicas)


async def test_two_of_three_away_acknowledge_nothing_and_lose_nothing(
    cluster: Cluster, parts: tuple[BusClient, BusClient, BusClient]
) -> None:
    _, ledger, edge = parts
    publisher = await publisher_for(edge)
    await eventually(lambda: publisher.publish("traffic.0", new_id(), b"[]", lambda: None, 1_000))
    for number in (0, 1):
        cluster.kill(number)
    await asyncio.sleep(1)
    with pytest.raises(PublishError):
        await publisher.publish("traffic.0", message := new_id(), b"[1]", lambda: None, 1_000)
    for number in (0, 1):
        cluster.start(number)
    await eventually(lambda: publisher.publish("traffic.0", message, b"[1]", lambda: None, 1_000), 30)
    assert (await eventually(lambda: streams.state(ledger, "TRAFFIC"))).messages == 2

"""A data directory of before each service had its own account on the broker: its streams are found,
whole.
"""

from pathlib import Path

import msgspec
import nats

from services.suite.datadir import Embedded
from services.suite.nats import add_passwords, configuration, move_streams
from shared import streams
from tests.support.broker import AccountsBroker, Broker
from tests.support.ports import free_port


async def test_old_streams_move_into_their_owners_accounts(tmp_path: Path) -> None:
    with Broker(tmp_path) as old:  # as e59dc7f started it: one account for all
        client = await nats.connect(f"nats://127.0.0.1:{old.port}")
        js = client.jetstream()
        await js.add_stream(name="CONTROL", subjects=["control.>"], deny_delete=True, allow_direct=True)
        await js.add_stream(name="TRAFFIC", subjects=["traffic.>"], max_bytes=1024 * 1024)
        await js.add_stream(name="SOMEBODYS", subjects=["other.>"])
        for number in range(3):
            await js.publish(f"control.key.{number}", b"kept")
            await js.publish("traffic.0", b"kept")
        created = (await js.stream_info("CONTROL")).created
        await client.close()
    move_streams(old.store)
    move_streams(old.store)  # a start after a crash in between
    with AccountsBroker(tmp_path) as new:
        policy, ledger = await new.client("policy"), await new.client("ledger")
        control = await streams.ensure_control(policy)
        traffic = await streams.ensure_traffic(ledger, 64 * 1024**2)
        assert (control.messages, traffic.messages) == (3, 3)
        assert control.created[:19] == created.isoformat()[:19], "the same stream, not a copy"
        assert traffic.bytes_max == streams.BYTES_MIN_PER_SHARD, "too small to hold two messages: raised"
        info = await policy.request("$JS.API.STREAM.INFO.CONTROL", b"", timeout=2)
        config = msgspec.json.decode(info.data)["config"]
        assert config["allow_msg_ttl"] and config["allow_atomic"] and config["republish"]["dest"] == "feed.control.>"
        assert config["discard"] == "new"
        edge = await new.client("edge")
        answer = await edge.request("traffic.0", b"more", timeout=2)
        assert msgspec.json.decode(answer.data)["seq"] == 4
        for client in (policy, ledger, edge):
            await client.close()


def test_nothing_of_an_empty_directory_moves(tmp_path: Path) -> None:
    move_streams(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_old_passwords_stay(tmp_path: Path) -> None:
    embedded = Embedded(nats_passwords={"operator": "o", "edge": "e"}, nats_port=free_port())
    add_passwords(embedded)
    tree = configuration(embedded, tmp_path, "always")
    users = {user["user"]: user["password"] for account in tree["accounts"].values() for user in account["users"]}
    assert users["edge"] == "e" and users["operator"] == "o" and users["operator-control"]

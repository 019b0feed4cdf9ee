"""No broker: what is said of it, how often, and that a command ends."""

import pytest
import structlog

from shared import bus, bus_client
from tests.support.ports import free_port


def test_the_same_complaint_is_told_once_in_a_while_with_its_number() -> None:
    with structlog.testing.capture_logs() as logs:
        complaints = bus_client.Complaints("edge")
        for tenth in range(205):
            complaints.say(ConnectionRefusedError("a"), 100 + tenth / 10)
            complaints.say(ConnectionRefusedError("b"), 100 + tenth / 10)
        for number in range(1000):
            complaints.say(OSError(str(number)), 130.0)
    told = [(entry["detail"], entry.get("times")) for entry in logs]
    assert told[:6] == [("a", None), ("b", None), ("a", 99), ("b", 99), ("a", 99), ("b", 99)]
    assert len(complaints._told) <= bus_client.COMPLAINTS_MAX


async def test_a_command_says_that_nobody_is_there_and_ends() -> None:
    port = free_port()
    with pytest.raises(
        OSError, match=f"no broker at 127.0.0.1:{port}, localhost:{port} let us in within 0.5 s"
    ) as error:
        await bus.connect_once(
            "ledger", f"nats://ledger:hidden@127.0.0.1:{port},nats://ledger:hidden@localhost:{port}", 0.5
        )
    assert "hidden" not in str(error.value)

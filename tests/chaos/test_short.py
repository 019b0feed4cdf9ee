"""A short seeded chaos run, and the parts of one that are decisions."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.chaos import nemesis, schedule
from tests.chaos.disk import namespace
from tests.chaos.link import Link
from tests.chaos.run import SMALL
from tests.chaos.sabotage import SABOTAGES
from tests.chaos.schedule import Fault
from tests.chaos.trial import conduct
from tests.chaos.world import World, snapshot
from tests.support.ports import free_port

PROCESSES = ("edge", "policy", "moderation", "ledger", "nats", "postgres")
FAULTS = [
    Fault(1.5, "kill", "edge", 1.0, 0.0),
    Fault(3.5, "cut", "postgres", 1.0, 0.0),
    Fault(4.0, "kill", "ledger", 1.0, 0.0),
    Fault(6.0, "kill_with_broker", "edge", 0.3, 0.0),
    Fault(9.0, "silence", "nats", 2.5, 0.0),
    Fault(10.0, "kill", "policy", 1.0, 0.0),
    Fault(13.0, "kill", "postgres", 1.0, 0.0),
    Fault(13.5, "pause", "ledger", 1.5, 0.0),
    Fault(15.5, "kill_with_broker", "nats", 1.5, 0.0),
]


@pytest.mark.timeout(180)
async def test_under_faults_nothing_is_lost_repeated_or_left_open(tmp_path: Path) -> None:
    async with World(tmp_path, env=SMALL, linked=True) as world:

        async def trouble() -> None:
            await nemesis.carry_out(world, FAULTS, lambda _: None)
            await asyncio.sleep(2.0)

        trial = await conduct(world, "short", 11, trouble)
    assert trial.verdict.clean, str(trial)
    assert trial.verdict.calls["complete"] > 100, str(trial)
    assert trial.verdict.calls["left"] > 0 and trial.verdict.calls["error"] > 0, str(trial)


@pytest.mark.timeout(120)
@pytest.mark.skipif(namespace() is None, reason="this system allows no mount namespace")
async def test_a_full_disk_under_the_broker_costs_nothing_and_heals_by_itself(tmp_path: Path) -> None:
    """Also when the broker is started again on the full disk."""
    faults = [Fault(1.0, "store_full", "nats", 7.0, 0.0), Fault(4.0, "kill", "nats", 1.0, 0.0)]
    async with World(tmp_path, env=SMALL, linked=True, small_disk=True) as world:

        async def trouble() -> None:
            await nemesis.carry_out(world, faults, lambda _: None)
            await asyncio.sleep(1.0)

        trial = await conduct(world, "disk", 11, trouble)
        restarts = world.state()["processes"]["nats"]["restarts"]
    assert trial.verdict.clean, str(trial)
    assert trial.verdict.calls["complete"] > 100, str(trial)
    assert restarts == 2, "killed once, and restarted by its supervisor once there was room"


def test_a_seed_draws_the_same_schedule_again() -> None:
    drawn = schedule.draw(3, 600, PROCESSES)
    assert drawn == schedule.draw(3, 600, PROCESSES) != schedule.draw(4, 600, PROCESSES)
    assert {fault.kind for fault in drawn} == set(schedule.ALONE)
    assert drawn == sorted(drawn, key=lambda fault: fault.at_s) and drawn[-1].at_s < 600


def test_a_schedule_can_be_narrowed() -> None:
    assert {fault.kind for fault in schedule.draw(3, 600, PROCESSES, ["kill", "pause"])} == {"kill", "pause"}
    assert {fault.target for fault in schedule.draw(3, 600, PROCESSES, ["kill:ledger"])} == {"ledger"}
    with pytest.raises(ValueError, match="no such fault"):
        schedule.draw(3, 600, PROCESSES, ["flood"])
    beyond = schedule.LINK_KINDS | schedule.DISK_KINDS
    assert not beyond & {fault.kind for fault in schedule.draw(3, 600, PROCESSES, beyond=beyond)}


def test_every_kind_of_fault_can_be_carried_out() -> None:
    assert set(schedule.ALONE) == set(nemesis.NEMESES)


@pytest.mark.parametrize("name", SABOTAGES)
def test_what_a_sabotage_takes_out_is_still_there(name: str, tmp_path: Path) -> None:
    tree = snapshot(tmp_path)
    SABOTAGES[name].apply(tree)
    compile((tree / SABOTAGES[name].file).read_text(), SABOTAGES[name].file, "exec")


async def test_a_link_is_slow_silent_and_cut_as_told() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1000):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link(free_port(), server.sockets[0].getsockname()[1])
    await link.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)

        async def echoed(text: bytes) -> float:
            began = asyncio.get_running_loop().time()
            writer.write(text)
            assert await asyncio.wait_for(reader.readexactly(len(text)), 5) == text
            return asyncio.get_running_loop().time() - began

        assert await echoed(b"quick") < 0.1
        link.latency_s = 0.15
        assert await echoed(b"slow") >= 0.3
        link.heal()
        assert await echoed(b'CONNECT {"name":"policy"}') < 0.1
        link.latency_of["moderation"] = 0.15
        assert await echoed(b"quick") < 0.1
        link.latency_of["policy"] = 0.15
        assert await echoed(b"slow") >= 0.3
        link.heal()
        link.silence()
        writer.write(b"held")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        link.heal()
        assert await asyncio.wait_for(reader.readexactly(4), 5) == b"held"
        link.cut()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(1), 5) == b""
    finally:
        await link.close()
        server.close()

"""What befalls a cluster: its servers one by one, who leads them, the network between them, its
disks, and its database's primary.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable

from tests.chaos import nemesis
from tests.chaos.cluster import NATS, SERVICES, Cluster
from tests.chaos.schedule import Fault

LED = "TRAFFIC"
WHOLE_AGAIN_S = 60.0


async def cut_off(cluster: Cluster, fault: Fault) -> None:
    """From all others of the cluster; clients and provider still reach it."""
    others = [name for name in cluster.pids if name != fault.target]
    await _apart(cluster, [fault.target], others, fault.for_s)


async def slow_host(cluster: Cluster, fault: Fault) -> None:
    cluster.network.slow(fault.target, fault.amount)
    await asyncio.sleep(fault.for_s)
    cluster.network.slow(fault.target, 0.0)


async def lossy_host(cluster: Cluster, fault: Fault) -> None:
    cluster.network.lossy(fault.target, fault.amount)
    await asyncio.sleep(fault.for_s)
    cluster.network.lossy(fault.target, 0.0)


async def kill_leader(cluster: Cluster, fault: Fault) -> None:
    if leader := await cluster.leader(LED):
        await nemesis.kill(cluster, fault._replace(target=leader))


async def pause_leader(cluster: Cluster, fault: Fault) -> None:
    if leader := await cluster.leader(LED):
        await nemesis.pause(cluster, fault._replace(target=leader))


async def cut_leader(cluster: Cluster, fault: Fault) -> None:
    """From the other NATS servers alone: everybody can still talk to it."""
    if leader := await cluster.leader(LED):
        await _apart(cluster, [leader], [name for name in NATS if name != leader], fault.for_s)


async def split(cluster: Cluster, fault: Fault) -> None:
    """The leader and a minority of edges on one side, everybody else on the other. Clients reach
    both.
    """
    if leader := await cluster.leader(LED):
        minority = [leader, cluster.names("edge")[-1]]
        await _apart(cluster, minority, [name for name in cluster.pids if name not in minority], fault.for_s)


async def two_away(cluster: Cluster, fault: Fault) -> None:
    """Two of three NATS servers are dead: nothing is acknowledged, journals take what comes, then
    it is refused.
    """
    dead = NATS[:2]
    await asyncio.gather(*(cluster.hold(name, signal.SIGKILL) for name in dead))
    await asyncio.sleep(fault.for_s)
    await asyncio.gather(*(cluster.release(name) for name in dead))


async def disk_lost(cluster: Cluster, fault: Fault) -> None:
    """A NATS server dies with its disk, and comes back empty. First all three must have everything:
    two lost of three is beyond R3.
    """
    await cluster.brokers_in_step(WHOLE_AGAIN_S)
    lost = await cluster.leader(LED) if fault.amount > 0.7 else NATS[-1]
    assert lost is not None
    await cluster.hold(lost, signal.SIGKILL)
    cluster.lose_disk(lost)
    await asyncio.sleep(min(fault.for_s, 4.0))
    await cluster.release(lost)
    await cluster.brokers_in_step(WHOLE_AGAIN_S)


async def failover(cluster: Cluster, fault: Fault) -> None:
    """The primary dies in the middle of what it does; the standby is promoted; later the dead one
    comes back as its copy.
    """
    await cluster.standby_in_step()
    old = cluster.primary
    await cluster.hold(old, signal.SIGKILL)
    await asyncio.sleep(0.5)
    await cluster.promote()
    await asyncio.sleep(fault.for_s)
    await cluster.follow(old)


async def failover_cut(cluster: Cluster, fault: Fault) -> None:
    """The primary loses its standby: what it commits now is on its own disk alone, and nobody may
    be told that it is committed. Then it dies.
    """
    await cluster.standby_in_step()
    cluster.network.cut([cluster.primary], [cluster.standby])
    old, new = cluster.primary, cluster.standby
    await asyncio.sleep(fault.for_s)
    # The recorder is interrupted while it waits for such a commit, and another reads what the
    # primary has.
    for name in cluster.names("ledger"):
        await nemesis.kill(cluster, fault._replace(target=name))
    await asyncio.sleep(fault.for_s)
    await cluster.hold(old, signal.SIGKILL)
    cluster.network.join([old], [new])
    await cluster.promote()
    await asyncio.sleep(1.0)
    await cluster.follow(old)


async def _apart(cluster: Cluster, some: list[str], others: list[str], seconds: float) -> None:
    cluster.network.cut(some, others)
    await asyncio.sleep(seconds)
    cluster.network.join(some, others)


def _in_turn(nemesis: Callable[[Cluster, Fault], Awaitable[None]]) -> Callable[[Cluster, Fault], Awaitable[None]]:
    async def one(cluster: Cluster, fault: Fault) -> None:
        if fault.target.startswith("postgres"):
            async with cluster.database:
                await nemesis(cluster, fault)
        else:
            await nemesis(cluster, fault)

    return one


NEMESES: dict[str, Callable[[Cluster, Fault], Awaitable[None]]] = {
    each.__name__: _in_turn(each)
    for each in (
        nemesis.kill,
        nemesis.restart,
        nemesis.pause,
        nemesis.throttle,
        cut_off,
        slow_host,
        lossy_host,
        kill_leader,
        pause_leader,
        cut_leader,
        split,
        two_away,
        disk_lost,
        failover,
        failover_cut,
    )
}


async def whole(cluster: Cluster) -> None:
    """Every stream has all its replicas again, and every commit its copy. Raises SuiteFailed."""
    await cluster.brokers_in_step(WHOLE_AGAIN_S)
    await cluster.standby_in_step(WHOLE_AGAIN_S)


async def roll(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Everything is replaced, one after the other, as an orchestrator does it: brokers, database,
    services.
    """
    for name in NATS:
        await cluster.brokers_in_step(WHOLE_AGAIN_S)
        await cluster.hold(name, signal.SIGUSR2)  # lame duck: its clients are sent away first
        await cluster.release(name)
        say(f"replaced {name}")
    await cluster.brokers_in_step(WHOLE_AGAIN_S)
    old = cluster.primary
    await cluster.hold(old)
    await cluster.promote()
    await cluster.follow(old)
    say(f"{cluster.primary} is the primary, {old} follows it")
    for name in SERVICES:
        await cluster.hold(name)
        await cluster.release(name)
        say(f"replaced {name}")
        await asyncio.sleep(1.0)

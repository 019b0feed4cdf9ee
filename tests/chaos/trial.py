"""One trial: load on a running world, trouble meanwhile, and the comparison of the records
afterwards.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.chaos import evidence, nemesis
from tests.chaos.checker import Verdict, check, report
from tests.chaos.load import CALM, Load, Mix, make_keys, revoke
from tests.chaos.records import Records
from tests.chaos.world import PRICES, World

PER_SECOND = 60.0
IN_FLIGHT_MAX = 64
AFTERWARDS = 20
"""Requests that must all end well: no fault may leave anything behind that needs a person."""


class Trial(NamedTuple):
    seed: int
    records: Records
    verdict: Verdict

    def __str__(self) -> str:
        return report(self.verdict, self.records, self.seed)


async def conduct(
    world: World,
    name: str,
    seed: int,
    trouble: Callable[[], Awaitable[None]],
    *,
    mix: Mix | None = None,
    patient: bool = False,
    per_second: float = PER_SECOND,
    grace_s: float = evidence.GRACE_S,
) -> Trial:
    """Load while `trouble` lasts; then everything is healed, the book gets `grace_s` to catch up,
    what must work now is tried (answers, and the revocation of a key), and the records are
    compared.

    Args:
        name: goes into the ids of requests and keys.
        mix, patient: see load.Load.
    """
    keys = await make_keys(world.edge_url, name)
    rng = random.Random(f"{seed} {name}")
    async with Load(name, world.edge_urls, keys, rng, mix or Mix(), patient=patient) as load:
        stop = asyncio.Event()
        flow = asyncio.create_task(load.flow(per_second, IN_FLIGHT_MAX, stop))
        try:
            await trouble()
        finally:
            stop.set()
        await flow
        await nemesis.all_ready(world)
        behind = await evidence.caught_up(world, grace_s)
    async with Load(f"{name}-after", world.edge_urls, keys, rng, CALM, patient=True) as after:
        await after.burst(AFTERWARDS, 1.0)
        await after.finish()
    calls = after.calls + await revoke(f"{name}-revoked", world.edge_urls, rng)
    for call in calls:
        call.afterwards = True
    records = await evidence.collect(world, load.calls + calls, grace_s)
    records.behind = records.behind or behind
    return Trial(seed, records, check(records, PRICES))

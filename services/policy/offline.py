"""For commands that write control facts while services run: a copy of the directory, and publishing
on the condition that nobody was faster.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from nats.aio.client import Client

from services.policy.config import PolicySettings
from services.policy.plan import Change
from services.policy.publish import Publication, batches, publication_of, publish
from services.policy.replica import Replica
from shared import bus, ids, streams
from shared.clock import unix_ms
from shared.errors import RefusedError
from shared.facts import Caller

CATCH_UP_S = 60.0
FOLD_MS = 10_000
TRIES = 20
PAUSE_S = 0.1

Told = TypeVar("Told")


class Stopped(Exception):
    """What was written stands; the message says why it didn't go on."""


@asynccontextmanager
async def connected(wanted: PolicySettings) -> AsyncIterator[Client]:
    """Raises SettingsError, TimeoutError, OSError, nats.errors.Error."""
    client = await bus.connect_once("policy", wanted.nats_url)
    try:
        await streams.ensure_control(client, wanted.stream_replicas)
        yield client
    finally:
        await bus.close(client)


@asynccontextmanager
async def following(client: Client) -> AsyncIterator[Replica]:
    """A copy that is caught up, and stays so. Raises TimeoutError."""
    replica = Replica(client)
    await replica.feed.start()
    try:
        async with asyncio.timeout(CATCH_UP_S):
            while replica.reason_not_ready() is not None:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        yield replica
    finally:
        await replica.close()


def publications(changes: list[Change], actor: Caller) -> list[Publication]:
    now_ms = unix_ms()
    return [publication_of(change, ids.new_id(), now_ms, actor) for change in changes]


async def write(client: Client, replica: Replica, changes: list[Change], actor: Caller) -> None:
    """All of them, in batches, and wait until the copy has them. Raises RefusedError (409: somebody
    was faster), Stopped.
    """
    seq = 0
    for batch in batches(publications(changes, actor)):
        seq = await publish(client, batch)
    if changes and not await replica.feed.wait_for(seq, FOLD_MS):
        raise Stopped("the facts don't come back from the broker")


async def write_planned(
    client: Client, replica: Replica, planned: Callable[[], tuple[list[Change], Told]], actor: Caller, *, dry_run: bool
) -> tuple[list[Change], Told]:
    """Write what `planned` says of the copy as it is; planned anew where somebody was faster.
    Returns what it said in the end.

    Raises RefusedError, Stopped.
    """
    for attempt in range(1, TRIES + 1):
        changes, told = planned()
        try:
            if not dry_run:
                await write(client, replica, changes, actor)
            break
        except RefusedError as refused:
            if refused.refusal.status != 409 or attempt == TRIES:
                raise
            await asyncio.sleep(PAUSE_S)
    return changes, told

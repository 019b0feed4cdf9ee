"""Teams and users that a token is the first to name, or that follow what it says: ordinary control
facts, aside from the decision.
"""

import asyncio
from collections.abc import Callable

import structlog
from nats.aio.client import Client

from services.policy.directory import Directory
from services.policy.identity.principal import Upsert
from services.policy.plan import change
from services.policy.publish import batches, publication_of, publish
from shared.entities import TEAM, USER, Team
from shared.errors import RefusedError
from shared.facts import Caller
from shared.waiting import ended

log = structlog.get_logger()

IN_FLIGHT_MAX = 64
BY_TOKEN = Caller(role="proxy_admin", user_id="identity_provider")
"""Who made them: nobody asked for it but the configuration's rules."""


class Upserts:
    """One publication an entity at a time. What is lost or comes too often is made by the next
    decision that needs it.
    """

    def __init__(
        self, client: Client, directory: Callable[[], Directory], now_ms: Callable[[], int], new_id: Callable[[], str]
    ) -> None:
        self._client = client
        self._directory = directory
        self._now_ms = now_ms
        self._new_id = new_id
        self._running: dict[tuple[str, str], asyncio.Task[None]] = {}

    def make(self, upserts: list[Upsert]) -> None:
        for upsert in upserts:
            kind = TEAM if isinstance(upsert.after, Team) else USER
            key = kind.name, kind.id_of(upsert.after)  # type: ignore[arg-type]
            if key not in self._running and len(self._running) < IN_FLIGHT_MAX:
                task = asyncio.create_task(self._publish(upsert))
                self._running[key] = task
                task.add_done_callback(lambda _, key=key: self._running.pop(key, None))  # type: ignore[misc]

    async def close(self) -> None:
        await ended(*self._running.values())

    async def _publish(self, upsert: Upsert) -> None:
        """On the condition that nobody made or changed it in between: then theirs stands, until the
        next decision.
        """
        directory = self._directory()
        kind = TEAM if isinstance(upsert.after, Team) else USER
        if upsert.before is not None and directory.tables[kind.name].get(kind.id_of(upsert.after)) != upsert.before:  # type: ignore[arg-type]
            return
        action = "created" if upsert.before is None else "updated"
        made = change(directory, kind, action, upsert.before, upsert.after)  # type: ignore[misc]
        try:
            for batch in batches([publication_of(made, self._new_id(), self._now_ms(), BY_TOKEN)]):
                await publish(self._client, batch)
        except RefusedError as refused:
            log.info("not_made_from_token", kind=made.kind, id=made.entity_id[:80], code=refused.refusal.code)

"""Which deployments rest, told from edge to edge: what one has found out costs the others no failed
attempt.

A notice is a hint: whoever misses one finds out for itself. So nobody waits for it, and it is never
stored.
"""

import asyncio
from typing import Any

import msgspec
import structlog

from services.edge.clock import Clock
from services.edge.routing.health import Health
from shared import subjects
from shared.bus import BusClient
from shared.decoding import UNREADABLE
from shared.ids import DeploymentId
from shared.requests import RestNotice

log = structlog.get_logger()

UNSENT_MAX = 64
"""Notices on their way; while the bus is slow the others are left out."""


class Rests:
    def __init__(self, client: BusClient, edge_id: str, health: Health, clock: Clock) -> None:
        self._client = client
        self._edge_id = edge_id
        self._health = health
        self._clock = clock
        self._sending: set[asyncio.Task[None]] = set()
        self._subscription: Any = None

    async def start(self) -> None:
        self._subscription = await self._client.subscribe(subjects.EDGE_RESTS, cb=self._heard)

    def tell(self, deployment: DeploymentId, seconds: float) -> None:
        if len(self._sending) >= UNSENT_MAX:
            return
        notice = msgspec.msgpack.encode(RestNotice(self._edge_id, deployment, seconds))
        task = asyncio.create_task(self._send(notice))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, notice: bytes) -> None:
        try:
            await self._client.publish(subjects.EDGE_RESTS, notice)
            await self._client.flush(timeout=1)
        except Exception as error:  # whatever the client library raises: a hint got lost
            log.debug("rest_not_told", error=type(error).__name__)

    async def _heard(self, message: Any) -> None:
        try:
            notice = msgspec.msgpack.decode(message.data, type=RestNotice)
        except UNREADABLE:
            return
        if notice.edge_id != self._edge_id and notice.seconds > 0:
            self._health.rest(notice.deployment_id, notice.seconds, self._clock.seconds())

    async def close(self) -> None:
        for task in list(self._sending):
            task.cancel()
        if self._subscription is not None:
            try:
                await self._subscription.unsubscribe()
            except Exception:
                log.debug("rests_not_unsubscribed")

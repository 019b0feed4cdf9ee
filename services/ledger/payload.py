"""Prompts and answers into their table: the stream PAYLOAD, recorded like TRAFFIC, but no evidence:
no chain, no alarm for another content.

What comes twice stands as it came first. What can't be read is an anomaly that says nothing of its
content.
"""

import asyncio
from datetime import date, timedelta
from typing import Any

import structlog
from nats.aio.client import Client

from services.ledger import facts_in, metrics, sanitize
from services.ledger.book import Position, Tally
from services.ledger.database import DATA_ERRORS, QUERIES, Database
from services.ledger.facts_in import Anomaly
from services.ledger.message import Message
from services.ledger.ordered_consumer import OrderedConsumer
from services.ledger.writer import AnyConsumer
from shared import payloads, subjects
from shared.clock import unix_ms
from shared.decoding import UNREADABLE
from shared.payloads import Payload

log = structlog.get_logger()

DAYS_LATE_MAX = 32
"""A payload that was longer on its way (in a journal) isn't taken."""


class PayloadTally(Tally):
    def __init__(self, connection: Any) -> None:
        super().__init__(connection, subjects.PAYLOAD_STREAM, 0)

    async def post_payloads(self, batch: "PayloadBatch", known: Position) -> int:
        """Returns how many rows it was. Raises PositionMovedError, or one of DATABASE_ERRORS: then
        nothing was written.
        """
        today = facts_in.today(unix_ms())
        rows = [row for payload in batch.payloads if (row := _row(payload, today)) is not None]
        await self._ensure(sorted({row[0] for row in rows}))
        async with self._connection.transaction():
            end = await self._hold(known)
            try:
                async with self._connection.transaction():
                    await self._connection.executemany(QUERIES["payload_add"], rows)
            except DATA_ERRORS as error:
                log.error("payloads_refused", count=len(rows), error=type(error).__name__)
                rows = []
            await self._move(Position(batch.last.seq, batch.last.at_ns), end)
            await self._write_anomalies(batch.anomalies)
        return len(rows)

    async def _ensure(self, days: list[date]) -> None:
        for day in days:
            if day not in self._days:
                await self._connection.execute(
                    QUERIES["ensure_partition"],
                    "request_payload",
                    f"{day:%Y%m%d}",
                    day.isoformat(),
                    (day + timedelta(1)).isoformat(),
                )
                self._days.add(day)


class PayloadBatch:
    def __init__(self, last: Message) -> None:
        self.payloads: list[Payload] = []
        self.anomalies: list[Anomaly] = []
        self.last = last


class PayloadPoster:
    stream = subjects.PAYLOAD_STREAM
    subject = subjects.payload(0)
    label = "payload"
    alone = False
    """What is gone (the stream has a term) is no loss to be told of."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def consumer(self, client: Client, start_seq: int) -> AnyConsumer:
        return OrderedConsumer(client, self.stream, self.subject, start_seq)

    async def connect(self) -> Tally:
        return PayloadTally(await self._database.writer())

    async def read(self, messages: list[Message]) -> PayloadBatch:
        batch = PayloadBatch(messages[-1])
        for message in messages:
            try:
                batch.payloads += payloads.unpack(message.data)
            except UNREADABLE:
                batch.anomalies.append(Anomaly("unreadable", message.seq, None, "no list of payloads", None))
            await asyncio.sleep(0)
        return batch

    async def post(self, tally: Tally, batch: PayloadBatch, known: Position) -> None:
        assert isinstance(tally, PayloadTally)
        metrics.PAYLOADS.inc(await tally.post_payloads(batch, known))


def _row(payload: Payload, today: date) -> tuple[Any, ...] | None:
    """None: its id is of no day that it could come from now, and would have a partition of its own
    for ever.
    """
    found = facts_in.place(payload.id)
    if found is None or not today - timedelta(DAYS_LATE_MAX) <= found[1] <= today + timedelta(1):
        return None
    caller = payload.caller
    who = (
        None if each is None else sanitize.text(each) for each in (caller.key_sha256, caller.team_id, caller.user_id)
    )
    cut = [name for name in payload.cut if name in ("request", "answer")]
    at_ms = sanitize.bounded(payload.at_ms, 0, sanitize.MS_MAX)
    return found[1], found[0], at_ms, *who, payload.kept, payload.stream, payload.request, payload.answer, cut


async def attach(connection: Any, rows: list[dict[str, Any]]) -> None:
    """Put `messages`, `response` and the whole request into rows that have them, for a sink that
    shows them.
    """
    if not rows:
        return
    found = await connection.fetch(
        QUERIES["payload_some"], sorted({row["day"] for row in rows}), [row["id"] for row in rows]
    )
    by_id = {row["id"]: row for row in found}
    for row in rows:
        one = by_id.get(row["id"])
        if one is not None:
            row["content"] = payloads.shown(one["request"], one["answer"], one["cut"], stream=one["stream"])

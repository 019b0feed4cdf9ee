"""The two streams, and what recording each of them means."""

import asyncio
from collections.abc import Callable

import structlog
from nats.aio.client import Client

from services.ledger import metrics
from services.ledger.audit import AuditTally
from services.ledger.book import Position, Tally
from services.ledger.control_consumer import ControlConsumer
from services.ledger.database import Database
from services.ledger.facts_in import Anomaly, Batch
from services.ledger.message import Message
from services.ledger.ordered_consumer import OrderedConsumer
from services.ledger.writer import AnyConsumer
from shared import subjects

log = structlog.get_logger()

FACTS_AT_A_TIME = 500
"""Decoded before others get a turn on the event loop (about 10 ms)."""
ANOMALIES_LOGGED_MAX = 5
"""Of one batch; the rest are in the table."""


class TrafficPoster:
    """One shard of TRAFFIC: opened, settled and refused facts into request_log, the working set and
    the rollups.
    """

    stream = subjects.TRAFFIC_STREAM

    def __init__(self, database: Database, shard: int, shards: int, now_ms: Callable[[], int]) -> None:
        self._database = database
        self.shard = shard
        self._now_ms = now_ms
        self.subject = subjects.traffic(shard)
        self.label = f"traffic.{shard}"
        self.alone = shards == 1

    def consumer(self, client: Client, start_seq: int) -> AnyConsumer:
        return OrderedConsumer(client, self.stream, self.subject, start_seq)

    async def connect(self) -> Tally:
        return Tally(await self._database.writer(), self.stream, self.shard)

    async def read(self, messages: list[Message]) -> Batch:
        batch = Batch(self._now_ms())
        facts = 0
        for message in messages:
            facts += batch.add(message)
            if facts >= FACTS_AT_A_TIME:
                facts = 0
                await asyncio.sleep(0)
        return batch

    async def post(self, tally: Tally, batch: Batch, known: Position) -> None:
        written = await tally.post(batch, known, self._now_ms())
        for kind, count in batch.counts.items():
            metrics.FACTS.labels(kind).inc(count)
        metrics.ROWS.inc(written.rows)
        metrics.OUTRANKED.inc(written.outranked)
        metrics.DUPLICATES.labels(self.label).inc(written.duplicates)
        report(self.label, written.anomalies)


class ControlPoster:
    """CONTROL into the audit log."""

    stream = subjects.CONTROL_STREAM
    subject = subjects.CONTROL_ALL
    label = "control"
    alone = True

    def __init__(self, database: Database) -> None:
        self._database = database

    def consumer(self, client: Client, start_seq: int) -> AnyConsumer:
        return ControlConsumer(client, start_seq)

    async def connect(self) -> Tally:
        return AuditTally(await self._database.writer(), self.stream)

    async def read(self, messages: list[Message]) -> list[Message]:
        return messages

    async def post(self, tally: Tally, batch: list[Message], known: Position) -> None:
        assert isinstance(tally, AuditTally)
        chained = await tally.post_control(batch, known)
        metrics.FACTS.labels("control").inc(len(batch))
        metrics.AUDIT_ROWS.inc(len(chained.rows))
        metrics.DUPLICATES.labels(self.label).inc(chained.duplicates)
        report(self.label, chained.anomalies)


def report(label: str, anomalies: list[Anomaly]) -> None:
    for anomaly in anomalies:
        metrics.ANOMALIES.labels(anomaly.kind).inc()
    for anomaly in anomalies[:ANOMALIES_LOGGED_MAX]:
        log.error(
            "anomaly", what=label, kind=anomaly.kind, seq=anomaly.seq, id=(anomaly.subject_id or "")[:80],
            detail=anomaly.detail[:200],
        )  # fmt: skip
    if len(anomalies) > ANOMALIES_LOGGED_MAX:
        log.error("anomalies", what=label, count=len(anomalies))

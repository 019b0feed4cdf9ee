"""Makes checkpoints: every few minutes, also when nothing happened; in one ledger at a time, under
a lock of its own.

A checkpoint is a row, and after that a control fact (so that CONTROL, which the database's owner
can't write, has its hash), and after that a file wherever the operator wants copies (copies.py).
Before it signs, it looks whether what the last one said is still there.
"""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec
import structlog

from services.ledger import checkpoint, metrics
from services.ledger.checkpoint import (
    NO_CHECKPOINT,
    Checkpoint,
    Envelope,
    Head,
    Keys,
    KeyStatement,
    SigningKey,
    drop_link,
    read_checkpoint,
)
from services.ledger.copies import Copies
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.lock import raise_if_cancelled
from services.ledger.telling import Teller
from shared import subjects
from shared.bus import BusError
from shared.clock import unix_ms
from shared.waiting import IN_ORDER_S, ended, set_within

log = structlog.get_logger()

EMPTY = Head(0, "00" * 32)
TRIES = 3
AGAIN_S = 5.0
"""After a try that failed; and how soon another ledger may try where this one's key is no key of
the book.
"""


class NotOurBookError(Exception):
    """The keys given are none that may sign this book's checkpoints."""


class Checkpoints:
    """
    Args:
        keys: the current one first, then those it may follow.
        minutes: between two.
    """

    def __init__(
        self, database: Database, teller: Teller | None, keys: Sequence[SigningKey], minutes: float, stopping: asyncio.Event,
        now_ms: Callable[[], int] = unix_ms,
    ) -> None:  # fmt: skip
        self._database = database
        self._teller = teller
        self._keys = keys
        self._minutes = minutes
        self._stopping = stopping
        self._now_ms = now_ms

    async def run(self) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                pause_s = AGAIN_S
                try:
                    connection = connection or await self._database.writer()
                    pause_s = await self._due_in_s(connection)
                    if pause_s <= 0:
                        await self.make(connection)
                        continue
                except NotOurBookError as error:
                    log.error("checkpoint_key_refused", reason=str(error))
                    await set_within(self._stopping, 1)
                    return  # another ledger may have the right one
                except DATABASE_ERRORS as error:  # also where another ledger made one at this moment
                    raise_if_cancelled()
                    log.warning("checkpoint_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                await set_within(self._stopping, min(pause_s, 60.0))
        finally:
            if connection is not None:
                connection.terminate()

    async def now(self) -> None:
        """One, over what is there at this moment. Raises NotOurBookError, or one of
        DATABASE_ERRORS.
        """
        connection = await self._database.writer()
        try:
            for attempt in range(1, TRIES + 1):
                try:
                    await self.make(connection)
                    return
                except asyncpg.UniqueViolationError:  # another ledger made one at this moment
                    if attempt == TRIES:
                        raise
        finally:
            connection.terminate()

    async def make(self, connection: Connection) -> Checkpoint:
        """One, now. Raises NotOurBookError, or one of DATABASE_ERRORS: another ledger may have made
        one at this moment.
        """
        signer, book = await self._signer(connection)
        last = await connection.fetchrow(QUERIES["checkpoint_last"])
        before = None if last is None else read_checkpoint(checkpoint.envelope(last["envelope"]))
        found = await connection.fetch(QUERIES["checkpoint_heads"])
        audit, traffic = EMPTY, {}
        for row in found:
            head = Head(row["n"], row["sha256"].hex())
            if row["stream"] == subjects.TRAFFIC_STREAM:
                traffic[str(row["shard"])] = head
            elif row["stream"] == subjects.CONTROL_STREAM:
                audit = head
        said = Checkpoint(
            book=book,
            n=1 if before is None else before.n + 1,
            at_ms=self._now_ms(),
            minutes=self._minutes,
            previous_sha256=NO_CHECKPOINT if last is None else last["sha256"].hex(),
            audit=audit,
            traffic=traffic,
            drops=await drops_head(connection),
        )
        if before is not None:
            await self._look_back(connection, before, said)
        signed = signer.sign(said)
        await connection.execute(
            QUERIES["checkpoint_add"], said.n, said.at_ms, _encoded(signed), bytes.fromhex(signed.sha256)
        )
        metrics.CHECKPOINT.set(said.n)
        await self._tell(said, signed)
        return said

    async def _signer(self, connection: Connection) -> tuple[SigningKey, str]:
        """Our key, made known first where it is new, and the book's id."""
        rows = await connection.fetch(QUERIES["checkpoint_keys"])
        known = Keys([checkpoint.envelope(row["envelope"]) for row in rows], None).current
        mine = self._keys[0]
        if known is not None and known.key == mine.id:
            return mine, known.book
        previous = mine if known is None else next((key for key in self._keys[1:] if key.id == known.key), None)
        if previous is None:
            assert known is not None
            raise NotOurBookError(
                f"this book's checkpoints are signed by {known.key}, and here is {mine.id}: give every ledger the same key,"
                " or the old one too (TOLLGATE_CHECKPOINT_OLD_KEYS), so that it signs the new one"
            )
        last = await connection.fetchval("SELECT max(n) FROM checkpoint")
        statement = KeyStatement(
            book=str(uuid.uuid4()) if known is None else known.book,
            number=1 if known is None else known.number + 1,
            key=mine.id,
            public_key=mine.public_text,
            after=last or 0,
            at_ms=self._now_ms(),
        )
        signed = previous.sign(statement)
        await connection.execute(
            QUERIES["checkpoint_key_add"], statement.number, mine.id, mine.public_key, _encoded(signed)
        )
        log.warning("checkpoint_key_new", key=mine.id, made_by=previous.id, number=statement.number)
        await self._note(
            f"key-{statement.number}", {"signed_by": previous.id, "id": mine.id, "public": mine.public_text}
        )
        return mine, statement.book

    async def _look_back(self, connection: Connection, before: Checkpoint, now: Checkpoint) -> None:
        """What the last one said must still be so. Somebody who took rows out, or wrote them anew,
        is told of at once.
        """
        wrong = []
        if before.audit.n and before.drops == now.drops:
            kept = await connection.fetchval(QUERIES["checkpoint_audit_row"], before.audit.n)
            gone = await connection.fetchval(
                "SELECT max((spans -> 'n' ->> 1)::bigint) FROM retention_drop WHERE source = 'audit_log'"
            )
            if (kept is None and before.audit.n > (gone or 0)) or (
                kept is not None and kept.hex() != before.audit.sha256
            ):
                wrong.append(f"audit_log n {before.audit.n}")
        for shard, head in before.traffic.items():
            kept = await connection.fetchval(QUERIES["checkpoint_batch_row"], int(shard), head.n) if head.n else b""
            if head.n and (kept is None or kept.hex() != head.sha256):
                wrong.append(f"batch_log shard {shard} n {head.n}")
        for what in wrong:
            metrics.ANOMALIES.labels("rewritten").inc()
            log.error(
                "book_was_rewritten",
                what=what,
                checkpoint=before.n,
                detail="it isn't what the checkpoint says: run verify",
            )

    async def _tell(self, said: Checkpoint, signed: Envelope) -> None:
        await self._note("book", {"n": said.n, "sha256": signed.sha256, "signed_by": signed.key})

    async def _note(self, entity_id: str, after: dict[str, Any]) -> None:
        """Policy may be away: the next one names this one."""
        if self._teller is None:
            return
        try:
            await self._teller.tell("checkpoint", entity_id, "created", after)
        except BusError as error:
            log.warning("checkpoint_not_told", reason=error.code)

    async def _due_in_s(self, connection: Connection) -> float:
        last = await connection.fetchrow(QUERIES["checkpoint_last"])
        if last is None:
            return 0.0
        metrics.CHECKPOINT.set(last["n"])
        return float(min(self._minutes * 60, (last["at_ms"] - self._now_ms()) / 1000 + self._minutes * 60))


async def drops_head(connection: Connection) -> Head:
    """The end of the chain over retention_drop, computed from its first row: it has one a day and
    table.
    """
    head = EMPTY
    for row in await connection.fetch(QUERIES["checkpoint_drops"]):
        head = drop_link(head, dict(row))
    return head


def _encoded(signed: Envelope) -> str:
    return msgspec.json.encode(signed).decode()


async def serve(checkpoints: Checkpoints, copies: Copies) -> None:
    """Both, until the first of them ends: the other then has nothing to do here either."""
    tasks = [asyncio.create_task(checkpoints.run()), asyncio.create_task(copies.run())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await ended(*tasks, again_s=IN_ORDER_S)
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result

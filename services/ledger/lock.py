"""One at a time among all ledgers: work that runs while a PostgreSQL advisory lock is held. Shards
of a stream are shared out.

The lock lives on a connection of its own, and dies with it. The holder speaks on that connection
every second; when it can't, the work is stopped. A holder that hangs or is stopped (SIGSTOP) stays
silent, and the server closes its connection after IDLE_TIMEOUT_MS: another ledger takes over.
Should both run for a moment, the position check in each transaction still lets only one of them
write.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable

import structlog

from services.ledger.database import DATABASE_ERRORS, Connection, Database
from shared.waiting import IN_ORDER_S, ended, set_within

log = structlog.get_logger()

POLL_S = 0.5
"""How often a standby tries."""
BEAT_S = 1.0
BEAT_TIMEOUT_S = 1.5
IDLE_TIMEOUT_MS = 3_000
"""With a standby's next try and its connection, another takes over within 5 s."""
LOCK_SPACE = 0x746F6C6C
"""First half of the lock's key; the second is its number."""
WANTED_SPACE = LOCK_SPACE + 1
"""Of another lock of that number, which all hold together who would do the work."""
_OTHERS = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND (classid::bigint, objid::bigint) = ($1, $2)
"""


class Share:
    """Several locks that ledgers hold between them, each about as many as the others: who has more
    than its part gives one up.

    Args:
        locks: how many there are.
        able: whether this ledger could do the work now. While it can't, and another is there, it
            holds none.
    """

    def __init__(self, locks: int, able: Callable[[], bool]) -> None:
        self._locks = locks
        self.able = able
        self.held = 0

    def excess(self, others: int) -> int:
        """How many this ledger holds too many, beside so many others that would; negative: how many
        more it may take.
        """
        if others and not self.able():
            return self.held
        return self.held - math.ceil(self._locks / (others + 1))


class Lock:
    """
    Args:
        number: which work this is; the same in every ledger.
        stopping: when set, no new attempt is made; work that runs is left to end by itself.
        share: of which it is one; None: who has it keeps it.
    """

    def __init__(
        self, database: Database, number: int, what: str, stopping: asyncio.Event, share: Share | None = None
    ) -> None:
        self._database = database
        self._number = number
        self._what = what
        self._stopping = stopping
        self._share = share
        self._announced = False
        """Whether the others see that we would do it."""
        self._counted = False
        self.held = False
        self.trouble: str | None = None
        """Why the lock can't even be asked for."""

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Get the lock, do the work, and when the lock is lost get it again. Returns when
        `stopping` is set.
        """
        while not self._stopping.is_set():
            connection: Connection | None = None
            try:
                connection = await self._database.lock_holder(IDLE_TIMEOUT_MS)
                self.trouble, self._announced = None, False
                await self._wait_for_lock(connection)
                if not self._stopping.is_set():
                    await self._hold(connection, work)
            except DATABASE_ERRORS as error:
                self.trouble = f"database: {type(error).__name__}"
                await self._pause()
            finally:
                self.held = False
                self._count(False)
                if connection is not None:
                    await _close(connection)

    async def _wait_for_lock(self, connection: Connection) -> None:
        while not self._stopping.is_set():
            if self._share is None or await self._excess(connection) < 0:
                self._count(True)  # before it is asked for: this ledger's other locks look too
                if await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", LOCK_SPACE, self._number):
                    return
                self._count(False)
            await self._pause()

    def _count(self, held: bool) -> None:
        if self._share is not None and held != self._counted:
            self._share.held += 1 if held else -1
        self._counted = held

    async def _excess(self, connection: Connection) -> int:
        """See Share; of a lock that is nobody's part always -1."""
        if self._share is None:
            await connection.fetchval("SELECT 1", timeout=BEAT_TIMEOUT_S)
            return -1
        if self._announced != self._share.able():
            self._announced = not self._announced
            call = "pg_advisory_lock_shared" if self._announced else "pg_advisory_unlock_shared"
            await connection.execute(f"SELECT {call}({WANTED_SPACE}, {self._number})", timeout=BEAT_TIMEOUT_S)
        return self._share.excess(
            await connection.fetchval(_OTHERS, WANTED_SPACE, self._number, timeout=BEAT_TIMEOUT_S)
        )

    async def _hold(self, connection: Connection, work: Callable[[], Awaitable[None]]) -> None:
        self.held = True
        log.info("lock_taken", what=self._what)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        beat = asyncio.create_task(self._beat(connection, lost))
        running = asyncio.ensure_future(work())
        try:
            await asyncio.wait((beat, running), return_when=asyncio.FIRST_COMPLETED)
        finally:
            # A lock that is given up and never tried for again is a shard that nobody records.
            await ended(beat, running, again_s=IN_ORDER_S)
        failure = None if running.cancelled() else running.exception()
        if isinstance(failure, Exception):
            log.error("work_failed", what=self._what, error=type(failure).__name__, exc_info=failure)
            await self._pause()

    async def _beat(self, connection: Connection, lost: asyncio.Event) -> None:
        """Returns when the connection is lost, or another ledger is to have the lock."""
        try:
            while not await set_within(lost, BEAT_S):
                if await self._excess(connection) > 0:
                    self._count(False)
                    log.info("lock_given_up", what=self._what)
                    return
        except DATABASE_ERRORS:
            pass
        log.warning("lock_lost", what=self._what)

    async def _pause(self) -> None:
        await set_within(self._stopping, POLL_S)


def raise_if_cancelled() -> None:
    """For work under a lock, where it catches a database's error and would go on.

    A transaction that is cancelled rolls back; where its connection is gone, the error of that
    takes the cancellation's place.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _close(connection: Connection) -> None:
    """Orderly, so that the lock is free at once; by force when that takes too long."""
    try:
        await connection.close(timeout=1)
    except DATABASE_ERRORS:
        connection.terminate()

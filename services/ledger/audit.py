"""Recording CONTROL: the audit log and the stream's position in one transaction."""

from collections.abc import Sequence

from services.ledger import chain, sanitize
from services.ledger.book import Position, Tally
from services.ledger.chain import Chained
from services.ledger.database import QUERIES, Connection
from services.ledger.message import Message


class AuditTally(Tally):
    """The position of CONTROL, and the audit log behind it."""

    def __init__(self, connection: Connection, stream: str) -> None:
        super().__init__(connection, stream, 0)

    async def post_control(self, messages: Sequence[Message], known: Position) -> Chained:
        """Record messages and move the position behind them. Raises PositionMovedError, or one of
        DATABASE_ERRORS.
        """
        facts = [fact for fact in (chain.read(message.data) for message in messages) if fact is not None]
        async with self._connection.transaction():
            end = await self._hold(known)
            same_ids: dict[str, list[bytes]] = {}
            for row in await self._connection.fetch(QUERIES["audit_known"], [sanitize.text(fact.id) for fact in facts]):
                same_ids.setdefault(row["fact_id"], []).append(row["message"])
            chained = chain.extend(messages, end, same_ids)
            if chained.rows:
                await self._connection.copy_records_to_table("audit_log", records=chained.rows, columns=chain.COLUMNS)
            await self._move(Position(messages[-1].seq, messages[-1].at_ns), chained.end)
            await self._write_anomalies(chained.anomalies)
        return chained

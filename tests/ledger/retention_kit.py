"""A book of several days, and retention runs on it as policy's control facts tell of them."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.ledger import retention_run
from services.ledger.book import make_days_ahead
from services.ledger.retention import Terms
from tests.ledger.ledger_kit import Book, control, on, opened, post_changes, settled

NOW = datetime.now(UTC)
TODAY = NOW.date()
LATER = NOW + timedelta(days=400)

Notes = list[tuple[str, dict[str, Any]]]


def at(day: date, **fields: Any) -> Any:
    call = opened(id=on(day), **fields)
    return settled(call)


async def run(book: Book, terms: Terms, now: datetime, notes: Notes) -> int:
    async def note(action: str, after: dict[str, Any]) -> None:
        notes.append((action, after))
        await tell(book, action, after)

    return await retention_run.run(book.database, terms, now, note)


async def tell(book: Book, action: str, after: dict[str, Any]) -> None:
    """As policy does, into the audit log."""
    await post_changes(book, control(kind="retention", entity_id="run", action=action, after=after))


async def hold(book: Book, by: str, value: str, after: bool = True) -> None:
    held = {"by": by, "value": value} if after else None
    await post_changes(book, control(kind="hold", entity_id=f"{by}-{value}", after=held))


async def days_left(book: Book) -> list[int]:
    """How many days ago."""
    return [
        (TODAY - row["day"]).days for row in await book.fetch("SELECT DISTINCT day FROM request_log ORDER BY day DESC")
    ]


async def fill(book: Book) -> None:
    await make_days_ahead(book.owner, TODAY)
    for back in (0, 1, 5, 6, 40):
        await book.post(*(at(TODAY - timedelta(days=back), tags=[f"t{back}", "all"]) for _ in range(3)))
    await book.post(*(at(TODAY - timedelta(days=back)) for back in (0, 5, 40)))

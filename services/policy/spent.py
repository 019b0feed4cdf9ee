"""What entities spent, as the book has it: asked of the ledger, and put into the rows of an
answer.
"""

from services.policy.plan import Spent, Wanted
from shared import bus, subjects
from shared.bus import BusClient, BusError
from shared.money import usd_from_picousd
from shared.requests import SpentBy, SpentReply, SpentRequest

DEADLINE_MS = 1_000
VALUES_MAX = 1_000
"""Of one answer; further rows show no spend."""


async def of(client: BusClient, wanted: Wanted) -> int | None:
    """What the book has of these, pico-USD. None: nobody could say."""
    sums = await ask(client, [SpentBy(wanted.dimension, wanted.values)])
    return None if sums is None else sums[0]


async def fill(client: BusClient, rows: list[Spent]) -> bool:
    """Whether every row has its spend now. What the book doesn't say stays null: nobody guesses."""
    asked, count = [], 0
    for row in rows:
        count += len(row.values)
        if count > VALUES_MAX:
            break
        asked.append(row)
    sums = await ask(client, [SpentBy(row.dimension, row.values, row.since) for row in asked])
    if sums is None:
        return False
    for row, picousd in zip(asked, sums, strict=True):
        row.row["spend"] = usd_from_picousd(picousd + row.offset_picousd)
        if "total_spend" in row.row:
            row.row["total_spend"] = usd_from_picousd(picousd)
    return len(asked) == len(rows)


async def ask(client: BusClient, of: list[SpentBy]) -> list[int] | None:
    """A sum of each, pico-USD. None: nobody could say."""
    try:
        reply = await bus.ask(client, subjects.LEDGER_SPENT, SpentRequest(of), SpentReply, DEADLINE_MS, tries=2)
    except BusError:
        return None
    return [int(each) for each in reply.picousd] if len(reply.picousd) == len(of) else None

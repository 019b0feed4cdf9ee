"""What entities spent, as the book has it: asked of the ledger, and put into the rows of an answer."""

from services.policy.commands.plan import Spent
from shared import bus, subjects
from shared.bus import BusClient, BusError
from shared.money import usd_from_picousd
from shared.requests import SpentBy, SpentReply, SpentRequest

DEADLINE_MS = 1_000
VALUES_MAX = 1_000
"""Of one answer; further rows show no spend."""


async def fill(client: BusClient, rows: list[Spent]) -> bool:
    """Whether every row has its spend now. What the book doesn't say stays null: nobody guesses."""
    asked, count = [], 0
    for row in rows:
        count += len(row.values)
        if count > VALUES_MAX:
            break
        asked.append(row)
    question = SpentRequest([SpentBy(row.dimension, row.values) for row in asked])
    try:
        reply = await bus.ask(client, subjects.LEDGER_SPENT, question, SpentReply, DEADLINE_MS, tries=2)
    except BusError:
        return False
    for row, picousd in zip(asked, reply.picousd, strict=False):
        row.row["spend"] = usd_from_picousd(int(picousd))
    return len(asked) == len(rows)

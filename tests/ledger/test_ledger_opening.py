"""What entities spent, as policy asks for it; and what they had spent before they came here
(import-litellm), which counts once beside it.
"""

from nats.aio.client import Client

from shared import bus, subjects
from shared.requests import SpentBy, SpentReply, SpentRequest
from tests.ledger.ledger_kit import Book, Running, control, eventually, publish_control, settled


async def spent(client: Client, *wanted: SpentBy) -> list[int]:
    reply = await bus.ask(client, subjects.LEDGER_SPENT, SpentRequest(list(wanted)), SpentReply, 3_000)
    return [int(each) for each in reply.picousd]


async def opening(client: Client, dimension: str, value: str, picousd: int) -> None:
    after = {"dimension": dimension, "value": value, "picousd": picousd, "window_picousd": 0}
    fact = control(kind="opening_balance", entity_id=f"{dimension}:{value}", action="imported", after=after)
    await publish_control(client, fact)


async def test_an_opening_balance_counts_beside_what_the_book_has(ledger: Running, client: Client, book: Book) -> None:
    asked = (SpentBy("team", ["t"]), SpentBy("team", ["t", "u"]), SpentBy("tag", ["t"]), SpentBy("tag", ["app"]))

    async def becomes(*wanted: int) -> None:
        async def holds() -> bool:
            return await spent(client, *asked) == list(wanted)

        await eventually(holds, f"{wanted}")

    await becomes(0, 0, 0, 0)
    await opening(client, "team", "t", 5_000)
    await becomes(5_000, 5_000, 0, 0)
    await opening(client, "team", "u", 10**18)
    await becomes(5_000, 5_000 + 10**18, 0, 0)
    fact = settled()
    assert fact.cost_picousd is not None
    await book.post(fact)
    await opening(client, "tag", "app", 1)
    await becomes(5_000, 5_000 + 10**18, 0, fact.cost_picousd + 1)
    await opening(client, "team", "t", 7_000)
    await becomes(7_000, 7_000 + 10**18, 0, fact.cost_picousd + 1)
    assert await book.rollups_agree()

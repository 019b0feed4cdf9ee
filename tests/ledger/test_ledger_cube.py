"""The spend cube says what the book says, whatever happens in whatever order. On a real PostgreSQL."""

import asyncio
import random
from typing import Any

import pytest

from services.ledger.cube import Cube
from tests.ledger.ledger_kit import ALICE, BOB, Book, now_ms, opened, refused, settled

AGAIN = """
SELECT k.tags, k.tag, b.key_sha256, b.team_id, b.model, count(*) AS requests, sum(coalesce(b.cost_picousd, 0)) AS spend
FROM (SELECT *, CASE WHEN outcome <> 'refused' THEN model END AS known FROM request_book) b
CROSS JOIN LATERAL (
    SELECT 'all' AS tags, '' AS tag UNION ALL SELECT 'none', '' WHERE b.outcome <> 'refused' AND b.tags = '{}'
    UNION ALL SELECT 'tag', t FROM (SELECT DISTINCT unnest(b.tags) AS t) d WHERE b.outcome <> 'refused'
) k
GROUP BY 1, 2, 3, 4, 5, known
"""


async def fill(book: Book, cube: Cube) -> None:
    while await cube.catch_up(book.owner):
        pass


async def same(book: Book) -> None:
    """Each table of the cube adds up to what the book says."""
    wanted = {
        tuple(row.values())
        for row in await book.fetch(AGAIN.replace("b.model,", "b.known AS model,").replace("3, 4, 5, known", "3, 4, 5"))
    }
    for table in ("spend_hour", "spend_day", "spend_month"):
        found = await book.fetch(
            f"SELECT tags, tag, key_sha256, team_id, model, sum(requests)::bigint AS requests, sum(spend_picousd) AS spend"
            f" FROM {table} JOIN spend_group g ON g.id = grp GROUP BY 1, 2, 3, 4, 5 HAVING sum(requests) <> 0"
        )
        assert {tuple(row.values()) for row in found} == wanted, table


@pytest.fixture
def cube(book: Book) -> Cube:
    return Cube(book.database, asyncio.Event())


async def test_every_kind_of_row_counts_once(book: Book, cube: Cube) -> None:
    late, never = opened(expires_at_ms=1, tags=["late"]), opened(expires_at_ms=1, tags=[])
    await book.post(late, never)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await fill(book, cube)
    await same(book)
    assert await book.value("SELECT sum(requests) FROM spend_day WHERE tags = 'tag' AND tag = 'late'") == 1
    await book.post(
        settled(late), refused(tags=["x"]), settled(opened(tags=["a", "b", "a"], caller=BOB)), settled(opened(tags=[]))
    )
    await book.post(settled(opened(price=None)), settled(flags=("unpriced:image",)))
    await fill(book, cube)
    await same(book)
    sums = "SELECT sum(requests) AS r, sum(unpriced) AS u, sum(flagged) AS f, sum(failures) AS x FROM spend_hour WHERE tags = 'all'"
    assert (await book.fetch(sums))[0] == {"r": 7, "u": 2, "f": 1, "x": 2}
    assert await book.value("SELECT count(*) FROM spend_hour WHERE tag = 'x'") == 0, (
        "a refusal's tags are anybody's word"
    )
    assert await book.value("SELECT name FROM spend_name WHERE kind = 'team' AND id = 'team-a'") == "Team A"


async def test_an_expired_call_that_ends_before_the_cube_saw_it(book: Book, cube: Cube) -> None:
    late = opened(expires_at_ms=1, tags=["late"])
    await book.post(late)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await book.post(settled(late))
    await fill(book, cube)
    await same(book)


async def test_two_cubes_at_once_add_everything_once(book: Book, cube: Cube, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.cube.STEP_ROWS", 3)
    draw = random.Random(7)
    for _ in range(12):
        await book.post(
            *(
                settled(opened(tags=draw.sample(["a", "b", "c"], draw.randrange(4)), caller=draw.choice([ALICE, BOB])))
                for _ in range(4)
            )
        )
    connections: list[Any] = [await book.database.writer() for _ in range(2)]

    async def all_of(connection: Any) -> None:
        behind = "SELECT batch < 12 FROM cube_position WHERE shard = 0"
        while await cube.catch_up(connection) or await connection.fetchval(behind):
            pass

    await asyncio.wait_for(asyncio.gather(*map(all_of, connections)), 30)
    await same(book)
    for connection in connections:
        connection.terminate()


async def test_the_cube_rests_only_when_nothing_is_left(
    book: Book, cube: Cube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.cube.STEP_ROWS", 1)
    monkeypatch.setattr("services.ledger.cube.PAUSE_S_MIN", 60.0)
    monkeypatch.setattr("services.ledger.cube.PAUSE_S_MAX", 60.0)
    for _ in range(6):
        await book.post(settled())
    running = asyncio.create_task(cube.run())
    try:
        async with asyncio.timeout(20):
            while await book.value("SELECT coalesce(max(batch), 0) FROM cube_position") < 6:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
    await same(book)

"""The spend cube says what the book says, whatever happens in whatever order. On a real
PostgreSQL.
"""

import asyncio
import json
import random
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from services.ledger import rebuild
from services.ledger.cube import (
    ADD,
    FOLD_PAUSE_S_MAX,
    FOLD_TIMEOUT_S,
    LAG_ROWS,
    PAUSE_S_MAX,
    PAUSE_S_MIN,
    SUMS,
    TABLES,
    Cube,
    fold_pause_s,
    pause_s,
)
from services.ledger.database import SQL
from services.ledger.filling import NEWEST_SETTINGS, STEP_ROWS_MAX, STEP_ROWS_MIN, STEP_S, step_rows
from services.ledger.rebuild import Asked
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
    found = await book.fetch(
        "SELECT CASE WHEN tags = 'tag' AND tag = 0 THEN 'none' ELSE tags END AS tags, coalesce(w.value, '') AS tag, key_sha256, team_id,"
        " model, sum(requests)::bigint AS requests, sum(spend_picousd) AS spend"
        " FROM spend_hourly h JOIN spend_group g ON g.id = grp LEFT JOIN spend_word w ON w.id = tag"
        " GROUP BY 1, 2, 3, 4, 5 HAVING sum(requests) <> 0"
    )
    assert {tuple(row.values()) for row in found} == wanted
    by_team: Counter[tuple[str, str | None]] = Counter()
    for kind, tag, _, team, _, requests, _ in wanted:
        by_team[tag, team] += requests if kind != "all" else 0
    found = await book.fetch(
        "SELECT coalesce(w.value, '') AS tag, t.value AS team, sum(requests)::bigint AS requests FROM spend_tag_team s"
        " LEFT JOIN spend_word w ON w.id = tag LEFT JOIN spend_word t ON t.id = team GROUP BY 1, 2 HAVING sum(requests) <> 0"
    )
    assert {(row["tag"], row["team"]): row["requests"] for row in found} == +by_team
    assert await rebuild.run(book.database, Asked(check_only=True)) == 0, "the other tables follow from these"


@pytest.fixture
def cube(book: Book) -> Cube:
    return Cube(book.database, asyncio.Event())


async def test_every_kind_of_row_counts_once(book: Book, cube: Cube) -> None:
    late, never = opened(expires_at_ms=1, tags=["late"]), opened(expires_at_ms=1, tags=[])
    await book.post(late, never)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await fill(book, cube)
    await same(book)
    late_tag = "FROM spend_tag JOIN spend_word w ON w.id = tag WHERE w.value = 'late'"
    assert await book.value(f"SELECT sum(requests) {late_tag}") == 1
    await book.post(
        settled(late), refused(tags=["x"]), settled(opened(tags=["a", "b", "a"], caller=BOB)), settled(opened(tags=[]))
    )
    await book.post(settled(opened(price=None)), settled(flags=("unpriced:image",)))
    await fill(book, cube)
    await same(book)
    sums = "SELECT sum(requests) AS r, sum(unpriced) AS u, sum(flagged) AS f, sum(failures) AS x FROM spend_calls"
    assert (await book.fetch(sums))[0] == {"r": 7, "u": 2, "f": 1, "x": 2}
    assert await book.value("SELECT count(*) FROM spend_word WHERE value = 'x'") == 0, (
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
    monkeypatch.setattr("services.ledger.filling.STEP_ROWS_MAX", 3)
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
        behind = "SELECT batch < 12 FROM spend_position WHERE shard = 0"
        while await cube.catch_up(connection) or await connection.fetchval(behind):
            pass

    await asyncio.wait_for(asyncio.gather(*map(all_of, connections)), 30)
    await same(book)
    for connection in connections:
        connection.terminate()


async def test_the_cube_rests_only_when_nothing_is_left(
    book: Book, cube: Cube, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.filling.STEP_ROWS_MAX", 1)
    monkeypatch.setattr("services.ledger.cube.PAUSE_S_MIN", 60.0)
    monkeypatch.setattr("services.ledger.cube.PAUSE_S_MAX", 60.0)
    for _ in range(6):
        await book.post(settled())
    running = asyncio.create_task(cube.run())
    try:
        async with asyncio.timeout(20):
            while await book.value("SELECT coalesce(max(batch), 0) FROM spend_position") < 6:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
    await same(book)


def test_a_step_takes_as_much_as_can_be_added_in_its_time() -> None:
    assert step_rows(4_000, 4_000, STEP_S * 2) == 2_000
    assert step_rows(4_000, 4_500, STEP_S / 2) == 9_000
    assert step_rows(4_000, 10, 0.1) == 4_000, "there was no more: it says nothing of a full one"
    assert step_rows(4_000, 1_000, STEP_S * 2) == STEP_ROWS_MIN, "but that it took long does"
    assert step_rows(STEP_ROWS_MAX, STEP_ROWS_MAX, 0.0) == STEP_ROWS_MAX


def test_the_pause_is_long_when_little_comes_and_short_when_much_does() -> None:
    assert pause_s(0, 1.0, 1.0) == PAUSE_S_MAX
    assert pause_s(10, 5.0, 0.001) == PAUSE_S_MIN
    assert pause_s(100, 5.0, 1.0) == PAUSE_S_MAX, "a step is dear, and nothing much waits for it"
    for rate in (2_000, 4_000, 17_400):
        assert pause_s(rate * 3, 3.0, 1.0) * rate == pytest.approx(LAG_ROWS), "so much may come until the next"


async def test_a_step_that_cannot_be_done_is_tried_with_less(
    book: Book, cube: Cube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a busy machine makes it run into its time limit: it would again, for ever."""
    monkeypatch.setattr("services.ledger.filling.STEP_ROWS_MAX", 8)
    monkeypatch.setattr("services.ledger.filling.STEP_ROWS_MIN", 1)
    monkeypatch.setattr("services.ledger.cube.PAUSE_S_MAX", 0.05)
    await book.owner.execute(
        "CREATE FUNCTION refuse_many() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF (SELECT sum(requests) FROM added) > 2 THEN RAISE query_canceled; END IF; RETURN NULL; END $$;"
        " CREATE TRIGGER refuse_many AFTER INSERT ON spend_calls REFERENCING NEW TABLE AS added"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_many()"
    )
    for _ in range(8):
        await book.post(settled(opened(tags=["a"])))
    running = asyncio.create_task(cube.run())
    try:
        async with asyncio.timeout(20):
            while await book.value("SELECT coalesce(max(batch), 0) FROM spend_position") < 8:
                await asyncio.sleep(0.05)
    finally:
        running.cancel()
    await same(book)


async def test_no_step_compares_each_row_with_each(book: Book) -> None:
    """Of a new day's rows the planner knows nothing: two of them are compared one by one, and so
    were the first thousands of a day, until the step ran into its time limit.
    """
    await book.post(*(settled(opened(tags=[f"tag-{n}", "a"])) for n in range(9)))

    def loops(node: dict[str, Any]) -> list[dict[str, Any]]:
        inner = [loop for child in node.get("Plans", ()) for loop in loops(child)]
        return [*inner, node] if node["Node Type"] == "Nested Loop" else inner

    async with book.owner.transaction():
        await book.owner.execute(NEWEST_SETTINGS)
        today = datetime.now(UTC).date()
        plan = await book.owner.fetchval(f"EXPLAIN (FORMAT JSON) {ADD}", 0, 1, 1, today, today)
    found = loops(json.loads(plan)[0]["Plan"])
    assert not [loop for loop in found if "Values Scan" not in json.dumps(loop)], "hours by three grains alone"


def test_the_pause_after_failures_is_short_at_first_and_bounded() -> None:
    assert [fold_pause_s(failures, 0.01) for failures in (1, 2, 3)] == [5, 10, 20]
    assert fold_pause_s(1, 100) == 600, "what took long isn't tried again at once: steps wait for it"
    assert fold_pause_s(1, FOLD_TIMEOUT_S) == fold_pause_s(10**6, 0.01) == FOLD_PAUSE_S_MAX == 3600


async def test_what_an_older_ledger_had_summed_is_taken_over(book: Book, cube: Cube) -> None:
    """Migration 0013, with data: the older tables are filled as that ledger did, and their sums
    taken over.
    """
    await book.post(
        *(settled(opened(tags=tags, caller=caller)) for tags in ([], ["a"], ["b", "a"]) for caller in (ALICE, BOB)),
        refused(tags=["x"]),
    )
    await fill(book, cube)
    sums = (
        "SELECT at, tags, w.value, grp, requests, failures, spend_picousd FROM spend_hourly LEFT JOIN spend_word w ON w.id = tag"
        " ORDER BY 1, 2, 3, 4",
        "SELECT at, w.value AS tag, t.value AS team, requests, spend_picousd FROM spend_tag_team LEFT JOIN spend_word w ON w.id = tag"
        " LEFT JOIN spend_word t ON t.id = team ORDER BY 1, 2, 3",
        "SELECT value FROM spend_word WHERE value <> 'never' ORDER BY value",
    )
    before = [await book.fetch(query) for query in sums]
    for table in ("spend_hour", "spend_day", "spend_month"):
        await book.owner.execute(
            f"INSERT INTO {table} SELECT date_trunc('{table[6:]}', at, 'UTC'), CASE WHEN tags = 'tag' AND tag = 0 THEN 'none' ELSE tags END,"
            f" coalesce(w.value, ''), grp, {', '.join(f'sum({name})' for name in SUMS)}"
            " FROM spend_hourly h LEFT JOIN spend_word w ON w.id = tag GROUP BY 1, 2, 3, 4"
        )
    # What an older rebuild may have left behind: zeros that nothing else knows of.
    await book.owner.execute(
        "INSERT INTO spend_hour SELECT at, 'tag', 'never', grp, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM spend_hour WHERE tags = 'all' LIMIT 1"
    )
    await book.owner.execute("INSERT INTO cube_position SELECT shard, batch FROM spend_position")
    await book.owner.execute(f"TRUNCATE {', '.join(TABLES)}, spend_span, spend_position, spend_word")
    text = (SQL / "migrations/0013_spend_sums.sql").read_text("utf-8")
    async with book.owner.transaction():
        await book.owner.execute(text.partition("-- What the older tables hold.")[2].partition("\n")[2])
    assert [await book.fetch(query) for query in sums] == before
    await book.post(settled(opened(tags=["a"])))
    await fill(book, cube)
    await same(book)
    assert await book.value("SELECT count(*) FROM spend_span WHERE NOT folded") == 3

"""`/spend/query` gives exactly what the calls add up to, from whichever source, while the cube
lags. On a real PostgreSQL.
"""

import asyncio
import json
import random
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import aiohttp
import pytest

from services.ledger import spend_query, spend_sql, terminal
from services.ledger.asking import Scope
from services.ledger.cube import Cube
from services.ledger.queries import Report
from services.ledger.spend_query import DIMENSIONS, OF_THE_ADMITTED, SpendQuery, before, parse, plan
from shared.errors import RefusedError
from shared.facts import Caller
from shared.ids import RequestId, digest_key
from shared.money import format_usd
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Running, opened, refused, settled

NOW = datetime(2026, 11, 26, 13, 37, tzinfo=UTC)
CALLERS = (ALICE, BOB, ROBOT, Caller())


def id_at(draw: random.Random, at: datetime) -> RequestId:
    ms = int(at.timestamp() * 1000)
    return RequestId(str(UUID(int=(ms << 80) | (7 << 76) | draw.getrandbits(76) & ~(3 << 62) | (2 << 62))))


async def fill(book: Book, draw: random.Random, cube: Cube) -> None:
    """Calls of fifty days, some refused, some unpriced, some expired and ended after; the cube has
    a part of them.
    """
    for n in range(8):
        facts: list[Any] = []
        for _ in range(25):
            at = datetime(2026, 10, 7, tzinfo=UTC) + timedelta(seconds=draw.randrange(50 * 86_400))
            common: dict[str, Any] = {
                "id": id_at(draw, at),
                "at_ms": int(at.timestamp() * 1000),
                "caller": draw.choice(CALLERS),
            }
            tags = draw.sample(["a", "b", "c", "d"], draw.randrange(3))
            if draw.random() < 0.1:
                facts.append(refused(**common, tags=tags, model="nonsense"))
                continue
            call = opened(
                **common, tags=tags, model=draw.choice(["gpt", "claude"]), provider=draw.choice(["openai", "azure"]),
                customer_id=draw.choice([None, "c1", "c2"]), expires_at_ms=1,
            )  # fmt: skip
            if draw.random() < 0.1:
                await book.post(call)
                await book.tally.expire(await book.position(), common["at_ms"] + 9, common["at_ms"] + 9, 10)
            if draw.random() < 0.9:
                unpriced = {"cost_picousd": None} if draw.random() < 0.1 else {}
                facts.append(settled(call, (draw.randrange(99), draw.randrange(99)), **unpriced))
        await book.post(*facts)
        if n < 5:
            while await cube.catch_up(book.owner):
                pass
        for _ in range({3: 999, 5: 9}.get(n, 0)):  # all that is over; then some of what was late for that
            await cube.fold(book.owner, NOW)


async def by_hand(book: Book, query: SpendQuery, scope: Scope) -> dict[Any, list[Any]]:
    """The answer from all rows, one after the other."""
    sums: dict[Any, list[Any]] = defaultdict(lambda: [0, 0, 0, 0])
    admitted = OF_THE_ADMITTED & {*query.group_by, *query.filters}
    for row in await book.fetch("SELECT * FROM request_book"):
        at = datetime.fromtimestamp(int(str(row["id"]).replace("-", "")[:12], 16) / 1000, UTC)
        if not query.first <= at < query.end or (admitted and row["outcome"] == "refused"):
            continue
        if scope.user_id is not None and row["user_id"] != scope.user_id:
            continue
        if not scope.everything and scope.user_id is None and (row["user_id"] or row["key_sha256"] != scope.key_sha256):
            continue
        local = at.astimezone(query.zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        bucket = {
            "none": None, "hour": local.replace(minute=0, second=0, microsecond=0).isoformat(), "day": midnight.date().isoformat(),
            "week": (midnight.date() - timedelta(days=midnight.weekday())).isoformat(), "month": midnight.date().replace(day=1).isoformat(),
        }[query.bucket]  # fmt: skip
        tags: list[Any] = sorted(set(row["tags"])) or [None]
        if any(
            not set(tags if name == "tag" else [row[DIMENSIONS[name]]]) & set(values)
            for name, values in query.filters.items()
        ):
            continue
        for tag in tags if "tag" in query.group_by else [None]:
            if "tag" in query.group_by and "tag" in query.filters and tag not in query.filters["tag"]:
                continue
            key = (bucket, *(tag if name == "tag" else row[DIMENSIONS[name]] for name in query.group_by))
            for n, amount in enumerate((1, row["input_tokens"], row["cost_picousd"] is None, row["cost_picousd"] or 0)):
                sums[key][n] += amount
    return dict(sums)


async def answered(report: Report, query: SpendQuery, scope: Scope) -> tuple[str, dict[Any, list[Any]]]:
    source, rows, _ = await report.spend(query, scope)
    found = {}
    for row in rows:
        at = spend_query.instant(row["bucket"]).astimezone(query.zone) if row["bucket"] is not None else None
        bucket = None if at is None else at.isoformat() if query.bucket == "hour" else at.date().isoformat()
        key = (bucket, *(row[f"d{n}"] for n in range(len(query.group_by))))
        assert key not in found, "one row of each"
        found[key] = [int(row[name]) for name in ("requests", "input_tokens", "unpriced", "spend_picousd")]
    return source, found


@pytest.mark.parametrize("behind", [True, False])
async def test_random_questions_from_every_source(book: Book, behind: bool) -> None:
    """While the cube is behind, and when it has everything."""
    draw = random.Random(12)
    cube = Cube(book.database, asyncio.Event())
    await fill(book, draw, cube)
    while not behind and (await cube.catch_up(book.owner) or await cube.fold(book.owner, NOW)):
        pass
    pool = await book.database.readers(2)
    report = Report(pool)
    values = {"tag": ["a", "b", "zz"], "team": ["team-a", "team-b"], "model": ["gpt"], "user": ["alice"], "customer": ["c1"],
              "key": [ALICE.key_sha256], "status": ["success", "refused"], "provider": ["azure"]}  # fmt: skip
    sources = set()
    for _ in range(120):
        asked: dict[str, Any] = {
            "time_zone": draw.choice(["UTC", "UTC", "UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
            "bucket": draw.choice(spend_query.BUCKETS),
            "group_by": draw.sample(list(DIMENSIONS), draw.choice([0, 1, 1, 2, 3])),
            "filters": {name: draw.sample(values[name], 1 + (draw.random() < 0.3 and len(values[name]) > 1))
                        for name in draw.sample(list(values), draw.choice([0, 0, 1, 2]))},
        }  # fmt: skip
        first = datetime(2026, 10, 1) + timedelta(days=draw.randrange(45), hours=draw.choice([0, 0, 5]))
        asked["from"] = draw.choice(["2026-10-01", first.isoformat()])
        asked["to"] = draw.choice(
            ["2026-10-31", "2026-11-20", (first + timedelta(days=draw.choice([1, 9]))).isoformat()]
        )
        try:
            query = parse(asked, NOW)
            scope = draw.choice(
                [
                    Scope(everything=True),
                    Scope(everything=True),
                    Scope(user_id="alice"),
                    Scope(key_sha256=ROBOT.key_sha256),
                    Scope(),
                ]
            )
            source, found = await answered(report, query, scope)
        except RefusedError:
            continue
        sources.add(source + plan(query, everything=scope.everything).grain)
        assert found == await by_hand(book, query, scope), (asked, scope, source)
    assert sources == {"rollupday", "cubeyear", "cubemonth", "cubeday", "cubehour", "logcall"}
    pool.terminate()


async def test_by_tag_of_several_teams_each_tag_is_one_row(book: Book) -> None:
    """The table by tag and team has one for each team."""
    cube = Cube(book.database, asyncio.Event())
    await book.post(*(settled(opened(caller=caller, tags=["a"])) for caller in (ALICE, BOB)))
    while await cube.catch_up(book.owner):
        pass
    pool = await book.database.readers(2)
    for bucket in spend_query.BUCKETS:
        query = parse({"group_by": "tag", "team": "team-a,team-b", "bucket": bucket}, datetime.now(UTC))
        _, rows, _ = await Report(pool).spend(query, Scope(everything=True))
        assert [(row["d0"], row["requests"]) for row in rows] == [("a", 2)], bucket
    pool.terminate()


@pytest.mark.parametrize("behind", [True, False])
async def test_by_tag_and_team_alone_is_the_same_answer(
    book: Book, monkeypatch: pytest.MonkeyPatch, behind: bool
) -> None:
    """As by the way that every other question takes; while the cube is behind, and when it has
    everything.
    """
    draw = random.Random(5)
    cube = Cube(book.database, asyncio.Event())
    await fill(book, draw, cube)
    if not behind:
        while await cube.catch_up(book.owner) or await cube.fold(book.owner, NOW):
            pass
    pool = await book.database.readers(2)
    found: list[list[Any]] = [[], []]
    asked = [
        {
            "group_by": draw.choice(["tag", "tag,team", "team,tag"]),
            "bucket": bucket,
            "top": draw.choice(["1", "2", "3", "9"]),
            "from": draw.choice(["2026-10-01", "2026-10-09"]),
            "to": draw.choice(["2026-10-31", "2026-11-20", "2026-11-26"]),
            **draw.choice([{}, {"tag": "a,b"}, {"tag": "zz"}, {"team": "team-a"} if n % 2 else {}]),
        }
        for n in range(4)
        for bucket in ("none", "day", "week", "month")
    ]
    for answers in found:
        for each in asked:
            query = parse({**each, **({"group_by": "tag,team"} if "team" in each else {})}, NOW)
            rows = await Report(pool).sums(query, Scope(everything=True))
            answers.append([tuple(row.values()) for row in rows])
        for name in ("_top_first", "_all_at_once"):
            monkeypatch.setattr(spend_sql, name, lambda *_: "")
    assert found[0] == found[1]
    assert sum(map(len, found[0])) > 100
    pool.terminate()


async def read_of_log(report: Report, pool: Any, asked: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> int:
    """How many calls of request_log a question adds up (it looks for provisional ones beside)."""
    statements: list[tuple[str, list[Any]]] = []
    build = spend_sql.build

    def seen(*given: Any, **more: Any) -> tuple[str, list[Any]]:
        statements.append(build(*given, **more))
        return statements[-1]

    with monkeypatch.context() as patched:
        patched.setattr(spend_sql, "build", seen)
        await report.spend(parse(asked, NOW), Scope(everything=True))

    def rows(node: dict[str, Any]) -> float:
        calls = node.get("Relation Name", "").startswith("request_log") and node["Alias"].startswith("l")
        own = node["Actual Rows"] * node["Actual Loops"] if calls else 0
        return own + sum(map(rows, node.get("Plans", ())))

    async with pool.acquire() as connection:
        plans = [
            json.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", *arguments))[0]["Plan"]
            for sql, arguments in statements
        ]
    return round(sum(map(rows, plans)))


async def test_spend_by_tag_does_not_read_the_calls_that_the_cube_lacks(
    book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While much is recorded there are always some, and each question would read them all."""
    draw, cube = random.Random(3), Cube(book.database, asyncio.Event())

    def calls(day: int, count: int, **call: Any) -> list[Any]:
        at = datetime(2026, 11, day, 12, tzinfo=UTC)
        return [settled(opened(id=id_at(draw, at), at_ms=int(at.timestamp() * 1000), **call)) for _ in range(count)]

    await book.post(*calls(3, 5, tags=["a"]), *calls(24, 5, tags=["a"]), *calls(25, 2, tags=[]))
    while await cube.catch_up(book.owner) or await cube.fold(book.owner, NOW):
        pass
    await book.post(*calls(24, 30, tags=["a", "b"]), *calls(25, 3, tags=[]))
    pool = await book.database.readers(2)
    report = Report(pool)
    for bucket in ("none", "day", "month"):
        asked = {"group_by": "tag", "bucket": bucket, "from": "2026-11-01", "to": "2026-11-26"}
        for more in ({}, {"top": "1"}):
            query = parse({**asked, **more, "top": "1000"}, NOW)
            source, found = await answered(report, query, Scope(everything=True))
            assert (source, found) == ("cube", await by_hand(book, query, Scope(everything=True)))
            assert await read_of_log(report, pool, {**asked, **more}, monkeypatch) == 3, "those without a tag alone"
        assert await read_of_log(report, pool, {**asked, "tag": "a"}, monkeypatch) == 0
    assert await read_of_log(report, pool, {**asked, "to": "2026-11-23"}, monkeypatch) == 0, "none is of these days"
    pool.terminate()


async def test_what_is_not_among_the_top_is_one_other(book: Book) -> None:
    for n, tag in enumerate("abcde"):
        await book.post(*(settled(opened(tags=[tag])) for _ in range(5 - n)))
    pool = await book.database.readers(2)
    _, rows, total = await Report(pool).spend(
        parse({"group_by": "tag", "top": "2"}, datetime.now(UTC)), Scope(everything=True)
    )
    assert [(row["d0"], row["other"], int(row["requests"])) for row in rows] == [
        ("a", False, 5),
        ("b", False, 4),
        (None, True, 6),
    ]
    assert int(total["requests"]) == 15
    pool.terminate()


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"group_by": "colour"}, "group_by"), ({"bucket": "year"}, "bucket"), ({"time_zone": "Mars/Base"}, "time_zone"),
        ({"from": "yesterday"}, "from"), ({"since": "30"}, "since"), ({"since": "0d"}, "since"), ({"since": "3d", "to": "2026-01-01"}, "since"),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "before"), ({"top": "0"}, "top"), ({"previous": "perhaps"}, "previous"),
        ({"filters": {"colour": "red"}}, "filters"), ({"filters": [1]}, "filters"), ({"tag": 5, "group_by": [1]}, "group_by"),
        ({"colour": "red"}, "colour"), ({"from": "1000-01-01"}, "range"), ({"from": "2001-01-01"}, "days apart"),
        ({"bucket": "hour", "since": "300d"}, "92 days"), ({"format": "xml"}, "format"), ({"group_by": "tag,team,key,user,model"}, "4"),
        ({"from": "2026-11-01", "start_date": "2026-11-05"}, "start_date"), ({"group_by": "tag", "by": "team"}, "by"),
        ({"time_zone": "UTC", "timezone": "Asia/Tokyo"}, "timezone"), ({"tag": "a", "filters": {"tag": "b"}}, "twice"),
        ({"time_zone": "localtime"}, "time_zone"), ({"time_zone": "right/UTC"}, "time_zone"),
        ({"time_zone": "Pacific/Apia", "from": "2011-12-30", "to": "2011-12-30"}, "before"),
        ({"tag": "a\x00"}, "tag"), ({"time_zone": "../../etc/passwd"}, "time_zone"), ({"since": "9" * 99 + "d"}, "since"),
    ],
)  # fmt: skip
def test_wrong_questions_are_told_what_is_wrong(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(RefusedError) as told:
        parse(asked, NOW)
    assert told.value.refusal.status == 400
    assert says in told.value.refusal.message


@pytest.mark.parametrize(
    "asked", [{"customer": "c1"}, {"tag": "a,b"}, {"time_zone": "Asia/Kolkata"}, {"group_by": "status,team"}]
)
def test_what_only_the_log_knows_is_bounded(asked: dict[str, Any]) -> None:
    query = parse({**asked, "since": "90d", "group_by": asked.get("group_by", "team")}, NOW)
    with pytest.raises(RefusedError) as told:
        plan(query, everything=True)
    assert "31 days" in told.value.refusal.message
    assert plan(query._replace(first=query.end - timedelta(days=31)), everything=True).source == "log"


def test_the_range_is_of_the_zone_and_the_period_before_is_as_long() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    query = parse({"from": "2026-10-25", "to": "2026-10-25", "time_zone": "Europe/Berlin"}, NOW)
    assert query.end - query.first == timedelta(hours=25), "the clocks go back on that day"
    assert before(query).first == datetime(2026, 10, 24, tzinfo=berlin)
    month = parse({"from": "2026-03-01", "to": "2026-03-31"}, NOW)
    assert before(month).first == datetime(2026, 2, 1, tzinfo=UTC)
    assert parse({"since": "2d"}, NOW).first == datetime(2026, 11, 25, tzinfo=UTC)
    assert parse({"since": "2h"}, NOW).first == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert parse({"key": "sk-alice"}, NOW).filters == {"key": (digest_key("sk-alice"),)}


async def test_over_http_for_an_admin_and_for_tenants(ledger: Running, book: Book) -> None:
    await book.post(
        *(settled(opened(tags=["app"])) for _ in range(3)), settled(opened(tags=["app", "=cmd()"], caller=BOB))
    )
    status, body, _ = await ledger.get("/spend/query", group_by="tag", since="1d", previous="true")
    each = settled().cost_picousd
    assert (status, body["source"], body["total"]["requests"]) == (200, "cube", 4)
    assert [(row["tag"], row["requests"], row["spend_usd"]) for row in body["data"]] == [
        ("app", 4, format_usd(4 * (each or 0))), ("=cmd()", 1, format_usd(each or 0)),
    ]  # fmt: skip
    assert body["previous"]["total"]["requests"] == 0
    status, asked = await ledger.post("/spend/query", {"group_by": ["tag", "team"], "since": "1d", "tag": ["app"]})
    assert [(row["tag"], row["team"], row["requests"]) for row in asked["data"]] == [
        ("app", "team-a", 3),
        ("app", "team-b", 1),
    ]
    _, own, _ = await ledger.get("/spend/query", key="sk-bob", group_by="tag", since="1d")
    assert {row["tag"]: row["requests"] for row in own["data"]} == {"app": 1, "=cmd()": 1}
    async with aiohttp.ClientSession() as http, http.get(
        ledger.url + "/spend/query", params={"group_by": "tag", "since": "1d", "format": "csv"},
        headers={"Authorization": "Bearer sk-admin"},
    ) as answer:  # fmt: skip
        lines = (await answer.text()).splitlines()
    assert lines[0] == "tag,other,requests,successes,failures,input_tokens,output_tokens,unpriced,spend_usd"
    assert lines[2].startswith("'=cmd(),False,1,"), "a spreadsheet would run it"
    for body in (b"[]", b" " * (1024 * 1024 + 1), b"{", b'{"group_by": 5}', b'{"colour": 1}', b"\xff", b"[" * 5000):
        status, refused = await ledger.post("/spend/query", body)
        assert (status, refused["error"]["type"]) == (400, "invalid_request_error"), body
    assert (await ledger.get("/spend/query", key=None))[0] == 401


async def test_in_a_terminal(ledger: Running, book: Book, capsys: pytest.CaptureFixture[str]) -> None:
    await book.post(settled(opened(tags=["app"])), settled(opened(tags=["\x1b[31mred"])))
    environ = {"TOLLGATE_URL": ledger.url, "TOLLGATE_KEY": "sk-admin"}
    assert await asyncio.to_thread(terminal.main, ["--by", "tag,team", "--since", "1d", "--previous"], environ) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert [line.split() for line in out.splitlines()[-5:]] == [
        ["tag", "team", "requests", "input_tokens", "output_tokens", "spend_usd"],
        ["\ufffd[31mred", "team-a", "1", "10", "20", "0.0000135"], ["app", "team-a", "1", "10", "20", "0.0000135"],
        ["total", "2", "20", "40", "0.000027"], ["before", "0", "0", "0", "0"],
    ]  # fmt: skip
    assert await asyncio.to_thread(terminal.main, ["--by", "colour"], environ) == 1
    assert "group_by can be" in capsys.readouterr().err
    assert await asyncio.to_thread(terminal.main, [], {"TOLLGATE_URL": "http://127.0.0.1:1"}) == 2


def test_a_year_by_what_has_thousands_of_values_is_read_from_sums_of_months() -> None:
    now = datetime(2026, 6, 15, 12, tzinfo=UTC)

    def source(**asked: str) -> str:
        return plan(parse(asked, now), everything=True).source

    for many in ("key", "team", "user"):
        assert source(since="365d", group_by=many) == source(since="90d", group_by=many, bucket="month") == "cube"
        assert source(since="30d", group_by=many) == source(since="365d", group_by=many, bucket="day") == "rollup"
    assert source(since="365d", group_by="model") == source(since="365d", key="k") == "rollup"

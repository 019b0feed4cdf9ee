"""Who uses what, by tag (`/tag/summary|distinct|dau|wau|mau|user-agent/...`), over a real book: as
counted by hand, whether the cube has got it yet or not.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from services.ledger.cube import Cube
from shared.entities import User
from shared.ids import digest_key
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Policy, Running, on, opened, refused, settled

TODAY = datetime.now(UTC).date()
CODE, CURL = "User-Agent: claude-cli", "User-Agent: curl"
ALICE_TOO = msgspec.structs.replace(ALICE, key_sha256=digest_key("sk-alice-2"))
COST_USD = 0.0000135


def at(back: int, caller: Any, *tags: str, **changed: Any) -> Any:
    day = TODAY - timedelta(days=back)
    return settled(opened(id=on(day), caller=caller, tags=list(tags)), **changed)


@pytest.fixture(params=["in the cube", "not yet"])
async def filled(ledger: Running, book: Book, request: pytest.FixtureRequest) -> Running:
    await book.post(
        at(0, ALICE, CODE, "app"), at(0, ALICE_TOO, CODE), at(0, BOB, CODE), at(0, ROBOT, CODE), at(1, ALICE, CODE),
        at(1, BOB, CURL, outcome="provider_error", status=500), at(9, BOB, CODE), at(40, ALICE, CURL), at(300, BOB, "User-Agent: old"),
    )  # fmt: skip
    await book.post(refused(caller=BOB, tags=["User-Agent: nobody"]))
    if request.param == "in the cube":
        cube = Cube(book.database, asyncio.Event())
        while await cube.catch_up(book.owner) or await cube.fold(book.owner, datetime.now(UTC)):
            pass
    return ledger


async def results(ledger: Running, path: str, key: str = "sk-admin", **query: str) -> list[dict[str, Any]]:
    status, body, _ = await ledger.get(path, key, **query)
    assert status == 200, body
    return list(body["results"])


def users(found: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(row["date"], row["tag"], row["active_users"]) for row in found]


async def test_a_call_of_an_edge_whose_clock_is_ahead_counts(ledger: Running, book: Book) -> None:
    await book.post(at(-1, ALICE, CODE))
    tomorrow = str(TODAY + timedelta(days=1))
    assert users(await results(ledger, "/tag/dau")) == [(tomorrow, CODE, 1)]


async def test_users_by_day_week_and_month(filled: Running) -> None:
    """A user counts once, with whatever key; a key without a user isn't one."""
    today, yesterday = str(TODAY), str(TODAY - timedelta(days=1))
    assert users(await results(filled, "/tag/dau")) == [
        (today, CODE, 2), (today, "app", 1), (yesterday, CODE, 1), (yesterday, CURL, 1),
    ]  # fmt: skip
    weeks = await results(filled, "/tag/wau", tag_filters=CODE)
    last = TODAY + timedelta(days=1)
    firsts = [last - timedelta(days=13), last - timedelta(days=6)]
    assert users(weeks) == [(f"Week 6 ({firsts[0]:%b %d})", CODE, 1), (f"Week 7 ({firsts[1]:%b %d})", CODE, 2)]
    assert (weeks[1]["period_start"], weeks[1]["period_end"]) == (str(firsts[1]), str(last))
    months = await results(filled, "/tag/mau", tag_filter="CURL")
    first = last - timedelta(days=29)
    assert users(months) == [
        (f"Month 6 ({first - timedelta(days=30):%b})", CURL, 1), (f"Month 7 ({first:%b})", CURL, 1),
    ]  # fmt: skip
    assert users(await results(filled, "/tag/mau", "sk-alice", tag_filter="claude")) == [
        (f"Month 7 ({first:%b})", CODE, 1)
    ], "a tenant's own"
    assert await results(filled, "/tag/dau", tag_filter="%") == [], "a text, no pattern"


async def test_summary(filled: Running) -> None:
    days = {"start_date": str(TODAY - timedelta(days=1)), "end_date": str(TODAY)}
    assert await results(filled, "/tag/summary", **days) == [
        {"tag": CODE, "unique_users": 2, "total_requests": 5, "successful_requests": 5, "failed_requests": 0, "total_tokens": 150,
         "total_spend": pytest.approx(5 * COST_USD)},
        {"tag": CURL, "unique_users": 1, "total_requests": 1, "successful_requests": 0, "failed_requests": 1, "total_tokens": 30,
         "total_spend": pytest.approx(COST_USD)},
        {"tag": "app", "unique_users": 1, "total_requests": 1, "successful_requests": 1, "failed_requests": 0, "total_tokens": 30,
         "total_spend": pytest.approx(COST_USD)},
    ]  # fmt: skip
    assert [
        row["tag"] for row in await results(filled, "/tag/summary", **days, tag_filters="app", tag_filter="curl")
    ] == ["app"]
    assert [row["total_requests"] for row in await results(filled, "/tag/summary", "sk-robot", **days)] == [1]


async def test_clients_and_their_users(filled: Running, policy: Policy) -> None:
    assert [row["tag"] for row in await results(filled, "/tag/distinct")] == [CODE, CURL, "User-Agent: old"]
    assert [row["tag"] for row in await results(filled, "/tag/distinct", "sk-robot")] == [CODE]
    policy.kept["user"] = [User(user_id="alice", user_email="alice@example.org")]
    path = "/tag/user-agent/per-user-analytics"
    alice = {"user_id": "alice", "user_email": "alice@example.org", "user_agent": CODE, "successful_requests": 3, "failed_requests": 0,
             "total_requests": 3, "total_tokens": 90, "spend": pytest.approx(3 * COST_USD)}  # fmt: skip
    bob = {"user_id": "bob", "user_email": None, "user_agent": CODE, "successful_requests": 2, "failed_requests": 1,
           "total_requests": 3, "total_tokens": 90, "spend": pytest.approx(3 * COST_USD)}  # fmt: skip
    _, body, _ = await filled.get(path)
    assert body == {"results": [alice, bob], "total_count": 2, "page": 1, "page_size": 50, "total_pages": 1}
    _, body, _ = await filled.get(path, page="2", page_size="1")
    assert (body["results"], body["total_count"], body["total_pages"]) == ([bob], 2, 2)
    _, body, _ = await filled.get(path, page="3", page_size="1")
    assert (body["results"], body["total_count"], body["total_pages"]) == ([], 2, 2)
    assert [row["total_requests"] for row in await results(filled, path, tag_filters="app")] == [1]
    assert [row["user_id"] for row in await results(filled, path, tag_filter="CuRl")] == ["bob"]
    assert [row["user_id"] for row in await results(filled, path, "sk-bob")] == ["bob"]


async def test_bad_questions(ledger: Running) -> None:
    for path, query, param in (
        ("/tag/summary", {}, "start_date"), ("/tag/summary", {"start_date": str(TODAY)}, "end_date"),
        ("/tag/summary", {"start_date": "x", "end_date": "y"}, "start_date"),
        ("/tag/summary", {"start_date": "2026-02-02", "end_date": "2026-02-01"}, "start_date"),
        ("/tag/user-agent/per-user-analytics", {"page": "0"}, "page"),
        ("/tag/user-agent/per-user-analytics", {"page_size": "1001"}, "page_size"), ("/tag/dau", {"tag_filter": "a\0b"}, "tag_filter"),
    ):  # fmt: skip
        status, body, _ = await ledger.get(path, **query)
        assert (status, body["error"]["param"]) == (400, param), (path, query, body)
    for far in (
        {"start_date": "0001-01-01", "end_date": "0001-01-02"},
        {"start_date": "9999-12-30", "end_date": "9999-12-31"},
    ):
        assert await results(ledger, "/tag/summary", **far) == []

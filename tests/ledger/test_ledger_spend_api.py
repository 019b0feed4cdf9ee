"""LiteLLM's spend endpoints over the book, in its shapes, each tenant its own. On real parts."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import msgspec
import pytest
from nats.aio.client import Client

from services.ledger import logs_page
from services.ledger.asking import Scope
from services.ledger.cube import Cube
from shared import bus, routes, subjects
from shared.requests import CountReply, CountRequest
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Running, on, opened, post_control, refused, settled

TODAY = datetime.now(UTC).date()
DAYS = {"start_date": str(TODAY - timedelta(days=1)), "end_date": str(TODAY)}
EACH = 0.0000135
"""What a call of 10 and 20 tokens costs."""


@pytest.fixture
async def filled(ledger: Running, book: Book) -> Running:
    """Alice: two calls today with tags a and b; Bob: one yesterday, tag a; a robot without user:
    one, untagged; one refused.
    """
    await book.post(
        *(settled(opened(caller=ALICE, tags=["a", "b"], customer_id="c1")) for _ in range(2)),
        settled(opened(id=on(TODAY - timedelta(days=1)), caller=BOB, tags=["a"], model="claude", provider="anthropic")),
        settled(opened(caller=ROBOT, tags=[])), refused(caller=ALICE, tags=["a"]),
    )  # fmt: skip
    return ledger


async def of(ledger: Running, path: str, key: str = "sk-admin", **query: str) -> Any:
    status, body, _ = await ledger.get(path, key=key, **query)
    assert status == 200, body
    return body


def near(value: float) -> Any:
    return pytest.approx(value, abs=1e-15)


async def test_global_endpoints(filled: Running) -> None:
    assert await of(filled, "/global/spend") == {"spend": near(4 * EACH), "max_budget": None}
    assert await of(filled, "/global/spend/models") == [
        {"model": "gpt", "total_spend": near(3 * EACH)}, {"model": "claude", "total_spend": near(EACH)},
    ]  # fmt: skip
    assert [row["provider"] for row in await of(filled, "/global/spend/provider", limit="1")] == ["openai"]
    assert (await of(filled, "/global/spend/tags", **DAYS))["spend_per_tag"] == [
        {"name": "a", "spend": near(3 * EACH), "log_count": 3}, {"name": "b", "spend": near(2 * EACH), "log_count": 2},
    ]  # fmt: skip
    assert await of(filled, "/global/spend/tags", **DAYS, tags="b") == {
        "spend_per_tag": [{"name": "b", "spend": near(2 * EACH), "log_count": 2}]
    }
    assert await of(filled, "/global/spend/all_tag_names") == {"tag_names": ["a", "b"]}
    keys = await of(filled, "/global/spend/keys")
    assert {row["api_key"]: row["total_spend"] for row in keys} == {
        ALICE.key_sha256: near(2 * EACH), BOB.key_sha256: near(EACH), ROBOT.key_sha256: near(EACH),
    }  # fmt: skip
    teams = await of(filled, "/global/spend/teams")
    assert [row["total_spend"] for row in teams["total_spend_per_team"]] == [near(3 * EACH), near(EACH)]
    assert [day["date"] for day in teams["daily_spend"]] == [DAYS["start_date"], DAYS["end_date"]]


async def test_keys_and_users_see_their_own(filled: Running) -> None:
    assert {row["token"] for row in await of(filled, "/spend/keys")} == {c.key_sha256 for c in (ALICE, BOB, ROBOT)}
    assert [row["token"] for row in await of(filled, "/spend/keys", key="sk-robot")] == [ROBOT.key_sha256]
    assert await of(filled, "/spend/users", key="sk-bob") == [{"user_id": "bob", "spend": near(EACH)}]
    assert await of(filled, "/spend/users", user_id="alice") == [{"user_id": "alice", "spend": near(2 * EACH)}]
    status, body, _ = await filled.get("/spend/users", key="sk-bob", user_id="alice")
    assert (status, body["error"]["message"]) == (403, "Not authorized to view spend for another user.")


async def test_the_report(filled: Running) -> None:
    by_team = await of(filled, "/global/spend/report", **DAYS)
    assert [entry["group_by_day"] for entry in by_team] == [DAYS["start_date"], DAYS["end_date"]]
    today = {team["team_name"]: team for team in by_team[1]["teams"]}
    assert {name: team["total_spend"] for name, team in today.items()} == {next(iter(today)): near(3 * EACH)}
    by_key = await of(filled, "/global/spend/report", **DAYS, group_by="api_key", api_key="sk-bob")
    assert [
        (row["api_key"], row["total_cost"], row["total_input_tokens"], row["model_details"][0]["model"])
        for row in by_key
    ] == [(BOB.key_sha256, near(EACH), 10, "claude")]
    customers = await of(filled, "/global/spend/report", **DAYS, group_by="customer")
    assert {c["customer"] for day in customers for c in day["customers"]} == {"c1", "Unassigned Customer"}
    for wrong in ({}, {"start_date": "2026-01-01"}, {**DAYS, "group_by": "colour"}, {**DAYS, "start_date": "x"}):
        status, body, _ = await filled.get("/global/spend/report", **wrong)
        assert (status, body["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize("entity", ["user", "team", "tag", "organization", "customer"])
async def test_daily_activity(filled: Running, entity: str) -> None:
    body = await of(filled, f"/{entity}/daily/activity", **DAYS)
    assert [day["date"] for day in body["results"]] == [DAYS["end_date"], DAYS["start_date"]]
    today, yesterday = body["results"]
    assert (today["metrics"]["successful_requests"], today["metrics"]["spend"]) == (3, near(3 * EACH))
    assert yesterday["metrics"]["total_tokens"] == 30
    assert set(yesterday["breakdown"]) == {
        "models",
        "model_groups",
        "providers",
        "api_keys",
        "endpoints",
        "entities",
        "mcp_servers",
    }
    assert yesterday["breakdown"]["endpoints"]["/chat/completions"]["metrics"]["api_requests"] == 1
    wanted = {
        "user": {"alice", ""},
        "team": {"team-a"},
        "tag": {"a", "b", ""},
        "organization": {""},
        "customer": {"c1", ""},
    }
    assert set(today["breakdown"]["entities"]) == wanted[entity]
    assert body["metadata"]["total_spend"] == near(4 * EACH)
    assert (body["metadata"]["page"], body["metadata"]["total_pages"], body["metadata"]["has_more"]) == (1, 1, False)
    one = await of(filled, f"/{entity}/daily/activity", **DAYS, page_size="1", page="2")
    assert [day["date"] for day in one["results"]] == [DAYS["start_date"]]
    assert (one["metadata"]["page"], one["metadata"]["total_pages"], one["metadata"]["has_more"]) == (2, 2, False)
    bobs = await of(filled, f"/{entity}/daily/activity", key="sk-bob", **DAYS)
    assert bobs["metadata"]["total_api_requests"] == 1


async def test_daily_activity_of_some(filled: Running) -> None:
    only = await of(filled, "/team/daily/activity", **DAYS, team_ids="team-b")
    assert only["metadata"]["total_api_requests"] == 1
    without = await of(filled, "/team/daily/activity", **DAYS, exclude_team_ids="team-b")
    assert {name for day in without["results"] for name in day["breakdown"]["entities"]} == {"team-a"}
    key = await of(filled, "/user/daily/activity", **DAYS, api_key="sk-alice", model="gpt")
    assert key["metadata"]["total_api_requests"] == 2
    # Two hours east of UTC the day is another one late in the evening: a range that holds the calls
    # at every hour.
    wide = {"start_date": DAYS["start_date"], "end_date": str(TODAY + timedelta(days=1))}
    assert (await of(filled, "/user/daily/activity", **wide, timezone="-120"))["metadata"]["total_api_requests"] == 4
    for wrong in ({}, {**DAYS, "page": "0"}, {**DAYS, "timezone": "17"}, {**DAYS, "end_date": "2020-01-01"}):
        status, _, _ = await filled.get("/team/daily/activity", **wrong)
        assert status == 400, wrong


@pytest.mark.parametrize("behind", [True, False])
async def test_spend_of_some_tags(filled: Running, book: Book, behind: bool) -> None:
    """For an administrator, and for a tenant its own; from the rollups while the cube is behind,
    and from the cube.
    """
    while not behind and await Cube(book.database, asyncio.Event()).catch_up(book.owner):
        pass
    for key, spent in (("sk-admin", 3), ("sk-alice", 2)):
        every = await of(filled, "/spend/tags", key=key)
        assert [(row["individual_request_tag"], row["total_spend"]) for row in every] == [
            ("a", near(spent * EACH)), ("b", near(2 * EACH)),
        ]  # fmt: skip
        some = await of(filled, "/spend/tags", key=key, tags=" a,,zz")
        assert some == every[:1]
    status, body, _ = await filled.get("/spend/tags", tags=",".join(map(str, range(101))))
    assert (status, body["error"]["param"]) == (400, "tags")


async def test_two_teams_of_the_same_name_are_added_up(filled: Running, book: Book) -> None:
    namesake = msgspec.structs.replace(BOB, team_id="team-c", team_alias=ALICE.team_alias)
    await book.post(settled(opened(caller=namesake)))
    while await Cube(book.database, asyncio.Event()).catch_up(book.owner):  # which knows the names
        pass
    teams = await of(filled, "/global/spend/teams", **DAYS)
    assert {"team_id": ALICE.team_alias, "total_spend": near(4 * EACH)} in teams["total_spend_per_team"]
    assert teams["daily_spend"][1] == {"date": DAYS["end_date"], ALICE.team_alias: near(4 * EACH)}
    (today,) = (day for day in await of(filled, "/global/spend/report", **DAYS) if day["group_by_day"] == str(TODAY))
    assert [(team["team_name"], team["total_spend"]) for team in today["teams"]] == [(ALICE.team_alias, near(4 * EACH))]


async def test_daily_activity_where_hours_are_not_those_of_utc(filled: Running) -> None:
    """No sums by the hour can say it: pages are as long as the log itself may be read over."""
    asked = {"start_date": str(TODAY - timedelta(days=80)), "end_date": str(TODAY + timedelta(days=1))}
    for zone in ("Asia/Kathmandu", "-345", "-330", "America/St_Johns", "Pacific/Chatham"):
        body = await of(filled, "/team/daily/activity", **asked, timezone=zone)
        assert (body["metadata"]["total_api_requests"], body["metadata"]["total_pages"]) == (4, 3), zone
        last = await of(filled, "/team/daily/activity", **asked, timezone=zone, page="3")
        assert (last["results"], last["metadata"]["has_more"]) == ([], False)
    for entity in ("customer", "user"):
        body = await of(filled, f"/{entity}/daily/activity", **asked)
        assert body["metadata"]["total_spend"] == near(4 * EACH)
    twice = await of(filled, "/tag/daily/activity", **DAYS, tags="a,b")
    assert twice["metadata"]["total_api_requests"] == 3, "a call that has both of them is one call"


ODD = ("²", "٣", "-1", "1e400", "NaN", "99999w", "²d", "20261123", "2026-W48-1", "2026-02-29", "0001-01-01", "9999-12-31", "x" * 1025,
       "localtime", "posixrules", "right/UTC", "../etc/passwd", "\u202ex", "a,b", ",", "[]")  # fmt: skip


@pytest.mark.parametrize(
    "path", ["/spend/query", "/spend/tags", "/spend/logs/v2", "/spend/open", "/team/daily/activity", "/global/spend/report", "/audit",
             "/team/daily/activity/aggregated/keys", "/user/daily/activity/export", "/team/spend/by_user", "/global/activity/cache_hits"]
)  # fmt: skip
async def test_odd_values_are_refused_or_answered(filled: Running, path: str) -> None:
    own = {parameter.name for parameter in next(row for row in routes.of_surface("ledger") if row.name == path).query}
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-admin"}) as http:
        for name in sorted(own | {"tags", "timezone", "limit", "page", "api_key"}):
            for value in ODD:
                days = {} if name in ("since", "from", "to") else DAYS
                async with http.get(filled.url + path, params={**days, name: value}) as answer:
                    assert answer.status in (200, 400), (name, value, await answer.text())


async def test_days_without_hyphens_count_in_full(filled: Running) -> None:
    compact = {name: day.replace("-", "") for name, day in DAYS.items()}
    assert (await of(filled, "/spend/query", **compact))["total"]["requests"] == 5
    assert (await of(filled, "/spend/logs/v2", **compact))["total"] == 5


async def test_a_filter_given_twice(filled: Running) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-admin"}) as http:
        twice = [("user", "alice"), ("user", "bob"), ("group_by", "user")]
        async with http.get(filled.url + "/spend/query", params=twice) as answer:
            assert {row["user"] for row in (await answer.json())["data"]} == {"alice", "bob"}
        async with http.get(filled.url + "/spend/query", params=[("top", "1"), ("top", "2")]) as answer:
            assert (answer.status, (await answer.json())["error"]["param"]) == (400, "top")


async def ids(ledger: Running, key: str = "sk-admin", **query: str) -> list[str]:
    body = await of(ledger, "/spend/logs/v2", key=key, **{**DAYS, **query})
    return [row["metadata"]["id"] for row in body["data"]]


async def test_pages_of_calls(filled: Running, book: Book) -> None:
    every = await ids(filled)
    assert len(every) == 5 and every == sorted(every, reverse=True)
    first = await of(filled, "/spend/logs/ui", **DAYS, page_size="2")
    assert (first["total"], first["page"], first["page_size"], first["total_pages"]) == (5, 1, 2, 3)
    pages = [await ids(filled, page_size="2", page=str(n)) for n in (1, 2, 3, 4)]
    assert [len(page) for page in pages] == [2, 2, 1, 0] and [one for page in pages for one in page] == every
    walked, cursor = await ids(filled, page_size="2"), first["next_cursor"]
    while cursor:
        body = await of(filled, "/spend/logs/v2", **DAYS, page_size="2", cursor=cursor)
        walked += [row["metadata"]["id"] for row in body["data"]]
        cursor = body["next_cursor"]
    assert walked == every
    assert await ids(filled, sort_order="asc") == every[::-1]
    for sort in ("endTime", "spend", "total_tokens", "request_duration_ms", "model", "ttft_ms"):
        assert sorted(await ids(filled, sort_by=sort)) == sorted(every)
    counts = {
        "user_id": ("bob", 1), "team_id": ("team-b", 1), "model_group": ("claude", 1), "end_user": ("c1", 2),
        "key_alias": ("robot", 1), "status_filter": ("failure", 1), "min_spend": ("0.00001", 4), "max_spend": ("0", 1),
        "api_key": ("sk-bob", 1), "search": ("bob", 1), "request_id": (every[0], 1), "cache_hit_filter": ("hit", 0),
        "error_code": ("model_not_allowed", 1),
    }  # fmt: skip
    for name, (value, count) in counts.items():
        assert len(await ids(filled, **{name: value})) == count, name
    assert len(await ids(filled, key="sk-bob")) == 1 and len(await ids(filled, key="sk-robot")) == 1
    exact = {"start_date": f"{TODAY} 00:00:00", "end_date": f"{TODAY} 23:59:59"}
    assert len(await ids(filled, **exact)) == 4
    one = await of(filled, f"/spend/logs/ui/{every[0]}")
    assert one["metadata"]["id"] == every[0]
    assert (await filled.get("/spend/logs/ui/nothing"))[0] == 404
    assert (await filled.get(f"/spend/logs/ui/{every[0]}", key="sk-bob"))[0] == 404
    for wrong in (
        {"start_date": "x"}, {"page": "0"}, {"page_size": "1001"}, {"sort_by": "x; DROP TABLE"}, {"sort_order": "up"},
        {"min_spend": "-1"}, {"status_filter": "odd"}, {"span_type": "x"}, {"cursor": "x"},
        {"page": "9999", "page_size": "1000"}, {"end_date": ""},
    ):  # fmt: skip
        status, body, _ = await filled.get("/spend/logs/v2", **{**DAYS, **wrong})
        assert (status, body["error"]["type"]) == (400, "invalid_request_error"), wrong


async def test_pages_by_time_that_nobody_counts(filled: Running, book: Book) -> None:
    """They reach over quiet weeks, both ways, and a look at the newest opens the tables of its days
    alone.
    """
    for days in (20, 200, 201, 380):
        await book.post(settled(opened(id=on(TODAY - timedelta(days=days)), caller=BOB)))
    years = {"start_date": str(TODAY - timedelta(days=400)), "end_date": str(TODAY), "page_size": "2", "count": "false"}
    for order in ("desc", "asc"):
        walked: list[str] = []
        cursor: dict[str, str] = {}
        while True:
            body = await of(filled, "/spend/logs/ui", **years, sort_order=order, **cursor)
            assert body["total"] is None and body["total_pages"] is None
            walked += [row["metadata"]["id"] for row in body["data"]]
            if body["next_cursor"] is None:
                break
            cursor = {"cursor": body["next_cursor"]}
        assert len(walked) == 9 and walked == sorted(walked, reverse=order == "desc")
    assert (await filled.get("/spend/logs/v2", **{**years, "count": "2"}))[0] == 400
    asked = logs_page.build(years, Scope(everything=True))
    spans = list(asked.spans())
    assert [(last - first).days + 1 for first, last, *_ in spans] == [2, 14, 100, 401]
    async with book.owner.transaction():
        await book.owner.execute("SET LOCAL enable_seqscan = off")  # of tables as small as these
        plan = [row[0] for row in await book.owner.fetch("EXPLAIN " + asked.sql, *spans[0])]
    assert not [line for line in plan if "Sort  (" in line], "in the order of the primary key"
    tables = {name for line in plan for name in re.findall(r"request_log_\w+", line) if not name.endswith("pkey")}
    assert len({name.removesuffix("_pkey") for name in tables}) <= 3, "two days, and the default"


@pytest.fixture
async def counting(ledger: Running, client: Client) -> Running:
    """With a moderation that counts four characters a token."""

    async def count(request: CountRequest) -> CountReply:
        return CountReply([-(-len(text) // 4) for text in request.texts])

    await bus.answer(client, subjects.MODERATION_COUNT, "moderation", CountRequest, count)
    return ledger


async def test_the_pages_example_of_calculate(counting: Running) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hey, how's it going?"}]}
    status, answer = await counting.post("/spend/calculate", body)
    assert (status, answer) == (200, {"cost": near((3 + 3 + 1 + 5) * 30e-6)})
    usage = {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 400}}
    status, answer = await counting.post(
        "/spend/calculate", {"completion_response": {"model": "gpt-4o-mini", "usage": usage}}
    )
    assert (status, answer) == (200, {"cost": near(600 * 0.15e-6 + 400 * 0.075e-6 + 100 * 0.6e-6)})
    for wrong, message in (
        ({}, "Bad Request - Either 'model' or 'completion_response' must be provided"),
        ({"model": "gpt-4"}, "Bad Request - messages must be provided if 'model' is provided"),
    ):
        status, answer = await counting.post("/spend/calculate", wrong)
        assert (status, answer["error"]["message"], answer["error"]["type"], answer["error"]["param"]) == (
            400,
            message,
            "None",
            "None",
        )
    for odd in ({"model": "nobody-knows", "messages": [{"content": "x"}]}, {"model": "gpt-4", "messages": ["x"]}, {"completion_response": {}},
                {"completion_response": {"model": "gpt-4", "usage": {"prompt_tokens": "9"}}}):  # fmt: skip
        assert (await counting.post("/spend/calculate", odd))[0] == 400, odd


async def test_an_estimate(counting: Running) -> None:
    asked = {"model": "openai/gpt-4o-mini", "input_tokens": 1000, "output_tokens": 500, "num_requests_per_day": 10}
    status, answer = await counting.post("/cost/estimate", asked)
    assert (status, answer["cost_per_request"], answer["daily_cost"], answer["monthly_cost"]) == (
        200,
        near(0.00045),
        near(0.0045),
        None,
    )
    for wrong in ({}, {"model": "x"}, {**asked, "input_tokens": -1}, {**asked, "input_tokens": True}):
        assert (await counting.post("/cost/estimate", wrong))[0] == 400


async def test_the_audit_logs_summary_counts_changes_and_refusals_apart(filled: Running, book: Book) -> None:
    await book.post(settled(opened(), outcome="blocked", status=400, error_code="content_policy"))
    await post_control(book, "a", "b")
    body = await of(filled, "/audit/summary", key="sk-viewer")
    assert body["changes"] == [{"table_name": "LiteLLM_TeamTable", "action": "created", "count": 2}]
    assert body["refusals"] == [{"code": "model_not_allowed", "by": "policy", "count": 1}]
    assert (body["blocks"], body["unreadable"]) == ([{"code": "content_policy", "count": 1}], 0)
    assert (await filled.get("/audit/summary", key="sk-alice"))[0] == 401
    for wrong in ({"start_date": "x"}, {"start_date": "2026-01-01", "end_date": "2026-03-01"}):
        assert (await filled.get("/audit/summary", **wrong))[0] == 400


async def test_a_session_and_what_the_cache_answered(ledger: Running, book: Book) -> None:
    cached = {"cache_hit": True, "cache_key": "abc", "saved_cache_cost": "0.1"}
    first, second, other = (
        settled(opened(session_id=session, spend_logs_metadata=metadata))
        for session, metadata in (("s-1", {}), ("s-1", cached), ("s-2", {}))
    )
    await book.post(first, second, other)
    _, page, _ = await ledger.get("/spend/logs/session/ui", session_id="s-1")
    assert [row["metadata"]["id"] for row in page["data"]] == [first.opened.id, second.opened.id] and page["total"] == 2
    assert [(row["cache_hit"], row["cache_key"]) for row in page["data"]] == [("False", "Cache OFF"), ("True", "abc")]
    assert (await ledger.get("/spend/logs/session/ui", "sk-bob", session_id="s-1"))[1]["data"] == []
    assert (await ledger.get("/spend/logs/session/ui"))[0] == 400
    today = datetime.now(UTC).date()
    dates = {"start_date": f"{today}", "end_date": f"{today}"}
    for asked, wanted in (("hit", 1), ("miss", 2)):
        assert (await ledger.get("/spend/logs/v2", cache_hit_filter=asked, **dates))[1]["total"] == wanted
    assert (await ledger.get("/spend/logs/v2", cache_hit_filter="odd", **dates))[0] == 400
    assert (await ledger.get("/end_user/daily/activity", **dates))[0] == 200

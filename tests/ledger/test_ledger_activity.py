"""What LiteLLM's dashboards ask of the book besides daily activity: the same figures, each tenant
its own. On real parts.
"""

import asyncio
import csv
import io
from datetime import timedelta
from typing import Any

import aiohttp
import msgspec
import pytest

from services.ledger.cube import Cube
from shared import routes
from shared.entities import Team, User
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, Policy, Running, opened, settled
from tests.ledger.test_ledger_spend_api import DAYS, EACH, TODAY, near, of
from tests.ledger.test_ledger_spend_api import filled as filled

ENTITIES = ("user", "team", "tag", "organization", "customer", "end_user")


async def test_all_days_at_once_are_the_pages_together(filled: Running) -> None:
    for entity in ENTITIES:
        whole = await of(filled, f"/{entity}/daily/activity/aggregated", **DAYS)
        paged = await of(filled, f"/{entity}/daily/activity", **DAYS)
        assert whole["metadata"] == {**paged["metadata"], "api_key_limit": 100, "total_api_keys": 3}
        assert whole["results"] == paged["results"]
        firsts = [
            (await of(filled, f"/{entity}/daily/activity", **DAYS, page_size="1", page=n))["results"] for n in "12"
        ]
        assert whole["results"] == [day for page in firsts for day in page]
    one = await of(filled, "/user/daily/activity/aggregated", **DAYS, api_key_limit="1")
    assert [list(day["breakdown"]["api_keys"]) for day in one["results"]] == [[ALICE.key_sha256], []]
    of_models = [entry["api_key_breakdown"] for day in one["results"] for entry in day["breakdown"]["models"].values()]
    assert {key for found in of_models for key in found} == {ALICE.key_sha256}
    assert one["metadata"]["total_spend"] == near(4 * EACH)
    assert (one["metadata"]["api_key_limit"], one["metadata"]["total_api_keys"]) == (1, 3)


async def test_every_part_says_whose_keys_it_was(filled: Running, book: Book) -> None:
    """As LiteLLM's own dashboard reads it: alias and team of each key, its share of every part, and
    what teams are called.
    """
    await named(book)
    alices = {"key_alias": ALICE.key_alias, "team_id": ALICE.team_id, "user_id": ALICE.user_id}
    for entity, own in (("team", ALICE.team_id), ("user", ALICE.user_id), ("tag", "a")):
        some = {"tags": "a"} if entity == "tag" else {}
        today = (await of(filled, f"/{entity}/daily/activity", **DAYS, **some))["results"][0]
        parts = today["breakdown"]
        assert parts["api_keys"][ALICE.key_sha256]["metadata"] == alices
        for entry in (parts["entities"][own], parts["models"]["gpt-4o-mini"], parts["endpoints"]["/chat/completions"]):
            assert entry["api_key_breakdown"][ALICE.key_sha256]["metadata"] == alices
            spent = sum(share["metrics"]["spend"] for share in entry["api_key_breakdown"].values())
            assert spent == near(entry["metrics"]["spend"])
        wanted = {"team_alias": ALICE.team_alias} if entity == "team" else {}
        assert parts["entities"][own]["metadata"] == wanted
    every = await of(filled, "/tag/daily/activity", **DAYS)
    assert every["results"][0]["breakdown"]["entities"]["a"]["api_key_breakdown"] == {}


async def test_a_key_of_several_users_is_nobodys_and_a_tenant_reads_of_their_own_calls_alone(
    filled: Running, book: Book
) -> None:
    """Bob's team was what Alice's key was asked with once: she reads her team, an administrator
    none.
    """
    moved = msgspec.structs.replace(ALICE, user_id=BOB.user_id or "bob", team_id="team-of-bob")
    await book.post(settled(opened(caller=moved)))
    await named(book)
    for key, team in (("sk-alice", ALICE.team_id), ("sk-admin", None)):
        today = (await of(filled, "/user/daily/activity", key=key, **DAYS))["results"][0]
        assert today["breakdown"]["api_keys"][ALICE.key_sha256]["metadata"]["team_id"] == team


async def named(book: Book) -> None:
    """Until the sums know what people call the keys."""
    while await Cube(book.database, asyncio.Event()).catch_up(book.owner):
        pass


async def test_keys_by_what_they_spent(filled: Running, book: Book) -> None:
    await named(book)
    page = await of(filled, "/team/daily/activity/aggregated/keys", **DAYS)
    assert (page["total_api_keys"], page["offset"], page["limit"]) == (3, 0, 50)
    first = page["api_keys"][0]
    assert first["api_key"] == ALICE.key_sha256
    assert first["metadata"] == {"key_alias": ALICE.key_alias, "team_id": ALICE.team_id, "user_id": ALICE.user_id}
    assert (first["metrics"]["spend"], first["metrics"]["api_requests"]) == (near(2 * EACH), 2)
    rest = await of(filled, "/team/daily/activity/aggregated/keys", **DAYS, offset="1", limit="1")
    assert rest["api_keys"] == page["api_keys"][1:2] and rest["total_api_keys"] == 3
    without = await of(filled, "/team/daily/activity/aggregated/keys", **DAYS, exclude_team_ids=str(ALICE.team_id))
    assert ALICE.key_sha256 not in [row["api_key"] for row in without["api_keys"]]
    own = await of(filled, "/team/daily/activity/aggregated/keys", key="sk-bob", **DAYS)
    assert [row["api_key"] for row in own["api_keys"]] == [BOB.key_sha256]


async def test_every_view_has_the_same_figures(filled: Running) -> None:
    """Refused calls are in none, and a call with two tags is one call, but for each of the tags."""
    for entity in ENTITIES:
        path = f"/{entity}/daily/activity"
        whole = await of(filled, f"{path}/aggregated", **DAYS)
        page = await of(filled, f"{path}/aggregated/keys", **DAYS)
        calls = {row["api_key"]: row["metrics"]["api_requests"] for row in page["api_keys"]}
        assert calls == {ALICE.key_sha256: 2, BOB.key_sha256: 1, ROBOT.key_sha256: 1}, entity
        for part in ("models", "model_groups", "providers", "endpoints", "api_keys"):
            each = [
                entry["metrics"]["api_requests"]
                for day in whole["results"]
                for entry in day["breakdown"][part].values()
            ]
            assert sum(each) == whole["metadata"]["total_api_requests"] == 4, (entity, part)
        kinds = {}
        for kind in ("daily", "daily_with_keys", "daily_with_models", "daily_with_users"):
            rows = await of(filled, f"{path}/export", **DAYS, format="json", export_type=kind)
            kinds[kind] = sum(row["api_requests"] for row in rows)
        assert set(kinds.values()) == {6 if entity == "tag" else 4}, (entity, kinds)
    body = await of(filled, "/team/spend/by_user", **DAYS, team_ids=str(ALICE.team_id))
    assert {row["user_id"]: row["api_requests"] for row in body["results"]} == {"": 1, "alice": 2}


async def test_keys_are_found_by_alias_and_hash(filled: Running, book: Book) -> None:
    await named(book)
    path = "/user/daily/activity/aggregated/search"
    for search in (str(ALICE.key_alias)[1:].upper(), str(ALICE.key_sha256)[:12], "sk-alice"):
        found = await of(filled, path, **DAYS, search=search)
        assert [row["api_key"] for row in found["api_keys"]] == [ALICE.key_sha256], search
    assert (await of(filled, path, **DAYS, search="nobody's"))["api_keys"] == []
    assert (await of(filled, path, key="sk-bob", **DAYS, search=str(ALICE.key_alias)))["api_keys"] == []
    assert (await filled.get(path, **DAYS))[0] == 400


async def test_the_keys_of_a_model(filled: Running) -> None:
    path = "/tag/daily/activity/aggregated/model_top_keys"
    found = await of(filled, path, **DAYS, model_group="claude")
    assert (found["model"], found["by_model_group"]) == ("claude", True)
    assert [row["api_key"] for row in found["api_keys"]] == [BOB.key_sha256]
    assert (await of(filled, path, **DAYS, model_group="gpt", limit="1"))["api_keys"][0]["api_key"] == ALICE.key_sha256
    assert (await filled.get(path, **DAYS))[0] == 400


async def test_rows_to_take_along(filled: Running) -> None:
    rows = await of(filled, "/team/daily/activity/export", **DAYS, format="json", export_type="daily_with_keys")
    assert [(row["date"], row["api_key"]) for row in rows if row["entity_id"] == BOB.team_id] == [
        (DAYS["start_date"], BOB.key_sha256)
    ]
    assert sum(row["spend"] for row in rows) == near(4 * EACH)
    url, key = f"{filled.url}/team/daily/activity/export", {"Authorization": "Bearer sk-admin"}
    asked = {**DAYS, "export_type": "daily_with_models"}
    async with aiohttp.ClientSession() as http, http.get(url, params=asked, headers=key) as answer:
        text, headers = await answer.text(), answer.headers
    assert headers["Content-Type"].startswith("text/csv")
    name = f"team-usage-{DAYS['start_date']}-{DAYS['end_date']}-daily_with_models.csv"
    assert headers["Content-Disposition"] == f'attachment; filename="{name}"'
    found = list(csv.DictReader(io.StringIO(text)))
    assert {row["model"] for row in found} >= {"gpt", "claude"}
    assert sum(float(row["spend"]) for row in found) == near(4 * EACH)
    for wrong in ({"export_type": "all"}, {"format": "xml"}, {"start_date": ""}):
        assert (await filled.get("/team/daily/activity/export", **{**DAYS, **wrong}))[0] == 400


async def test_a_team_by_its_users(filled: Running) -> None:
    path = "/team/spend/by_user"
    both = f"{ALICE.team_id},{BOB.team_id}"
    body = await of(filled, path, **DAYS, team_ids=both)
    by_user = {row["user_id"]: row for row in body["results"]}
    assert by_user[str(ALICE.user_id)]["spend"] == near(2 * EACH) and by_user[str(BOB.user_id)]["spend"] == near(EACH)
    assert by_user[str(ALICE.user_id)]["team_id"] == ALICE.team_id
    own = await of(filled, path, key="sk-bob", **DAYS, team_ids=both)
    assert [row["user_id"] for row in own["results"]] == [BOB.user_id]
    assert (await filled.get(path, **DAYS))[0] == 400


@pytest.mark.parametrize(
    ("team", "whole"),
    [
        ({"admins": ["alice"]}, True),
        ({"members_with_roles": [{"user_id": "alice", "role": "admin"}]}, True),
        ({"members": ["alice"], "extra": {"team_member_permissions": ["/team/daily/activity"]}}, True),
        ({"members": ["alice"]}, False),
        ({"admins": ["bob"], "extra": {"team_member_permissions": ["/team/daily/activity"]}}, False),
    ],
)
async def test_who_sees_what_a_whole_team_spent(
    filled: Running, policy: Policy, team: dict[str, Any], whole: bool
) -> None:
    mine, other = str(ALICE.team_id), str(BOB.team_id)
    policy.kept = {
        "team": [Team(team_id=mine, **team), Team(team_id=other, admins=["bob"])],
        "user": [User(user_id="alice", teams=[mine, "long-gone"])],
    }
    everybody = (await of(filled, "/team/daily/activity", **DAYS, team_ids=mine))["metadata"]["total_api_requests"]
    for asked in ({"team_ids": mine}, {"team_id": mine}, {}):
        for end in ("", "/aggregated"):
            found = await of(filled, f"/team/daily/activity{end}", key="sk-alice", **DAYS, **asked)
            assert found["metadata"]["total_api_requests"] == (everybody if whole else 2), (asked, end)
            named = {name for day in found["results"] for name in day["breakdown"]["entities"]}
            assert named == {mine}
    # Of several teams all must show it, and nobody's team shows nothing.
    for several in (f"{mine},{other}", f"{mine},nobodys"):
        found = await of(filled, "/team/daily/activity", key="sk-alice", **DAYS, team_ids=several)
        assert found["metadata"]["total_api_requests"] == 2
    rows = (await of(filled, "/team/spend/by_user", key="sk-alice", **DAYS, team_ids=mine))["results"]
    assert {row["user_id"] for row in rows} == ({"", "alice"} if whole else {"alice"})
    # What else the asker may see is as before.
    assert (await of(filled, "/user/daily/activity", key="sk-alice", **DAYS))["metadata"]["total_api_requests"] == 2


async def test_global_activity(filled: Running) -> None:
    body = await of(filled, "/global/activity", **DAYS)
    yesterday, today = ((TODAY - timedelta(days=back)).strftime("%b %d") for back in (1, 0))
    assert [day["date"] for day in body["daily_data"]] == [yesterday, today]
    assert body["daily_data"][0] == {"date": yesterday, "api_requests": 1, "total_tokens": 30}
    assert body["sum_total_tokens"] == 120
    assert body["sum_api_requests"] == sum(day["api_requests"] for day in body["daily_data"])
    models = await of(filled, "/global/activity/model", **DAYS)
    assert [(each["model"], each["sum_api_requests"], each["sum_total_tokens"]) for each in models] == [
        ("gpt", 3, 90), ("claude", 1, 30),
    ]  # fmt: skip
    assert (await of(filled, "/global/activity", key="sk-bob", **DAYS))["sum_api_requests"] == 1
    for path in ("/global/activity", "/global/activity/model", "/global/activity/cache_hits"):
        status, refused, _ = await filled.get(path)
        assert status == 400 and "Please provide start_date and end_date" in refused["error"]["message"]


async def test_what_the_cache_answered_and_providers_refused(ledger: Running, book: Book) -> None:
    hit = {"cache_hit": True}
    await book.post(
        settled(opened(caller=ALICE)), settled(opened(caller=ALICE, spend_logs_metadata=hit)),
        settled(opened(caller=ALICE), outcome="failure", status=429), settled(opened(caller=BOB), outcome="failure", status=429),
        settled(opened(caller=BOB), outcome="failure", status=500),
    )  # fmt: skip
    days = {"start_date": str(TODAY), "end_date": str(TODAY)}
    body = await of(ledger, "/global/activity/cache_hits", **days)
    (group,) = body["groups"]
    assert (group["api_requests"], group["cache_hits"], group["failed_requests"]) == (1, 1, 3)
    assert group["cached_completion_tokens"] == 20
    assert body["totals"]["cache_hit_ratio"] == 0.5
    alices = await of(ledger, "/global/activity/cache_hits", **days, key_aliases=str(ALICE.key_alias))
    assert alices["totals"]["failed_requests"] == 1
    told = await of(ledger, "/global/activity/exceptions", **days, model_group="gpt")
    day = {"date": TODAY.strftime("%b %d"), "num_rate_limit_exceptions": 2}
    assert told == {"daily_data": [day], "sum_num_rate_limit_exceptions": 2}
    (deployment,) = await of(ledger, "/global/activity/exceptions/deployment", **days, model_group="gpt")
    assert deployment["sum_num_rate_limit_exceptions"] == 2 and deployment["deployment"]
    none = await of(ledger, "/global/activity/exceptions", **days, model_group="other")
    assert none == {"daily_data": [], "sum_num_rate_limit_exceptions": 0}
    wide = {"start_date": str(TODAY - timedelta(days=40)), "end_date": str(TODAY)}
    assert (await ledger.get("/global/activity/cache_hits", **wide))[0] == 400


async def test_lists_of_dashboards(filled: Running) -> None:
    days = await of(filled, "/global/spend/logs")
    assert [(day["date"], day["spend"]) for day in days] == [
        (DAYS["start_date"], near(EACH)), (DAYS["end_date"], near(3 * EACH)),
    ]  # fmt: skip
    (bobs,) = await of(filled, "/global/spend/logs", api_key="sk-bob")
    assert (bobs["api_key"], bobs["spend"]) == (BOB.key_sha256, near(EACH))
    assert await of(filled, "/global/all_end_users") == {"end_users": ["c1"]}
    rows = await told(filled, {})
    assert {row["end_user"]: (row["total_count"], row["total_spend"]) for row in rows}["c1"] == (2, near(2 * EACH))
    instants = {"startTime": f"{DAYS['start_date']}T00:00:00+00:00", "endTime": f"{DAYS['start_date']}T12:00:00+00:00"}
    assert "c1" not in [row["end_user"] for row in await told(filled, instants)]
    assert "c1" not in [row["end_user"] for row in await told(filled, {"api_key": BOB.key_sha256})]
    assert (await filled.post("/global/spend/end_users", {"startTime": "soon"}))[0] == 400


async def told(ledger: Running, body: dict[str, Any]) -> Any:
    status, rows = await ledger.post("/global/spend/end_users", body)
    assert status == 200, rows
    return rows


@pytest.mark.parametrize(
    ("name", "parameter", "alices", "bobs"),
    [
        ("key", "api_key", ALICE.key_sha256, BOB.key_sha256),
        ("user", "user_id", ALICE.user_id, BOB.user_id),
        ("team", "team_id", ALICE.team_id, BOB.team_id),
    ],
)
async def test_reports_of_ones_own(filled: Running, name: str, parameter: str, alices: str, bobs: str) -> None:
    path = f"/{name}/spend/report"
    own = await of(filled, path, key="sk-bob", **DAYS)
    assert [(row["api_key"], row["total_cost"]) for row in own] == [(BOB.key_sha256, near(EACH))]
    assert own[0]["model_details"][0]["model"] == "claude"
    assert await of(filled, path, key="sk-bob", **{**DAYS, parameter: bobs}) == own
    status, body, _ = await filled.get(path, key="sk-bob", **{**DAYS, parameter: alices})
    assert status == 400 and body["error"]["param"] == parameter
    row = next(
        row for row in await of(filled, path, **{**DAYS, parameter: alices}) if row["api_key"] == ALICE.key_sha256
    )
    assert row["total_cost"] == near(2 * EACH)
    assert (await filled.get(path, key="sk-bob"))[0] == 400


def test_every_entity_has_every_view() -> None:
    names = {row.name for row in routes.of_surface("ledger")}
    ends = {name.split("/daily/activity")[1] for name in names if "/daily/activity" in name}
    assert {f"/{entity}/daily/activity{end}" for entity in ENTITIES for end in ends} <= names

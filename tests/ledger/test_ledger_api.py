"""The ledger's HTTP API on real parts; policy is a stub that answers on the real bus."""

import asyncio
from datetime import UTC, datetime, timedelta

import aiohttp
import asyncpg
import msgspec
import pytest
from nats.aio.client import Client
from yarl import URL

from services.ledger import database, queries
from shared import asker, bus, subjects
from shared.asker import IdentityReply, IdentityRequest, Signer
from shared.entities import Budget, Tag
from shared.facts import Caller
from shared.ids import RequestId, digest_key
from shared.requests import DecideRequest
from tests.ledger.ledger_kit import (
    ALICE,
    BOB,
    ROBOT,
    Book,
    Policy,
    Running,
    now_ms,
    on,
    opened,
    refused,
    running,
    settled,
)  # fmt: skip
from tests.ledger.servers import Nats

TODAY = datetime.now(UTC).date()


async def test_spend_tags_is_the_pages_shape_most_spend_first(ledger: Running, book: Book) -> None:
    await book.post(
        *(settled(opened(tags=["small", "both"]), (1, 1)) for _ in range(3)),
        settled(opened(tags=["big", "both"]), (1000, 0)),
    )
    status, body, headers = await ledger.get("/spend/tags")
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert body == [
        {"individual_request_tag": "both", "log_count": 4, "total_spend": 0.00015225},
        {"individual_request_tag": "big", "log_count": 1, "total_spend": 0.00015},
        {"individual_request_tag": "small", "log_count": 3, "total_spend": 0.00000225},
    ]


async def test_spend_tags_honours_both_dates_inclusively(ledger: Running, book: Book) -> None:
    for back in range(4):
        await book.post(settled(opened(id=on(TODAY - timedelta(days=back)), tags=["t"])))

    async def count(**query: str) -> int:
        _, body, _ = await ledger.get("/spend/tags", **query)
        return body[0]["log_count"] if body else 0

    assert await count() == 4
    assert await count(start_date=str(TODAY)) == 1
    assert await count(end_date=str(TODAY)) == 4
    assert await count(start_date=str(TODAY - timedelta(days=2)), end_date=str(TODAY - timedelta(days=1))) == 2
    assert await count(start_date="2020-01-01", end_date="2020-12-31") == 0


async def test_the_first_and_the_last_day_there_is_are_days(ledger: Running, book: Book) -> None:
    await book.post(settled(opened(caller=ALICE, tags=["t"])))
    for far, calls in (
        ({"start_date": "0001-01-01"}, 1), ({"end_date": "9999-12-31"}, 1),
        ({"start_date": "0001-01-01", "end_date": "9999-12-31"}, 1), ({"end_date": "0001-01-01"}, 0),
        ({"start_date": "9999-12-31"}, 0),
    ):  # fmt: skip
        for key in ("sk-admin", "sk-alice"):
            for path in ("/spend/tags", "/tag/list"):
                status, body, _ = await ledger.get(path, key, **far)
                assert (status, len(body)) == (200, calls), (path, key, far)
    for path in ("/audit/summary", "/guardrails/report"):
        for day in ("0001-01-01", "9999-12-31"):
            assert (await ledger.get(path, end_date=day))[0] == 200, (path, day)


async def test_a_tenant_sees_only_its_own(ledger: Running, book: Book) -> None:
    """A user sees its rows, a key without a user its own; an admin and a viewer all."""
    await book.post(
        settled(opened(caller=ALICE, tags=["x"])), settled(opened(caller=BOB, tags=["x"])),
        settled(opened(caller=ROBOT, tags=["x"])), settled(opened(caller=Caller(), tags=["x"])),
        settled(opened(caller=msgspec.structs.replace(ALICE, key_sha256=digest_key("sk-alice-2")), tags=["x"])),
    )  # fmt: skip
    days = {"start_date": str(TODAY), "end_date": str(TODAY)}
    for key, rows in {"sk-admin": 5, "sk-viewer": 5, "sk-alice": 2, "sk-bob": 1, "sk-robot": 1, "anonymous": 1}.items():
        _, tags, _ = await ledger.get("/spend/tags", key)
        assert tags[0]["log_count"] == rows, key
        _, logs, _ = await ledger.get("/spend/logs", key)
        assert len(logs) == rows, key
        _, summary, _ = await ledger.get("/spend/logs", key, **days)
        assert round(summary[0]["spend"] / 0.0000135) == rows, key
    _, logs, _ = await ledger.get("/spend/logs", "sk-robot")
    assert logs[0]["api_key"] == ROBOT.key_sha256


async def test_asking_for_somebody_else_finds_nothing(ledger: Running, book: Book) -> None:
    theirs = settled(opened(caller=BOB, litellm_call_id="bobs"), response_id="chatcmpl-bob")
    await book.post(theirs, settled(opened(caller=ALICE)))
    days = {"start_date": str(TODAY), "end_date": str(TODAY)}
    for key in ("sk-alice", "sk-robot"):
        for query in (
            {"user_id": "bob"}, {"api_key": "sk-bob"}, {"request_id": "chatcmpl-bob"}, {"request_id": "bobs"},
            {"request_id": theirs.opened.id},
        ):  # fmt: skip
            assert (await ledger.get("/spend/logs", key, **query))[1] == [], (key, query)
            if "request_id" not in query:
                assert (await ledger.get("/spend/logs", key, **query, **days))[1][0]["spend"] == 0
    assert len((await ledger.get("/spend/logs", "sk-bob", user_id="bob"))[1]) == 1


async def test_spend_logs_by_every_id_in_the_contracts_shape(ledger: Running, book: Book) -> None:
    call = settled(
        opened(spend_logs_metadata={"hello": "world"}, tags=["a"], litellm_call_id="my-call", customer_id="c1"),
        (10, 20), response_id="chatcmpl-9ZK", provider_request_id="req_1",
    )  # fmt: skip
    await book.post(call, settled())
    for asked in ("chatcmpl-9ZK", "my-call", call.opened.id):
        status, body, _ = await ledger.get("/spend/logs", request_id=asked)
        assert (status, len(body)) == (200, 1), asked
    row = body[0]
    expected = {
        "request_id": "chatcmpl-9ZK", "call_type": "acompletion", "api_key": ALICE.key_sha256, "spend": 0.0000135,
        "total_tokens": 30, "prompt_tokens": 10, "completion_tokens": 20, "model": "gpt-4o-mini", "model_id": "d1",
        "model_group": "gpt", "custom_llm_provider": "openai", "user": "alice", "request_tags": ["a"], "team_id": "team-a",
        "end_user": "c1", "status": "success", "cache_hit": "False", "litellm_call_id": "my-call", "request_duration_ms": 250,
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert datetime.fromisoformat(row["startTime"]).tzinfo is not None
    metadata = row["metadata"]
    assert metadata["spend_logs_metadata"] == {"hello": "world"}
    assert metadata["user_api_key"] == ALICE.key_sha256
    assert metadata["user_api_key_alias"] == "alices-key"
    assert metadata["user_api_key_team_alias"] == "Team A"
    assert metadata["provider_request_id"] == "req_1"
    assert (metadata["spend_picousd"], metadata["unpriced"], metadata["id"]) == ("13500000", False, call.opened.id)


async def test_without_a_response_id_our_own_stands_in(ledger: Running, book: Book) -> None:
    call = settled(opened(price=None), outcome="timeout", status=504, error_code="provider_timeout")
    await book.post(call)
    _, body, _ = await ledger.get("/spend/logs")
    assert (body[0]["request_id"], body[0]["status"], body[0]["spend"]) == (call.opened.id, "failure", 0.0)
    assert body[0]["metadata"]["unpriced"] is True
    assert body[0]["metadata"]["spend_picousd"] is None
    assert body[0]["metadata"]["error_information"] == {"error_code": "provider_timeout"}


async def test_spend_logs_filters(ledger: Running, book: Book) -> None:
    yesterday = settled(opened(id=on(TODAY - timedelta(days=1)), caller=BOB))
    await book.post(settled(), settled(opened(caller=BOB)), yesterday)

    async def count(**query: str) -> int:
        return len((await ledger.get("/spend/logs", summarize="false", **query))[1])

    assert await count() == 3
    assert await count(api_key="sk-bob") == await count(api_key=BOB.key_sha256 or "") == await count(user_id="bob") == 2
    assert await count(api_key="sk-bob", user_id="alice") == 0
    assert await count(start_date=str(TODAY), end_date=str(TODAY)) == 2
    assert await count(start_date=str(TODAY - timedelta(days=1)), end_date=str(TODAY)) == 3
    assert await count(request_id="nothing") == await count(request_id="sk-") == 0


async def test_newest_first_and_a_cut_is_said(ledger: Running, book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "LOGS_MAX", 700)
    calls = [settled() for _ in range(701)]
    await book.post(tuple(calls))
    status, body, headers = await ledger.get("/spend/logs")
    assert (status, len(body)) == (200, 700)
    assert headers["x-tollgate-rows-cut"]
    assert [row["metadata"]["id"] for row in body] == [call.opened.id for call in reversed(calls)][:700]
    monkeypatch.setattr(queries, "LOGS_MAX", 701)
    _, body, headers = await ledger.get("/spend/logs")
    assert len(body) == 701
    assert "x-tollgate-rows-cut" not in headers


async def test_the_summary_pads_empty_days_and_agrees_with_and_without_a_filter(ledger: Running, book: Book) -> None:
    await book.post(
        settled(), settled(opened(id=on(TODAY - timedelta(days=2)), model="m2")), settled(opened(caller=BOB)), refused()
    )
    days = {"start_date": str(TODAY - timedelta(days=2)), "end_date": str(TODAY)}
    _, body, _ = await ledger.get("/spend/logs", **days)
    assert [entry["startTime"] for entry in body] == [str(TODAY - timedelta(days=back)) for back in (2, 1, 0)]
    assert body[0] == {
        "startTime": days["start_date"], "spend": 0.0000135, "users": {"alice": 0.0000135}, "models": {"m2": 0.0000135},
        ALICE.key_sha256: 0.0000135,
    }  # fmt: skip
    assert body[1] == {"startTime": str(TODAY - timedelta(days=1)), "spend": 0, "users": {}, "models": {}}
    assert body[2]["spend"] == 0.000027
    _, only, _ = await ledger.get("/spend/logs", user_id="alice", **days)
    assert only[0] == body[0]
    assert only[2]["users"] == {"alice": 0.0000135}


async def test_an_expired_call_is_one_row_before_and_after_its_late_end(ledger: Running, book: Book) -> None:
    call = opened(expires_at_ms=1)
    await book.post(call)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 10)
    _, body, _ = await ledger.get("/spend/logs", request_id=call.id)
    assert [(row["status"], row["metadata"]["outcome"]) for row in body] == [("failure", "expired")]
    await book.post(settled(call))
    _, body, _ = await ledger.get("/spend/logs", request_id=call.id)
    assert [row["metadata"]["outcome"] for row in body] == ["success"]
    assert len((await ledger.get("/spend/logs"))[1]) == 1


BAD_PARAMETERS = [
    ("/spend/tags", {"start_date": "yesterday"}, "start_date"),
    ("/spend/tags", {"end_date": "2026-02-30"}, "end_date"),
    ("/spend/tags", {"start_date": "2026-02-02", "end_date": "2026-02-01"}, "start_date"),
    ("/spend/logs", {"summarize": "perhaps"}, "summarize"),
    ("/spend/logs", {"summarize": "true"}, "summarize"),
    ("/spend/logs", {"start_date": "0001-01-01", "end_date": "9999-12-31"}, "end_date"),
    ("/spend/logs", {"request_id": "\x00"}, "request_id"),
    ("/spend/logs", {"user_id": "u" * 2000}, "user_id"),
    ("/audit", {"page": "0"}, "page"),
    ("/audit", {"page_size": "101"}, "page_size"),
    ("/audit", {"page": "1e3"}, "page"),
    ("/audit", {"sort_by": "n; DROP TABLE audit_log"}, "sort_by"),
    ("/audit", {"sort_order": "up"}, "sort_order"),
    ("/audit", {"start_date": "soon"}, "start_date"),
]


async def test_a_bad_parameter_is_refused_by_name(ledger: Running) -> None:
    for path, query, param in BAD_PARAMETERS:
        status, body, _ = await ledger.get(path, **query)
        error = body["error"]
        assert (status, error["param"], error["type"], error["code"]) == (400, param, "invalid_request_error", "400"), (
            query
        )
        assert error["message"].startswith(param)


async def test_odd_urls_get_openais_error_shape(ledger: Running) -> None:
    async with aiohttp.ClientSession() as http:
        headers = {"Authorization": "Bearer sk-admin"}
        for method, path, status in [
            ("GET", "/nothing", 404), ("POST", "/spend/tags", 405), ("GET", "/spend/logs?request_id=%ff%fe", None),
            ("GET", "/spend/logs?user_id=%ed%a0%80", None), ("GET", "/audit/%00", None), ("GET", "/audit/%ff", None),
            ("GET", "/spend/tags?start_date=%00", 400), ("DELETE", "/audit/x", 405),
        ]:  # fmt: skip
            async with http.request(method, URL(ledger.url + path, encoded=True), headers=headers) as answer:
                assert answer.status < 500, path
                assert status in (None, answer.status), path
                body = msgspec.json.decode(await answer.read())
                assert answer.status == 200 or set(body) <= {"error", "detail"}


async def test_who_asks_is_asked_of_policy_with_a_digest_only(ledger: Running, policy: Policy) -> None:
    await ledger.get("/spend/tags", "sk-alice")
    asked = policy.asked[-1]
    assert (asked.key_sha256, asked.route, asked.credential_shape) == (digest_key("sk-alice"), "/spend/tags", "sk")
    for headers in ({"x-litellm-api-key": "sk-bob", "Authorization": "Bearer sk-alice"}, {"API-Key": "sk-bob"}):
        async with aiohttp.ClientSession() as http, http.get(ledger.url + "/spend/tags", headers=headers) as answer:
            assert answer.status == 200
        assert policy.asked[-1].key_sha256 == digest_key("sk-bob")


async def test_refusals_come_through_as_policy_made_them(ledger: Running) -> None:
    status, body, _ = await ledger.get("/spend/tags", "sk-gone")
    assert (status, body["error"]["type"]) == (401, "token_not_found_in_db")
    status, body, _ = await ledger.get("/spend/tags", None)
    assert (status, body["error"]["message"]) == (401, "Authentication Error, No api key passed in.")
    async with (
        aiohttp.ClientSession() as http,
        http.get(ledger.url + "/spend/tags", headers={"Authorization": "Token x"}) as answer,
    ):
        assert answer.status == 401
        assert b"Malformed API Key" in await answer.read()


async def test_policy_away_is_a_503_in_time(nats_server: Nats, client: Client, book: Book) -> None:
    async with running(nats_server.url, book.url) as started, asyncio.timeout(5):
        status, body, headers = await started.get("/spend/tags")
    assert (status, body["error"]["type"]) == (503, "auth_provider_unavailable")
    assert headers["Retry-After"] == "1"


async def test_a_query_that_takes_too_long_is_a_503(
    ledger: Running, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database.QUERIES, "spans", "SELECT pg_sleep(6)::text, $1::timestamptz, $2::timestamptz IS NULL")
    async with asyncio.timeout(9):
        status, body, _ = await ledger.get("/spend/tags")
    assert (status, body["error"]["type"]) == (503, "service_unavailable_error")
    assert body["error"]["message"].startswith("The question took the book longer than"), "and what to do about it"


async def test_the_api_cannot_write(ledger: Running) -> None:
    pool = ledger.ledger._report._pool
    async with pool.acquire() as connection:
        assert str(await connection.fetchval("SELECT session_user")).startswith("tollgate_reader_")
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await connection.execute("DELETE FROM rollup")


async def test_an_edges_word_for_who_asks_is_as_good_as_the_credential(ledger: Running, client: Client) -> None:
    """Its public key comes over the bus; a word of an edge that nobody answers for, or for another
    question, is none.
    """
    edge, other = Signer("an-edge"), Signer("an-edge")
    await bus.answer(
        client, subjects.edge_identity("an-edge"), "an-edge", IdentityRequest, lambda _: IdentityReply(edge.public_key)
    )
    await client.flush()

    async def ask(signer: Signer, target: str, key: str, signed_target: str | None = None) -> int:
        told = signer.sign(DecideRequest(digest_key(key), ""), "GET", signed_target or target, b"", now_ms())
        url = URL(ledger.url + target, encoded=True)
        async with aiohttp.ClientSession() as http, http.get(url, headers={asker.HEADER: told}) as answer:
            return answer.status

    assert await ask(edge, "/spend/tags", "sk-alice") == 200
    assert await ask(edge, "/spend/logs?request_id=a%20b&x=%2F", "sk-alice") == 200
    assert await ask(edge, "/audit", "sk-admin") == 200
    assert await ask(edge, "/audit", "sk-alice") == 401
    assert await ask(edge, "/spend/tags", "sk-gone") == 401
    assert await ask(other, "/spend/tags", "sk-admin") == 401, "signed with another key"
    assert await ask(edge, "/audit", "sk-admin", "/spend/tags") == 401, "signed for another question"
    assert await ask(Signer("nobody"), "/audit", "sk-admin") == 503, "nobody knows such an edge"


async def test_tags_as_litellms_clients_ask_for_them(ledger: Running, book: Book, policy: Policy) -> None:
    await book.post(settled(opened(tags=["a", "b"])), settled(opened(caller=BOB, tags=["c"])))

    async def named(key: str) -> list[str]:
        return [tag["name"] for tag in (await ledger.get("/tag/list", key))[1]]

    assert (await named("sk-admin"), await named("sk-alice"), await named("sk-bob")) == (
        ["a", "b", "c"],
        ["a", "b"],
        ["c"],
    )
    status, found = await ledger.post("/tag/info", {"names": ["a", "nobodys"]})
    assert status == 200 and set(found) == {"a"} and found["a"]["models"] is None
    assert (await ledger.post("/tag/info", {"names": ["a"]}, "sk-bob"))[0] == 404
    assert (await ledger.post("/tag/info", {"names": "a"}))[0] == 400

    policy.kept["tag"] = [Tag(name="a", description="ours", extra={"budget_id": "b"}), Tag(name="unused", models=["m"])]
    policy.kept["budget"] = [Budget(budget_id="b", max_budget_picousd=10**12)]
    assert (await named("sk-admin"), await named("sk-alice"), await named("sk-bob")) == (
        ["a", "b", "c", "unused"],
        ["a", "b"],
        ["c"],
    ), "what somebody said of a tag that nobody used is for admins"
    policy.shown_ids.clear()
    found = (await ledger.post("/tag/info", {"names": ["a", "unused", "c"]}))[1]
    assert policy.shown_ids == [["a", "c", "unused"], ["a", "c", "unused"], ["b"]], "those alone, not all there are"
    assert found["a"]["description"] == "ours" and found["a"]["litellm_budget_table"]["max_budget"] == 1.0
    assert found["unused"]["models"] == ["m"] and found["c"]["models"] is None
    assert (await ledger.post("/tag/info", {"names": ["unused"]}, "sk-bob"))[0] == 404


async def test_a_call_is_found_by_any_of_its_ids_however_old_and_its_final_row_is_the_one(
    ledger: Running, book: Book
) -> None:
    def aged(days: int) -> RequestId:
        ms = now_ms() - days * 86_400_000
        return RequestId(f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7000-8000-{days:012x}")

    calls = {
        days: settled(opened(id=aged(days), litellm_call_id=f"mine-{days}"), response_id=f"chatcmpl-{days}")
        for days in (0, 5, 60)
    }
    await book.post(*calls.values())
    twice = opened(id=aged(7), litellm_call_id="mine-7", expires_at_ms=1)
    await book.post(twice)
    await book.tally.expire(await book.tally.position(), now_ms(), now_ms(), 10)
    await book.post(settled(twice, response_id="chatcmpl-7"))
    calls[7] = settled(twice)
    for days, call in calls.items():
        for name in (call.opened.id, f"mine-{days}", f"chatcmpl-{days}"):
            status, found, _ = await ledger.get("/spend/logs", request_id=name)
            assert (status, [row["metadata"]["id"] for row in found]) == (200, [call.opened.id]), name
            assert found[0]["status"] == "success"
            assert (await ledger.get("/spend/logs", "sk-bob", request_id=name))[1] == []
    _, newest, _ = await ledger.get("/spend/logs")
    assert [row["metadata"]["id"] for row in newest] == [calls[days].opened.id for days in (0, 5, 7, 60)]

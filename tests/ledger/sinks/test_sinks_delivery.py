"""Sinks get all that is theirs, in their own form, however their target behaves. On a real
PostgreSQL, and a server that plays the target.
"""

import hashlib
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.ledger.export_target import open_target
from services.ledger.sinks import choose, records, targets
from shared import tracing
from tests.ledger.ledger_kit import ALICE, Book, eventually, opened, refused, settled
from tests.ledger.sinks.sinks_kit import Fed, Target, begun, webhook


@pytest.mark.parametrize("mood", [500, 429, 401, "cut", "slow"])
async def test_a_target_that_is_away_loses_nothing(book: Book, target: Target, mood: Any) -> None:
    await book.post(settled())  # before there was a sink: not its business
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})
    await begun(book)
    target.mood = mood
    calls = [settled() for _ in range(5)]
    await book.post(*calls[:3], refused())

    async def tried() -> bool:
        return len(target.asked) >= 3

    await eventually(tried)
    assert target.got == []
    await fed.end(kill=True)
    await book.post(*calls[3:])
    target.mood = 200
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})

    async def there() -> bool:
        return set(target.ids()) == {call.opened.id for call in calls}

    await eventually(there)
    assert len(target.ids()) == 5, "once each, as nothing was confirmed before"
    names = {headers["idempotency-key"] for _, headers, _ in target.asked}
    assert len(names) == len({body for _, _, body in target.asked}), "a repeat has its first's name"
    await fed.end()


@pytest.mark.parametrize("killed", [False, True])
async def test_what_a_target_took_without_being_heard_comes_again_under_the_same_key(
    book: Book, target: Target, killed: bool
) -> None:
    """However much has come since: it knows the rows again by the key, and counts them once."""
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})
    await begun(book)
    target.mood = "unheard"
    calls = [settled() for _ in range(6)]
    await book.post(*calls[:3])

    async def tried() -> bool:
        return len(target.got) >= 2

    await eventually(tried)
    await book.post(*calls[3:5])
    await book.post(calls[5])
    if killed:
        await fed.end(kill=True)
        fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})
    so_far = len(target.got)

    async def tried_again() -> bool:
        return len(target.got) > so_far

    await eventually(tried_again)
    target.mood = 200

    async def there() -> bool:
        return set(target.ids()) == {call.opened.id for call in calls}

    await eventually(there)
    keys: dict[str, set[str]] = {}
    for _, headers, body in target.got:
        for row in msgspec.json.decode(body):
            keys.setdefault(row["id"], set()).add(headers["idempotency-key"])
    assert {len(found) for found in keys.values()} == {1}
    await fed.end()


async def test_the_same_rows_again_have_the_same_name_and_signature_holds(book: Book, target: Target) -> None:
    environ = {
        "GENERIC_LOGGER_ENDPOINT": target.url,
        "GENERIC_LOGGER_SIGNING_SECRET": "s3cret",
        "GENERIC_LOGGER_HEADERS": "x-api=abc",
    }
    fed = Fed(book, [webhook()], environ)
    await begun(book)
    await book.post(settled(opened(tags=["a"], spend_logs_metadata={"hello": "world"})))

    async def there() -> bool:
        return bool(target.got)

    await eventually(there)
    _, headers, body = target.got[0]
    assert headers["x-api"] == "abc"
    stamp, _, signature = headers["x-tollgate-signature"].partition(",v1=")
    wanted = hmac.new(b"s3cret", stamp.removeprefix("t=").encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signature == wanted
    event = msgspec.json.decode(body)[0]
    assert (event["status"], event["request_tags"], event["metadata"]["spend_logs_metadata"]) == (
        "success",
        ["a"],
        {"hello": "world"},
    )
    assert event["messages"] is None and event["response"] is None
    await fed.end()


async def test_langfuse_otel_and_a_bucket_get_what_they_understand(book: Book, target: Target, tmp_path: Path) -> None:
    environ = {
        "LANGFUSE_PUBLIC_KEY": "pk",
        "LANGFUSE_SECRET_KEY": "sk",
        "LANGFUSE_HOST": target.url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": target.url,
    }
    fed = Fed(book, choose.of_config({"callbacks": ["langfuse", "otel"]}), environ)
    await begun(book, 2)
    call = settled(opened(customer_id="c1", tags=["t"]), response_id="chatcmpl-1", response_model="gpt-4o-mini")
    await book.post(call)

    async def both() -> bool:
        return len(target.got) == 2

    await eventually(both)
    by_path = {path: (headers, msgspec.json.decode(body)) for path, headers, body in target.got}
    headers, langfuse = by_path["/api/public/ingestion"]
    assert headers["Authorization"] == "Basic cGs6c2s="
    assert [event["type"] for event in langfuse["batch"]] == ["trace-create", "generation-create"]
    assert langfuse["batch"][0]["body"]["userId"] == "c1"
    assert langfuse["batch"][1]["body"]["usageDetails"]["total"] == 30
    (span,) = by_path["/v1/traces"][1]["resourceSpans"][0]["scopeSpans"][0]["spans"]
    attributes = {one["key"]: next(iter(one["value"].values())) for one in span["attributes"]}
    assert (span["traceId"], span["name"]) == (call.opened.id.replace("-", ""), "chat gpt")
    assert (attributes["gen_ai.request.model"], attributes["gen_ai.usage.input_tokens"]) == ("gpt", "10")
    await fed.end()
    row = (await book.fetch("SELECT * FROM request_log"))[0]
    given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    below = records.span({**row, "spend_logs_metadata": f'{{"traceparent":"{given}"}}'})
    assert (below["traceId"], below["parentSpanId"]) == tracing.ids(given) and below["spanId"] == span["spanId"]
    assert below["spanId"] == tracing.ids(tracing.child(given, call.opened.id))[1], "as its provider was told"
    for junk in ('{"traceparent":5}', '{"traceparent":"x"}', '{"a":"traceparent"}'):
        assert "parentSpanId" not in records.span({**row, "spend_logs_metadata": junk}), "a caller's own metadata"
    assert records.langfuse(row) == records.langfuse(row), "made of the row alone: sent again, it is the same"
    objects = targets.Objects(open_target(str(tmp_path), {}))
    for _ in range(2):
        await objects.send([row])
    (file,) = tmp_path.rglob("*.json")
    at = datetime.fromtimestamp(call.opened.at_ms / 1000, UTC)
    assert file.parent.name == f"{at:%Y-%m-%d}" and file.name.endswith(f"_{call.opened.id}.json")
    assert msgspec.json.decode(file.read_bytes())["response_id"] == "chatcmpl-1"


async def test_nobody_is_told_whose_call_it_was(book: Book, target: Target) -> None:
    environ = {"GENERIC_LOGGER_ENDPOINT": target.url, "OTEL_EXPORTER_OTLP_ENDPOINT": target.url,
               "LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk", "LANGFUSE_HOST": target.url}  # fmt: skip
    fed = Fed(book, choose.of_config({"callbacks": ["webhook", "otel", "langfuse"]}), environ, nameless=True)
    await begun(book, 3)
    await book.post(settled(opened(caller=ALICE, customer_id="c1")))

    async def all_three() -> bool:
        return len(target.got) == 3

    await eventually(all_three)
    await fed.end()
    whose = [ALICE.key_sha256, ALICE.key_alias, ALICE.team_id, ALICE.team_alias, ALICE.user_id]
    told = b"".join(body for _, _, body in target.got)
    assert any(whose) and not [each for each in whose if each and each.encode() in told]
    assert b"c1" in told, "the customer is the caller's to name"


async def test_killed_while_sending_it_sends_the_same_again_under_the_same_name(book: Book, target: Target) -> None:
    """The target may have the first: it knows the second by its name."""
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})
    await begun(book)
    target.mood = "slow"
    calls = [settled() for _ in range(3)]
    await book.post(*calls)

    async def asked() -> bool:
        return bool(target.asked)

    await eventually(asked)
    await fed.end(kill=True)
    target.mood = 200
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url})

    async def there() -> bool:
        return set(target.ids()) == {call.opened.id for call in calls}

    await eventually(there)
    first, last = target.asked[0], target.asked[-1]
    assert (first[1]["idempotency-key"], first[2]) == (last[1]["idempotency-key"], last[2])
    await fed.end()

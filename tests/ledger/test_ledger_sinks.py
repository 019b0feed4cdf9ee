"""Sinks get whose calls are theirs, all of them, however their target behaves. On a real PostgreSQL, and a server that plays the target."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from aiohttp import web

from services.ledger.audit import AuditTally
from services.ledger.export_target import open_target
from services.ledger.message import Message
from services.ledger.sinks import choose, records, targets
from services.ledger.sinks.choose import Sink
from services.ledger.sinks.chosen import Choice
from services.ledger.sinks.errors import SinkError
from services.ledger.sinks.run import Sinks, maker
from shared import subjects, tracing
from shared.config import callbacks, parse
from shared.entities import callbacks as callbacks_of_entities
from shared.facts import encode_control
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.sealing import Keyring, text_of
from tests.ledger.ledger_kit import (
    ALICE,
    BOB,
    ROBOT,
    Book,
    control,
    eventually,
    now_ms,
    opened,
    refused,
    settled,
)
from tests.support.serving import handled_by, serving


class Target:
    """Somebody's Langfuse, collector or webhook. `mood`: what it answers."""

    def __init__(self) -> None:
        self.mood: Any = 200
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        one = (request.path, dict(request.headers), await request.read())
        self.asked.append(one)
        if self.mood == "unheard":
            self.got.append(one)
        if self.mood in ("cut", "unheard"):
            assert request.transport is not None
            request.transport.abort()
        elif self.mood == "slow":
            await asyncio.sleep(5)
        elif self.mood != 200:
            return web.Response(status=self.mood, text="secret-of-theirs")
        else:
            self.got.append(one)
        return web.json_response({"successes": [], "errors": []}, status=207 if "ingestion" in request.path else 200)

    def ids(self) -> list[str]:
        return [one["id"] for _, _, body in self.got for one in msgspec.json.decode(body)]


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    made = Target()
    async with serving(handled_by(made.answer, "POST")) as made.url:
        yield made


async def nowhere(_stream: str) -> int:
    """It is empty: the book is never behind it."""
    return 0


class Fed:
    """Sinks running on the book."""

    def __init__(self, book: Book, config: list[Sink], environ: dict[str, str], *, nameless: bool = False) -> None:
        self.stopping = asyncio.Event()
        self.outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
        made = maker(lambda: environ, self.outbound, self.outbound)
        self.sinks = Sinks(book.database, config, made, nowhere, self.stopping, nameless=nameless)
        self.task = asyncio.create_task(self.sinks.run())

    async def end(self, *, kill: bool = False) -> None:
        self.stopping.set() if not kill else self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.outbound.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.sinks.http.DEADLINE_MS", 1500)
    for name, value in {"IDLE_S": 0.02, "PAUSE_S_MIN": 0.02, "PAUSE_S_MAX": 0.05}.items():
        monkeypatch.setattr(f"services.ledger.sinks.run.{name}", value)


def webhook(**changed: Any) -> Sink:
    return choose.of_config({"success_callback": ["webhook"], "failure_callback": ["webhook"]})[0]._replace(**changed)


async def begun(book: Book, count: int = 1) -> None:
    async def is_so() -> bool:
        return bool(
            await book.value("SELECT count(DISTINCT sink) FROM sink_position WHERE sink <> 'audit_log'") == count
        )

    await eventually(is_so)


async def post_entity(book: Book, kind: str, entity_id: str, logging: Any) -> None:
    tally = AuditTally(await book.database.writer(), subjects.CONTROL_STREAM)
    known = await tally.position()
    fact = control(kind=kind, entity_id=entity_id, after={"metadata": {"logging": logging}})
    await tally.post_control(
        [Message(known.seq + 1, known.seq + 1, subjects.control(kind, entity_id), encode_control(fact))], known
    )
    tally.terminate()


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


async def test_key_beats_team_beats_file_and_nobody_gets_anothers(book: Book, target: Target) -> None:
    """Each sink has an address of its own on the one server."""

    def logging(place: str, **more: Any) -> list[dict[str, Any]]:
        return [
            {"callback_name": "webhook", "callback_vars": {"generic_logger_endpoint": f"{target.url}/{place}"}, **more}
        ]

    await post_entity(book, "team", "team-a", logging("team-a"))
    await post_entity(book, "key", ALICE.key_sha256 or "", logging("alice", callback_type="success"))
    fed = Fed(book, [webhook()], {"GENERIC_LOGGER_ENDPOINT": target.url + "/file"})
    await begun(book, 3)
    sent = {
        "alice": settled(opened(caller=ALICE)), "none": settled(opened(caller=ALICE), outcome="provider_error", status=500),
        "team-a": settled(opened(caller=ROBOT)), "file": settled(opened(caller=BOB)),
    }  # fmt: skip
    silent = [settled(opened(caller=BOB, log_off=["*"])), settled(opened(caller=BOB, log_off=["webhook"]))]
    await book.post(*sent.values(), *silent)

    async def there() -> bool:
        return {path for path, _, _ in target.got} == {"/alice", "/team-a", "/file"}

    await eventually(there)
    await asyncio.sleep(0.2)
    found = {path: [one["id"] for one in msgspec.json.decode(body)] for path, _, body in target.got}
    assert found == {f"/{name}": [sent[name].opened.id] for name in ("alice", "team-a", "file")}
    await post_entity(book, "team", "team-a", [])  # nowhere
    await asyncio.sleep(0.3)
    nowhere_to = settled(opened(caller=ROBOT))
    await book.post(nowhere_to)
    await asyncio.sleep(0.3)
    await post_entity(book, "team", "team-a", None)  # it says nothing any more
    await asyncio.sleep(0.3)
    last = settled(opened(caller=ROBOT))
    await book.post(last)

    async def fell_back() -> bool:
        return any(path == "/file" and last.opened.id.encode() in body for path, _, body in target.got)

    await eventually(fell_back)
    assert not any(nowhere_to.opened.id.encode() in body for _, _, body in target.got)
    await fed.end()


async def test_a_team_never_uses_the_operators_credentials(target: Target) -> None:
    environ = {"LANGFUSE_PUBLIC_KEY": "ours", "LANGFUSE_SECRET_KEY": "ours", "LANGFUSE_HOST": target.url}
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    team = choose.of_entity(
        "team", "t", {"logging": [{"callback_name": "langfuse", "callback_vars": {"langfuse_host": target.url}}]}
    )[0]
    with pytest.raises(SinkError, match="needed"):
        targets.make(team, environ, outbound)
    logging = [{"callback_name": "s3", "callback_vars": {"s3_bucket_name": "x"}}]
    bucket = choose.of_entity("team", "t", {"logging": logging})[0]
    with pytest.raises(SinkError, match="configuration only"):
        targets.make(bucket, environ, outbound)


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


def test_what_is_said_of_one_sink_holds_for_it() -> None:
    config = parse(
        """
litellm_settings: {callbacks: [otel, langfuse, mine], success_callback: [lunary]}
callback_settings:
  otel: {message_logging: false}
  mine: {callback_type: generic_api, endpoint: "https://logs.example/in", headers: {x-token: os.environ/TOKEN}}
  lunary: {experiment_name: e}
""",
        {"TOKEN": "secret-of-theirs"},
    )
    found = {sink.id: sink for sink in choose.of_config(config.litellm_settings, said=config.callback_settings)}
    assert {id: sink.content for id, sink in found.items()} == {
        "config::otel": False, "config::langfuse": True, "config::mine": True,
    }  # fmt: skip
    assert dict(found["config::mine"].variables) == {
        "generic_logger_endpoint": "https://logs.example/in", "generic_logger_headers": "x-token=secret-of-theirs",
    }  # fmt: skip
    assert not any(sink.content for sink in choose.of_config(
        {"turn_off_message_logging": True, **config.litellm_settings}, said=config.callback_settings))  # fmt: skip
    said = {key.place: key.verdict for key in config.keys if key.verdict != "acts"}
    assert said == {"litellm_settings.success_callback": "no effect", "callback_settings.lunary": "no effect"}
    assert "secret-of-theirs" not in repr(config)


def test_the_file_says_who_gets_what() -> None:
    found = choose.of_config(
        {
            "success_callback": ["langfuse", "nonsense"], "failure_callback": "langfuse", "callbacks": ["otel", "prometheus"],
            "s3_callback_params": {"s3_bucket_name": "b"},
            "default_team_settings": [{"team_id": "t", "success_callback": ["langfuse"], "langfuse_public_key": "pk"}, 7, {"team_id": 5}],
        }
    )  # fmt: skip
    assert [(sink.name, sink.scope, sink.owner, sink.successes, sink.failures) for sink in found] == [
        ("langfuse", "config", "", True, True), ("otel", "config", "", True, True), ("langfuse", "team", "t", True, False),
    ]  # fmt: skip
    assert (
        choose.of_entity(
            "key", "k", {"logging": [{"callback_name": "langfuse", "callback_type": "odd"}, 7, {"callback_vars": 3}]}
        )
        == []
    )
    assert set(choose.KINDS) == callbacks.SENT


async def test_a_sink_chosen_later_gets_all_since_its_fact_and_one_left_gets_nothing_between(
    book: Book, target: Target
) -> None:
    """However late the ledger looks; and a sink that comes back begins anew."""
    entry = [{"callback_name": "webhook", "callback_vars": {"generic_logger_endpoint": target.url}}]
    before, after, between, last = (settled(opened(caller=ROBOT)) for _ in range(4))
    await book.post(before, at=now_ms() - 10_000)
    await post_entity(book, "team", "team-a", entry)
    await asyncio.sleep(0.01)
    await book.post(after)
    fed = Fed(book, [], {})

    async def got(*calls: Any) -> bool:
        return target.ids() == [call.opened.id for call in calls]

    await eventually(lambda: got(after), "the call after the choice, not the one before")
    await post_entity(book, "team", "team-a", [])

    async def ended() -> bool:
        return bool(await book.value("SELECT count(*) FROM sink_position WHERE sink <> 'audit_log'") == 0)

    await eventually(ended)
    await book.post(between)
    await asyncio.sleep(0.02)
    await post_entity(book, "team", "team-a", entry)
    await begun(book)
    await book.post(last)
    await eventually(lambda: got(after, last))
    await fed.end()


async def test_a_choice_that_could_not_be_followed_at_once_begins_where_it_was_made(book: Book, target: Target) -> None:
    connection = await book.database.writer()
    choice = Choice([], 0)
    await choice.look(connection)
    await book.post(settled(opened(caller=ROBOT)), at=now_ms() - 10_000)
    entry = [{"callback_name": "webhook", "callback_vars": {"generic_logger_endpoint": target.url}}]
    await post_entity(book, "team", "team-a", entry)
    with pytest.raises(asyncpg.PostgresError):
        await choice.look(Ending(connection))
    assert not choice.chosen.sinks
    await choice.look(connection)
    (sink,) = choice.chosen.sinks
    assert await book.value("SELECT batch FROM sink_position WHERE sink = $1 AND shard = 0", sink.id) == 1
    await connection.close()


class Ending:
    """A connection whose server goes away at its first change."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def execute(self, *_: Any) -> None:
        raise asyncpg.AdminShutdownError("terminating connection")


def test_litellms_first_form_and_two_of_one_name() -> None:
    old = {
        "success_callback": ["langfuse"],
        "failure_callback": ["langfuse"],
        "callback_vars": {"langfuse_public_key": "p"},
    }
    found = choose.of_entity("team", "t", {"callback_settings": old})
    assert [(sink.id, sink.successes, sink.failures) for sink in found] == [
        ("team:t:langfuse:success", True, False),
        ("team:t:langfuse:failure", False, True),
    ]
    two = choose.of_entity("key", "k", {"logging": [{"callback_name": "webhook"}, {"callback_name": "webhook"}]})
    assert [sink.id for sink in two] == ["key:k:webhook:success+failure", "key:k:webhook:success+failure#1"]


async def test_sealed_secrets_are_opened_with_the_key_alone(target: Target) -> None:
    ring, other = Keyring(["a salt of sixteen characters"]), Keyring(["another of sixteen characters"])
    sealed = text_of(ring.seal("sk-lf-1", callbacks_of_entities.place("langfuse", "langfuse_secret_key")))
    variables = {"langfuse_public_key": "pk", "langfuse_secret_key": sealed, "langfuse_host": target.url}
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    sink = choose.of_entity("team", "t", {"logging": [{"callback_name": "langfuse", "callback_vars": variables}]})[0]
    for wrong in (None, other):
        with pytest.raises(SinkError) as refused:
            targets.make(sink, {}, outbound, wrong)
        assert refused.value.lasting and "sk-lf" not in str(refused.value)
    await targets.make(sink, {}, outbound, ring).send([])
    assert target.got[0][1]["Authorization"] == "Basic " + base64.b64encode(b"pk:sk-lf-1").decode()
    await outbound.close()


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

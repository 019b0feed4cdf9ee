"""Who gets whose calls: a key's sinks, a team's, the file's, and from when on. On a real
PostgreSQL, and a server that plays the target.
"""

import asyncio
import base64
from typing import Any

import asyncpg
import msgspec
import pytest

from services.ledger.sinks import choose, targets
from services.ledger.sinks.chosen import Choice
from services.ledger.sinks.errors import SinkError
from shared.config import callbacks, parse
from shared.entities import callbacks as callbacks_of_entities
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.sealing import Keyring, text_of
from tests.ledger.ledger_kit import ALICE, BOB, ROBOT, Book, eventually, now_ms, opened, settled
from tests.ledger.sinks.sinks_kit import Fed, Target, begun, post_entity, webhook


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

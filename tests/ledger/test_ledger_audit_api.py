"""`/audit` over HTTP on real parts: as the page shows it, for whom, and what of it is masked."""

from datetime import datetime
from typing import Any

import msgspec
from nats.aio.client import Client

from services.ledger import responses
from shared import config
from shared.entities import KINDS
from shared.ids import digest_key
from tests.ledger.ledger_kit import (
    VIEWER,
    Book,
    Running,
    control,
    eventually,
    publish_control,
    running,
)  # fmt: skip
from tests.ledger.servers import Nats


async def audit_of(ledger: Running, **query: str) -> list[dict[str, Any]]:
    status, body, _ = await ledger.get("/audit", **query)
    assert status == 200
    return body["audit_logs"]


async def test_the_audit_log_shows_a_change_as_the_page_does(ledger: Running, client: Client) -> None:
    fact = control(on_behalf_of="somebody")
    await publish_control(client, fact)

    async def there() -> list[dict[str, Any]]:
        return await audit_of(ledger)

    entry = (await eventually(there))[0]
    assert entry["id"] == fact.id
    assert (entry["changed_by"], entry["changed_by_api_key"]) == ("default_user_id", "litellm_proxy_master_key")
    assert (entry["on_behalf_of"], entry["action"]) == ("somebody", "created")
    assert (entry["table_name"], entry["object_id"]) == ("LiteLLM_TeamTable", "team-a")
    assert entry["before_value"] is None
    assert entry["updated_values"] == {"team_id": "team-a", "max_budget": 2.0}
    assert datetime.fromisoformat(entry["updated_at"]).tzinfo is not None
    status, one, _ = await ledger.get(f"/audit/{fact.id}")
    assert (status, one) == (200, entry)
    status, missing, _ = await ledger.get("/audit/none")
    assert (status, missing) == (404, {"detail": {"message": "Audit log with ID none not found"}})


async def test_the_audit_log_shows_what_could_not_be_read(ledger: Running, client: Client) -> None:
    await client.jetstream().publish("control.key.x", b"no fact at all")

    async def shown() -> bool:
        return len(await audit_of(ledger, action="unreadable")) == 1

    await eventually(shown)
    (entry,) = await audit_of(ledger, table_name="Tollgate_unreadable")
    assert (entry["object_id"], entry["changed_by"], entry["updated_values"]) == ("control.key.x", "", {})
    assert entry in await audit_of(ledger), "unasked too"
    await publish_control(client, control(at_ms=1_000))
    await client.jetstream().publish("control.key.y", b"another")

    async def all_there() -> bool:
        return len(await audit_of(ledger)) == 3

    await eventually(all_there)
    for size in ("1", "2"):
        walked: list[Any] = []
        more: dict[str, str] = {}
        while len(walked) < 3:
            _, page, _ = await ledger.get("/audit", page_size=size, **more)
            walked += page["audit_logs"]
            more = {"cursor": page["next_cursor"]}
        assert walked == await audit_of(ledger) and page["next_cursor"] is None, "what has no time goes last"
    assert (
        (await ledger.get("/audit", cursor="x"))[0]
        == (await ledger.get("/audit", cursor="1.1", sort_by="id"))[0]
        == 400
    )
    assert entry not in await audit_of(ledger, changed_by="default_user_id"), "nobody did that"


async def test_the_audit_log_is_for_admins(ledger: Running) -> None:
    for path in ("/audit", "/audit/some"):
        status, body, _ = await ledger.get(path, "sk-alice")
        assert (status, body["error"]["type"]) == (401, "auth_error")
    assert (await ledger.get("/audit", "sk-viewer"))[0] == 200


def test_a_tables_name_stands_for_every_kind_that_is_shown_by_it() -> None:
    assert responses.kinds_of("LiteLLM_Config") == ["setting", "pass_through"]
    for kind in (*KINDS, "unreadable", "retention"):
        assert kind in responses.kinds_of(responses.table_name(kind))


async def test_audit_filters_paging_and_order(ledger: Running, client: Client, book: Book) -> None:
    digest = digest_key("sk-some")
    key = {
        "token": digest,
        "key_alias": "k",
        "key_name": "sk-...abcd",
        "team_id": "team-a",
        "metadata": {"api_key": "raw", "Keys": ["raw"]},
    }
    facts = [
        control(at_ms=1_000), control(at_ms=2_000, action="updated", before={"team_id": "team-a"}),
        control(at_ms=3_000, kind="key", entity_id=digest, after=key, actor=VIEWER),
        control(at_ms=4_000, kind="key", entity_id=digest, action="deleted", before=key, after=None, actor=VIEWER),
        control(at_ms=5_000, kind="alias", entity_id="k", after={"token": digest}),
    ]  # fmt: skip
    for fact in facts:
        await publish_control(client, fact)

    async def all_there() -> bool:
        return await book.value("SELECT count(*) FROM audit_log") == 5

    await eventually(all_there)

    async def found(**query: str) -> list[int]:
        return [[fact.id for fact in facts].index(entry["id"]) for entry in await audit_of(ledger, **query)]

    assert await found() == [3, 2, 1, 0]
    assert await found(sort_order="asc") == [0, 1, 2, 3]
    assert await found(table_name="Tollgate_KeyAlias") == [4]
    assert await found(table_name="LiteLLM_VerificationToken", sort_order="asc") == [2, 3]
    assert await found(table_name="LiteLLM_Nonsense") == []
    assert await found(action="updated") == [1]
    assert await found(changed_by="vera") == await found(changed_by_api_key="sk-viewer") == [3, 2]
    assert await found(changed_by="default_user_id") == [1, 0]
    assert await found(object_id="sk-some") == await found(object_key_hash=digest) == [3, 2]
    assert await found(object_team_id="team-a", action="deleted") == [3]
    assert await found(search=facts[1].id) == [1]
    assert await found(start_date="1970-01-01T00:00:02Z", end_date="1970-01-01T00:00:03+00:00") == [2, 1]
    assert await found(start_date="1970-01-01", end_date="1970-01-01") == [3, 2, 1, 0]
    assert await found(end_date="1969-12-31") == []
    assert await found(sort_by="action", sort_order="asc") == [0, 2, 3, 1]
    assert await found(page="2", page_size="3") == [0]
    for order in ("desc", "asc"):
        walked, cursor = [], ""
        while cursor is not None:
            _, page, _ = await ledger.get("/audit", sort_order=order, page_size="1", cursor=cursor)
            walked += [[fact.id for fact in facts].index(entry["id"]) for entry in page["audit_logs"]]
            cursor = page["next_cursor"]
        assert walked == await found(sort_order=order)
    _, page, _ = await ledger.get("/audit", page="9", page_size="3")
    assert {k: page[k] for k in page if k != "audit_logs"} == {
        "total": 4,
        "page": 9,
        "page_size": 3,
        "total_pages": 2,
        "next_cursor": None,
    }
    shown = (await audit_of(ledger, action="deleted"))[0]
    assert shown["updated_values"] == {}
    assert shown["before_value"]["key_alias"] == "k"
    assert shown["before_value"]["key_name"] == "sk-...abcd"
    assert shown["before_value"]["metadata"] == {"api_key": "***", "Keys": "***"}


def test_credentials_are_masked_whatever_they_are_called_and_wherever_they_are() -> None:
    shown = responses.audit_entry(
        {
            "fact_id": "f", "at_ms": 1, "actor_user_id": None, "actor_key_sha256": None, "action": "updated", "kind": "team",
            "entity_id": "t", "before": None, "on_behalf_of": None, "requester_ip": None, "n": 1, "sha256": b"",
            "after": msgspec.json.encode({"metadata": {
                "logging": [{"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": "sk-lf-1", "langfuse_host": "https://x"}}],
                "smtp_password": "p", "note": "sk-1234567890abcdef", "list": [{"aws": "AKIAABCDEFGHIJKL"}], "tags": ["sk-ok"]}}).decode(),
        }
    )["updated_values"]["metadata"]  # fmt: skip
    assert shown == {
        "logging": [{"callback_name": "langfuse", "callback_vars": {"langfuse_secret_key": "***", "langfuse_host": "https://x"}}],
        "smtp_password": "***", "note": "***", "list": [{"aws": "***"}], "tags": ["sk-ok"],
    }  # fmt: skip


def test_what_a_field_is_decides_and_not_what_it_is_called() -> None:
    def shown(kind: str, after: dict[str, Any]) -> Any:
        row = {"fact_id": "f", "at_ms": 1, "actor_user_id": None, "actor_key_sha256": None, "action": "updated", "kind": kind,
               "entity_id": "t", "before": None, "on_behalf_of": None, "requester_ip": None, "n": 1, "sha256": b"",
               "after": msgspec.json.encode(after).decode()}  # fmt: skip
        return responses.audit_entry(row)["updated_values"]

    key = {"token": "ab" * 32, "key_name": "sk-...abcd", "key_alias": "k", "max_budget_picousd": 10**12, "extra": {"tpm_limit": 5},
           "metadata": {"monkey": "m", "keyword": "w", "tags": ["t"], "api_key": "x", "nested": {"client_secret": "x"}}}  # fmt: skip
    assert shown("key", key) == {
        "token": "ab" * 32, "key_name": "sk-...abcd", "key_alias": "k", "max_budget": 1.0, "extra": {"tpm_limit": 5},
        "metadata": {"monkey": "m", "keyword": "w", "tags": ["t"], "api_key": "***", "nested": {"client_secret": "***"}},
    }  # fmt: skip
    model = {"model_name": "m", "litellm_params": {"model": "openai/x"}, "sealed": {"api_key": ["id", "b64", "b64"]}}
    assert shown("model", model) == {**model, "sealed": {"api_key": "***"}}
    assert shown("of-tomorrow", {"secret": "x", "n": 1}) == {"secret": "***", "n": 1}


async def test_what_the_file_says_is_shown_or_hidden(
    nats_server: Nats, client: Client, policy: Any, book: Book
) -> None:
    file = config.parse("litellm_settings: {store_audit_logs: false, max_budget: 25}\n", {})
    async with running(nats_server.url, book.url, file=file) as hidden:
        await publish_control(client, control())

        async def recorded() -> bool:
            return bool(await book.value("SELECT count(*) FROM audit_log"))

        await eventually(recorded)
        for path in ("/audit", "/audit/x", "/audit/summary"):
            assert (await hidden.get(path))[0] == 404
        for key, max_budget in (("sk-admin", 25.0), ("sk-alice", None)):
            assert (await hidden.get("/global/spend", key=key))[1] == {"spend": 0.0, "max_budget": max_budget}

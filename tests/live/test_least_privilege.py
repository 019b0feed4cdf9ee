"""What each service may do on the bus and in the database, tried with its own credentials."""

import asyncio
import json

import aiohttp
import asyncpg
import nats
import nats.errors
import pytest

from shared import subjects
from tests.live.conftest import MASTER, book_row, new_key
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


def service_url(suite: RunningSuite, service: str) -> str:
    embedded = json.loads((suite.data_dir / "embedded.json").read_text())
    port = suite.nats_url.rsplit(":", 1)[1]
    return f"nats://{service}:{embedded['nats_passwords'][service]}@127.0.0.1:{port}"


async def refused(suite: RunningSuite, service: str, subject: str, *, subscribe: bool = False) -> bool:
    """Whether the broker answers with a permissions violation."""
    errors: list[Exception] = []

    async def note(error: Exception) -> None:
        errors.append(error)

    client = await nats.connect(
        service_url(suite, service), error_cb=note, inbox_prefix=subjects.inbox_prefix(service).encode()
    )
    try:
        if subscribe:
            await client.subscribe(subject)
        else:
            await client.publish(subject, b"x")
        await client.flush(2)
        await asyncio.sleep(0.05)
    finally:
        await client.close()
    return any("permissions violation" in str(error).lower() for error in errors)


@pytest.mark.parametrize(
    ("service", "subject", "subscribe"),
    [
        ("edge", "control.key.abc", False),
        ("moderation", "control.key.abc", False),
        ("ledger", "control.key.abc", False),
        ("policy", "traffic.0", False),
        ("moderation", "traffic.0", False),
        ("ledger", "traffic.0", False),
        ("edge", "policy.decide", True),
        ("edge", "moderation.screen", True),
        ("moderation", "policy.decide", True),
        ("edge", "_INBOX_policy.>", True),
        ("moderation", "_INBOX_edge.>", True),
        ("edge", "$JS.API.STREAM.DELETE.TRAFFIC", False),
        ("edge", "$JS.API.STREAM.PURGE.CONTROL", False),
        ("policy", "$JS.API.STREAM.DELETE.CONTROL", False),
    ],
)
async def test_the_bus_refuses_what_is_not_a_services_own(
    suite: RunningSuite, service: str, subject: str, subscribe: bool
) -> None:
    assert await refused(suite, service, subject, subscribe=subscribe)


async def test_the_bus_allows_what_is(suite: RunningSuite) -> None:
    assert not await refused(suite, "policy", "policy.decide", subscribe=True)
    assert not await refused(suite, "edge", f"{subjects.inbox_prefix('edge')}.x.*", subscribe=True)


@pytest.mark.parametrize("statement", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_book_can_only_be_added_to(suite: RunningSuite, http: aiohttp.ClientSession, statement: str) -> None:
    """Not by the ledger's role, and not by the owner either."""
    key = await new_key(http, suite)
    body = {"model": "smollm2", "messages": [{"role": "user", "content": "x"}], "max_tokens": 1}
    async with http.post(
        suite.edge_url + "/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    ) as answer:
        await book_row(http, suite.edge_url, (await answer.json())["id"], MASTER)
    connection = await asyncpg.connect(suite.database_url, server_settings={"search_path": "tollgate"})
    try:
        for table, column in (("audit_log", "action"), ("request_log", "outcome")):
            text = statement.format(table, column, column)
            with pytest.raises(asyncpg.PostgresError):
                await connection.execute(text)
            async with connection.transaction():
                await connection.execute("SET LOCAL ROLE tollgate_writer_tollgate")
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    async with connection.transaction():
                        await connection.execute(text)
    finally:
        await connection.close()

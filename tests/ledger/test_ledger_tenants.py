"""No route shows a tenant anything of another's, however it is asked for; the routes are those of
the table. Policy lets everybody pass here: what keeps the rows apart is the ledger. On real parts.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from services.ledger.cube import Cube
from shared import routes
from shared.facts import Caller
from shared.ids import KeyDigest
from tests.ledger.ledger_kit import Book, Running, opened, post_control, settled

TODAY = datetime.now(UTC).date()
DAYS = {"start_date": str(TODAY - timedelta(days=1)), "end_date": str(TODAY)}
DIGEST = "5ec2e7" + "0" * 58
OTHER = Caller(KeyDigest(DIGEST), "zz-key", "zz-team", "zz-team-alias", "zz-user", "zz-organization")
MARKS = (
    DIGEST, "zz-key", "zz-team", "zz-user", "zz-organization", "zz-tag", "zz-model", "zz-provider", "zz-customer", "zz-session",
    "zz-provider-id", "zz-metadata",
)  # fmt: skip
NAMED = {
    "api_key": DIGEST, "key": DIGEST, "user_id": "zz-user", "user_ids": "zz-user", "user": "zz-user", "internal_user_id": "zz-user",
    "team_id": "zz-team", "team_ids": "zz-team", "team": "zz-team", "tags": "zz-tag", "tag": "zz-tag", "model": "zz-model",
    "model_group": "zz-model", "organization_ids": "zz-organization", "organization_id": "zz-organization", "end_user": "zz-customer",
    "end_user_ids": "zz-customer", "customer": "zz-customer", "customer_id": "zz-customer", "key_alias": "zz-key",
    "tag_filter": "zz-tag", "tag_filters": "zz-tag", "search": "zz-key", "session_id": "zz-session", "request_id": "zz-provider-id",
}  # fmt: skip
"""What another's rows are found by, for those who may see them."""
PUBLIC = frozenset(("/.well-known/tollgate-ledger-keys",))


@pytest.fixture
async def others(ledger: Running, book: Book) -> tuple[Running, str]:
    """A ledger with one call, which isn't Alice's; and its id."""
    call = opened(
        caller=OTHER, tags=["zz-tag"], model="zz-model", provider="zz-provider", customer_id="zz-customer", session_id="zz-session",
        spend_logs_metadata={"of": "zz-metadata"},
    )  # fmt: skip
    await book.post(settled(call, response_id="zz-provider-id"), opened(caller=OTHER, tags=["zz-tag"]))
    await post_control(book, "zz-team")
    while await Cube(book.database, asyncio.Event()).catch_up(book.owner):
        pass
    return ledger, str(call.id)


def asked(request_id: str) -> list[tuple[str, str, dict[str, str]]]:
    """Every way to ask: method, path, parameters (of a POST, its body)."""
    found = []
    for route in routes.of_surface("ledger"):
        if route.name in PUBLIC or (route.mutates and route.name != "POST /spend/query"):
            continue
        path = route.paths[0].replace("{request_id}", request_id).replace("{id}", request_id)
        known = {parameter.name for parameter in route.query} & set(NAMED)
        if path.endswith(("/daily/activity", "/aggregated/keys")):  # the other views are made as these
            known |= {"user_id", "team_ids", "tags", "organization_ids", "end_user_ids", "api_key"}
        base = {**DAYS, **{p.name: NAMED[p.name] for p in route.query if p.required and p.name in NAMED}}
        found.append((route.methods[0], path, base))
        found += [(route.methods[0], path, {**base, name: NAMED[name]}) for name in sorted(known)]
    return found


async def shown(http: aiohttp.ClientSession, url: str, method: str, path: str, query: dict[str, Any]) -> str:
    """Of an answer that isn't a refusal."""
    body = {"names": ["zz-tag"], **query} if method == "POST" else None
    async with http.request(method, url + path, params=query if body is None else None, json=body) as answer:
        assert answer.status < 500, (path, query, await answer.text())
        return await answer.text() if answer.status == 200 else ""


async def test_no_route_shows_a_tenant_anothers(others: tuple[Running, str]) -> None:
    ledger, request_id = others
    seen = set()
    for who in ("sk-admin", "sk-alice", "sk-robot"):
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {who}"}) as http:
            for method, path, query in asked(request_id):
                text = await shown(http, ledger.url, method, path, query)
                told = [mark for mark in (*MARKS, request_id) if mark in text and mark not in (*query.values(), path)]
                if who == "sk-admin":
                    seen |= {path} if told else set()
                else:
                    assert not told, (path, query, text[:400])
    assert len(seen) > 40, "an administrator is shown it by most"

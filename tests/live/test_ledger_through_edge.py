"""Every question about the book through the edge, in a suite of its own services and a real broker
with its accounts: method, body, shapes.
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from shared import routes
from tests.live.conftest import MASTER, eventually, new_key
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - model_name: mock
    litellm_params: {model: openai/mock, mock_response: "Hello", input_cost_per_token: 0.0000005, output_cost_per_token: 0.0000015}
  - model_name: gpt-4
    litellm_params: {model: openai/gpt-4, api_key: none}
general_settings:
  master_key: sk-1234
  public_routes: ["LiteLLMRoutes.public_routes", "/spend/calculate"]
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def book(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("through-edge")
    async with RunningSuite(directory, CONFIG, env={"TOLLGATE_EXPORT_URL": str(directory / "export")}) as running:
        yield running


async def ask(
    http: aiohttp.ClientSession, url: str, method: str = "GET", body: Any = None, key: bool = True
) -> tuple[int, Any]:
    async with http.request(method, url, json=body, headers=MASTER if key else {}) as answer:
        return answer.status, await answer.json()


async def test_the_pages_example_of_spend_calculate_needs_no_key(
    book: RunningSuite, http: aiohttp.ClientSession
) -> None:
    body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Hey, how's it going?"}]}
    status, answer = await ask(http, book.edge_url + "/spend/calculate", "POST", body, key=False)
    assert status == 200, answer
    assert answer == {"cost": pytest.approx(14 * 30e-6)}, (
        "7 tokens of text, 1 of the role, 6 of framing, at 30 USD a million"
    )
    assert (await ask(http, book.edge_url + "/cost/estimate", "POST", body, key=False))[0] == 401


async def test_every_route_of_the_ledger_answers_through_the_edge(
    book: RunningSuite, http: aiohttp.ClientSession
) -> None:
    key = await new_key(http, book, metadata={"tags": ["app"]})
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(
        book.edge_url + "/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    ) as answer:
        assert answer.status == 200, await answer.text()

    async def spent() -> Any:
        return (await ask(http, book.edge_url + "/spend/query?group_by=tag&since=1d"))[1]["data"]

    assert [row["tag"] for row in await eventually(spent, bool)] == ["app"]
    today = datetime.now(UTC).date()
    days = f"start_date={today - timedelta(days=5)}&end_date={today + timedelta(days=1)}"
    asked = {
        "POST /spend/query": {"group_by": ["tag", "team"], "since": "1d"}, "/retention/hold": {"tag": "app", "reason": "a test"},
        "/spend/calculate": {"completion_response": {"model": "mock", "usage": {"prompt_tokens": 2, "completion_tokens": 1}}},
        "POST /export": {"until": str(datetime.now(UTC).date()), "format": "csv"},
        "/cost/estimate": {"model": "mock", "input_tokens": 10, "output_tokens": 10}, "/tag/info": {"names": ["app"]},
    }  # fmt: skip
    for route in routes.of_surface("ledger"):
        for method in route.methods:
            url = f"{book.edge_url}{route.paths[0].replace('{id}', 'nobody').replace('{request_id}', 'nobody')}"
            known = {each.name for each in route.query}
            needs = {each.name for each in route.query if each.required} | (known & {"team_id", "organization_id"})
            needed = "&".join([*(f"{name}=x" for name in needs), *(["format=json"] if "export_type" in known else [])])
            status, told = await ask(
                http,
                f"{url}?{days}&{needed}" if method == "GET" and "query" not in url else url,
                method,
                asked.get(route.name),
            )
            wanted = 404 if "nobody" in url else 202 if route.name == "POST /export" else 200
            assert status == wanted, (route.name, status, told)
    _, told = await ask(http, book.edge_url + "/spend/logs/v2?" + days)
    assert told["total"] == 1 and told["data"][0]["request_tags"] == ["app"]

    async def held() -> Any:
        return [hold["value"] for hold in (await ask(http, book.edge_url + "/retention"))[1]["holds"]]

    assert "app" in await eventually(held, bool)

    async def exported() -> Any:
        return (await ask(http, book.edge_url + "/export"))[1].get("rows")

    assert await eventually(exported, lambda rows: rows == 1)


async def test_what_was_said_of_a_tag_is_there_for_who_said_it(book: RunningSuite, http: aiohttp.ClientSession) -> None:
    """The ledger asks policy at the sequence of the caller's own last change."""
    for number in range(20):
        body = {"name": "said", "description": str(number)}
        route = "/tag/update" if number else "/tag/new"
        assert (await ask(http, book.edge_url + route, "POST", body))[0] == 200
        found = (await ask(http, book.edge_url + "/tag/info", "POST", {"names": ["said"]}))[1]
        assert found["said"]["description"] == str(number)
    assert "said" in [tag["name"] for tag in (await ask(http, book.edge_url + "/tag/list"))[1]]


async def test_a_keys_spend_is_reset_and_the_book_stays(book: RunningSuite, http: aiohttp.ClientSession) -> None:
    key = await new_key(http, book)
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(
        book.edge_url + "/chat/completions", json=body, headers={"Authorization": f"Bearer {key}"}
    ) as answer:
        assert answer.status == 200, await answer.text()

    async def spend() -> Any:
        return (await ask(http, f"{book.edge_url}/key/info?key={key}"))[1]["info"]["spend"]

    spent = await eventually(spend, bool)
    status, reset = await ask(http, f"{book.edge_url}/key/{key}/reset_spend", "POST", {"reset_to": 0})
    assert status == 200 and (reset["previous_spend"], reset["spend"]) == (spent, 0.0)
    assert await spend() == 0.0
    assert (await ask(http, f"{book.edge_url}/key/{key}/reset_spend", "POST", {"reset_to": 1}))[0] == 400


async def test_anybody_may_ask_for_the_keys_that_sign_the_book(book: RunningSuite, http: aiohttp.ClientSession) -> None:
    async def signed() -> Any:
        return (await ask(http, book.edge_url + "/.well-known/tollgate-ledger-keys", key=False))[1]["keys"]

    keys = await eventually(signed, bool)
    assert (keys[0]["kty"], keys[0]["crv"], keys[0]["use"]) == ("OKP", "Ed25519", "sig")
    status, listed = await ask(http, book.edge_url + "/checkpoints")
    assert (status, listed["checkpoints"][0]["n"]) == (200, 1)
    assert (await ask(http, book.edge_url + "/checkpoints", key=False))[0] == 401


async def test_a_session_and_callbacks_that_are_off_are_in_the_book(
    book: RunningSuite, http: aiohttp.ClientSession
) -> None:
    body = {"model": "mock", "messages": [{"role": "user", "content": "hi"}]}
    headers = MASTER | {"x-litellm-session-id": "session-7", "x-litellm-disable-callbacks": "langfuse, otel"}
    for more in ({}, {"no-log": True}):
        async with http.post(book.edge_url + "/chat/completions", json=body | more, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
    today = datetime.now(UTC).date()

    async def rows() -> Any:
        url = (
            f"{book.edge_url}/spend/logs/v2?start_date={today - timedelta(days=1)}&end_date={today + timedelta(days=1)}"
        )
        return (await ask(http, url + "&session_id=session-7&sort_order=asc"))[1]["data"]

    found = await eventually(rows, lambda data: len(data) == 2)
    assert [(row["session_id"], row["metadata"]["disabled_callbacks"]) for row in found] == [
        ("session-7", ["langfuse", "otel"]), ("session-7", ["*"]),
    ]  # fmt: skip

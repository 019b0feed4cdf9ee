"""The page's rows that the edge owns, through the whole suite: a real policy decides, a real ledger
has the book.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from tests.live.conftest import MASTER, book_row, eventually, new_key
from tests.support.serving import handled_by, serving
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


def config(target: str) -> str:
    return f"""
model_list:
  - {{model_name: mock, litellm_params: {{model: openai/mock, mock_response: Hi, {PRICES}}}}}
  - {{model_name: hidden, litellm_params: {{model: openai/hidden, mock_response: Ho}}}}
litellm_settings:
  cache: true
  public_model_groups: [mock]
general_settings:
  master_key: sk-1234
  allow_open_gateway: true
  block_robots: true
  max_request_size_mb: 0.01
  pass_through_endpoints:
    - {{path: /their, target: "{target}/base", include_subpath: true, forward_headers: true, cost_per_request: 0.5,
       headers: {{X-Secret: "os.environ/THEIR_SECRET"}}}}
    - {{path: /open, target: "{target}/open", auth: false}}
"""


PRICES = "input_cost_per_token: 0.0000005, output_cost_per_token: 0.0000015"


class Target:
    def __init__(self) -> None:
        self.seen: list[dict[str, str]] = []

    async def take(self, request: web.Request) -> web.Response:
        self.seen.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response({"path": request.path, "sent": (await request.read()).decode()})


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def target() -> AsyncIterator[tuple[str, Target]]:
    made = Target()
    async with serving(handled_by(made.take)) as url:
        yield url, made


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def front(tmp_path_factory: pytest.TempPathFactory, target: tuple[str, Target]) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("front")
    env = {"THEIR_SECRET": "s3cret", "DOCS_TITLE": "TotalGPT", "DOCS_DESCRIPTION": "Sample Company Description"}
    env["TOLLGATE_EDGE_PASSTHROUGH_NETWORKS"] = "127.0.0.1/32"
    async with RunningSuite(directory, config(target[0]), env=env) as running:
        yield running


async def get(http: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None) -> tuple[int, str]:
    async with http.get(url, headers=headers or {}, allow_redirects=False) as answer:
        return answer.status, await answer.text()


async def post(http: aiohttp.ClientSession, url: str, body: Any, headers: dict[str, str]) -> tuple[int, Any, Any]:
    async with http.post(url, json=body, headers=headers) as answer:
        return answer.status, await answer.json(), answer.headers


async def test_what_anybody_may_see(front: RunningSuite, http: aiohttp.ClientSession) -> None:
    url = front.edge_url
    assert await get(http, url + "/robots.txt") == (200, "User-agent: *\nDisallow: /")
    status, page = await get(http, url + "/docs")
    assert status == 200 and "TotalGPT" in page
    document = json.loads((await get(http, url + "/openapi.json"))[1])
    assert document["info"]["description"] == "Sample Company Description"
    status, hub = await get(http, url + "/public/model_hub")
    assert status == 200, hub
    assert [row["model_group"] for row in json.loads(hub)] == ["mock"]
    assert (await get(http, url + "/get_image"))[0] == 200


async def test_what_an_admin_makes_public_is(front: RunningSuite, http: aiohttp.ClientSession) -> None:
    url = front.edge_url
    key = await new_key(http, front)
    body = {"model_groups": ["hidden"]}
    status, _, _ = await post(http, url + "/model_group/make_public", body, {"Authorization": f"Bearer {key}"})
    assert status in (401, 403)
    status, said, _ = await post(http, url + "/model_group/make_public", body, MASTER)
    assert status == 200, said
    rows = json.loads((await get(http, url + "/public/model_hub"))[1])
    assert [row["model_group"] for row in rows] == ["hidden"]


async def test_a_pass_through_endpoint_with_a_virtual_key(
    front: RunningSuite, http: aiohttp.ClientSession, target: tuple[str, Target]
) -> None:
    url, seen = front.edge_url, target[1].seen
    key = await new_key(http, front, key_alias="passing", metadata={"denied_passthrough_routes": ["/open"]})
    status, said, headers = await post(
        http, url + "/their/sub", {"a": 1}, {"Authorization": f"Bearer {key}", "X-Mine": "1"}
    )
    assert (status, said["path"], json.loads(said["sent"])) == (200, "/base/sub", {"a": 1})
    assert seen[-1]["x-secret"] == "s3cret" and seen[-1]["x-mine"] == "1"
    assert key not in str(seen)
    row = await book_row(http, url, headers["x-tollgate-request-id"], MASTER)
    assert (row["call_type"], row["spend"], row["status"]) == ("pass_through_endpoint", 0.5, "success")
    for wrong in ({}, {"Authorization": "Bearer sk-nobody-0123456789"}):
        status, _, _ = await post(http, url + "/their", {}, wrong)
        assert status == 401
    other = await new_key(http, front, metadata={"allowed_passthrough_routes": ["/elsewhere"]})
    status, said, _ = await post(http, url + "/their", {}, {"Authorization": f"Bearer {other}"})
    assert status == 403 and "/their" in said["error"]["message"]
    limited = await new_key(http, front, models=["mock"])
    for model, wanted in (("mock", 200), ("hidden", 403)):
        status, said, _ = await post(http, url + "/their", {"model": model}, {"Authorization": f"Bearer {limited}"})
        assert status == wanted, said
    async with http.post(url + "/key/block", json={"key": key}, headers=MASTER) as blocked:
        assert blocked.status == 200
    status, _, _ = await post(http, url + "/their", {}, {"Authorization": f"Bearer {key}"})
    assert status == 401
    status, said, headers = await post(http, url + "/open", {"b": 2}, {})
    assert (status, said["path"]) == (200, "/open")
    assert (await book_row(http, url, headers["x-tollgate-request-id"], MASTER))["call_type"] == "pass_through_endpoint"


async def test_limits_of_settings_and_of_a_key(front: RunningSuite, http: aiohttp.ClientSession) -> None:
    url = front.edge_url

    def body(size: int) -> dict[str, Any]:
        return {"model": "mock", "messages": [{"role": "user", "content": "x" * size}]}

    key = await new_key(http, front, metadata={"max_request_size_mb": 0.001})
    mine = {"Authorization": f"Bearer {key}"}
    assert (await post(http, url + "/v1/chat/completions", body(10), mine))[0] == 200
    status, said, _ = await post(http, url + "/v1/chat/completions", body(2_000), mine)
    assert (status, said["error"]["code"]) == (400, 400) and "Max size is 0.001 MB" in said["error"]["message"]
    assert (await post(http, url + "/v1/chat/completions", body(2_000), MASTER))[0] == 200
    status, said, _ = await post(http, url + "/v1/chat/completions", body(20_000), MASTER)
    assert status == 400 and "Max size is 0.01 MB" in said["error"]["message"]


async def test_a_hit_is_in_the_book_and_in_the_metrics(front: RunningSuite, http: aiohttp.ClientSession) -> None:
    url = front.edge_url
    body = {"model": "mock", "messages": [{"role": "user", "content": "cache me"}]}
    key = {"Authorization": f"Bearer {await new_key(http, front, key_alias='cached')}"}
    status, first, _ = await post(http, url + "/v1/chat/completions", body, key)
    assert status == 200
    status, second, headers = await post(http, url + "/v1/chat/completions", body, key)
    assert second == first and headers["x-litellm-cache-key"]
    row = await book_row(http, url, headers["x-tollgate-request-id"], MASTER)
    assert row["spend"] == 0 and row["metadata"]["spend_logs_metadata"]["cache_hit"] is True
    off = {"Authorization": f"Bearer {await new_key(http, front, metadata={'cache': {'no-cache': True}})}"}
    for _ in range(2):
        _, _, headers = await post(http, url + "/v1/chat/completions", body, off)
        assert "x-litellm-cache-key" not in headers
    assert (await get(http, url + "/cache/ping", MASTER))[0] == 200
    assert (await get(http, url + "/cache/ping", key))[0] in (401, 403)

    assert (await get(http, url + "/metrics"))[0] == 401
    assert (await get(http, url + "/metrics", key))[0] == 401
    status, text = await get(http, url + "/metrics", MASTER)
    assert status == 200
    counted = [
        line for line in text.splitlines() if line.startswith("litellm_requests_metric_total") and '"cached"' in line
    ]
    assert counted and counted[0].endswith(" 2.0"), counted


async def test_the_ledger_hears_who_asks_not_their_key(front: RunningSuite, http: aiohttp.ClientSession) -> None:
    key = {"Authorization": f"Bearer {await new_key(http, front)}"}

    async def ask() -> int:
        return (await get(http, front.edge_url + "/spend/logs", key))[0]

    await eventually(ask, 200)
    assert (await get(http, front.edge_url + "/audit", key))[0] in (401, 403)
    assert (await get(http, front.edge_url + "/audit", MASTER))[0] == 200


async def test_endpoints_made_at_run_time(
    front: RunningSuite, http: aiohttp.ClientSession, target: tuple[str, Target]
) -> None:
    url, crud = front.edge_url, front.edge_url + "/config/pass_through_endpoint"
    key = {"Authorization": f"Bearer {await new_key(http, front)}"}
    given = {"path": "/made", "target": f"{target[0]}/made", "methods": ["POST"], "headers": {"X-Fixed": "1"}}
    assert (await post(http, crud, given, key))[0] in (401, 403)
    status, said, _ = await post(http, crud, given, MASTER)
    assert status == 200, said
    (made,) = said["endpoints"]
    assert {name: made[name] for name in given} == given and made["id"]
    status, said, _ = await post(http, url + "/made", {"c": 3}, key)
    assert (status, said["path"]) == (200, "/made"), "at once, where it was made"
    assert target[1].seen[-1]["x-fixed"] == "1"
    status, said, _ = await post(http, f"{crud}/{made['id']}", {"auth": False, "cost_per_request": 0.1}, MASTER)
    assert status == 200, said
    status, said, headers = await post(http, url + "/made", {}, {})
    assert status == 200, "changed: nobody is asked who they are"
    assert (await book_row(http, url, headers["x-tollgate-request-id"], MASTER))["spend"] == 0.1
    status, text = await get(http, crud, MASTER)
    assert [each["id"] for each in json.loads(text)["endpoints"]] == [made["id"]]
    for wrong in (
        {**given, "path": "/key/generate"}, {**given, "path": "/v1/chat/completions"}, {**given, "auth": "true"}, given,
        {**given, "path": "/x", "headers": {"Authorization": "Bearer x"}}, {**given, "path": "/x", "target": "file:///etc/passwd"},
        {**given, "path": "/x", "headers": {"X": "os.environ/THEIR_SECRET"}}, {},
    ):  # fmt: skip
        status, said, _ = await post(http, crud, wrong, MASTER)
        assert status == 400 and set(said["error"]) >= {"message", "param"}, wrong
    status, said, _ = await post(
        http, crud, {**given, "path": "/inside", "target": target[0].replace("127.0.0.1", "127.0.0.2")}, MASTER
    )
    assert status == 200
    assert (await post(http, url + "/inside", {}, key))[0] == 502, "not a network that the operator listed"
    async with http.delete(crud, params={"endpoint_id": made["id"]}, headers=MASTER) as answer:
        assert answer.status == 200, await answer.text()
    assert (await post(http, url + "/made", {}, key))[0] == 404
    async with http.delete(crud, params={"endpoint_id": made["id"]}, headers=MASTER) as answer:
        assert answer.status == 404

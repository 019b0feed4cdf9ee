"""Each refusal that LiteLLM's API has a wording for, body for body, against the running suite.

Where we say more than LiteLLM does, or say it better, the row has our body, and a note why.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.live.conftest import MASTER, eventually, new_key
from tests.live.contract_rows import BAD, CALL, CHAT, EXAMPLES
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - {model_name: m1, litellm_params: {model: openai/m1, mock_response: one}}
  - {model_name: m2, litellm_params: {model: openai/m2, mock_response: two}}
litellm_settings:
  cache: true
  cache_params: {type: local}
  callbacks: ["banned_keywords"]
  banned_keywords_list: ["forbiddenword"]
  upperbound_key_generate_params: {max_budget: 100}
general_settings:
  master_key: sk-1234
  reject_clientside_metadata_tags: true
"""

KEYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "of_m1": {"models": ["m1"]},
    "blocked": {"blocked": True},
    "routed": {"allowed_routes": ["/models"]},
    "cached": {"allowed_cache_controls": ["ttl"]},
    "aliased": {"key_alias": "taken"},
    "of_a_user": {"user_id": "u"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    async with RunningSuite(tmp_path_factory.mktemp("contract"), CONFIG) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made(gateway: RunningSuite) -> AsyncIterator[dict[str, str]]:
    """Name → what stands for it in an example."""
    async with aiohttp.ClientSession() as http:

        async def post(path: str, **body: Any) -> Any:
            async with http.post(gateway.edge_url + path, json=body, headers=MASTER) as answer:
                assert answer.status == 200, await answer.text()
                return await answer.json()

        found = {name: await new_key(http, gateway, **fields) for name, fields in KEYS.items()}
        await post("/team/new", team_id="blocked-team")
        await post("/team/new", team_id="fixed-team", metadata={"guardrails": {"modify_guardrails": False}})
        found["of_blocked_team"] = await new_key(http, gateway, team_id="blocked-team")
        found["of_fixed_team"] = await new_key(http, gateway, team_id="fixed-team")
        await post("/team/block", team_id="blocked-team")
        await post("/customer/new", user_id="c")
        await post("/user/new", user_id="u", auto_create_key=False)
        await post("/add/allowed_ip", ip="127.0.0.1")
        found["expired"] = await new_key(http, gateway, duration="1s")
        yield found


@pytest.mark.parametrize("name", sorted(EXAMPLES))
async def test_an_example(gateway: RunningSuite, made: dict[str, str], http: aiohttp.ClientSession, name: str) -> None:
    each = EXAMPLES[name]
    key = made.get(each.key, each.key)
    headers = {**({"Authorization": f"Bearer {key}"} if key else {}), **each.headers}
    async with http.request(each.method, gateway.edge_url + each.path, json=each.body, headers=headers) as answer:
        body = await answer.json()
    error = {"message": each.message, "type": each.type, "param": each.param, "code": str(each.status)}
    assert (answer.status, body) == (each.status, {"error": error})


async def test_an_expired_keys_body(gateway: RunningSuite, made: dict[str, str], http: aiohttp.ClientSession) -> None:
    key = {"Authorization": f"Bearer {made['expired']}"}

    async def asked() -> Any:
        async with http.post(gateway.edge_url + CHAT, json=CALL, headers=key) as answer:
            return answer.status, await answer.json()

    _, body = await eventually(asked, lambda found: found[0] == 401)
    error = body["error"]
    instant = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00"
    wording = f"Authentication Error - Expired Key. Key Expiry time {instant} and current time {instant}"
    assert re.fullmatch(wording, error.pop("message"))
    assert error == {"type": "expired_key", "param": "key", "code": "401"}


async def test_a_guardrails_body(gateway: RunningSuite, made: dict[str, str], http: aiohttp.ClientSession) -> None:
    said = {**CALL, "messages": [{"role": "user", "content": "a forbiddenword"}]}
    async with http.post(gateway.edge_url + CHAT, json=said, headers=MASTER) as answer:
        body = await answer.json()
    message = "Keyword banned. Keyword=forbiddenword"
    error = {
        "message": message,
        "type": BAD,
        "param": None,
        "code": "400",
        "provider_specific_fields": {"error": message},
    }
    assert (answer.status, body) == (400, {"error": error})


WHOLE: dict[str, tuple[int, Any]] = {
    "/health/liveliness": (200, "I'm alive!"),
    "/health/liveness": (200, "I'm alive!"),
    "/health/readiness": (200, {"status": "healthy", "db": "connected"}),
    "/public/model_hub": (200, []),
    "/sso/readiness": (200, {"status": "healthy", "sso_configured": False}),
    "/metrics": (
        401,
        "Unauthorized access to metrics endpoint: Authentication Error, No api key passed in. To allow unauthenticated"
        " access, set `litellm_settings.require_auth_for_metrics_endpoint: false` in your proxy_config.yaml.",
    ),
}


@pytest.mark.parametrize("path", sorted(WHOLE))
async def test_what_a_stranger_is_answered(gateway: RunningSuite, http: aiohttp.ClientSession, path: str) -> None:
    async with http.get(gateway.edge_url + path) as answer:
        assert (answer.status, await answer.json(content_type=None)) == WHOLE[path]


async def test_answers_that_are_no_refusals(
    gateway: RunningSuite, made: dict[str, str], http: aiohttp.ClientSession
) -> None:
    async with http.get(gateway.edge_url + "/v1/models", headers=MASTER) as answer:
        models = [{"id": name, "object": "model", "created": 1677610602, "owned_by": "openai"} for name in ("m1", "m2")]
        assert await answer.json() == {"data": models, "object": "list"}
    async with http.get(gateway.edge_url + "/audit/nobody", headers=MASTER) as answer:
        assert (answer.status, await answer.json()) == (
            404,
            {"detail": {"message": "Audit log with ID nobody not found"}},
        )
    async with http.get(gateway.edge_url + "/get/allowed_ips", headers=MASTER) as answer:
        assert await answer.json() == {"data": ["127.0.0.1"]}
    async with http.get(gateway.edge_url + "/robots.txt") as answer:
        assert (answer.status, await answer.read()) == (404, b"")

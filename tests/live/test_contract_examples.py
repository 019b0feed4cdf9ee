"""Each refusal that LiteLLM's API has a wording for, body for body, against the running suite.

Where we say more than LiteLLM does, or say it better, the row has our body, and a note why.
"""

import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from shared.ids import digest_key
from tests.live.conftest import MASTER, eventually, new_key
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
HI = [{"role": "user", "content": "hi"}]
CHAT = "/chat/completions"


class Example(msgspec.Struct, kw_only=True):
    path: str
    key: str = "sk-1234"
    """A name of `KEYS`, or the credential."""
    body: Any = None
    method: str = "POST"
    headers: dict[str, str] = {}
    status: int
    message: str
    type: str = "auth_error"
    param: str | None = "None"
    note: str = ""
    """Why our body isn't LiteLLM's."""


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


CALL = {"model": "m1", "messages": HI}
UNKNOWN = "sk-unknown-0123456789abcdef"
BAD = "invalid_request_error"
NOT_FOUND = "not_found_error"
OWN_WORDING = "LiteLLM echoes a part of the credential; nothing of one is in an answer of ours"
AS_400 = "LiteLLM's framework answers 422 without saying what is wrong in OpenAI's shape"

EXAMPLES: dict[str, Example] = {
    # ── who asks ──
    "no key": Example(path=CHAT, key="", body=CALL, status=401, message="Authentication Error, No api key passed in."),
    "no scheme": Example(
        path=CHAT,
        key="",
        body=CALL,
        headers={"Authorization": "whatever abc"},
        status=401,
        message="Authentication Error, Malformed API Key passed in. Ensure Key has `Bearer ` prefix.",
    ),
    "not ours": Example(
        path=CHAT,
        key="abcdefghijklmnopqrstuvwxyz",
        body=CALL,
        status=401,
        message="Authentication Error, LiteLLM Virtual Key expected. It must start with 'sk-'.",
        note=OWN_WORDING,
    ),
    "unknown": Example(
        path=CHAT,
        key=UNKNOWN,
        body=CALL,
        status=401,
        message="Authentication Error, Invalid proxy server token passed. Unable to find token."
        f" Key Hash (Token)={digest_key(UNKNOWN)}",
        type="token_not_found_in_db",
        param="key",
    ),
    "blocked": Example(
        path=CHAT,
        key="blocked",
        body=CALL,
        status=401,
        message="Authentication Error, Key is blocked. Update via `/key/unblock` if you're an admin.",
    ),
    "a blocked team's": Example(
        path=CHAT,
        key="of_blocked_team",
        body=CALL,
        status=401,
        message="Authentication Error, Team=blocked-team is blocked. Update via `/team/unblock` if you're an admin.",
    ),
    # ── what they may do ──
    "another model": Example(
        path=CHAT,
        key="of_m1",
        body={**CALL, "model": "m2"},
        status=403,
        message="The requested model 'm2' is not available for this API key, or the model name is invalid."
        " Check the models available to you and try again.",
        type="key_model_access_denied",
        param="model",
    ),
    "another route": Example(
        path=CHAT,
        key="routed",
        body=CALL,
        status=403,
        message="Virtual key is not allowed to call this route. Only allowed to call routes: ['/models']."
        " Tried to call route: /chat/completions",
    ),
    "another cache control": Example(
        path=CHAT,
        key="cached",
        body={**CALL, "cache": {"no-store": True}},
        status=403,
        message="Not allowed to set no-store as a cache control. Contact admin to change permissions.",
        param="cache.no-store",
    ),
    "an admin's route": Example(
        path="/team/new",
        key="of_a_user",
        body={},
        status=401,
        message="Authentication Error, Only proxy admin can be used to generate, delete, update info for new"
        " keys/users/teams. Route=/team/new. Your role=internal_user.",
        note="LiteLLM adds a part of the user's id",
    ),
    "guardrails": Example(
        path=CHAT,
        key="of_fixed_team",
        body={**CALL, "guardrails": ["x"]},
        status=403,
        message="Your team does not have permission to modify guardrails.",
    ),
    "tags": Example(
        path=CHAT,
        key="plain",
        body={**CALL, "metadata": {"tags": ["x"]}},
        status=400,
        message="Client-side 'metadata.tags' not allowed in request. 'reject_clientside_metadata_tags'=True."
        " Tags can only be set via API key metadata.",
        type="bad_request_error",
        param="metadata.tags",
    ),
    "another's spend": Example(
        path="/spend/users?user_id=other",
        key="of_a_user",
        method="GET",
        status=403,
        message="Not authorized to view spend for another user.",
    ),
    # ── what a request must be ──
    "no such model": Example(
        path=CHAT,
        body={**CALL, "model": "nope"},
        status=400,
        message="/chat/completions: Invalid model name passed in model=nope."
        " Call `/v1/models` to view available models for your key.",
        type=BAD,
        param="model",
    ),
    "no messages": Example(
        path=CHAT,
        body={"model": "m1"},
        status=400,
        message="/chat/completions: Missing required parameter: 'messages'.",
        type=BAD,
        param="messages",
    ),
    "an address": Example(
        path=CHAT,
        key="plain",
        body={**CALL, "api_base": "http://x"},
        status=401,
        message="Authentication Error, Rejected Request: api_base is not allowed in request body",
        param="api_base",
    ),
    "no model to calculate": Example(
        path="/spend/calculate",
        body={},
        status=400,
        message="Bad Request - Either 'model' or 'completion_response' must be provided",
        type="None",
    ),
    "no messages to calculate": Example(
        path="/spend/calculate",
        body={"model": "m1"},
        status=400,
        message="Bad Request - messages must be provided if 'model' is provided",
        type="None",
    ),
    "no days": Example(
        path="/global/spend/report",
        method="GET",
        status=400,
        message="Please provide start_date and end_date",
        type=BAD,
        param="start_date",
    ),
    # ── keys ──
    "a key's form": Example(
        path="/key/generate",
        body={"key": "abcd-0123456789-wxyz"},
        status=400,
        message="Invalid key format. LiteLLM Virtual Key must start with 'sk-'.",
        type=BAD,
        param="key",
        note=OWN_WORDING,
    ),
    "a key's length": Example(
        path="/key/generate",
        body={"key": "sk-short"},
        status=400,
        message="A key must be 16 to 512 characters",
        type=BAD,
        param="key",
    ),
    "an alias twice": Example(
        path="/key/generate",
        body={"key_alias": "taken"},
        status=400,
        message="Key with alias 'taken' already exists. Unique key aliases across all keys are required.",
        type=BAD,
        param="key_alias",
    ),
    "a key for another": Example(
        path="/key/generate",
        key="of_a_user",
        body={"user_id": "other"},
        status=403,
        message="User can only create keys for themselves. Got user_id=other, Your ID=u",
    ),
    "above the bound": Example(
        path="/key/generate",
        body={"max_budget": 1000},
        status=400,
        message="max_budget is over max limit set in config - user_value=1000; max_value=100",
        type=BAD,
        param="max_budget",
    ),
    "no such key": Example(
        path=f"/key/info?key={UNKNOWN}",
        method="GET",
        status=404,
        message="Key not found in database",
        type=NOT_FOUND,
        param="key",
    ),
    "no such key to change": Example(
        path="/key/update", body={"key": UNKNOWN}, status=404, message="Key not found.", type=NOT_FOUND, param="key"
    ),
    "no such key to delete": Example(
        path="/key/delete", body={"keys": [UNKNOWN]}, status=404, message="No keys found", type=NOT_FOUND, param="keys"
    ),
    "no key to delete": Example(
        path="/key/delete",
        body={},
        status=400,
        message="keys or key_aliases must name at least one key",
        type=BAD,
        param="keys",
        note=AS_400,
    ),
    # ── teams, users, customers, addresses ──
    "a team twice": Example(
        path="/team/new",
        body={"team_id": "blocked-team"},
        status=400,
        message="Team id = blocked-team already exists. Please use a different team id.",
        type=BAD,
        param="team_id",
    ),
    "no such team": Example(
        path="/team/block",
        body={"team_id": "x"},
        status=404,
        message="Team not found, passed team_id=x",
        type=NOT_FOUND,
        param="team_id",
    ),
    "no such team's callbacks": Example(
        path="/team/nobody/callback",
        method="GET",
        status=404,
        message="Team not found, passed team_id=nobody",
        type=NOT_FOUND,
        param="team_id",
    ),
    "a user twice": Example(
        path="/user/new",
        body={"user_id": "u"},
        status=400,
        message="User with user_id u already exists",
        type=BAD,
        param="user_id",
    ),
    "a customer twice": Example(
        path="/customer/new",
        body={"user_id": "c"},
        status=400,
        message="Customer already exists, passed user_id=c",
        type=BAD,
        param="user_id",
    ),
    "two budgets": Example(
        path="/customer/new",
        body={"user_id": "c2", "budget_id": "b", "max_budget": 1},
        status=400,
        message="budget_id and max_budget can't both be set",
        type=BAD,
        param="budget_id",
        note=AS_400,
    ),
    "an address twice": Example(
        path="/add/allowed_ip",
        body={"ip": "127.0.0.1"},
        status=400,
        message="IP address already exists",
        type=BAD,
        param="ip",
    ),
    "no such address": Example(
        path="/delete/allowed_ip",
        body={"ip": "10.9.9.9"},
        status=404,
        message="IP address not found",
        type=NOT_FOUND,
        param="ip",
    ),
}


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

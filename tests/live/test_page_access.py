"""The page's examples of who may do what, as printed: routes, demanded parameters, blocked users,
rotation; body for body.
"""

import asyncio
import json
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest
import pytest_asyncio

from shared import routes as table
from shared.ids import digest_key
from tests.live.conftest import MASTER, eventually, new_key
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

MODELS = """
model_list:
  - model_name: fake-openai-endpoint
    litellm_params: {model: openai/fake, mock_response: "Hello!", input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
  - model_name: gpt-4
    litellm_params: {model: openai/gpt-4, mock_response: "Hello!"}
  - model_name: gpt-3.5-turbo
    litellm_params: {model: openai/gpt-3.5-turbo, mock_response: "Hello!"}
  - model_name: text-embedding-ada-002
    litellm_params: {model: openai/text-embedding-ada-002, mock_response: "x"}
"""
ROUTES = (
    MODELS
    + """
general_settings:
  master_key: sk-1234
  public_routes: ["LiteLLMRoutes.public_routes", "/spend/calculate"] # routes that can be accessed without any auth
  admin_only_routes: ["/key/generate"] # Optional - routes that can only be accessed by Proxy Admin
  allowed_routes: ["/chat/completions", "/spend/calculate", "LiteLLMRoutes.public_routes"]
"""
)
RULES = (
    MODELS
    + """
litellm_settings:
  callbacks: ["blocked_user_check"]
  blocked_user_list: blocked.txt
general_settings:
  master_key: sk-1234
"""
)
HI = [{"role": "user", "content": "hi"}]


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def routes(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    async with RunningSuite(tmp_path_factory.mktemp("routes"), ROUTES) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def rules(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    """Two edges and two policies."""
    directory = tmp_path_factory.mktemp("rules")
    (directory / "blocked.txt").write_text("user_id_1\nuser_id_2\n")
    async with RunningSuite(directory, RULES, replicas="edge=2,policy=2") as running:
        yield running


async def curl(*arguments: str) -> tuple[int, bytes]:
    """(status, body)"""
    done = await asyncio.to_thread(
        subprocess.run,
        ["curl", "-sS", "--max-time", "30", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        check=True,
    )
    body, _, status = done.stdout.rpartition(b"\n")
    return int(status), body


async def ask(
    http: aiohttp.ClientSession,
    url: str,
    body: Any = None,
    key: str | None = "sk-1234",
    method: str = "POST",
    **more: Any,
) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
    async with http.request(method, url, json=body, headers={**headers, **more.pop("headers", {})}, **more) as answer:
        return answer.status, json.loads(await answer.read())


async def chat(http: aiohttp.ClientSession, base: str, key: str | None, **fields: Any) -> tuple[int, Any]:
    return await ask(http, base + "/chat/completions", {"model": "gpt-3.5-turbo", "messages": HI, **fields}, key)


async def test_a_refusals_header_is_the_explanations_decision(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    """On each edge, for rules of policy's and of the edge's own, on calls of models and of
    management.
    """
    team = (await ask(http, rules.edge_url + "/team/new", {"models": ["gpt-4"]}))[1]["team_id"]
    in_team = await new_key(http, rules, team_id=team)
    demanding = await new_key(http, rules, enforced_params=["metadata.generation_name"])
    body = {"model": "gpt-3.5-turbo", "messages": HI}
    cases: list[tuple[str, str, dict[str, Any], str]] = [
        (in_team, "/chat/completions", body, f"team_models; of=control.team.{team}"),
        (demanding, "/chat/completions", body, f"enforced_params; of=control.key.{digest_key(demanding)}"),
        (demanding, "/chat/completions", {**body, "user": "user_id_1"}, "customer; of=control.customer.user_id_1"),
        ("sk-nobody-nobody-nobody", "/chat/completions", body, "credential"),
        (demanding, "/team/new", {}, "role; of=role.internal_user"),
    ]
    for base in rules.edge_urls:
        for key, path, sent, decision in cases:
            async with http.post(base + path, json=sent, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status >= 400, path
                assert answer.headers["x-tollgate-decision"] == decision
            said = (await ask(http, base + "/policy/explain", {"key": key, "route": path, "body": sent}))[1]
            assert (said["decision"], said["allowed"]) == (decision, False)
        headers = {"Authorization": f"Bearer {demanding}"}
        async with http.get(base + "/global/spend/report", headers=headers) as answer:  # the ledger's answer
            assert answer.headers["x-tollgate-decision"] == "role; of=role.internal_user", await answer.text()


# Routes.


async def test_the_pages_three_tests_of_routes(routes: RunningSuite, http: aiohttp.ClientSession) -> None:
    base = routes.edge_url
    status, body = await curl(
        "--request", "POST", "--url", base + "/spend/calculate", "--header", "Content-Type: application/json",
        "--data", json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": "Hey, how's it going?"}]}),
    )  # fmt: skip
    if table.named("/spend/calculate") is not None:
        assert status == 200 and json.loads(body)["cost"] > 0, "no key at all"

    status, body = await curl(
        "--location", base + "/key/generate", "--header", "Authorization: Bearer sk-1234",
        "--header", "Content-Type: application/json", "--data", "{}",
    )  # fmt: skip
    assert status == 200
    virtual = json.loads(body)["key"]
    status, body = await curl(
        "--location", base + "/key/generate", "--header", f"Authorization: Bearer {virtual}",
        "--header", "Content-Type: application/json", "--data", '{"user_role": "internal_user"}',
    )  # fmt: skip
    assert status == 403
    assert json.loads(body) == {
        "error": {
            "message": "user not allowed to access this route. Route=/key/generate is an admin only route",
            "type": "auth_error",
            "param": "None",
            "code": "403",
        }
    }

    for path in ("/chat/completions", "/v1/chat/completions"):
        status, body = await curl(
            base + path, "-H", "Content-Type: application/json", "-H", "Authorization: Bearer sk-1234",
            "-d", json.dumps({"model": "fake-openai-endpoint", "messages": [{"role": "user", "content": "Hello, Claude"}]}),
        )  # fmt: skip
        assert status == 200, path
    for path in ("/embeddings", "/v1/embeddings"):
        status, body = await curl(
            "--location", base + path, "--header", "Content-Type: application/json",
            "-H", "Authorization: Bearer sk-1234",
            "--data", '{"model": "text-embedding-ada-002", "input": ["write a litellm poem"]}',
        )  # fmt: skip
        assert status == 403
        assert json.loads(body) == {
            "error": {"message": "Route /embeddings not allowed", "type": "auth_error", "param": "None", "code": "403"}
        }
    status, _ = await ask(http, base + "/embeddings", {"model": "x", "input": "y"}, "sk-nobody-0123456789")
    assert status == 401, "strangers learn nothing else"
    status, _ = await curl(base + "/health/liveliness")
    assert status == 200


# Demanded parameters.


async def test_the_pages_demanded_parameters_of_a_key(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    key = await new_key(http, rules, enforced_params=["user", "metadata.generation_name"])
    url = rules.edge_url + "/chat/completions"

    async def call(**fields: Any) -> tuple[int, bytes]:
        return await curl(
            "--location", url, "--header", f"Authorization: Bearer {key}", "--header", "Content-Type: application/json",
            "--data", json.dumps({"model": "gpt-3.5-turbo", "messages": HI, **fields}),
        )  # fmt: skip

    def error(name: str) -> bytes:
        message = f"Authentication Error, BadRequest please pass param={name} in request body. This is a required param"
        return f'{{"error":{{"message":"{message}","type":"auth_error","param":"None","code":401}}}}'.encode()

    assert await call() == (401, error("user"))
    assert await call(user="gm", metadata={}) == (401, error("[metadata][generation_name]"))
    status, body = await call(user="gm", metadata={"generation_name": "prod-app"})
    assert status == 200 and json.loads(body)["object"] == "chat.completion"
    other = await new_key(http, rules)
    assert (await chat(http, rules.edge_url, other))[0] == 200, "and nobody else's"


# Blocked users.


async def test_blocked_users_as_the_page_has_them(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    one, other = rules.edge_urls
    client = openai.AsyncOpenAI(api_key="sk-1234", base_url=one, max_retries=0)
    with pytest.raises(openai.BadRequestError) as refused:
        await client.chat.completions.create(model="gpt-3.5-turbo", messages=HI, user="user_id_1")
    assert "User blocked from making LLM API Calls. User=user_id_1" in str(refused.value)
    name = f"user-{uuid.uuid4().hex[:8]}"
    for edge in (one, other):
        assert (await chat(http, edge, "sk-1234", user=name))[0] == 200
    status, body = await curl(
        "-X", "POST", one + "/customer/block", "-H", "Authorization: Bearer sk-1234", "-H", "Content-Type: application/json",
        "-d", json.dumps({"user_ids": [name]}),
    )  # fmt: skip
    assert status == 200
    assert [(r["user_id"], r["blocked"]) for r in json.loads(body)["blocked_users"]] == [(name, True)]
    assert (await chat(http, one, "sk-1234", user=name))[0] == 400, "by the next request"
    await within(0.5, lambda: chat(http, other, "sk-1234", user=name), 400)
    status, body = await curl(
        "-X", "POST", one + "/user/unblock", "-H", "Authorization: Bearer sk-1234", "-H", "Content-Type: application/json",
        "-d", json.dumps({"user_ids": [name, "user_id_2"]}),
    )  # fmt: skip
    assert status == 200 and json.loads(body) == {"blocked_users": ["user_id_1"]}
    for who in (name, "user_id_2"):
        assert (await chat(http, one, "sk-1234", user=who))[0] == 200
        await within(0.5, lambda who=who: chat(http, other, "sk-1234", user=who), 200)


async def test_the_list_in_a_file_is_read_again_when_it_changes(
    rules: RunningSuite, http: aiohttp.ClientSession
) -> None:
    late = f"late-{uuid.uuid4().hex[:8]}"
    for edge in rules.edge_urls:
        assert (await chat(http, edge, "sk-1234", user=late))[0] == 200
    path: Path = rules.directory / "blocked.txt"
    path.write_text(path.read_text() + late + "\n")
    for edge in rules.edge_urls:
        await within(15, lambda edge=edge: chat(http, edge, "sk-1234", user=late), 400)


async def within(seconds: float, call: Any, status: int) -> None:
    deadline = time.monotonic() + seconds
    while True:
        found = await call()
        if found[0] == status:
            return
        assert time.monotonic() < deadline, f"still {found}"
        await asyncio.sleep(0.02)


# Keys.


async def test_a_rotated_key_lives_on_for_its_grace_on_every_edge(
    rules: RunningSuite, http: aiohttp.ClientSession
) -> None:
    one, other = rules.edge_urls
    old = await new_key(http, rules, key_alias=f"prod-{uuid.uuid4().hex[:6]}", models=["gpt-3.5-turbo"])
    status, made = await ask(http, f"{one}/key/{old}/regenerate", {"grace_period": "3s"})
    assert status == 200, made
    new = made["key"]
    assert new.startswith("sk-") and new != old and made["models"] == ["gpt-3.5-turbo"]
    for edge in (one, other):
        assert (await chat(http, edge, old))[0] == 200
        assert (await chat(http, edge, new))[0] == 200
    for edge in (one, other):
        await within(6, lambda edge=edge: chat(http, edge, old), 401)
        assert (await chat(http, edge, new))[0] == 200
    status, answer = await ask(http, one + "/key/regenerate", {"key": new, "grace_period": "soon"})
    assert (status, answer["error"]["param"]) == (400, "grace_period")
    status, made = await ask(http, one + "/key/regenerate", {"key": new})
    assert status == 200
    assert (await chat(http, one, new))[0] == 401, "without grace at once"
    await within(0.5, lambda: chat(http, other, new), 401)


async def test_spend_of_a_key_comes_from_the_book(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    key = await new_key(http, rules)
    call = {"model": "fake-openai-endpoint", "messages": HI}
    for _ in range(2):
        assert (await ask(http, rules.edge_url + "/chat/completions", call, key))[0] == 200

    async def spend() -> Any:
        return (await ask(http, rules.edge_url + "/key/info", key=key, method="GET"))[1]["info"]["spend"]

    found = await eventually(spend, lambda value: value is not None and value > 0)
    assert found == pytest.approx(2 * (10 * 0.000001 + 20 * 0.000002))


async def test_a_call_with_an_idempotency_key_happens_once(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    headers = {"Idempotency-Key": uuid.uuid4().hex}
    body = {"models": ["gpt-3.5-turbo"], "max_budget": 5, "colour": "red"}
    url = rules.edge_url + "/key/generate"
    async with http.post(url, json=body, headers={**MASTER, **headers}) as answer:
        first = await answer.json()
        assert answer.status == 200
        assert answer.headers["x-tollgate-not-enforced"] == "max_budget"
        assert answer.headers["x-tollgate-unknown-fields"] == "colour"
    for edge in rules.edge_urls:
        async with http.post(edge + "/key/generate", json=body, headers={**MASTER, **headers}) as answer:
            again = await answer.json()
            assert answer.status == 200, again
            assert answer.headers["x-tollgate-replay"] == "true"
            assert "key" not in again and again["key_name"] == first["key_name"]
    status, answer_ = await ask(http, url, {**body, "max_budget": 6}, headers=headers)
    assert status == 400 and answer_["error"]["param"] == "Idempotency-Key"
    assert (await chat(http, rules.edge_url, first["key"]))[0] == 200


async def test_explain_says_which_rule(rules: RunningSuite, http: aiohttp.ClientSession) -> None:
    key = await new_key(http, rules, models=["gpt-4"])
    status, said = await ask(
        http,
        rules.edge_url + "/policy/explain",
        {"key": key, "model": "gpt-3.5-turbo", "route": "/v1/chat/completions"},
    )
    assert status == 200 and (said["allowed"], said["rule"]) == (False, "key_models")
    assert key not in json.dumps(said)

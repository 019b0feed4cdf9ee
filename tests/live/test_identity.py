"""Tokens and single sign-on against the running suite, with an identity provider that speaks OpenID
Connect.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import jwt
import pytest
import pytest_asyncio
from aiohttp import web

from tests.identity.identity_kit import KEYS, Provider, claims, sign
from tests.live.conftest import MASTER, eventually
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - {model_name: m1, litellm_params: {model: openai/m1, mock_response: one, input_cost_per_token: 0.000001, output_cost_per_token: 0.000001}}
  - {model_name: m2, litellm_params: {model: openai/m2, mock_response: two}}
general_settings:
  master_key: sk-1234
  custom_auth: letters.user_api_key_auth
  custom_auth_settings: {mode: auto}
  enable_jwt_auth: true
  litellm_jwtauth:
    user_id_jwt_field: sub
    team_ids_jwt_field: groups
    user_id_upsert: true
    user_email_jwt_field: email
    admin_jwt_scope: gateway-admin
"""

LETTERS = """
from fastapi import HTTPException, Request
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request: Request, api_key: str) -> UserAPIKeyAuth:
    role, _, name = api_key.partition("-letter-of-")
    if not name:
        raise HTTPException(401, "no letter")
    return UserAPIKeyAuth(api_key=api_key, user_id=name, user_role="proxy_admin" if role == "admin" else None)
"""
"""`custom_auth`: whoever brings a letter is whom it names; others are looked at as before."""


class OpenId(Provider):
    """With login: whoever comes to /auth is `person`, at once."""

    def __init__(self) -> None:
        super().__init__()
        self.person: dict[str, Any] = {
            "sub": "ann",
            "email": "ann@ours.example",
            "preferred_username": "ann",
            "groups": ["dev"],
        }
        self.codes: dict[str, dict[str, str]] = {}
        self.tokens: dict[str, dict[str, Any]] = {}
        self.deny = False
        self.nonce: str | None = None

    @property
    def environ(self) -> dict[str, str]:
        at = f"http://127.0.0.1:{self.port}"
        return {
            "GENERIC_CLIENT_ID": "gateway", "GENERIC_CLIENT_SECRET": "client secret+", "GENERIC_AUTHORIZATION_ENDPOINT": at + "/auth",
            "GENERIC_TOKEN_ENDPOINT": at + "/token", "GENERIC_USERINFO_ENDPOINT": at + "/me",
            "GENERIC_ROLE_MAPPINGS_ROLES": '{"proxy_admin": ["ops"], "internal_user": ["dev"]}', "ALLOWED_EMAIL_DOMAINS": "ours.example",
            "JWT_PUBLIC_KEY_URL": self.url, "JWT_AUDIENCE": "gateway", "JWT_ISSUER": "https://idp.example",
        }  # fmt: skip

    def routes(self, app: web.Application) -> None:
        app.router.add_get("/auth", self.auth)
        app.router.add_post("/token", self.token)
        app.router.add_get("/me", self.me)

    async def auth(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        assert (
            asked["response_type"] == "code"
            and asked["client_id"] == "gateway"
            and asked["code_challenge_method"] == "S256"
        )
        back = asked["redirect_uri"]
        if self.deny:
            raise web.HTTPFound(f"{back}?error=access_denied&state={asked['state']}")
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        raise web.HTTPFound(f"{back}?code={code}&state={asked['state']}")

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        sent = base64.b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode()
        asked = self.codes.pop(form["code"], None)
        if asked is None or sent != "gateway:client%20secret%2B" or form["redirect_uri"] != asked["redirect_uri"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        challenge = (
            base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        )
        if challenge != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        access = secrets.token_urlsafe(16)
        self.tokens[access] = dict(self.person)
        said = claims(sub=self.person["sub"], nonce=self.nonce or asked["nonce"])
        return web.json_response(
            {"access_token": access, "token_type": "Bearer", "id_token": jwt.encode(said, KEYS["rsa"], "RS256")}
        )

    async def me(self, request: web.Request) -> web.Response:
        found = self.tokens.get(request.headers.get("Authorization", "").removeprefix("Bearer "))
        return web.json_response(found) if found is not None else web.json_response({}, status=401)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[OpenId]:
    found = OpenId()
    runner = await found.serve()
    yield found
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory, provider: OpenId) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("identity")
    (directory / "letters.py").write_text(LETTERS)
    async with RunningSuite(directory, CONFIG, replicas="edge=2", env=provider.environ) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def chat(
    http: aiohttp.ClientSession, gateway: RunningSuite, token: str, model: str = "m1", **headers: str
) -> tuple[int, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    async with http.post(
        gateway.edge_url + "/v1/chat/completions", json=body, headers={"Authorization": f"Bearer {token}", **headers}
    ) as answer:
        return answer.status, await answer.json()


async def test_a_token_is_a_key_of_its_user(http: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    token = sign(claims(sub="u-token", email="u@ours.example"))
    status, body = await chat(http, gateway, token)
    assert status == 200 and body["choices"][0]["message"]["content"] == "one"
    bearer = {"Authorization": f"Bearer {token}"}

    async def rows() -> Any:
        async with http.get(gateway.edge_url + "/spend/logs", headers=bearer) as answer:
            return await answer.json()

    found = await eventually(rows, lambda each: isinstance(each, list) and len(each) == 1)
    assert found[0]["user"] == "u-token" and found[0]["api_key"].startswith("hashed-jwt-") and token not in str(found)
    # The ledger's own port takes the same token, by the same rules, and shows the same rows.
    async with http.get(gateway.ledger_url + "/spend/logs", headers=bearer) as answer:
        assert answer.status == 200 and [row["request_id"] for row in await answer.json()] == [found[0]["request_id"]]
    for bad, message in ((sign(claims(exp=1)), "Token Expired"), (sign(claims(aud="other")), "Invalid audience")):
        for base in (gateway.ledger_url, gateway.edge_url):
            async with http.get(base + "/spend/logs", headers={"Authorization": f"Bearer {bad}"}) as answer:
                assert answer.status == 401 and message in (await answer.json())["error"]["message"]
    async with http.get(gateway.edge_url + "/user/info?user_id=u-token", headers=MASTER) as answer:
        assert (await answer.json())["user_info"]["user_email"] == "u@ours.example"  # made by its first call


async def test_the_operators_own_function_says_who_calls(http: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    assert (await chat(http, gateway, "a-letter-of-zoe"))[0] == 200
    bearer = {"Authorization": "Bearer a-letter-of-zoe"}

    async def rows() -> Any:
        async with http.get(gateway.edge_url + "/spend/logs", headers=bearer) as answer:
            return await answer.json()

    (row,) = await eventually(rows, lambda each: isinstance(each, list) and len(each) == 1)
    assert row["user"] == "zoe" and row["api_key"].startswith("custom-auth-") and "letter" not in str(row)
    for role, status in (("a", 401), ("admin", 200)):
        headers = {"Authorization": f"Bearer {role}-letter-of-zoe"}
        async with http.post(gateway.edge_url + "/team/new", json={"team_id": f"of-{role}"}, headers=headers) as answer:
            assert answer.status == status, await answer.text()
    assert (await chat(http, gateway, "nothing of the kind"))[0] == 401


async def test_tokens_that_are_no_good(http: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    status, body = await chat(http, gateway, sign(claims(exp=1)))
    assert status == 401 and body["error"]["message"] == "Token Expired" and body["error"]["type"] == "expired_key"
    status, body = await chat(http, gateway, sign(claims(aud="other")))
    assert status == 401 and body["error"]["message"] == "Authentication Error, Validation fails: Invalid audience"
    status, body = await chat(http, gateway, sign(claims())[:-8] + "AAAAAAAA")
    assert status == 401 and "Signature verification failed" in body["error"]["message"]


async def test_teams_and_admins_by_claims(http: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    for team, models in (("t1", ["m1"]), ("t2", ["m2"])):
        async with http.post(
            gateway.edge_url + "/team/new", json={"team_id": team, "models": models}, headers=MASTER
        ) as answer:
            assert answer.status == 200, await answer.text()
    token = sign(claims(sub="u-teams", groups=["t1", "t2"]))
    assert (await chat(http, gateway, token, "m2"))[0] == 200
    status, body = await chat(http, gateway, token, "m2", **{"x-litellm-team-id": "t1"})
    assert status == 403, body
    assert (await chat(http, gateway, token, "m2", **{"x-litellm-team-id": "t9"}))[0] == 403
    bearer = {"Authorization": f"Bearer {sign(claims(sub='boss', scope='gateway-admin'))}"}
    async with http.get(gateway.edge_url + "/team/list", headers=bearer) as answer:
        assert answer.status == 200 and {team["team_id"] for team in await answer.json()} >= {"t1", "t2"}
    bearer = {"Authorization": f"Bearer {sign(claims(sub='u-teams'))}"}
    async with http.post(gateway.edge_url + "/team/new", json={"team_id": "t3"}, headers=bearer) as answer:
        assert answer.status in (401, 403)


# ── the page ──


async def sign_in(browser: aiohttp.ClientSession, gateway: RunningSuite) -> aiohttp.ClientResponse:
    return await browser.get(gateway.edge_url + "/sso/key/generate")


async def me(browser: aiohttp.ClientSession, gateway: RunningSuite) -> Any:
    async with browser.get(gateway.edge_url + "/ui/me") as answer:
        return await answer.json() if answer.status == 200 else answer.status


async def test_sign_in_work_and_sign_out(
    browser: aiohttp.ClientSession, gateway: RunningSuite, provider: OpenId
) -> None:
    answer = await sign_in(browser, gateway)
    assert answer.status == 200 and urlsplit(str(answer.url)).path == "/ui"
    assert await me(browser, gateway) == {"user_id": "ann", "user_role": "internal_user"}
    cookie = next(each for each in browser.cookie_jar if each.key == "tollgate_session")
    async with browser.get(gateway.edge_url + "/ui/keys/new") as page:
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', await page.text())
    assert csrf is not None
    form = {"csrf": csrf[1], "key_alias": "ann's", "models": "m1"}
    async with browser.post(gateway.edge_url + "/ui/keys/create", data=form) as made:
        secret = re.search(r'id="secret" readonly value="(sk-[^"]+)"', await made.text())
    assert secret is not None and (await chat(browser, gateway, secret[1]))[0] == 200
    async with browser.get(gateway.edge_url + "/ui/users") as page:
        assert page.status == 403
    async with browser.post(gateway.edge_url + "/ui/keys/create", data={**form, "csrf": "0" * 64}) as refused:
        assert refused.status == 403
    async with browser.post(
        gateway.edge_url + "/ui/keys/create", data=form, headers={"Origin": "https://evil.example"}
    ) as refused:
        assert refused.status == 403
    # The cookie counts on the page alone.
    async with browser.get(gateway.edge_url + "/key/list") as refused:
        assert refused.status == 401
    async with browser.post(gateway.edge_url + "/ui/logout", data={"csrf": csrf[1]}, allow_redirects=False) as out:
        assert out.status == 303
    assert await me(browser, gateway) == 401
    async with aiohttp.ClientSession(cookies={"tollgate_session": cookie.value}) as thief:
        assert await me(thief, gateway) == 401


async def test_who_lost_the_group_loses_the_right(
    browser: aiohttp.ClientSession, gateway: RunningSuite, provider: OpenId
) -> None:
    ops = {"sub": "ops-1", "preferred_username": "ops-1", "email": "ops@ours.example", "groups": ["ops"]}
    provider.person = {**provider.person, **ops}
    await sign_in(browser, gateway)
    assert (await me(browser, gateway))["user_role"] == "proxy_admin"
    provider.person = {**provider.person, "groups": ["dev"]}
    await sign_in(browser, gateway)
    assert (await me(browser, gateway))["user_role"] == "internal_user"
    async with browser.post(gateway.edge_url + "/user/delete", json={"user_ids": ["ops-1"]}, headers=MASTER) as gone:
        assert gone.status == 200, await gone.text()
    assert await me(browser, gateway) == 401


async def test_a_user_made_beforehand_is_found_by_address_and_then_bound(
    browser: aiohttp.ClientSession, gateway: RunningSuite, provider: OpenId
) -> None:
    made = {"user_id": "made", "user_email": "eve@ours.example", "user_role": "internal_user", "auto_create_key": False}
    async with browser.post(gateway.edge_url + "/user/new", json=made, headers=MASTER) as answer:
        assert answer.status == 200, await answer.text()
    good = dict(provider.person)
    for name, wanted in (("eve-1", "made"), ("eve-2", "eve-2")):
        provider.person = {"sub": name, "preferred_username": name, "email": "eve@ours.example", "groups": ["dev"]}
        await sign_in(browser, gateway)
        assert (await me(browser, gateway))["user_id"] == wanted
    provider.person = good


async def test_who_is_not_let_in(browser: aiohttp.ClientSession, gateway: RunningSuite, provider: OpenId) -> None:
    good = dict(provider.person)
    provider.deny = True
    answer = await sign_in(browser, gateway)
    assert answer.status == 401 and "access_denied" in await answer.text()
    provider.deny = False
    for person in ({**good, "email": "x@evil.example"}, {**good, "email": None}):
        provider.person = person
        answer = await sign_in(browser, gateway)
        assert answer.status == 401, await answer.text()
    provider.person, provider.nonce = good, "another login's"
    assert (await sign_in(browser, gateway)).status == 401
    provider.nonce = None
    assert await me(browser, gateway) == 401


async def test_codes_and_states_are_good_once_and_for_one_browser(
    browser: aiohttp.ClientSession, gateway: RunningSuite, provider: OpenId
) -> None:
    async with browser.get(gateway.edge_url + "/sso/key/generate", allow_redirects=False) as leaving:
        there = leaving.headers["Location"]
    async with browser.get(there, allow_redirects=False) as at_provider:
        back = at_provider.headers["Location"]
    state = parse_qs(urlsplit(back).query)["state"][0]
    async with browser.get(back.replace(state, "x" * len(state)), allow_redirects=False) as wrong:
        assert wrong.status == 400
    async with aiohttp.ClientSession() as other, other.get(back, allow_redirects=False) as stolen:
        assert stolen.status == 400
    async with browser.get(gateway.edge_url + "/sso/key/generate", allow_redirects=False) as leaving:
        there = leaving.headers["Location"]
    async with browser.get(there, allow_redirects=False) as at_provider:
        back = at_provider.headers["Location"]
    async with browser.get(back, allow_redirects=False) as good:
        assert good.status == 303
    async with browser.get(back, allow_redirects=False) as replayed:
        assert replayed.status in (400, 401)


async def test_passwords_are_throttled_and_told_of(browser: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    for number in range(12):
        async with browser.post(
            gateway.edge_url + "/ui/login", data={"username": "admin", "password": f"guess-{number}"}
        ) as answer:
            assert answer.status == 401 if number < 5 else answer.status in (401, 429)

    async def told() -> Any:
        async with browser.get(gateway.edge_url + "/audit?action=login_failed", headers=MASTER) as answer:
            return (await answer.json())["total"]

    await eventually(told, lambda total: total >= 1)
    log = gateway.log_path.read_text()
    assert "guess-" not in log and "client secret" not in log

"""Groups of an everyday identity provider (nanoidp, its own login page and its own tokens): who is
taken out of a group loses what it gave, on the admin page at the next login and with tokens at the
next token.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio
import yaml

from tests.live.conftest import MASTER
from tests.support.ports import free_port
from tests.support.suite import RunningSuite

NANOIDP = Path(sys.executable).with_name("nanoidp")
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(not NANOIDP.exists(), reason="nanoidp is needed"),
]
CLIENT = ("gateway", "client secret+")
PASSWORD = "of the day"
START_TRIES = 600

CONFIG = """
model_list:
  - {model_name: research, litellm_params: {model: openai/research, mock_response: found}}
  - {model_name: support, litellm_params: {model: openai/support, mock_response: helped}}
general_settings:
  master_key: sk-1234
  enable_jwt_auth: true
  litellm_jwtauth: {user_id_jwt_field: sub, team_ids_jwt_field: groups, user_id_upsert: true}
  ui_access_mode: {type: restricted_sso_group, restricted_sso_group: staff, sso_group_jwt_field: groups}
"""


class Nano:
    """The provider's process. Its users are a file, which it reads again when told to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.groups: dict[str, list[str]] = {}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "GENERIC_CLIENT_ID": CLIENT[0], "GENERIC_CLIENT_SECRET": CLIENT[1], "GENERIC_AUTHORIZATION_ENDPOINT": self.url + "/authorize",
            "GENERIC_TOKEN_ENDPOINT": self.url + "/token", "GENERIC_USERINFO_ENDPOINT": self.url + "/userinfo",
            "GENERIC_USER_ID_ATTRIBUTE": "sub", "ALLOWED_EMAIL_DOMAINS": "ours.example",
            "GENERIC_ROLE_MAPPINGS_ROLES": '{"proxy_admin": ["ops"], "internal_user": ["dev"]}',
            "JWT_PUBLIC_KEY_URL": self.url + "/.well-known/jwks.json", "JWT_AUDIENCE": "models", "JWT_ISSUER": self.url,
        }  # fmt: skip

    def write(self) -> None:
        users = {
            name: {"password": PASSWORD, "email": f"{name}@ours.example", "groups": groups}
            for name, groups in self.groups.items()
        }
        client = {"client_id": CLIENT[0], "client_secret": CLIENT[1]}
        settings = {
            "config_version": 1,
            "server": {"host": "127.0.0.1", "port": self.port},
            "oauth": {"issuer": self.url, "audience": "models", "clients": [client]},
            "jwt": {"keys_dir": str(self.folder / "keys")},
        }
        for name, said in (("users", {"config_version": 1, "users": users}), ("settings", settings)):
            (self.folder / f"{name}.yaml").write_text(yaml.safe_dump(said))

    async def start(self) -> None:
        self.write()
        command = [str(NANOIDP), "--config", str(self.folder), "--strict-config"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        for _ in range(START_TRIES):
            try:
                async with aiohttp.ClientSession() as http, http.get(self.url + "/api/health"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        raise AssertionError("the provider didn't start: " + (self.folder / "log").read_text()[-2000:])

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait()

    async def told(self, path: str, **form: str) -> Any:
        headers = {"Authorization": aiohttp.encode_basic_auth(*CLIENT)}
        async with aiohttp.ClientSession() as http, http.post(self.url + path, data=form, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    async def set_groups(self, name: str, *groups: str) -> None:
        self.groups[name] = list(groups)
        self.write()
        await self.told("/api/config/reload")

    async def token(self, name: str) -> str:
        """As a program gets one for its user."""
        form = {"grant_type": "password", "username": name, "password": PASSWORD, "scope": "openid email profile"}
        return str((await self.told("/token", **form))["access_token"])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningSuite, Nano]]:
    folder = tmp_path_factory.mktemp("nanoidp")
    nano = Nano(folder)
    await nano.start()
    try:
        async with RunningSuite(folder / "suite", CONFIG, replicas="edge=2", env=nano.environ) as suite:
            yield suite, nano
    finally:
        nano.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def browser() -> AsyncIterator[aiohttp.ClientSession]:
    """One that hasn't met the provider."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        yield session


async def sign_in(browser: aiohttp.ClientSession, suite: RunningSuite, name: str) -> tuple[int, str, str]:
    """Through the provider's form. Returns status, path and page at the end."""
    async with browser.get(suite.edge_url + "/sso/key/generate") as shown:
        page, form_at = await shown.text(), shown.url
    form = {"username": name, "password": PASSWORD}
    transaction = re.search(r'name="transaction_id" value="([^"]+)"', page)
    assert transaction is not None, page[-2000:]
    async with browser.post(form_at, data=form | {"transaction_id": transaction[1]}) as answer:
        return answer.status, urlsplit(str(answer.url)).path, await answer.text()


async def me(browser: aiohttp.ClientSession, suite: RunningSuite) -> Any:
    async with browser.get(suite.edge_url + "/ui/me") as answer:
        return await answer.json() if answer.status == 200 else answer.status


async def chat(http: aiohttp.ClientSession, suite: RunningSuite, token: str, model: str) -> tuple[int, str]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(suite.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_who_left_a_group_has_lost_its_role_at_the_next_login(
    gateway: tuple[RunningSuite, Nano], browser: aiohttp.ClientSession
) -> None:
    suite, nano = gateway
    for groups, role in ((["staff", "ops", "dev"], "proxy_admin"), (["staff", "dev"], "internal_user")):
        await nano.set_groups("ann", *groups)
        status, path, page = await sign_in(browser, suite, "ann")
        assert (status, path) == (200, "/ui"), page
        assert await me(browser, suite) == {"user_id": "ann", "user_role": role}
        async with browser.get(suite.edge_url + "/ui/users") as users:
            assert users.status == (200 if role == "proxy_admin" else 403)
    await nano.set_groups("ann", "staff")
    assert (await sign_in(browser, suite, "ann"))[0] == 200
    assert (await me(browser, suite))["user_role"] == "internal_user_viewer"


async def test_who_left_the_group_of_the_page_is_not_let_in_again(
    gateway: tuple[RunningSuite, Nano], browser: aiohttp.ClientSession
) -> None:
    suite, nano = gateway
    await nano.set_groups("bob", "staff", "dev")
    assert (await sign_in(browser, suite, "bob"))[0] == 200
    await nano.set_groups("bob", "dev")
    status, path, page = await sign_in(browser, suite, "bob")
    assert (status, path) == (403, "/sso/callback") and "group that may use this page" in page
    status, _, page = await sign_in(browser, suite, "nobody")
    assert status != 200 or "Invalid" in page  # the provider's own no


async def test_tokens_have_the_teams_of_their_groups(
    gateway: tuple[RunningSuite, Nano], browser: aiohttp.ClientSession
) -> None:
    suite, nano = gateway
    for team in ("research", "support"):
        made = {"team_id": team, "models": [team]}
        async with browser.post(suite.edge_url + "/team/new", json=made, headers=MASTER) as answer:
            assert answer.status == 200, await answer.text()
    await nano.set_groups("eve", "research", "support")
    both = await nano.token("eve")
    for team, said in (("research", "found"), ("support", "helped")):
        status, body = await chat(browser, suite, both, team)
        assert status == 200 and said in body, body
    await nano.set_groups("eve", "support")
    one = await nano.token("eve")
    assert (await chat(browser, suite, one, "support"))[0] == 200
    status, body = await chat(browser, suite, one, "research")
    assert status == 403 and "research" in body, body


async def test_tokens_of_a_key_that_the_provider_has_since_a_moment(
    gateway: tuple[RunningSuite, Nano], browser: aiohttp.ClientSession
) -> None:
    suite, nano = gateway
    await nano.set_groups("kim", "support")
    before = await nano.token("kim")
    assert (await chat(browser, suite, before, "support"))[0] == 200
    await nano.told("/api/keys/rotate")
    after = await nano.token("kim")
    assert before.split(".")[0] != after.split(".")[0]
    for token in (after, before):  # the provider still shows the older key
        status, body = await chat(browser, suite, token, "support")
        assert status == 200, body

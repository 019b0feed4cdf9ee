"""Single sign-on in a real browser against a certified provider (npm's oidc-provider, its own login
and consent pages).
"""

import asyncio
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page

from tests.live.conftest import MASTER
from tests.prove.test_browser import CHROMIUM
from tests.prove.test_browser import chromium as chromium
from tests.support.ports import free_port
from tests.support.suite import MOCK_CONFIG, RunningSuite

HERE = Path(__file__).parent / "openid"
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None or shutil.which("npm") is None, reason="chromium, node and npm are needed"),
]


class Strict:
    """The provider's process."""

    def __init__(self, folder: Path, redirect: str) -> None:
        self.folder, self.redirect = folder, redirect
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self.process = subprocess.Popen(["node", "provider.mjs", str(self.port), self.redirect], cwd=self.folder)
        for _ in range(300):
            try:
                async with aiohttp.ClientSession() as http, http.get(self.url + "/.well-known/openid-configuration"):
                    return
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
        raise AssertionError("the provider didn't start")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    async def groups(self, **of: list[str]) -> None:
        async with aiohttp.ClientSession() as http, http.post(self.url + "/control", json=of) as answer:
            assert answer.status == 200


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[RunningSuite, Strict]]:
    folder = tmp_path_factory.mktemp("openid")
    for name in ("package.json", "package-lock.json", ".npmrc", "provider.mjs"):
        shutil.copy(HERE / name, folder)
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True, timeout=180)
    provider = Strict(folder, "")
    suite = RunningSuite(folder / "suite", MOCK_CONFIG)
    suite._given_env |= {
        "GENERIC_CLIENT_ID": "gateway", "GENERIC_CLIENT_SECRET": "client secret+", "GENERIC_AUTHORIZATION_ENDPOINT": provider.url + "/auth",
        "GENERIC_TOKEN_ENDPOINT": provider.url + "/token", "GENERIC_USERINFO_ENDPOINT": provider.url + "/me",
        "GENERIC_ROLE_MAPPINGS_ROLES": '{"proxy_admin": ["ops"], "internal_user": ["dev"]}', "ALLOWED_EMAIL_DOMAINS": "ours.example",
    }  # fmt: skip
    async with suite:
        provider.redirect = base(suite) + "/sso/callback"
        await provider.start()
        yield suite, provider
        provider.stop()


def base(suite: RunningSuite) -> str:
    return suite.edge_url.replace("127.0.0.1", "localhost")


@pytest_asyncio.fixture(loop_scope="session")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    found = await chromium.new_context()
    yield found
    await found.close()


async def at_consent(page: Page, suite: RunningSuite, login: str) -> None:
    """From the gateway to the provider, through its login page, if it shows one."""
    await page.goto(base(suite) + "/sso/key/generate")
    if await page.locator("input[name=login]").count():
        await page.fill("input[name=login]", login)
        await page.fill("input[name=password]", "anything")
        await page.click("button[type=submit]")
        await page.wait_for_load_state()


async def at_provider(page: Page, suite: RunningSuite, login: str, *, consent: bool = True) -> None:
    """And through its page that asks for consent."""
    await at_consent(page, suite, login)
    if "/interaction/" in page.url:
        await page.click("button[type=submit]" if consent else "text=Cancel")
    await page.wait_for_load_state()


async def me(page: Page, suite: RunningSuite) -> Any:
    answer = await page.request.get(base(suite) + "/ui/me")
    return await answer.json() if answer.ok else answer.status


async def held(context: BrowserContext, page: Page, suite: RunningSuite, login: str) -> str:
    """The address that the provider sends the browser back to, before anybody went there."""
    await at_consent(page, suite, login)
    form = page.locator("form[method=post]")
    target = await form.get_attribute("action")
    prompt = await page.locator("input[name=prompt]").get_attribute("value")
    assert target is not None and prompt == "consent", page.url
    answer = await context.request.post(target, form={"prompt": "consent"}, max_redirects=0)
    answer = await context.request.get(answer.headers["location"], max_redirects=0)
    assert "/sso/callback?" in answer.headers["location"]
    return answer.headers["location"]


async def test_in_by_role_and_out_again(
    gateway: tuple[RunningSuite, Strict], context: BrowserContext, chromium: Browser
) -> None:
    suite, provider = gateway
    await provider.groups(ann=["ops"])
    page = await context.new_page()
    await at_provider(page, suite, "ann")
    assert urlsplit(page.url).path == "/ui", await page.content()
    assert await me(page, suite) == {"user_id": "ann", "user_role": "proxy_admin"}
    # the group is gone: so is the right, at the next login
    await provider.groups(ann=["dev"])
    await at_provider(page, suite, "ann")
    assert await me(page, suite) == {"user_id": "ann", "user_role": "internal_user"}
    # out: whoever copied the cookie is out as well
    cookies = await context.cookies()
    await page.goto(base(suite) + "/ui")
    await page.click("form[action='/ui/logout'] button")
    assert urlsplit(page.url).path == "/ui/login" and await me(page, suite) == 401
    thief = await chromium.new_context()
    await thief.add_cookies(cookies)
    stolen = await thief.new_page()
    await stolen.goto(base(suite) + "/ui/keys")
    assert urlsplit(stolen.url).path == "/ui/login" and await me(stolen, suite) == 401
    await thief.close()


async def test_answers_that_are_not_this_logins(
    gateway: tuple[RunningSuite, Strict], context: BrowserContext, chromium: Browser
) -> None:
    suite, _ = gateway
    page = await context.new_page()
    back = await held(context, page, suite, "bob")
    state = parse_qs(urlsplit(back).query)["state"][0]
    before = await context.cookies()
    answer = await page.goto(back.replace(state, "x" * len(state)))
    assert answer is not None and answer.status == 400 and await me(page, suite) == 401
    # another browser has nothing of this login
    other = await (await chromium.new_context()).new_page()
    answer = await other.goto(back)
    assert answer is not None and answer.status == 400
    await other.context.close()
    # the right browser, then the same code once more with all that the browser had before
    await context.add_cookies(before)
    await page.goto(back)
    assert (await me(page, suite))["user_id"] == "bob"
    await context.clear_cookies()
    await context.add_cookies(before)
    answer = await page.goto(back)
    assert answer is not None and answer.status == 401 and await me(page, suite) == 401


async def test_another_logins_nonce(gateway: tuple[RunningSuite, Strict], context: BrowserContext) -> None:
    suite, provider = gateway
    page = await context.new_page()

    # A browser's redirect can't be changed on its way: the address is taken from the gateway's
    # answer.
    leaving = await context.request.get(base(suite) + "/sso/key/generate", max_redirects=0)
    parts = urlsplit(leaving.headers["location"])
    query = {name: values[0] for name, values in parse_qs(parts.query).items()} | {"nonce": "somebody-elses"}
    await page.goto(f"{provider.url}/auth?{urlencode(query)}")
    await page.fill("input[name=login]", "eve")
    await page.fill("input[name=password]", "anything")
    await page.click("button[type=submit]")
    await page.click("button[type=submit]")
    await page.wait_for_load_state()
    assert urlsplit(page.url).path == "/sso/callback" and "isn't for this login" in (await page.inner_text("main"))
    assert await me(page, suite) == 401


async def test_consent_denied_and_a_form_of_another_site(
    gateway: tuple[RunningSuite, Strict], context: BrowserContext
) -> None:
    suite, provider = gateway
    page = await context.new_page()
    await at_provider(page, suite, "dan", consent=False)
    assert "access_denied" in await page.inner_text("main") and await me(page, suite) == 401
    await provider.groups(mia=["ops"])
    await context.clear_cookies()
    await at_provider(page, suite, "mia")
    assert (await me(page, suite))["user_role"] == "proxy_admin"
    await page.goto(f"{provider.url}/evil?" + urlencode({"to": base(suite) + "/ui/keys/create"}))
    await page.click("button")
    async with (
        aiohttp.ClientSession() as http,
        http.get(suite.edge_url + "/key/list?key_alias=forged", headers=MASTER) as answer,
    ):
        assert (await answer.json())["total_count"] == 0
    # and of our own page, with somebody else's token
    await page.goto(base(suite) + "/ui/keys/new")
    await page.evaluate("document.querySelector('main input[name=csrf]').value = '0'.repeat(64)")
    await page.fill("input[name=key_alias]", "forged")
    await page.click("main form button")
    assert re.search("again|form", await page.inner_text("main"))
    async with (
        aiohttp.ClientSession() as http,
        http.get(suite.edge_url + "/key/list?key_alias=forged", headers=MASTER) as answer,
    ):
        assert (await answer.json())["total_count"] == 0


async def test_the_provider_is_down(gateway: tuple[RunningSuite, Strict], context: BrowserContext) -> None:
    suite, provider = gateway
    page = await context.new_page()
    back = await held(context, page, suite, "zoe")
    provider.stop()
    answer = await page.goto(back)
    assert answer is not None and answer.status == 503 and "can't be reached" in await page.inner_text("main")
    assert await me(page, suite) == 401
    await provider.start()
    await context.clear_cookies()
    await at_provider(page, suite, "zoe")
    assert (await me(page, suite))["user_id"] == "zoe"

"""The admin page in a real browser (Debian's chromium), as a person uses it: with single sign-on,
by role, narrow and wide.

Looks also for what a person wouldn't see: requests to other hosts, errors on the console, and what
axe-core calls serious.
"""

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.live.test_identity import CONFIG, LETTERS, OpenId
from tests.support.suite import RunningSuite

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium isn't installed"),
]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SERIOUS = ("serious", "critical")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def provider() -> AsyncIterator[OpenId]:
    found = OpenId()
    runner = await found.serve()
    yield found
    await runner.cleanup()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory, provider: OpenId) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("browser")
    (directory / "letters.py").write_text(LETTERS)
    async with RunningSuite(directory, CONFIG, env=provider.environ) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        await browser.close()


class Person:
    """A browser of its own, which keeps what went wrong in it."""

    def __init__(self, context: BrowserContext, page: Page, base: str, allowed: str) -> None:
        self.context, self.page, self.base = context, page, base
        self.wrong: list[str] = []
        page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on(
            "request", lambda asked: None if asked.url.startswith((base, allowed)) else self.wrong.append(asked.url)
        )

    async def go(self, path: str) -> None:
        await self.page.goto(self.base + path)

    async def looks_right(self) -> None:
        overflow = await self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow <= 0, f"{self.page.url} is wider than the window by {overflow}"
        found = await Axe().run(self.page)
        bad = [each["id"] for each in found.response["violations"] if each["impact"] in SERIOUS]
        assert bad == [], (self.page.url, bad)
        assert self.wrong == [], self.wrong


@pytest_asyncio.fixture(
    loop_scope="session", params=[(1280, "en-US"), (380, "en-US"), (1280, "zh-CN")], ids=["wide", "narrow", "chinese"]
)
async def person(
    request: pytest.FixtureRequest, chromium: Browser, gateway: RunningSuite, provider: OpenId
) -> AsyncIterator[Person]:
    width, locale = request.param
    context = await chromium.new_context(viewport={"width": width, "height": 860}, locale=locale)
    page = await context.new_page()
    yield Person(context, page, gateway.edge_url.replace("127.0.0.1", "localhost"), f"http://127.0.0.1:{provider.port}")
    await context.close()


async def test_an_admin_signs_in_and_works(person: Person, provider: OpenId) -> None:
    provider.person = {"sub": "root", "preferred_username": "root", "email": "root@ours.example", "groups": ["ops"]}
    page = person.page
    await person.go("/ui/login")
    await person.looks_right()
    await page.click("a.button.main")
    await page.wait_for_url("**/ui")
    for path in ("/ui", "/ui/spend", "/ui/requests", "/ui/keys", "/ui/teams", "/ui/users", "/ui/customers", "/ui/models", "/ui/guardrails",
                 "/ui/settings", "/ui/retention", "/ui/audit", "/ui/explain", "/ui/model_hub"):  # fmt: skip
        await person.go(path)
        await person.looks_right()
    await person.go("/ui/keys/new")
    await page.fill("input[name=key_alias]", f"made in {id(person)} <b>browser</b>")
    await page.fill("textarea[name=models]", "m1")
    await page.click("main button.main")
    secret = await page.input_value("#secret")
    assert secret.startswith("sk-")
    await person.looks_right()
    await page.click("a.button.main")
    page.on("dialog", lambda dialog: dialog.accept())
    await page.click("form[action$='/rotate'] button")
    assert (await page.input_value("#secret")) != secret
    await page.click("a.button.main")
    await page.click("form[action$='/block'] button")
    assert "message=done.blocked" in page.url
    await person.looks_right()
    await page.keyboard.press("Tab")
    assert "skip" in str(await page.evaluate("document.activeElement.className"))
    await page.click("form[action='/ui/logout'] button")
    await person.go("/ui/keys")
    assert "/ui/login" in page.url
    assert person.wrong == []


async def test_a_user_sees_what_is_theirs(person: Person, provider: OpenId) -> None:
    provider.person = {"sub": "dev", "preferred_username": "dev", "email": "dev@ours.example", "groups": ["dev"]}
    page = person.page
    await person.go("/sso/key/generate")
    await page.wait_for_url("**/ui")
    await person.looks_right()
    shown = await page.inner_text("nav.nav")
    for path in ("/ui/users", "/ui/audit", "/ui/settings"):
        assert await page.locator(f"nav.nav a[href='{path}']").count() == 0, shown
        answer = await page.goto(person.base + path)
        assert answer is not None and answer.status == 403
        person.wrong.clear()  # the browser reports the 403 itself
    await person.go("/ui/keys")
    await person.looks_right()


async def test_no_page_can_be_framed(person: Person) -> None:
    await person.page.set_content(f'<iframe src="{person.base}/ui/login"></iframe>')
    await person.page.wait_for_timeout(500)
    for frame in person.page.frames[1:]:
        assert "password" not in await frame.content()

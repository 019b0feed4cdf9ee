"""The admin page at work in a real browser: a newcomer's way, the playground, trying a guardrail,
numbers that move, markup everywhere.
"""

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from services.edge.pages.site import VIEWS
from tests.live.conftest import MASTER
from tests.prove.test_browser import CHROMIUM, Person
from tests.prove.test_browser import chromium as chromium
from tests.support.suite import RunningSuite
from tests.support.upstream import Behaviour, FakeUpstream

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium isn't installed"),
]
MARKUP = '"><img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
CONFIG = """
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_base: %(base)s, api_key: k, input_cost_per_token: 0.000001, output_cost_per_token: 0.000002}
  - model_name: '"><img src=x onerror="window.hurt=1">'
    litellm_params: {model: openai/odd, api_base: %(base)s, api_key: k}
litellm_settings:
  callbacks: [banned_keywords]
  banned_keywords_list: [forbidden]
general_settings: {master_key: sk-1234}
"""
SHOTS = os.environ.get("PROVE_SCREENSHOTS")
"""A folder for pictures of every view."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def upstream() -> AsyncIterator[FakeUpstream]:
    async with FakeUpstream() as found:
        found.behaviours["small"] = Behaviour(text=f"Good day {MARKUP}", chunks=8, chunk_delay_ms=30)
        found.behaviours["odd"] = Behaviour(status=418)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: FakeUpstream) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("work")
    env = {"TOLLGATE_EXPORT_URL": str(directory / "exports")}
    async with RunningSuite(directory, CONFIG % {"base": upstream.base_url}, env=env) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session", params=[(1280, "light"), (360, "dark")], ids=["wide", "narrow-dark"])
async def person(request: pytest.FixtureRequest, chromium: Browser, gateway: RunningSuite) -> AsyncIterator[Person]:
    width, scheme = request.param
    context = await chromium.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = await context.new_page()
    yield Person(context, page, gateway.edge_url.replace("127.0.0.1", "localhost"), "about:")
    await context.close()


async def sign_in(person: Person) -> None:
    await person.go("/ui/login")
    await person.page.fill("input[name=username]", "admin")
    await person.page.fill("input[name=password]", "sk-1234")
    await person.page.click("form button.main, form button")
    await person.page.wait_for_url("**/ui")


async def picture(person: Person, name: str) -> None:
    if SHOTS:
        width = (person.page.viewport_size or {"width": 0})["width"]
        await person.page.screenshot(path=f"{SHOTS}/{name}-{width}.png", full_page=True)


async def test_a_newcomer_has_a_key_a_call_and_its_cost(person: Person) -> None:
    """Within two minutes, by what the page itself offers."""
    begun, page = time.monotonic(), person.page
    await sign_in(person)
    await page.click("nav >> text=Playground")
    await page.click("text=Make a key for ten minutes")
    await page.fill("input[name=model]", "small")
    await page.click("form#play button.main")
    await page.wait_for_selector("[data-of=cost]", timeout=20_000)
    assert "Good day" in await page.inner_text("#answer")
    assert (await page.inner_text("[data-of=cost]")).startswith("$0.0000")
    assert await page.inner_text("[data-of=status]") == "200"
    assert "banned_keywords: allow" in await page.inner_text("[data-of=guardrails]")
    assert await page.evaluate("window.hurt") is None
    await picture(person, "playground")
    await person.looks_right()
    # a refusal is told as any client is told
    await page.fill("textarea[name=message]", "say something forbidden")
    await page.click("form#play button.main")
    await page.wait_for_selector("[data-of=took]")
    assert await page.inner_text("[data-of=status]") == "400"
    await page.click("nav >> text=Overview")
    await page.wait_for_selector("text=small")
    assert time.monotonic() - begun < 120
    person.wrong = [each for each in person.wrong if "400" not in each]  # the refusal itself
    await person.looks_right()


async def test_a_guardrail_is_tried_and_its_report_read(person: Person) -> None:
    page = person.page
    await sign_in(person)
    await page.click("nav >> text=Guardrails")
    await person.looks_right()
    for text, verdict in (("all is well", "allowed"), ("this is forbidden", "refused")):
        await page.fill("textarea[name=text]", f"{text} {MARKUP}")
        await page.click("form.stack button")
        assert verdict in await page.inner_text(".card b")
        assert await page.evaluate("window.hurt") is None
    await picture(person, "guardrail-tried")
    await person.looks_right()


async def test_numbers_move_without_a_reload(person: Person, gateway: RunningSuite) -> None:
    page = person.page
    await sign_in(person)
    await page.evaluate("window.same = 1")
    before, tag = await page.inner_text(".cards"), f"moving-{time.time_ns()}"
    async with aiohttp.ClientSession() as http:
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "metadata": {"tags": [tag]}}
        async with http.post(gateway.edge_url + "/v1/chat/completions", json=body, headers=MASTER) as answer:
            assert answer.status == 200
    await page.wait_for_selector(f"text={tag}", timeout=25_000)
    assert await page.inner_text(".cards") != before and await page.evaluate("window.same") == 1
    await person.looks_right()


async def test_an_export_with_its_progress(person: Person) -> None:
    page = person.page
    await sign_in(person)
    await page.click("nav >> text=Exports")
    await page.click("form.stack button")
    await page.wait_for_selector(".card b.good", timeout=30_000)
    await picture(person, "exports")
    await person.looks_right()


async def test_markup_is_inert_in_every_field(person: Person, gateway: RunningSuite) -> None:
    """Names, tags, metadata, models, a provider's error: on every view, in both widths, dark and
    light.
    """
    async with aiohttp.ClientSession() as http:

        async def made(path: str, **body: Any) -> Any:
            async with http.post(gateway.edge_url + path, json=body, headers=MASTER) as answer:
                return await answer.json()

        await made("/team/new", team_id="t-odd", team_alias=MARKUP, metadata={MARKUP: MARKUP})
        await made("/user/new", user_id=f"u {MARKUP}", user_alias=MARKUP, user_email=f"{MARKUP}@x.example")
        await made("/customer/new", user_id=MARKUP, alias=MARKUP)
        await made("/key/generate", key_alias=MARKUP, team_id="t-odd", metadata={MARKUP: MARKUP, "tags": [MARKUP]})
        odd = '"><img src=x onerror="window.hurt=1">'
        for model in ("small", odd):
            await made(
                "/v1/chat/completions", model=model, messages=[{"role": "user", "content": MARKUP}], user=MARKUP,
                metadata={"tags": [MARKUP], "spend_logs_metadata": {MARKUP: MARKUP}},
            )  # fmt: skip
        async with http.get(gateway.edge_url + "/audit?kind=key", headers=MASTER) as answer:
            audit = (await answer.json())["audit_logs"]
    page = person.page
    await sign_in(person)
    kinds = {
        "keys": "",
        "teams": "t-odd",
        "users": "",
        "audit": str(audit[0].get("id", "")) if audit else "",
        "requests": "",
    }
    for path in VIEWS:
        if path.endswith("{id}"):
            kind = path.split("/")[2]
            await person.go(f"/ui/{kind}")
            first = page.locator(f"td a[href^='/ui/{kind}/']").first
            if kinds[kind]:
                await person.go(path.replace("{id}", kinds[kind]))
            elif await first.count():
                await first.click()
                await page.wait_for_load_state()
        else:
            await person.go(path)
        assert await page.evaluate("window.hurt") is None, path
        assert await page.locator("img[src=x]").count() == 0, path
        await picture(person, path.strip("/").replace("/", "-").replace("{id}", "one"))
        await person.looks_right()

"""What people come to the admin page for, done as a person does it: by an admin, by a team's admin,
by who only looks on.
"""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.prove.test_browser import CHROMIUM, Person
from tests.prove.test_browser import chromium as chromium
from tests.support.suite import RunningSuite

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium isn't installed"),
]
CONFIG = """
model_list:
  - model_name: small
    litellm_params: {model: openai/small, mock_response: hello, input_cost_per_token: 0.001, output_cost_per_token: 0.002}
litellm_settings: {public_model_groups: [small]}
general_settings: {master_key: sk-1234}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("roles")
    async with RunningSuite(directory, CONFIG) as running:
        made: tuple[tuple[str, dict[str, Any]], ...] = (
            ("/team/new", {"team_id": "ours", "team_alias": "Ours"}),
            ("/team/new", {"team_id": "others", "team_alias": "Others"}),
            ("/user/new", {"user_id": "lead", "user_role": "internal_user", "auto_create_key": False}),
            ("/user/new", {"user_id": "newcomer", "user_role": "internal_user", "auto_create_key": False}),
            ("/user/new", {"user_id": "onlooker", "user_role": "proxy_admin_viewer", "auto_create_key": False}),
            ("/team/member_add", {"team_id": "ours", "member": {"role": "admin", "user_id": "lead"}}),
            ("/key/generate", {"key_alias": "theirs", "team_id": "others"}),
            ("/key/generate", {"key_alias": "of-ours", "team_id": "ours"}),
        )
        for path, body in made:
            await said(running, path, body)
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "user": "a-customer"}
        await said(running, "/v1/chat/completions", body)
        yield running


async def said(gateway: RunningSuite, path: str, body: dict[str, Any], key: str = "sk-1234") -> Any:
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(gateway.edge_url + path, json=body, headers=headers) as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


@pytest_asyncio.fixture(loop_scope="session")
async def person(chromium: Browser, gateway: RunningSuite) -> AsyncIterator[Person]:
    context = await chromium.new_context(viewport={"width": 1280, "height": 860})
    page = await context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    yield Person(context, page, gateway.edge_url.replace("127.0.0.1", "localhost"), "about:")
    await context.close()


async def signed_in(person: Person, gateway: RunningSuite, user: str) -> None:
    """With a session as single sign-on makes them: a key of the user's, in the cookie."""
    key = (await said(gateway, "/key/generate", {"user_id": user}))["key"]
    await person.context.add_cookies([{"name": "tollgate_session", "value": key, "url": person.base}])
    await person.go("/ui")


async def test_an_admin_looks_after_everything(person: Person) -> None:
    page, name = person.page, f"made-{secrets.token_hex(4)}"
    await person.go("/ui/login")
    await page.fill("input[name=username]", "admin")
    await page.fill("input[name=password]", "sk-1234")
    await page.click("form button")
    await page.wait_for_url("**/ui")

    await page.click("nav >> text=Teams")
    await page.fill("form[action='/ui/teams/create'] input[name=team_alias]", name)
    await page.click("form[action='/ui/teams/create'] button")
    await expect(page.locator("h1")).to_have_text(name)
    await page.fill("form[action$='/add'] input[name=user_id]", "newcomer")
    await page.click("form[action$='/add'] button")
    await expect(page.locator("table").first).to_contain_text("newcomer")
    await person.looks_right()
    await page.click("tr:has-text('newcomer') form[action$='/remove'] button")
    await expect(page.locator("table").first).not_to_contain_text("newcomer")
    await page.click("form[action$='/block'] button")
    await page.click("form[action$='/unblock'] button")
    await page.click("form[action$='/delete'] button")
    await page.wait_for_url("**/ui/teams*")
    await expect(page.locator("main")).not_to_contain_text(name)

    await page.click("nav >> text=Users")
    await page.fill("form[action='/ui/users/create'] input[name=user_id]", name)
    await page.click("form[action='/ui/users/create'] button")
    await expect(page.locator("h1")).to_have_text(name)
    await page.select_option("form[action$='/role'] select", "internal_user_viewer")
    await page.click("form[action$='/role'] button")
    await expect(page.locator("form[action$='/role'] select")).to_have_value("internal_user_viewer")
    await person.looks_right()

    await page.click("nav >> text=Customers")
    await page.fill("section form[action='/ui/customers/block'] input[name=user_id]", "a-customer")
    await page.click("section.panel form[action='/ui/customers/block'] button")
    for act, state, then in (("unblock", "blocked", "active"), ("block", "active", "blocked")):
        row = page.locator("tr", has_text="a-customer")
        await expect(row).to_contain_text(state)
        await row.locator(f"form[action='/ui/customers/{act}'] button").click()
        await expect(row).to_contain_text(then)
    await person.looks_right()

    await page.click("nav >> text=Explain")
    await page.fill("input[name=model]", "nobody-has-it")
    await page.click("main form button")
    await expect(page.locator(".card b").first).to_have_text("refused")
    await expect(page.locator("tr", has_text="refused")).to_contain_text("nobody-has-it")
    await person.looks_right()

    await page.click("nav >> text=Audit log")
    await page.fill("input[name=object_id]", name)
    await page.click("form.filters button")
    await page.click("td a >> nth=0")
    await expect(page.locator("table")).to_contain_text("internal_user_viewer")
    await person.looks_right()

    await page.click("nav >> text=Spend")
    await page.select_option("select[name=by]", "model")
    await page.wait_for_url("**by=model**")
    await page.click("td a >> text=small")
    await page.wait_for_url("**model=small**")
    await page.click("nav >> text=Requests")
    await page.click("td a >> nth=0")
    await expect(page.locator(".cards")).to_contain_text("$0.")
    await expect(page.locator("main dl").first).to_contain_text("a-customer")
    await person.looks_right()
    await page.click("nav >> text=Retention")
    await person.looks_right()


async def test_a_teams_admin_looks_after_the_team_alone(person: Person, gateway: RunningSuite) -> None:
    page = person.page
    await signed_in(person, gateway, "lead")
    for path in ("/ui/users", "/ui/customers", "/ui/audit", "/ui/settings", "/ui/models"):
        assert await page.locator(f"nav.nav a[href='{path}']").count() == 0
        answer = await page.goto(person.base + path)
        assert answer is not None and answer.status == 403
    person.wrong.clear()  # the browser reports the 403s itself
    await person.go("/ui/teams")
    await expect(page.locator("main")).to_contain_text("Ours")
    await expect(page.locator("main")).not_to_contain_text("Others")
    assert await page.locator("form[action='/ui/teams/create']").count() == 0
    await page.click("td a >> text=Ours")
    assert await page.locator("form[action$='/delete']").count() == 0, "only an admin's"
    await page.fill("form[action$='/add'] input[name=user_id]", "newcomer")
    await page.click("form[action$='/add'] button")
    await expect(page.locator("table").first).to_contain_text("newcomer")
    await page.click("tr:has-text('newcomer') form[action$='/remove'] button")
    await expect(page.locator("table").first).not_to_contain_text("newcomer")
    await person.looks_right()

    await person.go("/ui/keys")
    await expect(page.locator("main")).to_contain_text("of-ours")
    await expect(page.locator("main")).not_to_contain_text("theirs")
    await person.go("/ui/keys/new")
    await page.fill("input[name=key_alias]", f"lead-{secrets.token_hex(3)}")
    await page.fill("input[name=team_id]", "ours")
    await page.click("main button.main")
    key = await page.input_value("#secret")
    await person.looks_right()
    await said(
        gateway, "/v1/chat/completions", {"model": "small", "messages": [{"role": "user", "content": "hi"}]}, key
    )
    answer = await page.goto(person.base + "/ui/teams/others")
    assert answer is not None and answer.status in (403, 404)
    person.wrong.clear()


async def test_who_only_looks_on_sees_all_and_finds_no_button(person: Person, gateway: RunningSuite) -> None:
    page = person.page
    await signed_in(person, gateway, "onlooker")
    for path in ("/ui", "/ui/spend", "/ui/requests", "/ui/keys", "/ui/teams", "/ui/teams/ours", "/ui/users", "/ui/users/lead",
                 "/ui/customers", "/ui/models", "/ui/guardrails", "/ui/audit", "/ui/settings", "/ui/retention"):  # fmt: skip
        await person.go(path)
        forms = await page.eval_on_selector_all(
            "main form", "all => all.filter(f => f.method == 'post').map(f => f.action)"
        )
        assert forms == [] or path == "/ui/guardrails", (path, forms)
        await person.looks_right()
    await person.go("/ui/keys")
    await page.click("td a >> text=theirs")
    assert await page.locator("main form[method=post]").count() == 0

"""The admin page against the running suite: each view, by role; what only a browser would need is
in `make prove`.
"""

import html
import re
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from services.edge.pages import words
from services.edge.pages.site import VIEWS
from tests.live.conftest import MASTER, eventually
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

MARKUP = '<img src=x onerror="alert(1)">'
CONFIG = """
model_list:
  - {model_name: m1, litellm_params: {model: openai/gpt-4o, mock_response: one}}
  - {model_name: m2, litellm_params: {model: openai/gpt-4o-mini, mock_response: two}}
  - {model_name: away, litellm_params: {model: openai/x, api_key: sk-x, api_base: "http://127.0.0.1:9/v1", cooldown_time: 60}}
litellm_settings: {public_model_groups: [m1]}
general_settings: {master_key: sk-1234}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    directory: Path = tmp_path_factory.mktemp("pages")
    async with RunningSuite(directory, CONFIG) as running, aiohttp.ClientSession() as http:
        body = {"model": "m1", "messages": [{"role": "user", "content": "hi"}], "metadata": {"tags": [MARKUP, "web"]}}
        async with http.post(running.edge_url + "/v1/chat/completions", json=body, headers=MASTER) as answer:
            assert answer.status == 200
        for path, made in (
            ("/team/new", {"team_id": "t1", "team_alias": MARKUP}),
            ("/customer/new", {"user_id": MARKUP}),
            ("/user/new", {"user_id": "viewer", "user_role": "proxy_admin_viewer", "user_alias": MARKUP}),
            ("/key/generate", {"key_alias": "shown", "team_id": "t1", "metadata": {"note": MARKUP}}),
        ):
            async with http.post(running.edge_url + path, json=made, headers=MASTER) as answer:
                assert answer.status == 200, await answer.text()
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def admin(gateway: RunningSuite) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
        async with session.post(
            gateway.edge_url + "/ui/login", data={"username": "admin", "password": "sk-1234"}
        ) as answer:
            assert answer.status == 200 and answer.url.path == "/ui"
        yield session


async def text_of(session: aiohttp.ClientSession, gateway: RunningSuite, path: str, status: int = 200) -> str:
    async with session.get(gateway.edge_url + path) as answer:
        page = await answer.text()
        assert answer.status == status, (path, answer.status, re.findall(r'role="alert">([^<]*)', page))
        assert "<img src=x" not in page and len(page) < 60_000
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        return page


async def addresses(admin: aiohttp.ClientSession, gateway: RunningSuite) -> list[str]:
    """Of every view; of those about one thing, of one that there is."""

    async def spent() -> str:
        return await text_of(admin, gateway, "/ui")

    await eventually(spent, lambda page: "web" in page)
    one = {"keys": r"/ui/keys/([0-9a-f]{64})", "teams": "/ui/teams/(t1)", "users": "/ui/users/(viewer)", "audit": '/ui/audit/([^"]+)',
           "requests": '/ui/requests/([^"]+)'}  # fmt: skip
    paths = []
    for path in VIEWS:
        if "{id}" in path:
            kind = path.split("/")[2]
            found = re.search(one[kind], await text_of(admin, gateway, f"/ui/{kind}"))
            assert found is not None, kind
            path = path.replace("{id}", found[1])
        paths.append(path)
    return paths


class Said(HTMLParser):
    """What a page says of its own: all but cells, facts and blocks, which are data."""

    DATA = frozenset({"td", "dd", "pre", "title"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.own: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("input", "meta", "link", "img", "br"):
            self.open.append(tag)
        self.own += [
            value for name, value in attrs if name in ("aria-label", "placeholder", "data-ask", "alt") and value
        ]

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip() and not self.DATA.intersection(self.open):
            self.own.append(data.strip())


async def test_no_english_stands_in_a_chinese_page(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    """Neither a word of the English catalogue, nor a sentence that is in none."""
    english, chinese = words.catalogue("en"), words.catalogue("zh")
    same = set(chinese.values())
    wrong = {text for text in english.values() if text not in same and "{" not in text}
    paths = [*await addresses(admin, gateway), "/ui/requests?request_id=nothing", "/ui/explain?route=/chat/completions"]
    shown: set[str] = set()
    async with aiohttp.ClientSession() as nobody:
        for path in [*paths, "/ui/requests/nothing", "/ui/nothing", "/ui/login"]:
            session = nobody if path == "/ui/login" else admin
            async with session.get(f"{gateway.edge_url}{path}{'&' if '?' in path else '?'}lang=zh") as answer:
                own = Said(await answer.text()).own
            assert own and not wrong.intersection(own), (path, wrong.intersection(own))
            shown |= set(own)
            sentences = [text for text in own if re.search(r"[A-Za-z]{2,}(?: [a-z]{2,}){2,}", text)]
            assert not sentences, (path, sentences)
    assert len(shown & same) > 100, "most of the catalogue was seen"
    await text_of(admin, gateway, "/ui?lang=en")  # it is remembered


async def test_every_view_is_served(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    for path in await addresses(admin, gateway):
        await text_of(admin, gateway, path)
    assert 'href="/ui/requests/' in await text_of(admin, gateway, "/ui/requests?status_filter=success")
    assert 'href="/ui/requests/' not in await text_of(admin, gateway, "/ui/requests?status_filter=failure")
    chinese = await text_of(admin, gateway, "/ui/spend?lang=zh")
    assert "支出" in chinese and 'lang="zh"' in chinese
    assert "支出" in await text_of(admin, gateway, "/ui/spend")  # it is remembered


async def test_what_a_viewer_sees(gateway: RunningSuite, admin: aiohttp.ClientSession) -> None:
    """A session of the viewer's, made as single sign-on would: by its key in the cookie."""
    async with admin.post(gateway.edge_url + "/key/generate", json={"user_id": "viewer"}, headers=MASTER) as answer:
        key = (await answer.json())["key"]
    async with aiohttp.ClientSession(cookies={"tollgate_session": key}) as viewer:
        for path in ("/ui", "/ui/keys", "/ui/users", "/ui/audit", "/ui/settings"):
            page = await text_of(viewer, gateway, path)
            assert 'action="/ui/users/create"' not in page and 'href="/ui/keys/new"' not in page
        await text_of(viewer, gateway, "/ui/keys/new", 403)
        csrf = re.search(r'name="csrf" value="([0-9a-f]{64})"', await text_of(viewer, gateway, "/ui"))
        assert csrf is not None
        for path in ("/ui/keys/create", "/ui/teams/create", "/ui/teams/t1/delete", "/ui/customers/block"):
            async with viewer.post(gateway.edge_url + path, data={"csrf": csrf[1]}) as refused:
                assert refused.status == 403


async def test_nobody_sees_only_what_is_public(gateway: RunningSuite) -> None:
    async with aiohttp.ClientSession() as nobody:
        hub = await text_of(nobody, gateway, "/ui/model_hub")
        assert "m1" in hub and "m2" not in hub and "mock" not in hub
        for path in ("/ui", "/ui/keys", "/ui/audit/1", "/ui/keys/create"):
            async with nobody.get(gateway.edge_url + path, allow_redirects=False) as away:
                assert away.status == 303 and away.headers["Location"].startswith("/ui/login")
        async with nobody.get(gateway.edge_url + "/ui/nothing") as missing:
            assert missing.status == 404
        for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example"):
            async with nobody.get(gateway.edge_url + "/ui", headers={"Host": host}) as refused:
                assert refused.status == 403 and "PROXY_BASE_URL" in await refused.text()


async def test_a_table_can_be_taken_along(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    async with admin.get(gateway.edge_url + "/ui/spend.csv?since=30d&group_by=model") as answer:
        assert answer.status == 200 and answer.headers["Content-Disposition"].startswith("attachment")
        assert (await answer.text()).splitlines()[1].startswith("m1,")


async def test_a_deployment_that_fails_is_seen_to_cool_down(
    admin: aiohttp.ClientSession, gateway: RunningSuite
) -> None:
    async def failed() -> str:
        body = {"model": "away", "messages": [{"role": "user", "content": "hi"}]}
        async with admin.post(gateway.edge_url + "/v1/chat/completions", json=body, headers=MASTER) as answer:
            assert answer.status >= 500
        return await text_of(admin, gateway, "/ui/models?lang=en")

    page = await eventually(failed, lambda page: "cooling down" in page)
    assert "served" in page and "gpt-4o-mini" in page
    assert "冷却中" in await text_of(admin, gateway, "/ui/models?lang=zh")
    await text_of(admin, gateway, "/ui?lang=en")


async def test_a_keys_limits_are_shown_with_who_sets_them(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    async def made(path: str, body: dict[str, object]) -> dict[str, str]:
        async with admin.post(gateway.edge_url + path, json=body, headers=MASTER) as answer:
            assert answer.status == 200, await answer.text()
            found: dict[str, str] = await answer.json()
            return found

    team = {"team_id": "narrow", "team_alias": "Narrow", "max_budget": 5, "rpm_limit": 9, "models": ["m1"]}
    await made("/team/new", team)
    key = await made("/key/generate", {"team_id": "narrow", "max_budget": 2})
    page = await text_of(admin, gateway, f"/ui/keys/{key['token_id']}?lang=en")
    rows = dict(re.findall(r'<tr><td class="">([^<]+)</td>(.*)</tr>', page))
    assert '<td class="t">$2.00</td><td class="">this key' in rows["Budget (USD)"]
    for limit, value in (("Requests a minute", "9"), ("Models", "m1")):
        assert f'<td class="t">{value}</td><td class=""><a href="/ui/teams/narrow">Team Narrow' in rows[limit]
    assert "no limit" in rows["Tokens a minute"]


async def test_a_requests_life_has_its_price_and_who_asked(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    found = re.search(
        r'href="(/ui/requests/[^"]+)"', await text_of(admin, gateway, "/ui/requests?status_filter=success")
    )
    assert found is not None
    page = await text_of(admin, gateway, found[1] + "?lang=en")
    assert "Who asked" in page and "What happened" in page and "/chat/completions" in page
    price = page[page.index("Price that was used") :]
    assert re.search(r'<td class="">input[^<]*</td><td class="t">[^<]*[0-9]', price), price[:1500]


async def test_a_setting_says_who_set_it(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    """And what the file says holds again when it is taken back."""
    setting = {"config_type": "general_settings", "field_name": "admin_only_routes"}
    await text_of(admin, gateway, "/ui?lang=en")

    async def row() -> str:
        page = await text_of(admin, gateway, "/ui/settings")
        found = re.search(r"<tr><td[^>]*><span[^>]*>general_settings.admin_only_routes</span>.*?</tr>", page)
        return found[0] if found else ""

    assert await row() == ""
    body = {**setting, "field_value": ["/team/delete"]}
    async with admin.post(gateway.edge_url + "/config/field/update", json=body, headers=MASTER) as answer:
        assert answer.status == 200, await answer.text()
    shown = await eventually(row, lambda found: "by default_user_id, 20" in found)
    assert "/team/delete" in shown
    entry = re.search(r'href="(/ui/audit/[^"]+)"', shown)
    assert entry is not None and "/team/delete" in await text_of(admin, gateway, entry[1])
    page = await text_of(admin, gateway, "/ui/settings")
    assert "TOLLGATE_EDGE_PORT" in page and "environment of this edge" in page
    assert re.search(r"general_settings.master_key</span></td><td[^>]*>\*\*\*</td><td[^>]*>config.yaml", page)
    async with admin.post(gateway.edge_url + "/config/field/delete", json=setting, headers=MASTER) as answer:
        assert answer.status == 200
    assert await row() == ""


async def walked(admin: aiohttp.ClientSession, gateway: RunningSuite, path: str) -> list[str]:
    """The pages of a list, each by the one before."""
    pages = []
    while path and len(pages) < 9:
        pages.append(await text_of(admin, gateway, path))
        following = re.search(r'<a class="button" href="([^"]+)">(?:Next|下一页)', pages[-1])
        path = html.unescape(following[1]) if following else ""
    return pages


async def test_teams_and_what_was_done_to_them_go_on(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    for n in range(51):
        body = {"team_id": f"walked-{n:02}", "team_alias": f"Walked {n:02}"}
        async with admin.post(gateway.edge_url + "/team/new", json=body, headers=MASTER) as answer:
            assert answer.status == 200
    pages = await walked(admin, gateway, "/ui/teams?search=alked-")
    assert [len(re.findall(r"/ui/teams/walked-", page)) for page in pages] == [50, 1]
    assert "51 in all" in pages[0]

    async def entries() -> set[str]:
        pages = await walked(admin, gateway, "/ui/audit?action=created&table_name=LiteLLM_TeamTable")
        return {name for page in pages for name in re.findall(r"/ui/teams/(walked-\d\d)", page)}

    await eventually(entries, lambda found: len(found) == 51)


async def test_customers_go_on_and_are_searched(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    for n in range(52):
        body = {"user_id": f"customer {n:02}?", "alias": "Last" if n == 51 else None}
        async with admin.post(gateway.edge_url + "/customer/new", json=body, headers=MASTER) as answer:
            assert answer.status == 200
    pages = await walked(admin, gateway, "/ui/customers")
    assert len(pages) == 2
    seen = [name for page in pages for name in re.findall(r"<td[^>]*>(customer \d\d)\?", page)]
    assert seen == [f"customer {n:02}" for n in range(52)]
    found = await text_of(admin, gateway, "/ui/customers?search=LAST")
    assert "customer 51" in found and "customer 50" not in found


async def test_the_overview_says_how_long_calls_took(admin: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    async def said() -> str:
        return await text_of(admin, gateway, "/ui?lang=en")

    page = await eventually(said, lambda page: re.search(r"<title>[0-9-]+: p95 [0-9.]+ m?s, p50 ", page) is not None)
    assert re.search(r"95 % answered within</span><b[^>]*>[0-9.]+ m?s", page)


async def test_no_change_is_made_by_a_form_of_anybody_elses(
    admin: aiohttp.ClientSession, gateway: RunningSuite
) -> None:
    """Every act of every view, with the admin's session: without its token, with another's, and
    from another site with the right one.
    """
    found = re.search(r'name="csrf" value="([0-9a-f]{64})"', await text_of(admin, gateway, "/ui"))
    assert found is not None
    right = {"csrf": found[1], "user_id": "never", "user_ids": "never", "key_alias": "never"}
    wrong: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": "0" * 64}, {}),
        (right, {"Origin": "http://evil.example"}),
        (right, {"Origin": "null"}),
        (right, {"Sec-Fetch-Site": "cross-site"}),
        (right, {"Sec-Fetch-Site": "same-site"}),
    ]
    acts = [(path.replace("{id}", "t1"), act) for path, view in VIEWS.items() for act in view.acts]
    assert len(acts) > 20
    for path, act in acts:
        for form, headers in wrong:
            async with admin.post(
                f"{gateway.edge_url}{path}/{act}", data=form or {"x": "y"}, headers=headers
            ) as answer:
                assert answer.status == 403, (path, act, form, headers)
        async with admin.post(f"{gateway.edge_url}{path}/{act}", json=right) as answer:
            assert answer.status == 400, (path, act)
    assert "t1" in await text_of(admin, gateway, "/ui/teams/t1"), "nothing was done"
    async with admin.post(f"{gateway.edge_url}/ui/customers/block", data=right) as answer:
        assert answer.status == 200 and answer.url.query["message"] == "done.blocked", "the right one is taken"

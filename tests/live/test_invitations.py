"""Invitations against the running suite: a link, a password, and signing in by it."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
import pytest_asyncio

from tests.live.conftest import MASTER, eventually
from tests.live.test_identity import browser as browser
from tests.live.test_identity import me
from tests.support.suite import RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")

CONFIG = """
model_list:
  - {model_name: m1, litellm_params: {model: openai/m1, mock_response: one}}
general_settings:
  master_key: sk-1234
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningSuite]:
    directory, env = tmp_path_factory.mktemp("invitations"), {"ALLOWED_EMAIL_DOMAINS": "ours.example"}
    async with RunningSuite(directory, CONFIG, replicas="edge=2", env=env) as running:
        yield running


async def invited(browser: aiohttp.ClientSession, gateway: RunningSuite, user_id: str) -> str:
    async with browser.post(gateway.edge_url + "/invitation/new", json={"user_id": user_id}, headers=MASTER) as answer:
        row = await answer.json()
    assert answer.status == 200 and row["id"].startswith("sk-"), row
    async with browser.get(
        gateway.edge_url + "/invitation/info", params={"invitation_id": row["id"]}, headers=MASTER
    ) as answer:
        assert (await answer.json())["user_id"] == user_id
    return str(row["id"])


async def test_who_is_invited_sets_a_password_and_signs_in_by_it(
    browser: aiohttp.ClientSession, gateway: RunningSuite
) -> None:
    url, password = gateway.edge_url, "Canary pass word 7Qx "
    for user_id, domain in (("ines", "ours"), ("evil", "evil")):
        made = {"user_id": user_id, "user_email": f"{user_id}@{domain}.example", "user_role": "internal_user"}
        async with browser.post(url + "/user/new", json={**made, "auto_create_key": False}, headers=MASTER) as answer:
            assert answer.status == 200, await answer.text()
    link = await invited(browser, gateway, "ines")
    async with browser.get(url + "/ui", params={"invitation_id": link}) as page:
        text = await page.text()
    assert page.status == 200 and "ines@ours.example" in text and 'action="/ui/invitation"' in text
    form = {"invitation_id": link, "password": password, "again": password}
    for wrong in ({"again": password.strip()}, {"password": "short", "again": "short"}):
        async with browser.post(url + "/ui/invitation", data={**form, **wrong}) as again:
            assert again.status == 400 and 'name="again"' in await again.text()
    async with browser.post(url + "/ui/invitation", data=form, headers={"Origin": "https://evil.example"}) as refused:
        assert refused.status == 403
    async with browser.post(url + "/ui/invitation", data={**form, "invitation_id": "sk-not-one-of-ours"}) as refused:
        assert refused.status == 404
    async with browser.post(url + "/ui/invitation", data=form) as done:
        assert done.status == 200 and urlsplit(str(done.url)).path == "/ui"
    assert await me(browser, gateway) == {"user_id": "ines", "user_role": "internal_user"}
    for method, data in ((browser.get, None), (browser.post, form)):
        async with method(url + "/ui/invitation", params={"invitation_id": link}, data=data) as used:
            assert used.status == 404, "a link is good once"
    for name in ("ines", "INES@ours.example"):
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
            async with other.post(url + "/ui/login", data={"username": name, "password": password.strip()}) as wrong_:
                assert wrong_.status == 401
            async with other.post(url + "/ui/login", data={"username": name, "password": password}) as entered:
                assert entered.status == 200, await entered.text()
            assert (await me(other, gateway))["user_id"] == "ines"
    second = await invited(browser, gateway, "ines")
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
        other_form = {"invitation_id": second, "password": "another long one", "again": "another long one"}
        async with other.post(url + "/ui/invitation", data=other_form) as done:
            assert done.status == 200
    assert await me(browser, gateway) == 401, "whoever was signed in by the old password is so no longer"
    async with browser.post(url + "/ui/login", data={"username": "ines", "password": password}) as old:
        assert old.status == 401
    stranger = {**form, "invitation_id": await invited(browser, gateway, "evil")}
    async with browser.post(url + "/ui/invitation", data=stranger) as refused:
        assert refused.status == 401 and "not an allowed email domain" in await refused.text()
    async with browser.get(url + "/audit?table_name=LiteLLM_InvitationLink&page_size=100", headers=MASTER) as answer:
        audit = await answer.text()
    async with browser.get(url + "/audit?table_name=LiteLLM_UserTable&page_size=100", headers=MASTER) as answer:
        audit += await answer.text()
    for secret in (link, second, "Canary pass word", "scrypt$"):
        assert secret not in audit + gateway.log_path.read_text(), secret


async def test_an_admin_invites_on_the_page(browser: aiohttp.ClientSession, gateway: RunningSuite) -> None:
    url = gateway.edge_url
    made = {"user_id": "nina", "user_email": "nina@ours.example", "auto_create_key": False}
    async with browser.post(url + "/user/new", json=made, headers=MASTER) as answer:
        assert answer.status == 200, await answer.text()
    async with browser.post(url + "/ui/login", data={"username": "admin", "password": "sk-1234"}) as answer:
        assert answer.status == 200
    async with browser.get(url + "/ui/users/nina") as page:
        csrf = re.search(
            r'action="/ui/users/nina/invite".*?name="csrf" value="([0-9a-f]{64})"', await page.text(), re.DOTALL
        )
    assert csrf is not None
    async with browser.post(url + "/ui/users/nina/invite", data={"csrf": csrf[1]}) as shown:
        link = re.search(r'id="secret" readonly value="([^"]+)"', await shown.text())
    assert link is not None and link[1].startswith(url + "/ui/invitation?invitation_id=sk-")
    async with aiohttp.ClientSession() as other, other.get(link[1]) as page:
        assert page.status == 200 and "nina@ours.example" in await page.text()


def browsing(address: str = "127.0.0.1") -> aiohttp.ClientSession:
    """A browser at that address."""
    connector = aiohttp.TCPConnector(local_addr=(address, 0))
    return aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True), connector=connector)


async def enters(browser: aiohttp.ClientSession, url: str, username: str, secret: str) -> int:
    async with browser.post(url + "/ui/login", data={"username": username, "password": secret}) as answer:
        return answer.status


async def test_who_guesses_from_many_addresses_waits_and_the_owner_does_not(gateway: RunningSuite) -> None:
    url, good = gateway.edge_url, "sk-1234"
    async with browsing("127.0.9.1") as owner:
        assert await enters(owner, url, "admin", good) == 200
        for address in range(10):
            async with browsing(f"127.0.8.{address + 1}") as one_of_many:
                assert [await enters(one_of_many, url, "admin", f"guess {n}") for n in range(10)] == [401] * 10
                assert await enters(one_of_many, url, "admin", good) == 429
        async with browsing("127.0.7.1") as fresh:
            assert await enters(fresh, url, "admin", good) == 429, "nobody tries this account from anywhere new"
            assert await enters(fresh, url, "Admin ", good) == 429
            assert await enters(fresh, url, "nina", "guess") == 401, "others aren't concerned"
        assert await enters(owner, url, "admin", good) == 200
        assert await me(owner, gateway) == {"user_id": "default_user_id", "user_role": "proxy_admin"}

    async def told() -> Any:
        path = "/audit?action=login_failed&page_size=100"
        async with aiohttp.ClientSession() as http, http.get(url + path, headers=MASTER) as answer:
            return {row["object_id"] for row in (await answer.json())["audit_logs"]}

    assert len(await eventually(told, lambda found: "many-addresses" in found)) < 30


async def test_a_password_of_ones_own_pays_for_no_guesses(gateway: RunningSuite) -> None:
    """Two further ways around: a form whose end is held back until its sender is to wait, and a
    sign-in of one's own between guesses.
    """
    url, password = gateway.edge_url, "ulla's own password"
    at = urlsplit(url)
    async with browsing() as mine:
        made = {"user_id": "ulla", "user_email": "ulla@ours.example", "auto_create_key": False}
        async with mine.post(url + "/user/new", json=made, headers=MASTER) as answer:
            assert answer.status == 200, await answer.text()
        form = {"invitation_id": await invited(mine, gateway, "ulla"), "password": password, "again": password}
        async with mine.post(url + "/ui/invitation", data=form) as done:
            assert done.status == 200
        reader, writer = await asyncio.open_connection(at.hostname, at.port)
        body = b"username=nina&password=guess"
        head = f"POST /ui/login HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:-1])
        await writer.drain()
        assert [await enters(mine, url, "nina", "guess") for _ in range(9)] == [401] * 9
        assert await enters(mine, url, "ulla", password) == 200
        assert [await enters(mine, url, "nina", "guess") for _ in range(2)] == [401, 429]
        writer.write(body[-1:])
        assert b" 429 " in await reader.readline()
        writer.close()

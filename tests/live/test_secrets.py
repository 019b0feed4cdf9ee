"""A gateway whose secrets are all in OpenBao: used, stored, changed under load; afterwards none of
them is to be found anywhere.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import asyncpg
import pytest
import pytest_asyncio

from tests.ledger.servers import Postgres
from tests.live.conftest import eventually
from tests.live.secrets_kit import BAO_CONFIG, SERVICES, Load, World, chat, environments, new_login, owner_says
from tests.support.broker import AccountsBroker
from tests.support.managers import Bao
from tests.support.suite import RunningSuite
from tests.support.upstream import FakeUpstream

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> AsyncIterator[World]:
    bao, directory = Bao(), tmp_path_factory.mktemp("bao")
    try:
        with AccountsBroker(directory) as broker:
            async with FakeUpstream() as upstream:
                environ = {
                    **bao.app_role(),
                    "TOLLGATE_NATS_URL": "vault/nats/edge",
                    **{f"TOLLGATE_NATS_URL_{service.upper()}": f"vault/nats/{service}" for service in SERVICES},
                    "OPENAI_API_BASE": upstream.base_url,
                    "TOLLGATE_SECRET_REFRESH_S": "3600",
                    "TOLLGATE_MASTER_KEY_GRACE_S": "30",
                    "LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS": "1",
                }
                suite = RunningSuite(
                    directory / "suite",
                    BAO_CONFIG % {"base": upstream.base_url},
                    env=environ,
                    replicas="edge=2,policy=2",
                )
                found = World(suite, bao, upstream, postgres, broker)
                found.put_broker_logins("canary-broker-0")
                found.put("providers/named", "sk-canary-provider-named-0")
                found.put("OPENAI_API_KEY", "sk-canary-provider-openai-0")
                found.put("OTHER_KEY", "sk-canary-provider-other-0")
                found.put("GATEWAY_MASTER_KEY", "sk-canary-master-key-0")
                found.put("UI_PASSWORD", "canary-page-password")
                found.put("LITELLM_SALT_KEY", "canary-sealing-key-0123456789")
                found.put("DATABASE_URL", await new_login(postgres, "bao", "canary-database-0"), "canary-database-0")
                found.login = environ["HCP_VAULT_APPROLE_SECRET_ID"]
                found.ever.add(found.login)
                upstream.keys = {found.now[name] for name in ("providers/named", "OPENAI_API_KEY", "OTHER_KEY")}
                async with suite:
                    yield found
    finally:
        bao.stop()


async def test_every_secret_comes_from_the_manager(world: World, http: aiohttp.ClientSession) -> None:
    """And a call is answered: with the keys of three models, the book in the manager's database."""
    suite, key = world.suite, world.now["GATEWAY_MASTER_KEY"]
    assert "postgres" not in suite.pids
    for model in ("named", "by-variable", "by-name"):
        status, body = await chat(http, suite, key, model)
        assert status == 200, body
    assert {r.headers["Authorization"].removeprefix("Bearer ") for r in world.upstream.requests} == world.upstream.keys
    assert (await chat(http, suite, "sk-wrong-master-key"))[0] == 401
    form = {"username": "admin", "password": world.now["UI_PASSWORD"]}
    async with http.post(suite.edge_url + "/ui/login", data=form, allow_redirects=False) as answer:
        assert answer.status == 303, await answer.text()


# ── virtual keys in the manager ──


async def command(http: aiohttp.ClientSession, world: World, path: str, **body: Any) -> tuple[int, Any]:
    headers = {"Authorization": "Bearer " + world.now["GATEWAY_MASTER_KEY"]}
    async with http.post(world.suite.edge_url + path, json=body, headers=headers) as answer:
        said = await answer.json()
        if isinstance(said, dict) and str(said.get("key", "")).startswith("sk-"):
            world.ever.add(said["key"])
        return answer.status, said


async def test_a_key_is_stored_before_it_can_be_used(world: World, http: aiohttp.ClientSession) -> None:
    status, made = await command(http, world, "/key/generate", key_alias="svc-a")
    assert status == 200 and world.bao.get("litellm/svc-a") == {"key": made["key"]}
    assert (await chat(http, world.suite, made["key"], "named"))[0] == 200
    status, plain = await command(http, world, "/key/generate")
    assert world.bao.get(f"litellm/virtual-key-{plain['token_id']}") == {"key": plain["key"]}
    # rename
    status, said = await command(http, world, "/key/update", key=made["key"], key_alias="svc-b", models=["named"])
    assert status == 200, said
    assert world.bao.get("litellm/svc-a") is None and world.bao.get("litellm/svc-b") == {"key": made["key"]}
    # rotate
    status, again = await command(http, world, f"/key/{made['key']}/regenerate")
    assert status == 200 and world.bao.get("litellm/svc-b") == {"key": again["key"]} != {"key": made["key"]}
    status, third = await command(http, world, "/key/regenerate", key=again["key"], key_alias="svc-c")
    assert status == 200 and world.bao.get("litellm/svc-c") == {"key": third["key"]}
    assert world.bao.get("litellm/svc-b") is None
    assert (await chat(http, world.suite, third["key"], "named"))[0] == 200
    # delete
    status, said = await command(http, world, "/key/delete", keys=[third["key"], plain["key"]])
    assert status == 200, said
    assert world.bao.get("litellm/svc-c") is None
    assert world.bao.get(f"litellm/virtual-key-{plain['token_id']}") is None


async def test_a_key_that_cannot_be_stored_is_not_made(world: World, http: aiohttp.ClientSession) -> None:
    for alias, status, sentence in (
        ("a/./b", 400, "bad_name"), ("forbidden-1", 503, "could not store the key, so nothing was changed: hashicorp_vault: denied"),
    ):  # fmt: skip
        found, said = await command(http, world, "/key/generate", key_alias=alias)
        assert found == status and sentence in said["error"]["message"], (alias, said)
        found, said = await command(http, world, "/key/generate", key_alias="fine")
        assert found == 200
        found, refused = await command(http, world, "/key/update", key=said["key"], key_alias=alias)
        assert found == status, refused
        assert world.bao.get("litellm/fine") == {"key": said["key"]}
        assert (await command(http, world, "/key/delete", keys=[said["key"]]))[0] == 200
    headers = {"Authorization": "Bearer " + world.now["GATEWAY_MASTER_KEY"]}
    for alias in ("a/./b", "forbidden-1"):
        async with http.get(world.suite.edge_url + "/key/list", params={"key_alias": alias}, headers=headers) as answer:
            assert (await answer.json())["total_count"] == 0


async def test_who_may_not_make_a_key_writes_none(world: World, http: aiohttp.ClientSession) -> None:
    _, made = await command(http, world, "/key/generate", key_alias="of-nobody", models=["named"])
    headers = {"Authorization": "Bearer " + made["key"]}
    body = {"key_alias": "stolen", "user_id": "somebody-else"}
    async with http.post(world.suite.edge_url + "/key/generate", json=body, headers=headers) as answer:
        assert answer.status in (401, 403), await answer.text()
    assert (await command(http, world, "/key/generate", key_alias="of-nobody"))[0] == 400  # the name is taken
    assert world.bao.get("litellm/stolen") is None and world.bao.get("litellm/of-nobody") == {"key": made["key"]}


async def test_a_team_may_keep_its_keys_elsewhere(world: World, http: aiohttp.ClientSession) -> None:
    place = {"path_prefix": "teams/a", "data": "token"}
    status, said = await command(http, world, "/team/new", team_id="kept", metadata={"secret_manager_settings": place})
    assert status == 200, said
    _, made = await command(http, world, "/key/generate", key_alias="theirs", team_id="kept")
    assert world.bao.get("teams/a/litellm/theirs") == {"token": made["key"]}
    status, said = await command(http, world, "/team/delete", team_ids=["kept"])
    assert status == 200 and world.bao.get("teams/a/litellm/theirs") is None


async def test_a_key_rotates_by_itself_into_the_manager(world: World, http: aiohttp.ClientSession) -> None:
    status, made = await command(
        http, world, "/key/generate", key_alias="turning", auto_rotate=True, rotation_interval="3s", models=["named"]
    )
    assert status == 200, made

    async def stored() -> Any:
        return world.bao.get("litellm/turning")

    found = await eventually(stored, lambda each: each not in (None, {"key": made["key"]}))
    world.ever.add(found["key"])
    assert (await chat(http, world.suite, found["key"], "named"))[0] == 200
    assert (await command(http, world, "/key/delete", key_aliases=["turning"]))[0] == 200


@pytest.mark.parametrize("model, name", [("named", "providers/named"), ("by-variable", "OPENAI_API_KEY")])
async def test_a_providers_key_changes_under_load(
    world: World, http: aiohttp.ClientSession, model: str, name: str
) -> None:
    """The provider refuses the old one from one moment to the next: it is fetched again, and no
    call is lost.
    """
    assert world.upstream.keys is not None
    async with Load(http, world, model) as load:
        old, new = world.now[name], f"sk-canary-{model}-1"
        world.put(name, new)
        world.upstream.keys = (world.upstream.keys - {old}) | {new}
        await load.more()
        await asyncio.sleep(2.1)  # the manager isn't asked more often


async def test_a_key_that_the_manager_has_no_better_one_for_is_refused(
    world: World, http: aiohttp.ClientSession
) -> None:
    assert world.upstream.keys is not None
    good, world.upstream.keys = world.upstream.keys, set()
    await asyncio.sleep(2.1)
    before = len(world.upstream.requests)
    status, body = await chat(http, world.suite, world.now["GATEWAY_MASTER_KEY"], "by-name")
    assert status == 401 and "canary" not in str(body), body
    assert len(world.upstream.requests) == before + 1  # not tried again
    world.upstream.keys = good


async def test_the_master_key_changes_under_load(world: World, http: aiohttp.ClientSession) -> None:
    """Clients use the new one at once; the one before is good for a while, and then no more."""
    old = world.now["GATEWAY_MASTER_KEY"]
    async with Load(http, world, "by-name") as load:
        world.put("GATEWAY_MASTER_KEY", "sk-canary-master-key-1")
        await load.more()
        assert (await chat(http, world.suite, old, "by-name"))[0] == 200  # within its grace
        headers = {"Authorization": "Bearer sk-canary-master-key-1"}
        async with http.get(world.suite.edge_url + "/key/list", headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def told() -> int:
        async with http.get(world.suite.edge_url + "/audit?kind=setting", headers=headers) as answer:
            return int((await answer.json())["total"])

    await eventually(told, lambda total: total >= 1)


async def test_the_databases_password_changes_under_load(world: World, http: aiohttp.ClientSession) -> None:
    """And every connection breaks: the book goes on with the new one, and nothing is missing in
    it.
    """
    async with Load(http, world, "by-name") as load:
        new = "canary-database-1"
        await owner_says(world.postgres, f"ALTER ROLE bao PASSWORD '{new}'")
        world.put("DATABASE_URL", world.now["DATABASE_URL"].replace("canary-database-0", new), new)
        await owner_says(
            world.postgres, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename <> 'owner'"
        )
        await load.more()
    connection = await asyncpg.connect(world.now["DATABASE_URL"])
    answered = sum(each.outcome == "complete" for each in world.upstream.requests if each.model == "c") - 1

    async def rows() -> int:
        return int(await connection.fetchval(
            "SELECT count(*) FROM tollgate.request_log WHERE outcome = 'success' AND model = 'by-name'"
        ))  # fmt: skip

    await eventually(rows, lambda found: found >= answered)
    await connection.close()
    headers = {"Authorization": "Bearer " + world.now["GATEWAY_MASTER_KEY"]}
    async with http.get(world.suite.edge_url + "/spend/tags", headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def test_the_brokers_passwords_change_under_load(world: World, http: aiohttp.ClientSession) -> None:
    """Every service is put out, and lets itself in with what the manager has now; meanwhile facts
    go to the journal.
    """
    pids = set(world.suite.pids.values())
    async with Load(http, world, "by-name") as load:
        world.put_broker_logins("canary-broker-1")
        await load.more(400)
        await asyncio.sleep(3)
        await load.more()

    async def ready() -> list[int]:
        ports = [each["probe_port"] for each in world.suite.state()["processes"].values()]
        return [(await http.get(f"http://127.0.0.1:{port}/ready")).status for port in ports]

    await eventually(ready, lambda found: set(found) == {200})
    assert set(world.suite.pids.values()) == pids
    headers = {"Authorization": "Bearer " + world.now["GATEWAY_MASTER_KEY"]}
    async with http.post(world.suite.edge_url + "/key/generate", json={}, headers=headers) as answer:
        assert answer.status == 200, await answer.text()


async def test_no_secret_is_to_be_found_anywhere(world: World, http: aiohttp.ClientSession) -> None:
    """Whatever was said, kept, counted, told or given on: each place is looked at for each secret
    there ever was.
    """
    suite, key = world.suite, world.now["GATEWAY_MASTER_KEY"]
    master = {"Authorization": f"Bearer {key}"}
    places: dict[str, bytes] = {"log": suite.log().encode()}
    for path in ("/metrics", "/key/list", "/model/info", "/models", "/audit", "/spend/logs", "/ui/login", "/nowhere"):
        async with http.get(suite.edge_url + path, headers=master) as answer:
            places[path] = await answer.read() + str(answer.headers).encode()
    for name, process in suite.state()["processes"].items():
        if process["probe_port"]:
            for path in ("/metrics", "/ready"):
                async with http.get(f"http://127.0.0.1:{process['probe_port']}{path}") as answer:
                    places[f"{name} {path}"] = await answer.read()
    await page_views(world, http, places)
    connection = await asyncpg.connect(world.now["DATABASE_URL"])
    tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'tollgate'")
    for (table,) in tables:
        rows = await connection.fetch(f'SELECT t::text FROM tollgate."{table}" t')
        places[f"table {table}"] = "\n".join(row[0] for row in rows).encode()
    await connection.close()
    for file in suite.data_dir.rglob("*"):  # what the broker keeps included: all facts
        if file.is_file() and not file.name.startswith("postgres"):
            places[str(file)] = file.read_bytes()
    for pid, environment in environments(suite).items():
        places[f"environment of {pid}"] = environment
    found = [
        (place, secret)
        for place, content in places.items()
        for secret in world.ever
        if secret.encode() in content and not (place.startswith("environment") and secret == world.login)
    ]
    assert len(places) > 40 and not found, found


async def page_views(world: World, http: aiohttp.ClientSession, places: dict[str, bytes]) -> None:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser:
        form = {"username": "admin", "password": world.now["UI_PASSWORD"]}
        async with browser.post(world.suite.edge_url + "/ui/login", data=form) as answer:
            page = await answer.text()
        for path in {"/ui", *re.findall(r'href="(/ui/[a-z/-]+)', page)}:
            async with browser.get(world.suite.edge_url + path) as answer:
                places[path] = await answer.read()

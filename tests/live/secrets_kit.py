"""A gateway whose secrets are all in OpenBao, what it is asked, and calls without end while they
change.
"""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import asyncpg

from tests.ledger.servers import Postgres
from tests.live.conftest import eventually
from tests.support.broker import AccountsBroker
from tests.support.managers import Bao
from tests.support.suite import RunningSuite
from tests.support.upstream import FakeUpstream


async def new_login(postgres: Postgres, name: str, password: str) -> str:
    """A database of its own, as a URL with the password."""
    url = await postgres.new_database()
    await owner_says(
        postgres,
        f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD '{password}'",
        f"ALTER DATABASE {url.rpartition('/')[2]} OWNER TO {name}",
    )
    return url.replace("owner@", f"{name}:{quote(password)}@")


async def owner_says(postgres: Postgres, *statements: str) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


async def chat(http: aiohttp.ClientSession, suite: RunningSuite, key: str, model: str = "mock") -> tuple[int, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {key}"}
    async with http.post(suite.edge_url + "/v1/chat/completions", json=body, headers=headers) as answer:
        return answer.status, await answer.json()


def environments(suite: RunningSuite) -> dict[int, bytes]:
    return {pid: Path(f"/proc/{pid}/environ").read_bytes() for pid in suite.processes()}


BAO_CONFIG = """
model_list:
  - {model_name: named, litellm_params: {model: openai/a, api_base: %(base)s, api_key: vault/providers/named}}
  - {model_name: by-variable, litellm_params: {model: openai/b}}
  - {model_name: by-name, litellm_params: {model: openai/c, api_base: %(base)s, api_key: os.environ/OTHER_KEY}}
general_settings:
  key_management_system: hashicorp_vault
  key_management_settings: {store_virtual_keys: true, access_mode: read_and_write}
  master_key: os.environ/GATEWAY_MASTER_KEY
"""


SERVICES = ("edge", "policy", "moderation", "ledger")


class World:
    """A gateway whose secrets are all in OpenBao, and what they are now."""

    def __init__(
        self, suite: RunningSuite, bao: Bao, upstream: FakeUpstream, postgres: Postgres, broker: AccountsBroker
    ) -> None:
        self.suite, self.bao, self.upstream, self.postgres, self.broker = suite, bao, upstream, postgres, broker
        self.now: dict[str, str] = {}
        self.login = ""
        """For the manager: the one that the environment holds."""
        self.ever: set[str] = set()
        """Every secret that there was."""

    def put(self, name: str, value: str, secret: str = "") -> None:
        """`secret`: the part of it that nobody may see; all of it where that isn't said."""
        self.bao.put(name, key=value)
        self.now[name] = value
        self.ever.add(secret or value)

    def put_broker_logins(self, password: str) -> None:
        """The broker takes these alone, and the manager has them."""
        self.broker.change_passwords(password)
        for service in SERVICES:
            self.put(f"nats/{service}", self.broker.url(service), password)


class Load:
    """Calls without end; what didn't go well is kept."""

    def __init__(self, http: aiohttp.ClientSession, world: World, model: str) -> None:
        self.http, self.world, self.model = http, world, model
        self.good = 0
        self.bad: list[Any] = []
        self._ending = False

    async def __aenter__(self) -> "Load":
        self._tasks = [asyncio.create_task(self._run(number)) for number in range(4)]
        await self.more()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending = True  # each call is waited for: one whose client goes away is no success in the book
        await asyncio.gather(*self._tasks)
        assert not self.bad, self.bad[:3]

    async def more(self, calls: int = 40) -> None:
        """Until so many more were good."""
        wanted = self.good + calls

        async def good() -> int:
            return self.good

        await eventually(good, lambda found: found >= wanted or self.bad)

    async def _run(self, number: int) -> None:
        url = self.world.suite.edge_urls[number % 2]
        while not self._ending:
            body = {"model": self.model, "messages": [{"role": "user", "content": "hi"}]}
            headers = {"Authorization": "Bearer " + self.world.now["GATEWAY_MASTER_KEY"]}
            async with self.http.post(url + "/v1/chat/completions", json=body, headers=headers) as answer:
                said = await answer.json()
                if answer.status == 200:
                    self.good += 1
                else:
                    self.bad.append((answer.status, said))
            await asyncio.sleep(0.01)

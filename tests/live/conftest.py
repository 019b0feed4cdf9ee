"""The whole suite on real parts, started once for all live tests: NATS, PostgreSQL, the four
services, a real model.
"""

import asyncio
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from tests.ledger.servers import Postgres
from tests.support.ports import free_port
from tests.support.suite import ROOT, RunningSuite

MASTER = {"Authorization": "Bearer sk-1234"}

INPUT_PICOUSD = 500_000
OUTPUT_PICOUSD = 1_500_000
"""As config.model.yaml has them: 0.0000005 and 0.0000015 USD a token."""


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """`make model`: a real language model behind OpenAI's API."""
    port = free_port()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "tools" / "model.py")],
        env={**os.environ, "MODEL_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url + "/health", timeout=2).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, "the model did not start"
            time.sleep(0.1)
    yield url + "/v1"
    process.kill()
    process.wait()


def model_config(model_url: str, *, master_key: bool = True) -> str:
    """config.model.yaml, pointed at the model of this run; without its master key the gateway is
    open.
    """
    text = (ROOT / "config.model.yaml").read_text().replace("http://127.0.0.1:18080/v1", model_url)
    if not master_key:
        text = "\n".join(
            line.replace(line.strip(), "allow_open_gateway: true") if "master_key" in line else line
            for line in text.splitlines()
        )
    return text


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def suite(tmp_path_factory: pytest.TempPathFactory, model_url: str) -> AsyncIterator[RunningSuite]:
    """Two of everything, on the real model."""
    directory: Path = tmp_path_factory.mktemp("suite")
    env = {"STORE_MODEL_IN_DB": "True", "TOLLGATE_EDGE_MODEL_NETWORKS": "127.0.0.0/8"}
    replicas = "edge=2,policy=2,ledger=2"
    async with RunningSuite(directory, model_config(model_url), replicas=replicas, env=env) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def open_suite(tmp_path_factory: pytest.TempPathFactory, model_url: str) -> AsyncIterator[RunningSuite]:
    """A gateway without a master key: the page's examples that send no key, or any."""
    directory: Path = tmp_path_factory.mktemp("open")
    async with RunningSuite(directory, model_config(model_url, master_key=False)) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        yield session


async def new_key(http: aiohttp.ClientSession, suite: RunningSuite, **fields: Any) -> str:
    async with http.post(suite.edge_url + "/key/generate", json=fields, headers=MASTER) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["key"])


async def eventually(probe: Any, wanted: Any, timeout_s: float = 15.0) -> Any:
    """The book follows the stream by milliseconds: ask until the answer is the wanted one, or fail
    with the last.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        found = await probe()
        if wanted(found) if callable(wanted) else found == wanted:
            return found
        assert time.monotonic() < deadline, f"still {found!r}"
        await asyncio.sleep(0.1)


async def book_row(http: aiohttp.ClientSession, base: str, request_id: str, headers: dict[str, str]) -> dict[str, Any]:
    """The one row of a request, as GET /spend/logs?request_id= has it."""

    async def ask() -> list[dict[str, Any]]:
        async with http.get(base + "/spend/logs", params={"request_id": request_id}, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return list(await answer.json())

    rows = await eventually(ask, lambda found: len(found) == 1)
    return dict(rows[0])


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Postgres]:
    """With passwords, for all but the owner."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
    (server.directory / "data" / "pg_hba.conf").write_text(
        "host all owner 127.0.0.1/32 trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
    )
    server.start()
    await server.ready()
    yield server
    server.stop()

"""The page's own case of AWS KMS: a suite whose database URL is there as a ciphertext only."""

from collections.abc import Iterator
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from tests.ledger.servers import Postgres
from tests.live.conftest import eventually
from tests.live.secrets_kit import chat, environments, new_login
from tests.support.managers import Moto
from tests.support.suite import MOCK_CONFIG, RunningSuite

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture(scope="module")
def moto() -> Iterator[Moto]:
    server = Moto()
    yield server
    server.stop()


async def test_the_pages_case_of_kms(
    postgres: Postgres, moto: Moto, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    """Nothing but the ciphertext is set; the suite keeps its book in the database that the
    plaintext names.
    """
    password = "kms-canary"
    url = await new_login(postgres, "kms", password)
    environ = {**moto.environ, "USE_AWS_KMS": "True", "LITELLM_SECRET_AWS_KMS_DATABASE_URL": moto.encrypt(url)}
    async with RunningSuite(tmp_path, MOCK_CONFIG, env=environ) as suite:
        assert "postgres" not in suite.pids
        assert (await chat(http, suite, "sk-1234"))[0] == 200
        connection = await asyncpg.connect(url)

        async def rows() -> int:
            return int(await connection.fetchval("SELECT count(*) FROM tollgate.request_log WHERE outcome = 'success'"))

        await eventually(rows, 1)
        await connection.close()
        for pid, environment in environments(suite).items():
            assert password.encode() not in environment, f"process {pid} was given the plaintext"
        told = suite.log() + (suite.data_dir / "suite.json").read_text()
    assert password not in told and suite.returncode == 0

"""The import against a database made by LiteLLM's own migrations, as its package brings them, and
our fixture's tables against it.

Needs the Python of an environment with litellm-proxy-extras in `LITELLM_PYTHON`; run by `make
prove`, skipped without it.
"""

import io
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.cli.import_litellm import OTHERS, TABLES, write_rows
from services.policy.importing import rows
from services.policy.importing.secrets import Secrets
from shared.errors import RefusedError
from shared.sealing import Keyring
from tests.ledger.servers import Postgres
from tests.policy.test_policy_import import OURS, SALT, SCHEMA, fill

PYTHON = os.environ.get("LITELLM_PYTHON", "")
WHERE = "import os, litellm_proxy_extras as e; print(os.path.join(os.path.dirname(e.__file__), 'migrations'))"


def migrations() -> list[Path]:
    """In the order in which LiteLLM applies them; none where the package isn't there."""
    if not PYTHON:
        return []
    said = subprocess.run([PYTHON, "-c", WHERE], capture_output=True, text=True, check=False)
    return sorted(Path(said.stdout.strip()).glob("*/migration.sql")) if said.returncode == 0 else []


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[str]:
    found = migrations()
    if not found:
        pytest.skip("LITELLM_PYTHON isn't set, or has no litellm-proxy-extras")
    server = Postgres(tmp_path)
    server.start()
    await server.ready()
    url = await server.new_database()
    connection = await asyncpg.connect(url)
    for each in found:
        await connection.execute(each.read_text())
    await connection.close()
    yield url
    server.stop()


COLUMNS = "SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = $1"
NEEDED = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND is_nullable = 'NO' AND column_default IS NULL AND column_name NOT IN (
    SELECT a.attname FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
    WHERE i.indisprimary AND i.indrelid = format('%I', table_name)::regclass
)
"""


async def test_our_tables_are_theirs_and_what_is_read_is_there(database: str) -> None:
    connection = await asyncpg.connect(database)
    theirs = {(r["table_name"], r["column_name"]): r["udt_name"] for r in await connection.fetch(COLUMNS, "public")}
    assert {*TABLES, *OTHERS} - {table for table, _ in theirs} <= {"LiteLLM_PolicyTable", "LiteLLM_AccessGroupTable"}
    await connection.execute("CREATE SCHEMA ours; SET search_path TO ours;" + SCHEMA + "; SET search_path TO public")
    for row in await connection.fetch(COLUMNS, "ours"):
        name = (row["table_name"], row["column_name"])
        assert theirs.get(name) == row["udt_name"], name
    for row in await connection.fetch(NEEDED):  # the fixture's rows say what the import reads, and no more
        await connection.execute(f'ALTER TABLE "{row["table_name"]}" ALTER COLUMN "{row["column_name"]}" DROP NOT NULL')
    await connection.execute("SET session_replication_role = replica")  # and refer to what comes later
    await fill(connection)
    await connection.close()
    lines = io.BytesIO()
    await write_rows(database, lines)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert found[-1]["left"] == {"LiteLLM_GuardrailsTable": 1}
    assert {line["table"] for line in found[:-1]} == set(TABLES)
    source, refused = rows.Source(Secrets([SALT], Keyring([OURS]))), []
    for line in found[:-1]:
        if source.keep(line["table"], line["row"]):
            continue
        try:
            rows.read(source, line["table"], line["row"], 0)
        except (RefusedError, ValueError):
            refused.append(line["row"].get("model_name") or line["table"])
    assert sorted(refused) == ["LiteLLM_VerificationToken", "LiteLLM_VerificationToken", "foreign", "refers"]

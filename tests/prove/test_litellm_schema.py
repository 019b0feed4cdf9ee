"""The import against a database made from the schema in LiteLLM's own package, and our fixture's tables against it.

Needs the Python of an environment with litellm in `LITELLM_PYTHON`; run by `make prove`, skipped without it.
"""

import io
import json
import os
import re
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from services.cli.import_litellm import OTHERS, TABLES, write_rows
from tests.ledger.servers import Postgres
from tests.policy.test_policy_import import SCHEMA, fill

PYTHON = os.environ.get("LITELLM_PYTHON", "")
pytestmark = pytest.mark.skipif(not PYTHON, reason="LITELLM_PYTHON isn't set")
TYPES = {
    "String": "text", "Int": "integer", "BigInt": "bigint", "Float": "double precision", "Boolean": "boolean", "DateTime": "timestamp(3)",
    "Json": "jsonb",
}  # fmt: skip


def package_tables() -> dict[str, dict[str, str]]:
    """Table → column → definition, of the package's schema."""
    where = "import os, litellm; print(os.path.join(os.path.dirname(litellm.__file__), 'proxy', 'schema.prisma'))"
    path = subprocess.run([PYTHON, "-c", where], capture_output=True, text=True, check=True).stdout.strip()
    text = Path(path.splitlines()[-1]).read_text()
    found: dict[str, dict[str, str]] = {}
    for name, body in re.findall(r"^model (\w+) \{(.*?)^\}", text, re.DOTALL | re.MULTILINE):
        columns = {}
        for line in body.splitlines():
            field = re.match(r"\s*(\w+)\s+(\w+)(\[\])?(\?)?(.*)", line.split("//")[0])
            if field is None or field[2] not in TYPES:
                continue
            mapped = re.search(r'@map\("(\w+)"\)', field[5])
            definition = TYPES[field[2]] + ("[]" if field[3] else "")
            if "autoincrement" in field[5]:
                definition = "serial"
            default = re.search(r"@default\((.*?)\)\s*(@|$)", field[5])
            if default is not None and "(" not in default[1]:
                value = "'{}'" if default[1].startswith("[") else default[1].replace('"', "'")
                definition += f" DEFAULT {value}"
            if "now()" in field[5]:
                definition += " DEFAULT now()"
            if not field[4] and not field[3] and "autoincrement" not in field[5]:
                definition += " NOT NULL"
            columns[mapped[1] if mapped else field[1]] = definition
        found[name] = columns
    return found


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[str]:
    server = Postgres(tmp_path)
    server.start()
    await server.ready()
    yield await server.new_database()
    server.stop()


async def columns(url: str) -> dict[str, dict[str, str]]:
    connection = await asyncpg.connect(url)
    rows = await connection.fetch(
        "SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = 'public'"
    )
    await connection.close()
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["table_name"], {})[row["column_name"]] = row["udt_name"]
    return found


async def test_our_tables_are_theirs_and_what_is_read_is_there(database: str, tmp_path: Path) -> None:
    theirs = package_tables()
    assert set(TABLES) | (set(OTHERS) & set(theirs)) <= set(theirs)
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE SCHEMA ours; SET search_path TO ours;" + SCHEMA + "; SET search_path TO public")
    ours = await connection.fetch(
        "SELECT table_name, column_name, udt_name FROM information_schema.columns WHERE table_schema = 'ours'"
    )
    for name, fields in theirs.items():
        body = ", ".join(f'"{column}" {definition}' for column, definition in fields.items())
        await connection.execute(f'CREATE TABLE "{name}" ({body})')
    await connection.execute('ALTER TABLE "LiteLLM_VerificationToken" ADD PRIMARY KEY (token)')
    made = await columns(database)
    for row in ours:
        assert made[row["table_name"]].get(row["column_name"]) == row["udt_name"], (
            row["table_name"],
            row["column_name"],
        )
    for table, fields in theirs.items():  # what their rows must have and ours don't: filled so that ours fit
        known = {row["column_name"] for row in ours if row["table_name"] == table}
        for column, definition in fields.items():
            if (
                "NOT NULL" in definition
                and "DEFAULT" not in definition
                and (column not in known or column.endswith(("_by", "_at")))
            ):
                await connection.execute(f'ALTER TABLE "{table}" ALTER COLUMN "{column}" DROP NOT NULL')
    await fill(connection)
    await connection.close()
    lines = io.BytesIO()
    await write_rows(database, lines)
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert found[-1]["left"] == {"LiteLLM_GuardrailsTable": 1}
    tables = {line["table"] for line in found[:-1]}
    assert tables == set(TABLES), tables

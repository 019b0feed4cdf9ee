"""A book of 5 million rows as Parquet: little memory, killed 20 times, equal to the book by count,
sum and hash, read by DuckDB and pandas.

EXPORT_ROWS=5000000 EXPORT_KILLS=20 python -m pytest -s tests/prove/test_export_size.py
"""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import asyncpg
import duckdb
import pandas
import pytest

from services.ledger.database import Database
from services.ledger.migrate import migrate
from tests.ledger.servers import Postgres

ROWS = int(os.environ.get("EXPORT_ROWS", "5000000"))
KILLS = int(os.environ.get("EXPORT_KILLS", "20"))
DAYS = 10
MEMORY_MB = 300
FILL = """
INSERT INTO tollgate.request_log (day, id, provisional, outcome, status, at_ms, ended_at_ms, edge_id, key_sha256, team_id, user_id, role,
    call_type, route, model, deployment_id, provider, upstream_model, response_id, stream, attempts, input_tokens, output_tokens,
    cached_tokens, cache_write_tokens, reasoning_tokens, usage_source, cost_picousd, price, tags, spend_logs_metadata, guardrails,
    guardrail_outcomes, fact_sha256, shard, batch)
SELECT $1::date, (lpad(to_hex($3::bigint + n % 86400000), 12, '0') || '70008' || lpad(to_hex(n), 15, '0'))::uuid, false, 'success', 200,
    $3::bigint + n % 86400000, $3::bigint + n % 86400000 + 900, 'edge', lpad(to_hex(n % 1000), 64, '0'), 'team-' || n % 50, 'user-' || n % 200,
    'internal_user', 'acompletion', '/chat/completions', 'gpt', 'd1', 'openai', 'gpt-4o-mini', 'chatcmpl-' || n, false, 1, n % 3000, n % 900,
    0, 0, 0, 'provider', n * 1000003, NULL, ARRAY['app', 'tag-' || n % 1000], '{"n":1}', '[]', '[]', sha256(n::text::bytea), 0, 1
FROM generate_series(1, $2::bigint) AS n
"""


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    directory = tmp_path / "postgres"
    directory.mkdir()
    postgres = Postgres(directory)
    postgres.start(fsync="off", full_page_writes="off", max_wal_size="4GB")
    await postgres.ready()
    made = await postgres.new_database()
    await migrate(Database(made))
    connection = await asyncpg.connect(made, server_settings={"synchronous_commit": "off"})
    today = datetime.now(UTC).date()
    for back in range(1, DAYS + 1):
        day = today - timedelta(days=back)
        await connection.execute("SELECT tollgate.request_log_ensure_day($1)", day)
        midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
        await connection.execute(FILL, day, ROWS // DAYS, midnight, timeout=3600)
    await connection.close()
    yield made
    postgres.stop(signal.SIGQUIT)


def start(url: str, to: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "TOLLGATE_DATABASE_URL": url, "TOLLGATE_CONFIG": str(to / "none.yaml")}
    return subprocess.Popen([sys.executable, "-m", "services.ledger", "export", "--to", str(to)], env=env)


def peak_mb(pid: int) -> float:
    """Resident, at its highest; 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def finished(to: Path) -> set[str]:
    """Days under their final names; each must be whole."""
    found = set()
    for manifest in to.glob("request_log/*/manifest.json"):
        said = json.loads(manifest.read_text())
        file = manifest.parent / said["file"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == said["sha256"], f"{file} is not what its manifest says"
        found.add(said["day"])
    for part in to.glob("request_log/*/part.parquet"):
        duckdb.sql(f"SELECT count(*) FROM read_parquet('{part}')").fetchall()
    return found


@pytest.mark.timeout(7200)
async def test_five_million_rows(url: str, tmp_path: Path) -> None:
    to, draw, most = tmp_path / "out", random.Random(11), 0.0
    to.mkdir()
    started = time.monotonic()
    process = start(url, to)
    while process.poll() is None:
        most = max(most, peak_mb(process.pid))
        time.sleep(0.05)
    whole_s = time.monotonic() - started
    assert process.returncode == 0 and len(finished(to)) == DAYS
    again = tmp_path / "killed"
    again.mkdir()
    for _ in range(KILLS):
        process = start(url, again)
        end = time.monotonic() + draw.uniform(0.3, max(1.0, whole_s / 6))
        while time.monotonic() < end and process.poll() is None:
            most = max(most, peak_mb(process.pid))
            time.sleep(0.02)
        process.kill()
        process.wait()
        finished(again)
    process = start(url, again)
    assert process.wait() == 0
    files = f"read_parquet('{again}/request_log/*/part.parquet')"
    count, spend, low, high = duckdb.sql(
        f"SELECT count(*), sum(cost_picousd::HUGEINT), min(id), max(id) FROM {files}"
    ).fetchall()[0]
    connection = await asyncpg.connect(url)
    book = await connection.fetchrow(
        "SELECT count(*) AS n, sum(cost_picousd) AS spend, min(id::text) AS low, max(id::text) AS high FROM tollgate.request_book",
        timeout=600,
    )
    assert (count, int(spend), low, high) == (book["n"], int(book["spend"]), book["low"], book["high"])
    day = sorted(finished(again))[0]
    ids = pandas.read_parquet(again / f"request_log/day={day}/part.parquet", columns=["id", "cost_picousd"])
    ours = await connection.fetch(
        "SELECT id::text AS id, cost_picousd FROM tollgate.request_book WHERE day = $1 ORDER BY id",
        date.fromisoformat(day),
        timeout=600,
    )
    digests = [hashlib.sha256("".join(f"{i}{c}" for i, c in pairs).encode()).hexdigest()
               for pairs in (ids.itertuples(index=False), ((row["id"], row["cost_picousd"]) for row in ours))]  # fmt: skip
    assert digests[0] == digests[1]
    same = {path.parent.name: path.read_bytes() for path in to.glob("request_log/*/part.parquet")}
    assert same == {path.parent.name: path.read_bytes() for path in again.glob("request_log/*/part.parquet")}, (
        "killed or not, the same bytes"
    )
    await connection.close()
    print(
        f"\n{ROWS} rows in {whole_s:.1f} s, {ROWS / whole_s:.0f} a second; at most {most:.0f} MB; {KILLS} kills",
        flush=True,
    )
    assert most < MEMORY_MB

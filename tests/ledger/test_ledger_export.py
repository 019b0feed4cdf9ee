"""Exported days are the book's: by count, sum and hash, killed or not, read by other tools. On a
real PostgreSQL.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import msgspec
import pytest
from moto.server import ThreadedMotoServer
from nats.aio.client import Client

from services.ledger import export
from services.ledger.export_target import Bucket, Folder, TargetError, open_target
from services.ledger.exporter import Exporter
from services.ledger.retention_loop import Schedule
from services.ledger.telling import Teller
from tests.ledger.ledger_kit import Book, Policy, eventually, on, opened, running, settled
from tests.ledger.servers import Nats

TODAY = datetime.now(UTC).date()
DAYS = [TODAY - timedelta(days=n) for n in (2, 1, 0)]


@pytest.fixture
async def full(book: Book) -> Book:
    for n, day in enumerate(DAYS, 1):
        await book.post(
            *(
                settled(opened(id=on(day), tags=["a", 'quo"te', "ü,\n"], spend_logs_metadata={"n": k}))
                for k in range(10 * n)
            )
        )
    await book.post(settled(opened(id=on(DAYS[0]), price=None)))
    return book


async def run(book: Book, to: Path, form: str = "parquet") -> export.Exported:
    return await export.run(book.database, Folder(str(to)), None, TODAY, form)


def manifest(root: Path, day: Any) -> dict[str, Any]:
    return dict(json.loads((root / f"request_log/day={day}/manifest.json").read_text()))


@pytest.mark.parametrize(
    ("form", "reader"),
    [("parquet", "read_parquet('{}')"), ("csv", "read_csv('{}', all_varchar=true)"), ("jsonl", "read_json('{}')")],
)
async def test_every_format_is_read_by_another_tool_and_adds_up(
    full: Book, tmp_path: Path, form: str, reader: str
) -> None:
    done = await run(full, tmp_path, form)
    assert (done.written, done.rows) == ([day.isoformat() for day in DAYS], 61)
    files = reader.format(tmp_path / "request_log/*/part.*")
    count, spend, usd, ids = duckdb.sql(
        f"SELECT count(*), sum(cost_picousd::HUGEINT), sum(spend_usd::DECIMAL(38, 12)), count(DISTINCT id) FROM {files}"
    ).fetchall()[0]
    assert (count, int(spend), ids) == (61, await full.value("SELECT sum(cost_picousd) FROM request_book"), 61)
    assert int(usd * 10**12) == int(spend)
    for day in DAYS:
        said = manifest(tmp_path, day)
        data = (tmp_path / f"request_log/day={day}" / said["file"]).read_bytes()
        assert (said["sha256"], said["bytes"]) == (hashlib.sha256(data).hexdigest(), len(data))
        assert said["rows"] == await full.value("SELECT count(*) FROM request_book WHERE day = $1", day)
    tags = duckdb.sql(f"SELECT DISTINCT tags FROM {files} WHERE tags::VARCHAR <> '[\"app\"]'").fetchall()
    shown = tags[0][0]
    assert (json.loads(shown) if isinstance(shown, str) else list(shown)) in (["a", 'quo"te', "ü,\n"], ["app"])


async def test_a_second_run_writes_nothing_and_late_rows_bring_their_day_again(full: Book, tmp_path: Path) -> None:
    await run(full, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    done = await run(full, tmp_path)
    assert (done.written, len(done.kept)) == ([], 3)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    await full.post(settled(opened(id=on(DAYS[1]))))
    assert (await run(full, tmp_path)).written == [DAYS[1].isoformat()]
    assert manifest(tmp_path, DAYS[1])["rows"] == 21


@pytest.mark.parametrize("moment", range(6))
async def test_killed_at_any_moment_it_leaves_no_half_file_and_is_gone_on_with(
    full: Book, tmp_path: Path, moment: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed while writing, while renaming, between a file and its manifest."""
    seen = 0
    replace = Path.replace

    def dying(self: Path, target: Path) -> Path:
        nonlocal seen
        seen += 1
        if seen == moment + 1:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", dying)
    with pytest.raises(KeyboardInterrupt):
        await run(full, tmp_path)
    monkeypatch.undo()
    for path in tmp_path.rglob("part.parquet"):
        duckdb.sql(f"SELECT count(*) FROM read_parquet('{path}')").fetchall()
    await run(full, tmp_path)
    count = duckdb.sql(f"SELECT count(*) FROM read_parquet('{tmp_path}/request_log/*/part.parquet')").fetchall()
    assert count == [(61,)]


async def test_memory_stays_small_as_rows_go_by_some_at_a_time(
    full: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "CHUNK_ROWS", 7)
    seen: list[int] = []
    await export.run(
        full.database, Folder(str(tmp_path)), DAYS[2], TODAY, "parquet", lambda _day, count: seen.append(count)
    )
    assert seen == [7, 14, 21, 28, 30]
    assert duckdb.sql(f"SELECT count(*) FROM read_parquet('{tmp_path}/request_log/*/part.parquet')").fetchall() == [
        (30,)
    ]


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ALLOW_HTTP": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="us-east-1", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="books")
    yield "s3://books/ours"
    server.stop()


async def test_into_a_bucket(full: Book, s3: str) -> None:
    target = open_target(s3, os.environ)
    assert isinstance(target, Bucket)
    done = await export.run(full.database, target, None, TODAY, "jsonl")
    assert done.rows == 61
    said = msgspec.json.decode(await target.get(f"request_log/day={DAYS[2]}/manifest.json") or b"")
    data = await target.get(f"request_log/day={DAYS[2]}/part.jsonl") or b""
    assert (said["sha256"], len(data.splitlines())) == (hashlib.sha256(data).hexdigest(), 30)
    assert (await export.run(full.database, target, None, TODAY, "jsonl")).written == []
    with pytest.raises(TargetError) as told:
        await export.run(full.database, open_target("s3://nobodys/ours", os.environ), None, TODAY, "jsonl")
    assert "secret-of-the-bucket" not in str(told.value)


@pytest.mark.parametrize("where", ["ftp://x/y", "https://example.com/x", "/proc/nope/x"])
def test_places_that_are_none(where: str) -> None:
    with pytest.raises(TargetError):
        open_target(where, {})


async def test_by_an_administrator_over_http_and_it_is_a_fact(
    nats_server: Nats, client: Client, policy: Policy, full: Book, tmp_path: Path
) -> None:
    async with running(nats_server.url, full.url, export_url=str(tmp_path)) as ledger:
        assert (await ledger.post("/export", {}, key="sk-viewer"))[0] == 403
        for wrong in (
            {"from": "x"},
            {"format": "xml"},
            {"to": "/etc"},
            {"from": "2026-01-02", "until": "2026-01-01"},
            {"from": 5},
        ):
            assert (await ledger.post("/export", wrong))[0] == 400, wrong
        status, _ = await ledger.post("/export", {"until": str(TODAY), "format": "csv"})
        assert status == 202

        async def done() -> Any:
            _, body, _ = await ledger.get("/export", key="sk-viewer")
            return body["state"] == "done" and body

        assert (await eventually(done))["rows"] == 61

        async def told() -> Any:
            _, body, _ = await ledger.get("/audit", table_name="Tollgate_export")
            return body["audit_logs"]

        entry = (await eventually(told))[0]
        assert (entry["changed_by"], entry["updated_values"]["format"]) == ("default_user_id", "csv")
    assert len(list(tmp_path.rglob("part.csv"))) == 3
    async with running(nats_server.url, full.url) as ledger:
        status, body = await ledger.post("/export", {})
        assert (status, "TOLLGATE_EXPORT_URL" in body["error"]["message"]) == (400, True)


async def test_by_schedule(nats_server: Nats, client: Client, policy: Policy, full: Book, tmp_path: Path) -> None:
    stopping = asyncio.Event()
    exporter = Exporter(full.database, Teller(client), str(tmp_path), "parquet")
    task = asyncio.create_task(exporter.by_schedule(Schedule("", ""), stopping))

    async def there() -> bool:
        return len(list(tmp_path.rglob("manifest.json"))) == 2

    await eventually(there, "yesterday and the day before; today isn't over")
    stopping.set()
    await asyncio.wait_for(task, 5)

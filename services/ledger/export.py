"""`export`: the book's rows, day by day, as CSV, JSON Lines or Parquet, into a folder or a bucket
(s3://, gs://, az://).

    export --to DIR [--from 2026-11-01] [--until 2026-11-26] [--format parquet] [--proof]

A day is one file, `request_log/day=2026-11-26/part.parquet`, and beside it a `manifest.json`:
number of rows, spend, SHA-256 of the file, and up to which batch of each shard it goes.
What a row's `price` stands for is in `price/prices.jsonl`.
A file appears under its name only when it is whole. A day whose manifest says what the
book says is left as it is, so an export that was killed is gone on with by running it again, and
late rows bring their day again. Rows are those of `request_book`: one a request.
"""

import argparse
import asyncio
import csv
import hashlib
import io
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

import msgspec

from services.ledger import config, export_proof, rows
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database, ahead
from services.ledger.export_target import Target, TargetError, open_target
from shared.config import ConfigError
from shared.decoding import UNREADABLE
from shared.money import format_usd
from shared.settings import SettingsError

FORMATS = {"csv": "csv", "jsonl": "jsonl", "parquet": "parquet"}
CHUNK_ROWS = 5_000
ROW_GROUP_ROWS = 20_000
"""What the Parquet writer holds in memory."""
PRICES = "price/prices.jsonl"
TIMEOUT_S = 3600.0
VERSION = 1

COLUMNS = (*(name for name in rows.COLUMNS if name not in ("provisional",)), "shard", "batch", "provisional")
_COST = COLUMNS.index("cost_picousd")
_JSON_LISTS = frozenset(("tags", "flags", "log_off", "altered"))
_TEXTS = frozenset(("spend_logs_metadata", "guardrails", "guardrail_outcomes", "price"))

Progress = Callable[[str, int], None]


class Exported(NamedTuple):
    written: list[str]
    """Days."""
    kept: list[str]
    """Days that were there already."""
    rows: int


class Manifest(msgspec.Struct, frozen=True):
    version: int
    day: str
    file: str
    rows: int
    spend_picousd: str
    sha256: str
    bytes: int
    batches: dict[str, int]
    """By shard: the last batch whose rows it has."""
    proof: Literal["whole", "open"] | None = None
    """Whether proof.jsonl lies beside it, and checkpoints cover it."""


def command(arguments: list[str]) -> int:
    """Exit status: 0 done, 2 could not be done."""
    today = datetime.now(UTC).date()
    parser = argparse.ArgumentParser(prog="export", description="The book's rows as files, day by day.")
    parser.add_argument("--to", required=True, help="a folder, or s3://bucket/prefix, gs://..., az://...")
    parser.add_argument("--from", dest="first", type=date.fromisoformat, help="first day; the first there is")
    parser.add_argument(
        "--until", dest="last", type=date.fromisoformat, default=today - timedelta(days=1), help="last day; yesterday"
    )
    parser.add_argument("--format", choices=FORMATS, default="parquet")
    parser.add_argument(
        "--proof", action="store_true", help="with what it takes to check the files without the database"
    )
    asked = parser.parse_args(arguments)
    try:
        return asyncio.run(_main(asked))
    except (SettingsError, ConfigError, TargetError, *DATABASE_ERRORS) as error:
        print(f"export: {error}", file=sys.stderr)
        return 2


async def _main(asked: argparse.Namespace) -> int:
    settings = await config.read(os.environ)
    shown = sys.stderr.isatty()

    def progress(day: str, count: int) -> None:
        if shown:
            print(f"\r{day}  {count:>12,} rows", end="", file=sys.stderr, flush=True)

    database, target = config.database(settings), open_target(asked.to, os.environ)
    done = await run(database, target, asked.first, asked.last, asked.format, progress, proof=asked.proof)
    days = f"{len(done.written)} days written ({done.rows} rows), {len(done.kept)} as they were"
    print(("\n" if shown else "") + f"export: {days}", file=sys.stderr)
    return 0


async def run(
    database: Database,
    target: Target,
    first: date | None,
    last: date,
    form: str,
    progress: Progress = lambda _day, _rows: None,
    *,
    proof: bool = False,
) -> Exported:
    """Raises TargetError, or one of DATABASE_ERRORS. What is complete by then stays."""
    connection = await database.inspector()
    done = Exported([], [], 0)
    try:
        found = await connection.fetch(
            "SELECT DISTINCT day FROM request_log WHERE day <= $1 ORDER BY day", last, timeout=TIMEOUT_S
        )
        for day in (row["day"] for row in found):
            if first is not None and day < first:
                continue
            written = await export_day(connection, target, day, form, progress, proof=proof)
            (done.written if written is not None else done.kept).append(day.isoformat())
            done = done._replace(rows=done.rows + (written.rows if written else 0))
        await _put_prices(connection, target)
    finally:
        await connection.close(timeout=5)
    return done


async def _put_prices(connection: Connection, target: Target) -> None:
    """What the rows' `price` stands for: a few, all of them each time."""
    found = await connection.fetch(QUERIES["price_all"], timeout=TIMEOUT_S)
    lines = [msgspec.json.encode({"sha256": row["sha256"], "body": msgspec.Raw(row["body"].encode())}) for row in found]
    whole = b"".join(line + b"\n" for line in lines)
    if whole and await target.get(PRICES) != whole:
        await target.put(PRICES, whole)


async def export_day(
    connection: Connection, target: Target, day: date, form: str, progress: Progress, *, proof: bool = False
) -> Manifest | None:
    """None: what is there already says the same as the book."""
    folder = f"request_log/day={day.isoformat()}"
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        facts = await connection.fetchrow(
            "SELECT count(*) AS rows, coalesce(sum(cost_picousd), 0) AS spend FROM request_book WHERE day = $1",
            day,
            timeout=TIMEOUT_S,
        )
        assert facts is not None
        batches = await connection.fetch(
            "SELECT shard, min(batch) AS first, max(batch) AS batch FROM request_log WHERE day = $1 GROUP BY shard", day
        )
        wanted = (facts["rows"], str(facts["spend"]), {str(row["shard"]): row["batch"] for row in batches})
        name = f"part.{FORMATS[form]}"
        known = await _manifest(target, f"{folder}/manifest.json")
        spans = {row["shard"]: (row["first"], row["batch"]) for row in batches}
        if known is not None and (known.rows, known.spend_picousd, known.batches, known.file) == (*wanted, name):
            if proof and known.proof != "whole" and await export_proof.write(connection, target, folder, spans):
                await _put(target, folder, msgspec.structs.replace(known, proof="whole"))
            return None
        with target.draft() as draft:
            writer = {"csv": _write_csv, "jsonl": _write_lines, "parquet": _write_parquet}[form]
            counted = await writer(connection, day, draft.file, progress)
            digest, size = await asyncio.to_thread(_digest, draft.whole())
            if counted != wanted[0]:
                raise TargetError(f"{day}: {counted} rows were written, the book has {wanted[0]}")
            manifest = Manifest(VERSION, day.isoformat(), name, wanted[0], wanted[1], digest, size, wanted[2])
            await target.put_file(f"{folder}/{name}", draft.whole())
        if proof:
            whole = await export_proof.write(connection, target, folder, spans)
            manifest = msgspec.structs.replace(manifest, proof="whole" if whole else "open")
        await _put(target, folder, manifest)
    return manifest


async def _put(target: Target, folder: str, manifest: Manifest) -> None:
    await target.put(f"{folder}/manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))


async def _manifest(target: Target, path: str) -> Manifest | None:
    data = await target.get(path)
    try:
        return None if data is None else msgspec.json.decode(data, type=Manifest)
    except UNREADABLE:
        return None


def _digest(path: str) -> tuple[str, int]:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size


async def _chunks(connection: Connection, day: date, progress: Progress) -> AsyncGenerator[list[Any]]:
    query = f"SELECT {', '.join(COLUMNS)} FROM request_book WHERE day = $1 ORDER BY id"  # noqa: S608 - our own names
    count = 0
    async with aclosing(ahead(connection, query, day, rows=CHUNK_ROWS, timeout_s=TIMEOUT_S)) as chunks:
        async for chunk in chunks:
            count += len(chunk)
            progress(day.isoformat(), count)
            yield chunk


def _list_text(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_AS_TEXT: dict[str, Callable[[Any], str]] = {
    "day": str, "id": str, "fact_sha256": bytes.hex, **dict.fromkeys(_JSON_LISTS, _list_text),
}  # fmt: skip
"""What text formats have as text that isn't one: ids and digests, and lists as JSON."""


def _columns(chunk: list[Any]) -> list[Sequence[Any]]:
    """COLUMNS and what they cost in USD, of some rows: column by column, as most need nothing
    done.
    """
    found: list[Sequence[Any]] = list(zip(*chunk, strict=True))
    for at, name in enumerate(COLUMNS):
        if (shown := _AS_TEXT.get(name)) is not None:
            found[at] = [None if value is None else shown(value) for value in found[at]]
    found.append([_usd(picousd) for picousd in found[_COST]])
    return found


async def _write_csv(connection: Connection, day: date, file: IO[bytes], progress: Progress) -> int:
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, "spend_usd"))
    count = 0
    async with aclosing(_chunks(connection, day, progress)) as chunks:
        async for chunk in chunks:
            writer.writerows(zip(*_columns(chunk), strict=True))
            count += len(chunk)
    text.flush()
    text.detach()
    return count


async def _write_lines(connection: Connection, day: date, file: IO[bytes], progress: Progress) -> int:
    count = 0
    async with aclosing(_chunks(connection, day, progress)) as chunks:
        async for chunk in chunks:
            for row in chunk:
                shown: dict[str, Any] = {name: _nested(name, value) for name, value in zip(COLUMNS, row, strict=True)}
                file.write(msgspec.json.encode({**shown, "spend_usd": _usd(row[_COST])}) + b"\n")
            count += len(chunk)
    return count


def _nested(name: str, value: Any) -> Any:
    if value is None or name in _JSON_LISTS:
        return value
    if name in _TEXTS:
        return msgspec.Raw(value.encode())
    return _AS_TEXT[name](value) if name in _AS_TEXT else value


async def _write_parquet(connection: Connection, day: date, file: IO[bytes], progress: Progress) -> int:
    """Some rows at a time: the writer pulls them in a thread, the loop reads them."""
    from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema  # noqa: PLC0415
    from arro3.io import write_parquet  # noqa: PLC0415

    types = {"text": DataType.utf8(), "number": DataType.int64(), "truth": DataType.bool()}
    of_columns = [*(types[_kind(name)] for name in COLUMNS), types["text"]]
    schema = Schema([Field(name, type_) for name, type_ in zip((*COLUMNS, "spend_usd"), of_columns, strict=True)])
    loop = asyncio.get_running_loop()
    count = 0

    def batches() -> Any:
        nonlocal count
        while chunk := asyncio.run_coroutine_threadsafe(_next(chunks), loop).result():
            count += len(chunk)
            columns = [Array(cells, type=type_) for cells, type_ in zip(_columns(chunk), of_columns, strict=True)]
            yield RecordBatch.from_arrays(columns, schema=schema)

    def write() -> None:
        write_parquet(
            RecordBatchReader.from_batches(schema, batches()),
            file,
            compression="zstd(3)",
            max_row_group_size=ROW_GROUP_ROWS,
        )

    async with aclosing(_chunks(connection, day, progress)) as chunks:
        await asyncio.to_thread(write)
    return count


async def _next(chunks: AsyncIterator[list[Any]]) -> list[Any]:
    return await anext(chunks, [])


_NUMBERS = frozenset(
    (
        *(column.name for column in rows.SPEC if column.kind in ("ms", "small", "count", "money", "units")),
        "shard",
        "batch",
        "stream_seq",
    )
)


def _kind(name: str) -> str:
    return "number" if name in _NUMBERS else "truth" if name in ("stream", "provisional") else "text"


def _usd(picousd: int | None) -> str | None:
    """Exact, as a decimal: nobody's float rounds it."""
    return None if picousd is None else format_usd(picousd)

"""An export with its proof is checked by one file, without the database; whatever is done to it is
found. On a real PostgreSQL.
"""

import asyncio
import hashlib
import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger import export, offline
from services.ledger.export_target import Folder
from tests.ledger.ledger_kit import Book, Told, now_ms, opened, refused, settled
from tests.ledger.signing import KEY, OTHER, copy_all, sign

TODAY = datetime.now(UTC).date()
SCRIPT = Path(offline.__file__)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=70) | st.binary(max_size=70),
        lambda inner: st.lists(inner, max_size=20),
    )
)
def test_the_script_packs_as_the_book_does(value: Any) -> None:
    assert offline.pack(value) == msgspec.msgpack.encode(value)


@pytest.mark.parametrize("size", [31, 32, 255, 256, 65535, 65536])
def test_the_script_packs_long_things_as_the_book_does(size: int) -> None:
    for value in ("x" * size, b"x" * size, [None] * size):
        assert offline.pack(value) == msgspec.msgpack.encode(value)


async def filled(book: Book) -> None:
    late = opened(expires_at_ms=1)
    await book.post(late)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await book.post(settled(late), refused(tags=["x"]), settled(opened(tags=['"', "ü", "\U0001f600"])))
    await book.post(
        settled(opened(spend_logs_metadata={"a": [1, {"b": 'q"\\'}], "e": None})), settled(cost_picousd=None)
    )


async def exported(book: Book, folder: Path, form: str) -> None:
    await export.run(book.database, Folder(str(folder)), None, TODAY, form, proof=True)


def check(folder: Path, told: Told, *arguments: str) -> tuple[int, list[str]]:
    told.readouterr()
    asked = dict(zip(arguments[::2], arguments[1::2], strict=True))
    status = offline.check(folder, *(Path(asked[name]) if name in asked else None for name in ("copies", "keys")))
    return status, told.readouterr().out.splitlines()


def day(folder: Path) -> Path:
    (found,) = (folder / "request_log").glob("day=*")
    return found


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
async def test_an_export_is_checked_by_one_file_without_tollgate(
    book: Book, capsys: Told, tmp_path: Path, form: str
) -> None:
    await filled(book)
    await sign(book)
    await exported(book, tmp_path / "e", form)
    await copy_all(book, tmp_path / "c")
    script = tmp_path / "check.py"
    shutil.copy(SCRIPT, script)
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-I", script, tmp_path / "e", "--checkpoints", tmp_path / "c"], capture_output=True, text=True
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "1 days, 5 rows as they were written: all as they were written\n"), (
        done
    )
    status, lines = check(tmp_path / "e", capsys)
    assert status == 0 and lines[0].startswith("note"), "the key is only believed"


async def test_what_no_checkpoint_covers_yet_is_said_and_mended_by_the_next_export(
    book: Book, capsys: Told, tmp_path: Path
) -> None:
    await sign(book)
    await filled(book)
    await exported(book, tmp_path, "jsonl")
    status, lines = check(tmp_path, capsys)
    assert status == 1 and any(line.startswith("unsigned") for line in lines)
    assert json.loads((day(tmp_path) / "manifest.json").read_text())["proof"] == "open"
    await sign(book)
    before = (day(tmp_path) / "part.jsonl").stat().st_mtime_ns
    await exported(book, tmp_path, "jsonl")
    assert check(tmp_path, capsys)[0] == 0
    assert (day(tmp_path) / "part.jsonl").stat().st_mtime_ns == before, "only the proof is written anew"
    assert json.loads((day(tmp_path) / "manifest.json").read_text())["proof"] == "whole"


def fit_manifest(folder: Path) -> None:
    """As somebody who changes the file knows how to."""
    path = day(folder) / "manifest.json"
    manifest = json.loads(path.read_text())
    data = (day(folder) / manifest["file"]).read_bytes()
    path.write_text(json.dumps({**manifest, "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}))


@pytest.mark.parametrize(
    ("change", "kind"),
    [("cell", "changed"), ("json", "changed"), ("removed", "missing"), ("added", "added"), ("twice", "added"), ("file", "changed"),
     ("gone", "missing"), ("batch", "changed"), ("batches", "missing"), ("signature", "forged"), ("key", "forged")],
)  # fmt: skip
async def test_whatever_is_done_to_it_is_found(
    book: Book, capsys: Told, tmp_path: Path, change: str, kind: str
) -> None:
    await filled(book)
    await sign(book)
    await exported(book, tmp_path / "e", "jsonl")
    await copy_all(book, tmp_path / "c")
    folder = day(tmp_path / "e")
    part, proof = folder / "part.jsonl", folder / "proof.jsonl"
    lines = part.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if '"b"' in line)
    if change == "cell":
        lines[number] = lines[number].replace('"status":200', '"status":201')
    elif change == "json":
        lines[number] = lines[number].replace('"e":null', '"e": null')
    elif change == "removed":
        del lines[number]
    elif change == "added":
        row = json.loads(lines[number])
        lines.append(json.dumps({**row, "id": row["id"][:-4] + "0000"}))
    elif change == "twice":
        lines.append(lines[number])
    if change in ("cell", "json", "removed", "added", "twice"):
        assert lines != part.read_text().splitlines()
        part.write_text("\n".join(lines) + "\n")
        fit_manifest(tmp_path / "e")
    elif change == "file":
        part.write_text(part.read_text() + " \n")
    elif change == "gone":
        part.unlink()
    elif change == "batch":
        batches = [json.loads(line) for line in proof.read_text().splitlines()]
        batches[1]["at_ms"] += 1
        proof.write_text("\n".join(map(json.dumps, batches)) + "\n")
    elif change == "batches":
        proof.write_text("\n".join(proof.read_text().splitlines()[:-1]) + "\n")
    elif change in ("signature", "key"):
        for path in (*(tmp_path / "e/checkpoints").glob("*.json"), *(tmp_path / "e/keys").glob("*.json")):
            signed = json.loads(path.read_text())
            if change == "key":
                text = signed["text"].replace(KEY.id, OTHER.id).replace(KEY.public_text, OTHER.public_text)
                from services.ledger.checkpoint import read_checkpoint, read_statement, Envelope  # noqa: I001

                read = read_checkpoint if path.parent.name == "checkpoints" else read_statement
                again = OTHER.sign(read(Envelope(text, "", "")))
                path.write_text(json.dumps({"text": again.text, "key": again.key, "signature": again.signature}))
            elif path.parent.name == "checkpoints":
                path.write_text(json.dumps({**signed, "text": signed["text"].replace('"minutes":10', '"minutes":12')}))
    if change == "key":
        assert check(tmp_path / "e", capsys)[0] == 0, "who has the export alone can't tell"
    status, told = check(tmp_path / "e", capsys, "copies", str(tmp_path / "c"))
    assert status == 1 and any(line.startswith(kind) for line in told), told


async def test_csv_is_refused_with_a_sentence(book: Book, tmp_path: Path, capsys: Told) -> None:
    await filled(book)
    await sign(book)
    await exported(book, tmp_path, "csv")
    assert offline.check(tmp_path) == 2
    assert "only JSON Lines and Parquet" in capsys.readouterr().err
    assert offline.check(tmp_path / "nothing") == 2

#!/usr/bin/env python3
"""Checks an export that was made with `--proof`, without the database and without Tollgate: copy
this one file anywhere.

    python3 offline.py DIR [--checkpoints DIR] [--keys FILE]

It needs Python 3.9 and the package `cryptography`; for Parquet also one of pyarrow, duckdb,
arro3-io. Of each day it checks

    that the file is the one its manifest.json has the SHA-256 of;
    that every row is to the last cell what its batch has the digest of, and that no row of the day
    is missing or added; that the batches follow each other, up to the end that a signed checkpoint
    says; that the checkpoint is signed by the book's key.

Which key is right nobody can say who has only the export: give `--keys` (saved from
/.well-known/tollgate-ledger-keys when you began), or `--checkpoints`, the copies that the ledger
made elsewhere. CSV can't be checked row by row: an empty cell may be nothing or an empty string.

The formulas are those of batch_chain.py and formats.py; their golden vectors hold this file too.
Exit status: 0 all is as it was written, 1 it isn't, 2 it couldn't be checked.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import struct
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

_scan = json.decoder.scanstring  # type: ignore[attr-defined]
SHOWN_MAX = 200
FORMATS: dict[int, list[str]] = {
    1: [
        "day", "id", "provisional", "outcome", "status", "at_ms", "first_byte_at_ms", "ended_at_ms", "edge_id",
        "key_sha256", "key_alias", "team_id", "team_alias", "user_id", "organization_id", "role", "customer_id",
        "call_type", "route", "model", "deployment_id", "provider", "upstream_model", "response_model", "response_id",
        "litellm_call_id", "stream", "attempts", "error_code", "refused_by", "input_tokens", "output_tokens",
        "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source", "cost_picousd", "max_cost_picousd",
        "price", "tags", "spend_logs_metadata", "requester_ip", "user_agent", "guardrails", "guardrail_outcomes",
        "altered", "fact_sha256", "stream_seq",
    ],
    2: [
        "day", "id", "provisional", "at_ms", "edge_id", "call_type", "route", "model", "deployment_id", "provider",
        "upstream_model", "stream", "customer_id", "tags", "spend_logs_metadata", "requester_ip", "user_agent",
        "guardrails", "max_cost_picousd", "litellm_call_id", "price", "session_id", "log_off", "key_sha256",
        "key_alias", "team_id", "team_alias", "user_id", "organization_id", "role", "outcome", "status",
        "first_byte_at_ms", "ended_at_ms", "response_model", "response_id", "attempts", "error_code",
        "guardrail_outcomes", "cost_picousd", "flags", "input_tokens", "output_tokens", "cached_tokens",
        "cache_write_tokens", "reasoning_tokens", "usage_source", "cache_write_1h_tokens", "audio_input_tokens",
        "cached_audio_tokens", "image_input_tokens", "audio_output_tokens", "image_output_tokens", "input_characters",
        "output_characters", "input_ms", "output_ms", "input_images", "images", "input_pixels", "pixels", "searches",
        "search_context", "service", "refused_by", "fact_sha256", "stream_seq", "altered",
    ],
}  # fmt: skip
FORMATS[3] = FORMATS[2]  # "price" names a digest: prices.jsonl has what it stands for
FORMATS[4] = [*FORMATS[3]]
FORMATS[4].insert(FORMATS[3].index("input_tokens"), "provider_request_id")
LISTS = {"tags", "flags", "log_off", "altered"}
TEXTS = {"spend_logs_metadata", "guardrails", "guardrail_outcomes", "price"}
"""JSON that is hashed as the text it was written as."""
BYTES = {"fact_sha256"}


class CheckError(Exception):
    """It can't be checked; the text says why."""


class Report:
    def __init__(self) -> None:
        self.found = 0

    def finding(self, kind: str, where: str, detail: str = "") -> None:
        self.found += 1
        if self.found <= SHOWN_MAX:
            print(f"{kind:9} {where}{': ' if detail else ''}{detail}")

    def remark(self, text: str) -> None:
        print(f"note      {text}")


# What is hashed: the smallest msgpack of the cells.


def pack(value: Any) -> bytes:
    if value is None:
        return b"\xc0"
    if value is True or value is False:
        return b"\xc3" if value else b"\xc2"
    if isinstance(value, int):
        return _pack_int(value)
    if isinstance(value, (bytes, bytearray)):
        return _head(len(value), None, (0xC4, 0xC5, 0xC6)) + bytes(value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(len(raw), (0xA0, 32), (0xD9, 0xDA, 0xDB)) + raw
    if isinstance(value, (list, tuple)):
        return _head(len(value), (0x90, 16), (None, 0xDC, 0xDD)) + b"".join(map(pack, value))
    raise CheckError(f"a cell of type {type(value).__name__}")


def _pack_int(value: int) -> bytes:
    if 0 <= value < 128:
        return bytes((value,))
    if -32 <= value < 0:
        return struct.pack("b", value)
    if value > 0:
        for code, form, limit in (
            (0xCC, ">B", 1 << 8),
            (0xCD, ">H", 1 << 16),
            (0xCE, ">I", 1 << 32),
            (0xCF, ">Q", 1 << 64),
        ):
            if value < limit:
                return bytes((code,)) + struct.pack(form, value)
    for code, form, limit in (
        (0xD0, ">b", 1 << 7),
        (0xD1, ">h", 1 << 15),
        (0xD2, ">i", 1 << 31),
        (0xD3, ">q", 1 << 63),
    ):
        if -limit <= value < 0:
            return bytes((code,)) + struct.pack(form, value)
    raise CheckError("a number beyond 64 bits")


def _head(size: int, small: tuple[int, int] | None, codes: tuple[int | None, int, int]) -> bytes:
    if small is not None and size < small[1]:
        return bytes((small[0] | size,))
    if codes[0] is not None and size < 1 << 8:
        return bytes((codes[0], size))
    if size < 1 << 16:
        return bytes((codes[1],)) + struct.pack(">H", size)
    return bytes((codes[2],)) + struct.pack(">I", size)


def leaf(row: dict[str, Any], number: int) -> bytes | None:
    """None: the row has cells that its format doesn't know."""
    columns = FORMATS[number]
    if any(row.get(name) is not None for known in FORMATS.values() for name in known if name not in columns):
        return None
    return hashlib.sha256(pack([row[name] for name in columns])).digest()


def link(previous: bytes, batch: dict[str, Any], manifest: bytes) -> bytes:
    head = previous + struct.pack(
        ">iqqqqi", batch["shard"], batch["n"], batch["first_seq"], batch["last_seq"], batch["at_ms"], batch["rows"]
    )
    if batch["format"] > 1:
        head += struct.pack(">h", batch["format"])
    return hashlib.sha256(head + manifest).digest()


def day_of(row_id: bytes) -> str:
    at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=int.from_bytes(row_id[:6], "big"))  # noqa: UP017
    return at.strftime("%Y-%m-%d")


# Rows of a file, as they were hashed.


def rows_of(path: Path) -> Iterator[dict[str, Any] | None]:
    """None: a line that is no row."""
    if path.suffix == ".jsonl":
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    yield _cells(dict(_members(line)))
                except (ValueError, KeyError, IndexError, TypeError):
                    yield None
    elif path.suffix == ".parquet":
        for row in _parquet(path):
            yield _cells(row, lists_as_text=True)
    else:
        raise CheckError(f"{path.name}: only JSON Lines and Parquet say what every cell was")


def _members(line: str) -> Iterator[tuple[str, Any]]:
    """Of one JSON object: values, and of those in TEXTS the text as it stands."""
    decoder, at = json.JSONDecoder(), _after_space(line, 0)
    if line[at] != "{":
        raise ValueError("no object")
    at = _after_space(line, at + 1)
    while line[at] != "}":
        name, at = _scan(line, at + 1)
        start = _after_space(line, _after_space(line, at) + 1)
        value, end = decoder.raw_decode(line, start)
        yield name, (line[start:end] if name in TEXTS and value is not None else value)
        at = _after_space(line, end)
        if line[at] == ",":
            at = _after_space(line, at + 1)


def _after_space(line: str, at: int) -> int:
    while line[at] in " \t\r\n":
        at += 1
    return at


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    try:
        import pyarrow.parquet as parquet  # noqa: PLC0415
    except ImportError:
        pass
    else:
        for batch in parquet.ParquetFile(path).iter_batches(5_000):
            yield from batch.to_pylist()
        return
    try:
        import duckdb  # noqa: PLC0415
    except ImportError:
        pass
    else:
        found = duckdb.connect().execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [str(path)])
        names = [column[0] for column in found.description]
        while chunk := found.fetchmany(5_000):
            for row in chunk:
                yield dict(zip(names, row))  # noqa: B905
        return
    try:
        from arro3.io import read_parquet  # noqa: PLC0415
    except ImportError:
        raise CheckError("Parquet needs one of pyarrow, duckdb, arro3-io") from None
    for batch in read_parquet(str(path)):
        columns = {name: batch.column(name).to_pylist() for name in batch.schema.names}
        for number in range(batch.num_rows):
            yield {name: values[number] for name, values in columns.items()}


def _cells(row: dict[str, Any], lists_as_text: bool = False) -> dict[str, Any]:
    for name in BYTES:
        row[name] = None if row[name] is None else bytes.fromhex(row[name])
    if lists_as_text:
        for name in LISTS:
            row[name] = None if row[name] is None else json.loads(row[name])
    return row


# Who signed.


def verified(signed: dict[str, str], public_key: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    except ImportError:
        raise CheckError("signatures need the package cryptography") from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(
            base64.b64decode(signed["signature"]), signed["text"].encode()
        )
    except (InvalidSignature, ValueError):
        return False
    return True


def envelopes(folders: list[Path], kind: str) -> list[tuple[str, dict[str, str], dict[str, Any]]]:
    found = []
    for folder in folders:
        for path in sorted((folder / kind).glob("*.json")):
            try:
                signed = json.loads(path.read_bytes())
                found.append((path.name, signed, json.loads(signed["text"])))
            except (ValueError, KeyError, TypeError):
                raise CheckError(f"{path}: no signed text") from None
    return found


def keys_of(folders: list[Path], trusted: set[str] | None, report: Report) -> list[tuple[int, str, bytes]]:
    """(signs after checkpoint, id, public key) of those that are trusted, or made by one that
    is.
    """
    by_number: dict[int, tuple[dict[str, str], dict[str, Any]]] = {}
    for name, signed, said in envelopes(folders, "keys"):
        known = by_number.setdefault(said["number"], (signed, said))
        if known[0]["text"] != signed["text"]:
            report.finding("forged", name, "there is another key of this number")
    good: list[tuple[int, str, bytes]] = []
    previous: tuple[str, bytes] | None = None
    for number in sorted(by_number):
        signed, said = by_number[number]
        public_key = base64.b64decode(said["public_key"])
        if hashlib.sha256(public_key).hexdigest()[:16] != said["key"]:
            report.finding("forged", f"key {number}", "its id isn't that of its bytes")
            break
        signer = previous if previous is not None else (said["key"], public_key)
        sound = signed["key"] == signer[0] and verified(signed, signer[1])
        if not sound:
            report.finding("forged", f"key {number}", f"{said['key']} isn't made by the key before it")
        rooted = said["key"] in trusted if trusted is not None else previous is None
        if rooted or (sound and any(key == signer[0] for _, key, _ in good)):
            good.append((said["after"], said["key"], public_key))
        previous = (said["key"], public_key)
    if trusted is not None and by_number and not good:
        report.finding("forged", "keys", "none is one that is trusted")
    return good


def heads_of(
    folders: list[Path], keys: list[tuple[int, str, bytes]], report: Report
) -> dict[tuple[int, int], tuple[str, int]]:
    """(shard, n) → (hash, checkpoint)."""
    heads: dict[tuple[int, int], tuple[str, int]] = {}
    for name, signed, said in envelopes(folders, "checkpoints"):
        due = [key for key in keys if key[0] < said["n"]]
        if not due or signed["key"] != max(due)[1] or not verified(signed, max(due)[2]):
            report.finding("forged", name, "it isn't signed by a key that is trusted for it")
            continue
        for shard, head in said["traffic"].items():
            known = heads.setdefault((int(shard), head["n"]), (head["sha256"], said["n"]))
            if known[0] != head["sha256"]:
                report.finding("forked", name, f"checkpoint {known[1]} has another hash of shard {shard} n {head['n']}")
    return heads


# A day.


def check_day(folder: Path, heads: dict[tuple[int, int], tuple[str, int]], report: Report) -> int:
    """Returns how many rows were found to be what they were."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    day, path = manifest["day"], folder / manifest["file"]
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError:
        report.finding("missing", f"{day} {manifest['file']}")
        return 0
    if digest.hexdigest() != manifest["sha256"]:
        report.finding("changed", f"{day} {manifest['file']}", "its SHA-256 isn't that of manifest.json")
    if not (folder / "proof.jsonl").exists():
        report.remark(f"{day}: no proof.jsonl (export --proof): only the file's SHA-256 was compared")
        return 0
    expected = expected_of(folder / "proof.jsonl", day, heads, report)
    missing_batches = [
        f"shard {shard} n {n}" for shard, n in manifest["batches"].items() if (int(shard), n) not in expected
    ]
    for where in missing_batches:
        report.finding("missing", f"{day} proof.jsonl", f"batch {where}")
    return compare(rows_of(path), day, expected, report)


def expected_of(
    path: Path, day: str, heads: dict[tuple[int, int], tuple[str, int]], report: Report
) -> dict[tuple[int, int], tuple[int, dict[bytes, bytes]]]:
    """(shard, batch) → its format, and leaf by id of its rows of the day. Follows each shard's
    batches up to a signed end.
    """
    expected: dict[tuple[int, int], tuple[int, dict[bytes, bytes]]] = {}
    ends: dict[int, tuple[int, bytes]] = {}
    signed: dict[int, int] = {}
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            batch = json.loads(line)
            shard, n, manifest = batch["shard"], batch["n"], base64.b64decode(batch["manifest"])
            where = f"{day} batch {n} of shard {shard}"
            if batch["format"] not in FORMATS:
                raise CheckError(f"{where}: format {batch['format']} is newer than this script")
            previous = bytes.fromhex(batch["previous_sha256"])
            end = ends.get(shard)
            if end is not None and (end[0] + 1 != n or end[1] != previous):
                report.finding("changed", where, "it doesn't follow the batch before it")
            digest = link(previous, batch, manifest)
            ends[shard] = (n, digest)
            head = heads.get((shard, n))
            if head is not None:
                if head[0] == digest.hex():
                    signed[shard] = n
                else:
                    report.finding("changed", where, f"checkpoint {head[1]} has another hash of it")
            count = len(manifest) // 48
            ids, leaves = manifest[: 16 * count], manifest[16 * count :]
            found = {}
            for k in range(count):
                row_id = ids[16 * k : 16 * k + 16]
                if day_of(row_id) == day:
                    found[row_id] = leaves[32 * k : 32 * k + 32]
            expected[shard, n] = (batch["format"], found)
    for shard, (n, _) in sorted(ends.items()):
        if signed.get(shard, 0) < max(k for (s, k), (_, found) in expected.items() if s == shard and (found or k == n)):
            report.finding(
                "unsigned", f"{day} shard {shard}", f"no checkpoint covers its batches up to {n}: export it again"
            )
    return expected


def compare(
    rows: Iterator[dict[str, Any] | None],
    day: str,
    expected: dict[tuple[int, int], tuple[int, dict[bytes, bytes]]],
    report: Report,
) -> int:
    sound, finals = 0, set()
    for row in rows:
        if row is None:
            report.finding("changed", day, "a line that is no row")
            continue
        where = f"{day} id {row['id']}"
        row_id = bytes.fromhex(row["id"].replace("-", ""))
        number, found = expected.get((row["shard"], row["batch"]), (2, {}))
        wanted = found.pop(row_id, None)
        if wanted is None:
            report.finding("added", where, "its batch was written without it")
        elif leaf(row, number) != wanted:
            report.finding("changed", where, "its cells aren't those its batch has the digest of")
        else:
            sound += 1
        if not row["provisional"]:
            finals.add(row_id)
    for (shard, n), (_, found) in expected.items():
        for row_id in found:
            if row_id not in finals:  # what a request was before it ended isn't exported
                report.finding("missing", f"{day} id {row_id.hex()}", f"shard {shard} batch {n} has it")
    return sound


def check(export: Path, copies: Path | None = None, keys: Path | None = None) -> int:
    """Exit status."""
    report = Report()
    folders = [folder for folder in (copies, export) if folder is not None]
    try:
        days = sorted((export / "request_log").glob("day=*/manifest.json"))
        if not days:
            raise CheckError(f"{export}: there are no days of an export")
        trusted = None
        if keys is not None:
            listed = json.loads(keys.read_bytes())["keys"]
            trusted = {
                hashlib.sha256(base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4))).hexdigest()[:16]
                for key in listed
            }
        elif copies is not None:
            trusted = {said["key"] for _, _, said in envelopes([copies], "keys")} or None
        if trusted is None:
            report.remark("the key is believed as the export has it: name it with --keys or --checkpoints")
        heads = heads_of(folders, keys_of(folders, trusted, report), report)
        rows = sum(check_day(path.parent, heads, report) for path in days)
    except (CheckError, OSError, ValueError, KeyError, TypeError) as error:
        print(
            f"verify: {error if isinstance(error, CheckError) else f'{type(error).__name__}: {error}'}", file=sys.stderr
        )
        return 2
    result = f"{report.found} findings" if report.found else "all as they were written"
    print(f"{len(days)} days, {rows} rows as they were written: {result}")
    return 1 if report.found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Checks an export without the database.")
    parser.add_argument("export", type=Path)
    parser.add_argument("--checkpoints", type=Path, help="a folder with copies of the checkpoints")
    parser.add_argument("--keys", type=Path, help="a saved /.well-known/tollgate-ledger-keys")
    asked = parser.parse_args()
    sys.exit(check(asked.export, asked.checkpoints, asked.keys))

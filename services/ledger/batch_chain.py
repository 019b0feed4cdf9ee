"""Batches of traffic: each transaction's rows, hashed and chained, so that none can be changed,
removed, added or moved unseen. Pure.

    leaf(row)   = SHA-256( msgpack of the row's cells, in the order its format gives: formats.py )
    manifest    = the ids of the batch's rows (16 bytes each) ‖ their leaves (32 bytes each), in the same order
    sha256(n)   = SHA-256( sha256(n - 1) ‖ shard ‖ n ‖ first_seq ‖ last_seq ‖ at_ms ‖ number of rows ‖ format ‖ manifest )

Shard and number of rows as 4 bytes, the format as 2 (format 1 has none), the other numbers as 8,
big-endian; sha256(0) is 32 zero bytes. Each shard has a chain of its own.
The manifest is kept, so `verify` can name the row that is wrong, and newer batches (and what is
left of an old one) can be checked when older rows are gone. Rows needn't come back in any order.

A leaf must come out the same from what PostgreSQL gives back. It does, because every column keeps
what it is given to the last byte: text and json (not jsonb) as it came, integers, no floats, no
timestamps. The id and the lists change their Python type on the way (text and UUID, tuple and
list), and msgpack writes both alike.
"""  # noqa: W505

import hashlib
import operator
import struct
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, NamedTuple, Protocol

import msgspec

from services.ledger import formats, rows
from services.ledger.chain import Link
from services.ledger.rows import Row

_ID = rows.COLUMNS.index("id")
_ID_BYTES = 16
_LEAF_BYTES = 32
_MS_PER_DAY = 86_400_000
_EPOCH = date(1970, 1, 1)
_LAST_DAY = (date.max - _EPOCH).days

_encoder = msgspec.msgpack.Encoder()
_cells_of = {number: operator.itemgetter(*columns) for number, columns in formats.FORMATS.items()}


class Record(Protocol):
    """A row of request_log as the database driver gives it."""

    def __getitem__(self, name: str, /) -> Any: ...


class Made(NamedTuple):
    """What a batch was made from."""

    first_seq: int
    """Of the messages; 0, with `last_seq`: the ledger made the rows itself."""
    last_seq: int
    at_ms: int


def leaf_read(record: Record, format: int) -> bytes | None:
    """Of a row as it was read back. None: it has cells that its format doesn't know, so nobody
    wrote it as it stands.
    """
    if any(record[name] is not None for name in formats.LATER_COLUMNS[format]):
        return None
    return hashlib.sha256(_encoder.encode(_cells_of[format](record))).digest()


def manifest(written: Sequence[Row]) -> bytes:
    """Of rows as they are written, in the current format. Done for every row, so it must be quick:
    one buffer for all, and their ids turned into bytes at once."""
    buffer = bytearray()
    encode_into, sha256 = _encoder.encode_into, hashlib.sha256
    leaves = []
    for row in written:
        encode_into(row, buffer)
        leaves.append(sha256(buffer).digest())
    ids = "".join([row[_ID] for row in written]).replace("-", "")
    return bytes.fromhex(ids) + b"".join(leaves)


def entries(manifest: bytes) -> dict[bytes, bytes]:
    """Leaf by id."""
    count = len(manifest) // (_ID_BYTES + _LEAF_BYTES)
    ids, leaves = manifest[: count * _ID_BYTES], manifest[count * _ID_BYTES :]
    return {
        ids[n * _ID_BYTES : (n + 1) * _ID_BYTES]: leaves[n * _LEAF_BYTES : (n + 1) * _LEAF_BYTES] for n in range(count)
    }


def days(ids: bytes) -> set[date]:
    """Of ids as a manifest has them: the first six bytes of each are Unix milliseconds."""
    numbers = {int.from_bytes(ids[at : at + 6], "big") // _MS_PER_DAY for at in range(0, len(ids), _ID_BYTES)}
    return {_EPOCH + timedelta(days=min(number, _LAST_DAY)) for number in numbers}


def link(previous: Link, shard: int, made: Made, count: int, manifest: bytes, format: int) -> Link:
    n = previous.n + 1
    head = previous.sha256 + struct.pack(">iqqqqi", shard, n, *made, count)
    if format > 1:
        head += struct.pack(">h", format)
    return Link(n, hashlib.sha256(head + manifest).digest())

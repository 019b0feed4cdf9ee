"""What it takes to check an exported day without the database (offline.py): the batches its rows
are of, and the checkpoint that covers them.

`proof.jsonl` has, of each shard, every batch from the first with a row of the day up to the first
that a checkpoint names after the last of them: each hash covers all before it, so a signed end
covers the day. That checkpoint and all keys lie beside the days, as copies.py has them.
"""

import base64
from collections.abc import Mapping
from typing import IO

import msgspec

from services.ledger import checkpoint
from services.ledger.database import QUERIES, Connection
from services.ledger.export_target import Target

NAME = "proof.jsonl"
TIMEOUT_S = 3600.0
BATCHES_AHEAD = 20
CHECKPOINTS_TRIED = 50
"""After the last batch was written: the clocks of two ledgers differ by less than so many
checkpoints.
"""


async def write(connection: Connection, target: Target, folder: str, spans: Mapping[int, tuple[int, int]]) -> bool:
    """In the transaction of the export. Returns whether checkpoints cover all of it; if not, it is
    written again by a later export.

    Args:
        spans: by shard, the first and last batch with rows of the day.

    Raises TargetError, or one of DATABASE_ERRORS.
    """
    covered = True
    for row in await connection.fetch(QUERIES["checkpoint_keys"]):
        await target.put(checkpoint.key_file(row["number"], row["id"]), row["envelope"].encode())
    with target.draft() as draft:
        for shard, (first, last) in sorted(spans.items()):
            found = await _covering(connection, shard, last)
            covered = covered and found is not None
            until = last
            if found is not None:
                signed, until = found
                path = checkpoint.checkpoint_file(checkpoint.read_checkpoint(signed).n, signed)
                await target.put(path, msgspec.json.encode(signed))
            await _batches(connection, draft.file, shard, first, until)
        await target.put_file(f"{folder}/{NAME}", draft.whole())
    return covered


async def _covering(connection: Connection, shard: int, batch: int) -> tuple[checkpoint.Envelope, int] | None:
    """The first checkpoint that names the batch or one after it, and which it names."""
    rows = await connection.fetch(QUERIES["checkpoint_since_batch"], shard, batch, CHECKPOINTS_TRIED)
    for row in rows:
        signed = checkpoint.envelope(row["envelope"])
        head = checkpoint.read_checkpoint(signed).traffic.get(str(shard))
        if head is not None and head.n >= batch:
            return signed, head.n
    return None


async def _batches(connection: Connection, file: IO[bytes], shard: int, first: int, last: int) -> None:
    query = QUERIES["verify_batches"]
    async for row in connection.cursor(query, shard, first, last, prefetch=BATCHES_AHEAD, timeout=TIMEOUT_S):
        batch = {name: row[name] for name in ("shard", "n", "format", "first_seq", "last_seq", "at_ms", "rows")}
        digests = {name: row[name].hex() for name in ("previous_sha256", "sha256")}
        manifest = base64.b64encode(row["manifest"]).decode()
        file.write(msgspec.json.encode({**batch, **digests, "manifest": manifest}) + b"\n")

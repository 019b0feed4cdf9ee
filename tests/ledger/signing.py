"""Signs a test's book, copies what was signed, and computes a book's hashes anew as a forger
would.
"""

import asyncio
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from services.ledger import batch_chain, checkpoint, copies
from services.ledger.batch_chain import Made
from services.ledger.chain import EMPTY
from services.ledger.checkpoint import SigningKey
from services.ledger.checkpoints import Checkpoints
from services.ledger.copies import Copies
from tests.ledger.ledger_kit import Book, now_ms, tamper

KEY = SigningKey(Ed25519PrivateKey.generate())
OTHER = SigningKey(Ed25519PrivateKey.generate())


async def sign(book: Book, *keys: SigningKey, at_ms: int | None = None) -> checkpoint.Checkpoint:
    maker = Checkpoints(book.database, None, keys or (KEY,), 10, asyncio.Event(), lambda: at_ms or now_ms())
    return await maker.make(book.owner)


async def rewrite_batches(book: Book) -> None:
    """As somebody who can write everything: takes a row out of the first batch, and makes all that
    follows fit again, to the very end.
    """
    victim = await book.value("SELECT id FROM request_log WHERE batch = 1 LIMIT 1")
    await tamper(book, f"DELETE FROM request_log WHERE id = '{victim}'")
    end = EMPTY
    for row in await book.fetch("SELECT * FROM batch_log WHERE shard = 0 ORDER BY n"):
        entries = {k: v for k, v in batch_chain.entries(row["manifest"]).items() if k != victim.bytes}
        manifest = b"".join(entries) + b"".join(entries.values())
        made = Made(row["first_seq"], row["last_seq"], row["at_ms"])
        link = batch_chain.link(end, 0, made, len(entries), manifest, row["format"])
        await book.owner.execute("SET session_replication_role = replica")
        await book.owner.execute(
            "UPDATE batch_log SET manifest = $2, rows = $3, previous_sha256 = $4, sha256 = $5 WHERE shard = 0 AND n = $1",
            row["n"], manifest, len(entries), end.sha256, link.sha256,
        )  # fmt: skip
        end = link
    await book.owner.execute("UPDATE stream_position SET chain_sha256 = $1 WHERE stream = 'TRAFFIC'", end.sha256)
    await book.owner.execute("RESET session_replication_role")


async def copy_all(book: Book, folder: Path) -> None:
    await Copies(book.database, [copies.Files(str(folder), {})], asyncio.Event()).catch_up(
        copies.Files(str(folder), {})
    )

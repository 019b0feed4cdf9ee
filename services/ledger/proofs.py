"""What `verify` holds the book against: checkpoints, of the database itself and of copies, with the
keys that sign them.

Which key is right can't be known from the database, for its owner could have put in another. So
keys are believed from outside it: those that `--keys` names (saved from
`/.well-known/tollgate-ledger-keys`), else those that lie beside the copies, else the one this
machine signs with.
"""

import asyncio
import base64
import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from services.ledger import checkpoint
from services.ledger.checkpoint import CheckpointError, Envelope, Heads, Keys, Sound
from services.ledger.database import QUERIES, Connection
from services.ledger.evidence import Mismatch
from shared.decoding import UNREADABLE
from shared.settings import SettingsError

SILENT_TIMES = 3
"""A pause between two checkpoints of more than this many periods is told of."""
SHOWN_MAX = 20


class Proofs(NamedTuple):
    heads: Heads
    findings: list[Mismatch]
    remarks: list[str]
    checkpoints: int
    """Of checkpoints that can be relied on."""


async def gather(
    connection: Connection,
    copies: Path | None,
    trusted: list[str] | None,
    own: list[str],
    restores: Iterable[dict[str, Any]],
) -> Proofs:
    """
    Args:
        copies: a folder as copies.py writes it, fetched from where it is.
        trusted: ids of keys, from outside the database.
        own: ids of the keys that this machine signs with; for want of others.
        restores: what `restore` facts of the audit log say after: checkpoints that a restored
            backup doesn't have are void.

    Raises SettingsError where `copies` can't be read, or one of DATABASE_ERRORS.
    """
    copied: list[tuple[str, Envelope]] = []
    findings: list[Mismatch] = []
    stored = _stored(await connection.fetch(QUERIES["checkpoint_all"]), findings)
    statements = _statements(await connection.fetch(QUERIES["checkpoint_keys"]), findings)
    if copies is not None:
        copied_keys, copied, broken = await asyncio.to_thread(read_copies, copies)
        findings += broken
        if trusted is None and copied_keys:
            trusted = [checkpoint.read_statement(signed).key for signed in copied_keys]
        statements += copied_keys
    remarks = []
    if trusted is None and own:
        trusted = own
    if trusted is None and statements:
        remarks.append("the key that signs the checkpoints is believed as the database has it: name it with --keys")
    keys = Keys(statements, trusted)
    findings += keys.findings
    in_database = {signed.text for _, signed in stored}
    copied, voided = _without_void(copied, in_database, restores)
    remarks += voided
    found, wrong = checkpoint.sound([*(("the database", signed) for _, signed in stored), *copied], keys)
    findings += wrong
    findings += checkpoint.missing((n for n, _ in stored), "checkpoint")
    last = max((n for n, _ in stored), default=0)
    lost = [one.said.n for one in found if one.signed.text not in in_database and one.said.n > last]
    if lost:
        findings.append(
            Mismatch("truncated", f"checkpoint n {last + 1} to {max(lost)}", "copies have them, the database doesn't")
        )
    findings += await _told(connection, in_database, restores)
    remarks += _silences(found)
    return Proofs(Heads(found), findings, remarks, len(found))


async def _told(connection: Connection, in_database: set[str], restores: Iterable[dict[str, Any]]) -> list[Mismatch]:
    """Control facts tell of checkpoints, and come from CONTROL again when the database is put back:
    what they name must be here.
    """
    known = {hashlib.sha256(text.encode()).hexdigest() for text in in_database}
    bounds = _bounds(restores)
    lost = [
        row["n"]
        for row in await connection.fetch(QUERIES["verify_told"])
        if row["sha256"] not in known and not _is_void(row["n"], row["at_ms"], bounds)
    ]
    if not lost:
        return []
    where = f"checkpoint n {min(lost)}" if len(lost) == 1 else f"checkpoint n {min(lost)} to {max(lost)}"
    return [Mismatch("truncated", where, "control facts tell of them, the database hasn't got them")]


def _bounds(restores: Iterable[dict[str, Any]]) -> list[tuple[int, int]]:
    found = [(each.get("checkpoint"), each.get("at_ms")) for each in restores if isinstance(each, dict)]
    return [(after, at_ms) for after, at_ms in found if isinstance(after, int) and isinstance(at_ms, int)]


def _is_void(n: int, at_ms: int, bounds: list[tuple[int, int]]) -> bool:
    return any(n > after and at_ms <= restored_ms for after, restored_ms in bounds)


def _stored(rows: Iterable[Any], findings: list[Mismatch]) -> list[tuple[int, Envelope]]:
    """Number and envelope of the database's own; one that can't be read, or has another's number,
    is a finding.
    """
    found = []
    for row in rows:
        try:
            signed = checkpoint.envelope(row["envelope"])
            said = checkpoint.read_checkpoint(signed)
            if (said.n, said.at_ms, signed.sha256) != (row["n"], row["at_ms"], row["sha256"].hex()):
                raise CheckpointError("its columns aren't what its envelope says")
            found.append((row["n"], signed))
        except CheckpointError as error:
            findings.append(Mismatch("forged", f"checkpoint n {row['n']}", str(error)))
    return found


def _statements(rows: Iterable[Any], findings: list[Mismatch]) -> list[Envelope]:
    found = []
    for row in rows:
        try:
            signed = checkpoint.envelope(row["envelope"])
            said = checkpoint.read_statement(signed)
            if (said.number, said.key, checkpoint.key_id(row["public_key"])) != (row["number"], row["id"], said.key):
                raise CheckpointError("its columns aren't what its envelope says")
            found.append(signed)
        except CheckpointError as error:
            findings.append(Mismatch("forged", f"checkpoint key {row['number']}", str(error)))
    return found


def _without_void(
    copied: list[tuple[str, Envelope]], in_database: set[str], restores: Iterable[dict[str, Any]]
) -> tuple[list[tuple[str, Envelope]], list[str]]:
    """A restore is a control fact: policy wrote it, and the audit log's own heads cover it. What
    was signed between the backup and the restore, and isn't in the database, speaks of a book that
    is no more."""
    bounds = _bounds(restores)
    kept, void = [], set()
    for where, signed in copied:
        try:
            said = checkpoint.read_checkpoint(signed)
        except CheckpointError:
            kept.append((where, signed))
            continue
        is_void = signed.text not in in_database and _is_void(said.n, said.at_ms, bounds)
        if is_void:
            void.add(said.n)
        else:
            kept.append((where, signed))
    if not void:
        return kept, []
    span = f"checkpoints {min(void)} to {max(void)}"
    return kept, [f"{span} are void: the database was restored from a backup, which a control fact says"]


def _silences(found: list[Sound]) -> list[str]:
    """No finding: a ledger may have been off. But it is something to know."""
    remarks = []
    for (before, _), (after, _) in itertools.pairwise(found):
        pause_ms = after.at_ms - before.at_ms
        if before.minutes and pause_ms > SILENT_TIMES * before.minutes * 60_000:
            remarks.append(f"no checkpoint for {pause_ms / 60_000:.0f} minutes between {before.n} and {after.n}")
    more = len(remarks) - SHOWN_MAX
    return [*remarks[:SHOWN_MAX], *([f"and {more} more such pauses"] if more > 0 else [])]


def read_copies(folder: Path) -> tuple[list[Envelope], list[tuple[str, Envelope]], list[Mismatch]]:
    """Keys, checkpoints, and files that are neither. Raises SettingsError."""
    if not folder.is_dir():
        raise SettingsError(f"{folder}: there is no such folder")
    findings: list[Mismatch] = []

    def read(kind: str) -> list[tuple[str, Envelope]]:
        found = []
        for path in sorted((folder / kind).glob("*.json")):
            try:
                signed = checkpoint.envelope(path.read_bytes())
                if kind == "keys":
                    checkpoint.read_statement(signed)
                found.append((f"{kind}/{path.name}", signed))
            except (CheckpointError, OSError) as error:
                findings.append(Mismatch("forged", f"{kind}/{path.name}", str(error)))
        return found

    keys = [signed for _, signed in read("keys")]
    return keys, read("checkpoints"), findings


def trusted_keys(path: Path) -> list[str]:
    """Ids of the keys of a saved `/.well-known/tollgate-ledger-keys`. Raises SettingsError."""
    try:
        document = msgspec.json.decode(path.read_bytes())
        listed = [base64.urlsafe_b64decode(key["x"] + "=" * (-len(key["x"]) % 4)) for key in document["keys"]]
    except (*UNREADABLE, OSError, KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"{path}: no list of keys ({type(error).__name__})") from None
    return [checkpoint.key_id(key) for key in listed]

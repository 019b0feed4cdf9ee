"""Checkpoints: where every chain of the book ended at an instant, signed with Ed25519. Pure.

Whoever can rewrite the whole database can make its chains fit again. He can't make them fit a
checkpoint that lies elsewhere, signed with a key that the database never had. So checkpoints are
made every few minutes, also when nothing happened, and copied (copies.py).

What is signed is a text, and it travels as it was signed, inside an envelope (a JSON object; so
nobody must write JSON the same way):

    {"text": "<JSON>", "key": "<id of the key>", "signature": "<base64>"}

The text of a checkpoint is a `Checkpoint`; each names the SHA-256 of the one before it. The text of
a key is a `KeyStatement`, signed by the key before it (its own successor it names only so), the
first by itself. A key's id is the beginning of its SHA-256.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from services.ledger.evidence import Mismatch
from shared.decoding import UNREADABLE

FORMAT = 1
NO_CHECKPOINT = "0" * 64
AUDIT = "audit"
DROPS = "drops"


class CheckpointError(Exception):
    """An envelope that isn't one; the text says why."""


class Head(msgspec.Struct, frozen=True):
    """The end of a chain: its last row's number and hash."""

    n: int
    sha256: str


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    book: str
    """Which book: a UUID, in its keys' statements too."""
    n: int
    """From 1, without gaps."""
    at_ms: int
    minutes: float
    """When the next one is due."""
    previous_sha256: str
    """Of the text of the checkpoint before; 64 zeros for the first."""
    audit: Head
    traffic: dict[str, Head]
    """By shard: the end of its batches."""
    drops: Head
    """Of what retention took (retention_drop): see `drop_link`."""


class KeyStatement(msgspec.Struct, frozen=True, kw_only=True):
    format: int = FORMAT
    book: str
    number: int
    """From 1."""
    key: str
    """The id."""
    public_key: str
    """32 bytes, in base64."""
    after: int
    """It signs checkpoints after this number; the key before it signs none of them."""
    at_ms: int


class Envelope(msgspec.Struct, frozen=True):
    text: str
    key: str
    signature: str

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


class SigningKey:
    """A private key. Its repr doesn't show it."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public_key = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.id = key_id(self.public_key)

    def __repr__(self) -> str:
        return f"SigningKey({self.id})"

    @property
    def public_text(self) -> str:
        return base64.b64encode(self.public_key).decode()

    def sign(self, said: Checkpoint | KeyStatement) -> Envelope:
        text = msgspec.json.encode(said).decode()
        return Envelope(text, self.id, base64.b64encode(self._private.sign(text.encode())).decode())


def key_id(public_key: bytes) -> str:
    return hashlib.sha256(public_key).hexdigest()[:16]


def key_file(number: int, key_id: str) -> str:
    """Where a key's statement lies among copies."""
    return f"keys/{number:06d}-{key_id}.json"


def checkpoint_file(n: int, signed: Envelope) -> str:
    """Where a checkpoint lies among copies: nothing is overwritten, for the name has the hash of
    what it holds.
    """
    return f"checkpoints/{n:012d}-{signed.sha256[:16]}.json"


def drop_link(previous: Head, row: Mapping[str, object]) -> Head:
    """The chain over retention_drop: SHA-256 of the hash before and the row's cells, as a JSON
    array.
    """
    digest = row["sha256"]
    cells = [
        row["n"], row["at_ms"], row["source"], str(row["day"]), row["rows"], digest.hex() if isinstance(digest, bytes) else None,
        msgspec.json.decode(str(row["spans"])), row["unsound"],
    ]  # fmt: skip
    text = msgspec.json.encode([previous.sha256, *cells], order="sorted")
    return Head(int(str(row["n"])), hashlib.sha256(text).hexdigest())


def envelope(data: bytes | str) -> Envelope:
    """Raises CheckpointError."""
    try:
        return msgspec.json.decode(data, type=Envelope)
    except UNREADABLE as error:
        raise CheckpointError(f"no envelope: {str(error)[:100]}") from None


def read_checkpoint(signed: Envelope) -> Checkpoint:
    """Without a look at the signature. Raises CheckpointError."""
    try:
        return msgspec.json.decode(signed.text, type=Checkpoint)
    except UNREADABLE as error:
        raise CheckpointError(f"no checkpoint: {str(error)[:100]}") from None


def read_statement(signed: Envelope) -> KeyStatement:
    """The same of a key, which must be the one it is called. Raises CheckpointError."""
    try:
        said = msgspec.json.decode(signed.text, type=KeyStatement)
        public_key = base64.b64decode(said.public_key, validate=True)
    except (*UNREADABLE, ValueError) as error:
        raise CheckpointError(f"no key: {str(error)[:100]}") from None
    if len(public_key) != 32 or key_id(public_key) != said.key:
        raise CheckpointError(f"key {said.key[:16]!r}: its id isn't that of its bytes")
    return said


def holds(signed: Envelope, public_key: bytes) -> bool:
    try:
        signature = base64.b64decode(signed.signature, validate=True)
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed.text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


class Keys:
    """The keys of a book, each made by the one before it, back to one that is trusted.

    Args:
        statements: envelopes of KeyStatements, in any order.
        trusted: ids that are known to be right; None: the first is believed.
    """

    def __init__(self, statements: Iterable[Envelope], trusted: Iterable[str] | None) -> None:
        self.findings: list[Mismatch] = []
        by_number: dict[int, tuple[KeyStatement, Envelope]] = {}
        for signed in statements:
            try:
                said = read_statement(signed)
            except CheckpointError as error:
                self.findings.append(Mismatch("forged", "checkpoint key", str(error)))
                continue
            known = by_number.setdefault(said.number, (said, signed))
            if known[1].text != signed.text:
                self.findings.append(
                    Mismatch("forged", f"checkpoint key {said.number}", "there are two of this number")
                )
        self.statements = [said for _, (said, _) in sorted(by_number.items())]
        self._public = {said.key: base64.b64decode(said.public_key) for said in self.statements}
        self._check([by_number[said.number] for said in self.statements], trusted)

    def _check(self, ordered: Sequence[tuple[KeyStatement, Envelope]], trusted: Iterable[str] | None) -> None:
        wanted = None if trusted is None else frozenset(trusted)
        good: set[str] = set()
        previous: KeyStatement | None = None
        for said, signed in ordered:
            signer = said.key if previous is None else previous.key
            sound = signed.key == signer and holds(signed, self._public[signer])
            sound = sound and (previous is None or (said.book, said.number) == (previous.book, previous.number + 1))
            rooted = said.key in wanted if wanted is not None else previous is None
            if not sound:
                self.findings.append(
                    Mismatch("forged", f"checkpoint key {said.number}", f"{said.key} isn't made by the key before it")
                )
            if rooted or (sound and previous is not None and previous.key in good):
                good.add(said.key)
            previous = said
        self._good = good
        untrusted = [said.key for said, _ in ordered if said.key not in good]
        if wanted is not None and untrusted and not any(key in good for key in self._public):
            self.findings.append(
                Mismatch("forged", "checkpoint keys", f"{', '.join(untrusted)}: none is one that is trusted")
            )

    @property
    def book(self) -> str | None:
        return self.statements[0].book if self.statements else None

    @property
    def current(self) -> KeyStatement | None:
        return self.statements[-1] if self.statements else None

    def of(self, n: int) -> KeyStatement | None:
        """The key that signs checkpoint n."""
        found = [said for said in self.statements if said.after < n]
        return found[-1] if found else None

    def why_not(self, said: Checkpoint, signed: Envelope) -> str | None:
        """None where it is signed by the key of its number, which is trusted."""
        due = self.of(said.n)
        if due is None or said.book != due.book:
            return "it is of no book that its keys are of"
        if signed.key != due.key:
            return f"signed by {signed.key[:16]!r}, where {due.key} signs"
        if due.key not in self._good:
            return f"{due.key} isn't a trusted key, nor made by one"
        if not holds(signed, self._public[due.key]):
            return "its signature isn't that of its text"
        return None


class Sound(NamedTuple):
    """A checkpoint whose signature holds."""

    said: Checkpoint
    signed: Envelope


def sound(found: Iterable[tuple[str, Envelope]], keys: Keys) -> tuple[list[Sound], list[Mismatch]]:
    """Those that are what they should be, in order and each once; and what is wrong with the
    others, or missing between them.

    Args:
        found: (where it is, envelope): of the database and of copies. A number may come several
            times, as long as it says the same.
    """
    findings: list[Mismatch] = []
    by_n: dict[int, tuple[str, Sound]] = {}
    for where, signed in found:
        try:
            said = read_checkpoint(signed)
        except CheckpointError as error:
            findings.append(Mismatch("forged", where, str(error)))
            continue
        reason = keys.why_not(said, signed)
        if reason is not None:
            findings.append(Mismatch("forged", f"{where} n {said.n}", reason))
            continue
        known = by_n.setdefault(said.n, (where, Sound(said, signed)))
        if known[1].signed.text != signed.text:
            findings.append(Mismatch("forked", f"checkpoint n {said.n}", f"{known[0]} and {where} have different ones"))
    ordered = [by_n[n][1] for n in sorted(by_n)]
    for before, after in zip([None, *ordered], ordered, strict=False):
        n, due = (0, NO_CHECKPOINT) if before is None else (before.said.n, before.signed.sha256)
        if after.said.n == n + 1 and after.said.previous_sha256 != due:
            findings.append(Mismatch("changed", f"checkpoint n {n}", f"n {n + 1} follows another"))
    return ordered, findings


def missing(numbers: Iterable[int], where: str) -> list[Mismatch]:
    """Gaps in what should be 1, 2, 3 ..."""
    findings, expected = [], 1
    for n in sorted(set(numbers)):
        if n > expected:
            span = str(expected) if n == expected + 1 else f"{expected} to {n - 1}"
            findings.append(Mismatch("missing", f"{where} n {span}"))
        expected = n + 1
    return findings


class Heads:
    """What checkpoints say of the chains, held against the chains as they are read."""

    def __init__(self, checkpoints: Iterable[Sound]) -> None:
        self._wanted: dict[str, dict[int, dict[str, Checkpoint]]] = {}
        self.seen = 0
        for said, _ in checkpoints:
            heads = {
                AUDIT: said.audit,
                DROPS: said.drops,
                **{f"shard {shard}": head for shard, head in said.traffic.items()},
            }
            for chain, head in heads.items():
                if head.n:
                    self._wanted.setdefault(chain, {}).setdefault(head.n, {}).setdefault(head.sha256, said)

    @property
    def chains(self) -> list[str]:
        return sorted(self._wanted)

    def see(self, chain: str, where: str, n: int, sha256: bytes) -> list[Mismatch]:
        """A row of the chain."""
        there = self._wanted.get(chain)
        if there is None or n not in there:
            return []
        wanted = there.pop(n)
        self.seen += 1
        return [
            Mismatch("rewritten", f"{where} n {n}", f"checkpoint {said.n} of {said.at_ms} has another hash for it")
            for digest, said in wanted.items()
            if digest != sha256.hex()
        ]

    def conclude(self, chain: str, where: str, begin: int, end: int) -> list[Mismatch]:
        """After the last row.

        Args:
            begin: rows up to this one are gone as they should be.
            end: the last row there is.
        """
        beyond = {n: said for n, said in self._wanted.pop(chain, {}).items() if n > end and n > begin}
        if not beyond:
            return []
        last = max(beyond)
        said = next(iter(beyond[last].values()))
        return [
            Mismatch(
                "truncated",
                f"{where} n {end + 1} to {last}",
                f"checkpoint {said.n} of {said.at_ms} says they were there",
            )
        ]

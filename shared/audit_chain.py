"""The chain of control facts: how one link follows another. See services/ledger/chain.py for what
is chained.

    sha256(n) = SHA-256( sha256(n - 1) ‖ n ‖ seq ‖ length of subject ‖ subject ‖ message )

n and seq as 8 bytes, the length as 4, big-endian; sha256(0) is 32 zero bytes.
"""

import hashlib
import struct
from typing import NamedTuple

import msgspec


class Link(NamedTuple):
    """The end of the chain so far."""

    n: int
    sha256: bytes


EMPTY = Link(0, b"\x00" * 32)


_numbers = struct.Struct(">qqI").pack


def link(previous: Link, seq: int, subject: str, message: bytes) -> Link:
    n = previous.n + 1
    return Link(n, digest(n, previous.sha256, seq, subject, message))


def digest(n: int, previous_sha256: bytes, seq: int, subject: str, message: bytes) -> bytes:
    """Of row n, behind one with that hash."""
    name = subject.encode()
    return hashlib.sha256(previous_sha256 + _numbers(n, seq, len(name)) + name + message).digest()


class Entry(msgspec.Struct, frozen=True):
    """One row of the audit log as `dump-control` writes and `restore-control` reads it: a line of
    JSON, bytes in base64.
    """

    n: int
    seq: int
    subject: str
    message: bytes
    sha256: bytes
    previous_sha256: bytes = b""
    """Of a row whose month's term is over, and that is kept because it is the last word about
    something: what came before it is gone.
    """


def follows(previous: Link, entry: Entry) -> Link:
    """The entry's own link. Raises ValueError where it isn't the one that comes after
    `previous`.
    """
    if entry.previous_sha256 and entry.n > previous.n:
        previous = Link(entry.n - 1, entry.previous_sha256)
    made = link(previous, entry.seq, entry.subject, entry.message)
    if made != (entry.n, entry.sha256):
        raise ValueError(f"entry {entry.n} doesn't follow entry {previous.n}: the log was changed, or isn't whole")
    return made

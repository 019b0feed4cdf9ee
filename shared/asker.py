"""Who asks the ledger: the edge's word for it, signed, instead of the caller's credential.

An edge passes questions about the book on to the ledger over HTTP. The credential stays at the
edge; what goes along is what the edge would ask policy of it (a digest, never the key), for one
method, path, query and body, for `VALID_MS`. It is signed with a key that the edge makes at its
start and that nobody else ever has. The ledger gets the public half over the bus, where only edges
can answer for an edge's name (shared.subjects). So there is no secret to configure, and nothing on
the wire that works elsewhere.

The header: `<edge id>.<assertion>.<signature>`; assertion (msgpack) and signature (Ed25519 over
edge id and assertion) in base64url.
"""

import base64
import hashlib
import re
from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from shared.requests import DecideRequest

HEADER = "x-tollgate-asker"
VALID_MS = 60_000
"""Leaves room for the clocks of edge and ledger to differ."""
_SHAPE = re.compile(r"([0-9A-Za-z_-]{1,64})\.([0-9A-Za-z_-]{1,15000})\.([0-9A-Za-z_-]{86})")


class IdentityRequest(msgspec.Struct, frozen=True, array_like=True):
    """What is this edge's public key? Subject `edge.identity.<edge id>`."""

    edge_id: Annotated[str, msgspec.Meta(max_length=64)]


class IdentityReply(msgspec.Struct, frozen=True, array_like=True):
    public_key: bytes
    """Ed25519, 32 bytes."""


class Assertion(msgspec.Struct, frozen=True, array_like=True):
    """What an edge says of one question."""

    who: DecideRequest
    """What policy is to be asked; its route and sequence are the ledger's to fill in."""
    method: str
    target: str
    """Path and query, as the ledger gets them."""
    body_sha256: bytes
    expires_at_ms: int


class AskerError(Exception):
    """The header isn't an edge's word for this question. The message is for the log."""


class Signer:
    """An edge's."""

    def __init__(self, edge_id: str) -> None:
        self.edge_id = edge_id
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, who: DecideRequest, method: str, target: str, body: bytes, now_ms: int) -> str:
        """The header's value."""
        assertion = Assertion(who, method, target, hashlib.sha256(body).digest(), now_ms + VALID_MS)
        encoded = _base64(msgspec.msgpack.encode(assertion))
        signature = self._key.sign(f"{self.edge_id}.{encoded}".encode())
        return f"{self.edge_id}.{encoded}.{_base64(signature)}"


def edge_of(header: str) -> str:
    """Whose word it claims to be. Raises AskerError."""
    return _parts(header)[0]


def read(header: str, public_key: bytes, method: str, target: str, body: bytes, now_ms: int) -> DecideRequest:
    """Who asks. Raises AskerError where it isn't signed so, is about something else, or too old."""
    edge_id, encoded, signature = _parts(header)
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(_bytes(signature), f"{edge_id}.{encoded}".encode())
        assertion = msgspec.msgpack.decode(_bytes(encoded), type=Assertion)
    except (InvalidSignature, ValueError, RecursionError):  # msgspec's and base64's errors are ValueErrors
        raise AskerError("not signed by this edge") from None
    if (assertion.method, assertion.target, assertion.body_sha256) != (method, target, hashlib.sha256(body).digest()):
        raise AskerError("signed for another question")
    if not now_ms < assertion.expires_at_ms <= now_ms + 2 * VALID_MS:
        raise AskerError("expired, or the clocks of edge and ledger differ by a minute")
    return assertion.who


def _parts(header: str) -> tuple[str, str, str]:
    found = _SHAPE.fullmatch(header)
    if found is None:
        raise AskerError("not an edge's word")
    return found[1], found[2], found[3]


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""Keys of one's own for the broker (NATS's nkeys): an Ed25519 seed in a file, with which we sign
what the server asks. No password travels.

The file has a user's seed (`SU...`), or is a credentials file (`.creds`: a user's JWT and its
seed). It is read for each connection, so that a changed one holds from the next on.
"""

import base64
import binascii
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from shared.settings import SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_SEED = 18 << 3
_USER = 20 << 3
_TOKEN = re.compile(r"^-----BEGIN NATS USER JWT-----\s+(\S+)\s+-+END NATS USER JWT-+\s*$", re.MULTILINE)
_SEED_LINE = re.compile(r"^\s*(SU[A-Z2-7]{56})\s*$", re.MULTILINE)


class Login(NamedTuple):
    """What CONNECT says of us. One of `nkey` and `jwt` is empty."""

    nkey: str
    jwt: str
    sig: str


def login(path: str, nonce: str) -> Login:
    """Sign the server's nonce. Raises SettingsError, which doesn't show what is in the file."""
    key, jwt = _read(path)
    signature = base64.urlsafe_b64encode(key.sign(nonce.encode())).rstrip(b"=").decode()
    return Login("" if jwt else _public(key), jwt, signature)


def check(path: str) -> None:
    """Raises SettingsError for a file that can't be used."""
    _read(path)


def public_key(seed: str) -> str:
    """As the broker's configuration names this user (`U...`). Raises ValueError."""
    return _public(_key(seed))


def _read(path: str) -> "tuple[Ed25519PrivateKey, str]":
    """The key, and the JWT or nothing."""
    try:
        text = Path(path).read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"TOLLGATE_NATS_NKEY_FILE: {path} can't be read ({type(error).__name__})") from None
    seed, token = _SEED_LINE.search(text), _TOKEN.search(text)
    try:
        if seed is None:
            raise ValueError("it has no user's seed (SU...)")
        return _key(seed[1]), token[1] if token else ""
    except ValueError as error:
        raise SettingsError(f"TOLLGATE_NATS_NKEY_FILE: {path}: {error}") from None


def _key(seed: str) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415  # only for who has such a key

    try:
        raw = base64.b32decode(seed + "=" * (-len(seed) % 8))
    except binascii.Error:
        raise ValueError("the seed can't be read") from None
    body, checksum = raw[:-2], int.from_bytes(raw[-2:], "little")
    if len(body) != 34 or binascii.crc_hqx(body, 0) != checksum:
        raise ValueError("the seed is damaged")
    if body[0] & 0xF8 != _SEED or (body[0] & 7) << 5 | body[1] >> 3 != _USER:
        raise ValueError("it is not a user's seed (SU...)")
    return Ed25519PrivateKey.from_private_bytes(body[2:])


def _public(key: "Ed25519PrivateKey") -> str:
    raw = bytes([_USER]) + key.public_key().public_bytes_raw()
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).rstrip(b"=").decode()

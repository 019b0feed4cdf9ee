"""Secrets at rest: what a fact, a row or an answer carries of a credential is a `Sealed`.

Envelope encryption: each value has a data key of its own (AES-256-GCM), and that key is wrapped by
a sealing key, whose id is in the record. Rotation makes a new sealing key; old records are opened
with the old one, and `reseal` wraps their data keys anew.

The sealing key comes from LITELLM_SALT_KEY (through a secret manager where one is set up), older
ones from TOLLGATE_OLD_SALT_KEYS (with commas between). Without them it is made, and kept in
`sealing.key` (0600) in the data directory: back that file up, for without it nothing sealed can be
read.
"""

import base64
import hashlib
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from shared.private_file import KeyFile
from shared.secrets.value import Secret
from shared.settings import SettingsError

NONCE_BYTES = 12
KEY_BYTES = 32
SALT_CHARACTERS_MIN = 16
"""A sealing key is guessed offline: it has to be long."""
TEXT_BYTES_MAX = 256 * 1024
FILE = "sealing.key"
PREFIX = "tollgate_sealed:v1:"
"""How a sealed value begins where it stands as a string, among others that aren't secret."""
_TEXT = re.compile(re.escape(PREFIX) + r"([0-9a-f]{16}):([A-Za-z0-9+/]+={0,2}):([A-Za-z0-9+/]+={0,2})")


class SealingError(Exception):
    """A sealed value can't be opened. The text says the key's id at most."""


class Sealed(msgspec.Struct, frozen=True, array_like=True, repr_omit_defaults=True):
    """A secret that can be kept and sent. Nobody can print it; opening takes the key and the place
    it was sealed for.
    """

    key_id: str
    wrapped: bytes
    """The data key: nonce and AES-256-GCM under the sealing key."""
    data: bytes
    """The text: nonce and AES-256-GCM under the data key."""

    def __repr__(self) -> str:
        return "Sealed(***)"

    __str__ = __repr__


class Keyring:
    """Sealing keys by their ids; the first one seals, all of them open.

    Args:
        texts: key texts, the current one first. Raises SettingsError for one that is too short.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        if not texts or any(len(text) < SALT_CHARACTERS_MIN for text in texts):
            raise SettingsError(f"a sealing key (LITELLM_SALT_KEY) must have {SALT_CHARACTERS_MIN} characters or more")
        keys = [_derived(text) for text in texts]
        self._keys = {_id(key): AESGCM(key) for key in reversed(keys)}
        self._raw = tuple(keys)
        self._current = _id(keys[0])

    def __repr__(self) -> str:
        return f"Keyring({', '.join(self._keys)})"

    @property
    def current(self) -> str:
        """Id of the key that seals."""
        return self._current

    def derived(self, purpose: bytes, size_bytes: int) -> list[bytes]:
        """Keys for something else than sealing, the current one first."""
        return [HKDF(hashes.SHA256(), size_bytes, None, purpose).derive(key) for key in self._raw]

    def seal(self, text: str, place: str) -> Sealed:
        """
        Args:
            place: what the value belongs to (`model/<id>/api_key`): it can't be opened as anything
                else's.
        """
        raw = text.encode()
        if len(raw) > TEXT_BYTES_MAX:
            raise SealingError(f"a secret is longer than {TEXT_BYTES_MAX} bytes")
        return self.seal_bytes(raw, place)

    def seal_bytes(self, raw: bytes, place: str) -> Sealed:
        """Of any length: not a secret by itself, but what nobody else is to read."""
        data_key = AESGCM.generate_key(KEY_BYTES * 8)
        return Sealed(
            self._current,
            _encrypt(self._keys[self._current], data_key, _wrapping(self._current, place)),
            _encrypt(AESGCM(data_key), raw, place.encode()),
        )

    def open(self, sealed: Sealed, place: str) -> Secret:
        """Raises SealingError for a value of another place, of a key we don't have, or that was
        changed.
        """
        return Secret(self.open_bytes(sealed, place).decode())

    def open_bytes(self, sealed: Sealed, place: str) -> bytes:
        """Raises SealingError, as `open`."""
        return _decrypt(AESGCM(self._data_key(sealed, place)), sealed.data, place.encode(), sealed.key_id)

    def is_current(self, sealed: Sealed) -> bool:
        return sealed.key_id == self._current

    def reseal(self, sealed: Sealed, place: str) -> Sealed:
        """The same under the current key, its text never in the clear. Raises SealingError."""
        if self.is_current(sealed):
            return sealed
        data_key = self._data_key(sealed, place)
        wrapped = _encrypt(self._keys[self._current], data_key, _wrapping(self._current, place))
        return Sealed(self._current, wrapped, sealed.data)

    def _data_key(self, sealed: Sealed, place: str) -> bytes:
        key = self._keys.get(sealed.key_id)
        if key is None:
            raise SealingError(f"sealed with the key {sealed.key_id[:16]!r}, which isn't here")
        return _decrypt(key, sealed.wrapped, _wrapping(sealed.key_id, place), sealed.key_id)


def text_of(sealed: Sealed) -> str:
    return f"{PREFIX}{sealed.key_id}:{_base64(sealed.wrapped)}:{_base64(sealed.data)}"


def sealed_of(text: str) -> Sealed | None:
    """None: it is no sealed value's string."""
    found = _TEXT.fullmatch(text)
    if found is None:
        return None
    try:
        wrapped, data = (base64.b64decode(found[n], validate=True) for n in (2, 3))
    except ValueError:
        return None
    return Sealed(found[1], wrapped, data)


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def ring(environ: Mapping[str, str]) -> Keyring | None:
    """A service's: from the environment, else from the file where the suite has said which data
    directory all of its services share.

    None: there is neither, and nothing can be sealed or opened. Raises SettingsError."""
    data_dir = environ.get("TOLLGATE_DATA_DIR", "")
    if not environ.get("LITELLM_SALT_KEY") and not data_dir:
        return None
    return keyring(environ, data_dir or ".tollgate")


def keyring(environ: Mapping[str, str], data_dir: str) -> Keyring:
    """From the environment, else from the file, which is made where it is missing. Raises
    SettingsError.
    """
    current = environ.get("LITELLM_SALT_KEY", "")
    older = [text.strip() for text in environ.get("TOLLGATE_OLD_SALT_KEYS", "").split(",") if text.strip()]
    file = _file(data_dir)
    if current:
        # What was sealed before a key was named stays readable.
        return Keyring([current, *older, *(file.read() if file.is_there() else [])])
    return Keyring([*file.read_or_make(_new), *older])


def rotate(data_dir: str) -> None:
    """A new key at the head of the file; the older ones stay, to open what they sealed. Raises
    SettingsError.
    """
    file = _file(data_dir)
    file.write([_new(), *file.read()])


def _file(data_dir: str) -> KeyFile:
    return KeyFile(Path(data_dir) / FILE, "sealing key", "LITELLM_SALT_KEY")


def _new() -> str:
    return secrets.token_urlsafe(KEY_BYTES)


def _derived(text: str) -> bytes:
    """HKDF-SHA256: a text of any form, as a key."""
    return HKDF(hashes.SHA256(), KEY_BYTES, None, b"tollgate sealing v1").derive(text.encode())


def _id(key: bytes) -> str:
    """Says which key, and nothing of it."""
    return hashlib.sha256(b"tollgate sealing key id" + key).hexdigest()[:16]


def _wrapping(key_id: str, place: str) -> bytes:
    return f"{key_id}\n{place}".encode()


def _encrypt(key: AESGCM, plain: bytes, bound_to: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + key.encrypt(nonce, plain, bound_to)


def _decrypt(key: AESGCM, data: bytes, bound_to: bytes, key_id: str) -> bytes:
    try:
        return key.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:], bound_to)
    except (InvalidTag, ValueError):
        raise SealingError(
            f"a value sealed with the key {key_id[:16]!r} was changed, or belongs to something else"
        ) from None

"""Secrets of a LiteLLM database: read with its own key, sealed with ours.

LiteLLM encrypts each value by itself, under the SHA-256 of LITELLM_SALT_KEY (without one, of the
master key): XSalsa20-Poly1305 in base64, or AES-256-GCM behind `v2:gcm:`. What isn't encrypted is
of a time before that, and taken as it is.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import nacl.exceptions
import nacl.secret
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from shared import errors, sealing
from shared.entities import callbacks
from shared.errors import RefusedError
from shared.sealing import Keyring, Sealed, SealingError

GCM = "v2:gcm:"
GCM_NONCE_BYTES = 12
BOX_BYTES_MIN = nacl.secret.SecretBox.NONCE_SIZE + nacl.secret.SecretBox.MACBYTES
VARIABLES = ("IMPORT_LITELLM_SALT_KEY", "LITELLM_SALT_KEY", "LITELLM_MASTER_KEY")
"""Where LiteLLM's key is looked for; each is tried."""


class UnreadableError(Exception):
    """The value is encrypted, and with none of our keys."""


class Secrets:
    """
    Args:
        keys: LiteLLM's, each tried.
        keyring: ours; None: nothing can be sealed.
    """

    def __init__(self, keys: Sequence[str] = (), keyring: Keyring | None = None) -> None:
        self._keys = [hashlib.sha256(key.encode()).digest() for key in dict.fromkeys(keys)]
        self._keyring = keyring

    @property
    def seals(self) -> bool:
        return self._keyring is not None

    @property
    def _ours(self) -> Keyring:
        """Raises RefusedError."""
        if self._keyring is None:
            raise RefusedError(errors.sealing_unavailable())
        return self._keyring

    def plain(self, value: Any) -> Any:
        """A value as LiteLLM's row has it, in the clear. Raises UnreadableError."""
        if not isinstance(value, str):
            return value
        if value.startswith(GCM):
            raw = _decoded(value[len(GCM) :]) or b""
            for key in self._keys:
                try:
                    return AESGCM(key).decrypt(raw[:GCM_NONCE_BYTES], raw[GCM_NONCE_BYTES:], None).decode()
                except (InvalidTag, ValueError):
                    continue
            raise UnreadableError
        raw = _decoded(value) or b""
        if len(raw) <= BOX_BYTES_MIN:
            return value
        for key in self._keys:
            try:
                return nacl.secret.SecretBox(key).decrypt(raw).decode()
            except (nacl.exceptions.CryptoError, ValueError):
                continue
        raise UnreadableError

    def sealed(self, clear: Mapping[str, Any], at: str, before: Mapping[str, Any]) -> dict[str, Any]:
        """Values of a model or a credential, as the edge seals them. What stands there already and
        says the same stays as it is.

        Args:
            at: whose they are: `model/<id>`.
        Raises SealingError, RefusedError.
        """
        found = {}
        for name, value in clear.items():
            text = msgspec.json.encode(value).decode()
            place = f"{at}/{name}"
            if self._says(_sealed(before.get(name)), place, text):
                found[name] = before[name]
            else:
                found[name] = msgspec.to_builtins(self._ours.seal(text, place))
        return found

    def sealed_metadata(self, metadata: Mapping[str, Any], before: Any) -> dict[str, Any]:
        """The same of `metadata.logging`. Raises SealingError, RefusedError."""
        known = callbacks.secrets(before)

        def seal(name: str, variable: str, value: str) -> str:
            place, old = callbacks.place(name, variable), known.get((name, variable), "")
            if self._says(sealing.sealed_of(old), place, value):
                return old
            return sealing.text_of(self._ours.seal(value, place))

        return callbacks.rewritten(metadata, seal)

    def _says(self, sealed: Sealed | None, place: str, text: str) -> bool:
        try:
            return sealed is not None and self._ours.open(sealed, place).reveal() == text
        except SealingError:
            return False


def _sealed(value: Any) -> Sealed | None:
    try:
        return None if value is None else msgspec.convert(value, Sealed)
    except msgspec.ValidationError:
        return None


def _decoded(value: str) -> bytes | None:
    """Either alphabet; None: it is no base64."""
    try:
        return base64.b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:
        return None

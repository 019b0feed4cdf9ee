"""Ids of what a provider keeps (a response, an item of one, a container), as clients have them:
with the deployment that keeps it and whose it is in them, encrypted, so that any edge finds the
deployment again, and nobody else can use them. Nothing of it is kept here.

The same id of the same owner is always the same string (AES-SIV): what is read again has the name
that it had at first.
"""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared import sealing
from shared.facts import Caller
from shared.ids import DeploymentId
from shared.sealing import SealingError
from shared.settings import SettingsError

PURPOSE: Final = b"tollgate ids v1"
KEY_BYTES: Final = 64
ID_BYTES_MAX: Final = 512
"""Of a provider's own; a longer one is left as it is, and is nobody's when it comes back."""
REREAD_S: Final = 30.0
"""How often the keys may be read again because of an id that can't be opened."""
_OURS: Final = re.compile(r"(?:[a-z]{1,12}_)?tg1([A-Za-z0-9_-]{22,4096})")
_PREFIX: Final = re.compile(r"[a-z]{1,12}_")
_BOUND_TO: Final = [PURPOSE]
_TAG_BYTES: Final = 8
_OWNER_BYTES: Final = 16


class OwnId(msgspec.Struct, frozen=True):
    """What one of our ids says."""

    owner: bytes
    deployment: bytes
    """`deployment_tag` of who keeps it."""
    model: str
    """As its call named it; empty: not of a response."""
    id: str
    """The provider's."""


class IdRules(msgspec.Struct, frozen=True):
    """What the operator lets pass."""

    of_anybody: bool = False
    """`disable_responses_id_security`: ids of other tenants, and a provider's own."""
    of_nobody: bool = False
    """`allow_unmanaged_response_ids`: a provider's own."""


class OwnIds:
    """
    Args:
        keys: gives them, the current one first (Keyring.derived(PURPOSE, KEY_BYTES)); raises
            SealingError. Called when they are first needed.
        seconds: a clock.
    """

    def __init__(self, keys: Callable[[], Sequence[bytes]], seconds: Callable[[], float]) -> None:
        self._read, self._seconds = keys, seconds
        self._ciphers: list[AESSIV] = []
        self._read_at = 0.0

    def ready(self) -> None:
        """Raises SealingError where there is no key."""
        self._all()

    def made(self, owner: bytes, deployment: bytes, model: str, id: str) -> str:
        """Raises SealingError where there is no key."""
        raw = id.encode("utf-8", "surrogatepass")
        if not 0 < len(raw) <= ID_BYTES_MAX:
            return id
        named = model.encode("utf-8", "surrogatepass")
        said = owner + deployment + len(named).to_bytes(2, "big") + named + raw
        sealed = base64.urlsafe_b64encode(self._all()[0].encrypt(said, _BOUND_TO)).rstrip(b"=").decode()
        prefix = _PREFIX.match(id)
        return f"{prefix[0] if prefix is not None else ''}tg1{sealed}"

    def opened(self, text: str) -> OwnId | None:
        """None: it isn't ours, or was changed. Raises SealingError where there is no key."""
        found = _OURS.fullmatch(text)
        if found is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(found[1] + "=" * (-len(found[1]) % 4))
        except (binascii.Error, ValueError):
            return None
        said = self._decrypted(sealed)
        if said is None and self._seconds() - self._read_at > REREAD_S:  # somebody may have rotated them meanwhile
            self._ciphers = []
            said = self._decrypted(sealed)
        return None if said is None else _said(said)

    def _decrypted(self, sealed: bytes) -> bytes | None:
        for cipher in self._all():
            try:
                return cipher.decrypt(sealed, _BOUND_TO)
            except (InvalidTag, ValueError):
                continue
        return None

    def _all(self) -> list[AESSIV]:
        if not self._ciphers:
            self._ciphers = [AESSIV(key) for key in self._read()]
            self._read_at = self._seconds()
            if not self._ciphers:
                raise SealingError("there is no sealing key")
        return self._ciphers


def _said(raw: bytes) -> OwnId:
    start = _OWNER_BYTES + _TAG_BYTES
    behind = start + 2 + int.from_bytes(raw[start : start + 2], "big")
    return OwnId(
        raw[:_OWNER_BYTES],
        raw[_OWNER_BYTES:start],
        raw[start + 2 : behind].decode("utf-8", "surrogatepass"),
        raw[behind:].decode("utf-8", "surrogatepass"),
    )


def owner_of(caller: Caller) -> bytes:
    """Whose what a caller makes is: their team's and user's together, as LiteLLM has it; of a key
    without either its own.
    """
    of_people = caller.team_id or caller.user_id
    whose = ("of", caller.team_id, caller.user_id) if of_people else ("key", caller.key_sha256)
    return hashlib.sha256(msgspec.json.encode(whose)).digest()[:_OWNER_BYTES]


def deployment_tag(deployment_id: DeploymentId) -> bytes:
    return hashlib.sha256(deployment_id.encode("utf-8", "surrogatepass")).digest()[:_TAG_BYTES]


def of(environ: Mapping[str, str], data_dir: str) -> OwnIds:
    """Under the gateway's sealing key (shared/sealing.py), which all edges need to share."""

    def keys() -> list[bytes]:
        try:
            return sealing.keyring(environ, data_dir).derived(PURPOSE, KEY_BYTES)
        except SettingsError as error:
            raise SealingError(str(error)) from None

    return OwnIds(keys, time.monotonic)

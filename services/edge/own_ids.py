"""Ids of what a provider keeps (a response, an item of one, a container), as clients have them:
with the deployment that keeps it and whose it is in them, encrypted, so that any edge finds the
deployment again, and nobody else can use them. Nothing of it is kept here.

The same id of the same owner is always the same string (AES-SIV): what is read again has the name
that it had at first. Of a response it says all of that. Of an item it is short, as clients cut what
has over 64 characters: whose it is has to be known to open it, and of the deployment it has a few
bits.
"""

import base64
import binascii
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from shared import sealing
from shared.facts import Caller
from shared.ids import DeploymentId
from shared.sealing import SealingError
from shared.settings import SettingsError

log = structlog.get_logger()

PURPOSE: Final = b"tollgate ids v1"
KEY_BYTES: Final = 64
ID_BYTES_MAX: Final = 512
"""Of a provider's own; a longer one is left as it is, and is nobody's when it comes back."""
REREAD_S: Final = 30.0
"""How often the keys may be read again because of an id that can't be opened."""
_OURS: Final = re.compile(r"(?:[a-z]{1,12}_)?tg([12])([A-Za-z0-9_-]{22,4096})")
_HEX: Final = re.compile(r"(?:[0-9a-f]{2}){8,64}")
_PREFIX: Final = re.compile(r"[a-z]{1,12}_")
_OF_RESPONSE: Final = [PURPOSE]
_OWNER_BYTES: Final = 16
EVERYBODY: Final = bytes(_OWNER_BYTES)
"""An owner: where the operator says that ids are nobody's own."""


class OwnId(msgspec.Struct, frozen=True):
    """What one of our ids says."""

    owner: bytes
    deployment: int
    """`deployment_bits` of who keeps it."""
    model: str
    """As its call named it; empty: of an item."""
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

    def made(self, owner: bytes, deployment: int, model: str, id: str) -> str:
        """Raises SealingError where there is no key.

        Args:
            model: empty: of an item.
        """
        raw = id.encode("utf-8", "surrogatepass")
        if not 0 < len(raw) <= ID_BYTES_MAX:
            return id
        found = _PREFIX.match(id)
        prefix = "" if found is None else found[0]
        if model:
            named = model.encode("utf-8", "surrogatepass")
            said = owner + bytes([deployment]) + len(named).to_bytes(2, "big") + named + raw
            return f"{prefix}tg1{self._sealed(said, _OF_RESPONSE)}"
        rest = id.removeprefix(prefix)
        is_hex = _HEX.fullmatch(rest) is not None
        said = bytes([deployment << 1 | is_hex]) + (bytes.fromhex(rest) if is_hex else raw)
        return f"{prefix}tg2{self._sealed(said, [PURPOSE, prefix.encode(), owner])}"

    def opened(self, text: str, owner: bytes) -> OwnId | None:
        """None: it isn't ours, was changed, or is an item of somebody else. Raises SealingError
        where there is no key.
        """
        found = _OURS.fullmatch(text)
        if found is None:
            return None
        try:
            sealed = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
        except (binascii.Error, ValueError):
            return None
        prefix = text[: found.start(1) - 2]
        bound_to = _OF_RESPONSE if found[1] == "1" else [PURPOSE, prefix.encode(), owner]
        said = self._decrypted(sealed, bound_to)
        if said is None and self._seconds() - self._read_at > REREAD_S:  # somebody may have rotated them meanwhile
            self._read_again()
            said = self._decrypted(sealed, bound_to)
        if said is None:
            return None
        return _of_response(said) if found[1] == "1" else _of_item(said, prefix, owner)

    def _sealed(self, said: bytes, bound_to: list[bytes]) -> str:
        return base64.urlsafe_b64encode(self._all()[0].encrypt(said, bound_to)).rstrip(b"=").decode()

    def _decrypted(self, sealed: bytes, bound_to: list[bytes]) -> bytes | None:
        for cipher in self._all():
            try:
                return cipher.decrypt(sealed, bound_to)
            except (InvalidTag, ValueError):
                continue
        return None

    def _all(self) -> list[AESSIV]:
        if not self._ciphers:
            self._read_again()
        return self._ciphers

    def _read_again(self) -> None:
        """Raises SealingError where there never was a key; later those that were read stay."""
        self._read_at = self._seconds()
        try:
            found = [AESSIV(key) for key in self._read()]
            if not found:
                raise SealingError("there is no sealing key")
            self._ciphers = found
        except SealingError as error:
            if not self._ciphers:
                raise
            log.warning("sealing_key_not_read_again", why=str(error))


def is_ours(text: str) -> bool:
    """Whether it looks as if it came from here, whoever's it is."""
    return _OURS.fullmatch(text) is not None


def _of_response(raw: bytes) -> OwnId:
    start = _OWNER_BYTES + 1
    behind = start + 2 + int.from_bytes(raw[start : start + 2], "big")
    return OwnId(
        raw[:_OWNER_BYTES],
        raw[_OWNER_BYTES],
        raw[start + 2 : behind].decode("utf-8", "surrogatepass"),
        raw[behind:].decode("utf-8", "surrogatepass"),
    )


def _of_item(raw: bytes, prefix: str, owner: bytes) -> OwnId:
    rest = raw[1:]
    id = prefix + rest.hex() if raw[0] & 1 else rest.decode("utf-8", "surrogatepass")
    return OwnId(owner, raw[0] >> 1, "", id)


def owner_of(caller: Caller) -> bytes:
    """Whose what a caller makes is: their team's and user's together, as LiteLLM has it; of a key
    without either its own.
    """
    of_people = caller.team_id or caller.user_id
    whose = ("of", caller.team_id, caller.user_id) if of_people else ("key", caller.key_sha256)
    return hashlib.sha256(msgspec.json.encode(whose)).digest()[:_OWNER_BYTES]


def deployment_bits(deployment_id: DeploymentId) -> int:
    """Seven: enough to find whom to ask; who doesn't keep it says so."""
    return hashlib.sha256(deployment_id.encode("utf-8", "surrogatepass")).digest()[0] >> 1


def of(environ: Mapping[str, str], data_dir: str) -> OwnIds:
    """Under the gateway's sealing key (shared/sealing.py), which all edges need to share."""

    def keys() -> list[bytes]:
        try:
            return sealing.keyring(environ, data_dir).derived(PURPOSE, KEY_BYTES)
        except SettingsError as error:
            raise SealingError(str(error)) from None

    return OwnIds(keys, time.monotonic)

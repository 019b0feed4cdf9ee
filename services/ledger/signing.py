"""The key that signs checkpoints: from where the operator keeps secrets, or a file of the data
directory that nobody else may read.

TOLLGATE_CHECKPOINT_KEY is the key (PEM as PKCS #8, or 32 bytes in base64), or a reference to it
(`vault/...`, `file/...`). To change it, put the new one there and the old one into
TOLLGATE_CHECKPOINT_OLD_KEYS: the old one signs that the new one follows it, and isn't needed any
more then. Without it the key is made and kept in `checkpoint.key`, the current one first;
`rotate-checkpoint-key` puts a new one before it.
"""

import asyncio
import base64
import os
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from services.ledger.checkpoint import SigningKey
from shared.private_file import KeyFile
from shared.secrets import KeyManagement, SecretError, Secrets
from shared.settings import SettingsError

FILE = "checkpoint.key"


async def keys(
    key: str, old_keys: str, data_dir: str, environ: Mapping[str, str], *, make: bool = True
) -> list[SigningKey]:
    """The current key first, then those it may follow. Raises SettingsError.

    Args:
        make: whether the file is made where it is missing; if not, there may be no key.
    """
    if not key:
        return await asyncio.to_thread(_of_file, _file(data_dir), make)
    store = Secrets(environ, KeyManagement())
    try:
        found = []
        for reference in (key, *(text.strip() for text in old_keys.split(",") if text.strip())):
            value = await store.resolve(reference)
            if value is None:
                raise SettingsError("the checkpoint key: there is no such secret, or it is empty")
            found.append(parse(value.reveal()))
        return found
    except SecretError as error:
        raise SettingsError(f"the checkpoint key: {error}") from None
    finally:
        await store.close()


def parse(text: str) -> SigningKey:
    """Raises SettingsError, which doesn't show it."""
    try:
        if text.lstrip().startswith("-----BEGIN"):
            private = load_pem_private_key(text.strip().encode(), None)
        else:
            private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(text.strip(), validate=True))
    except (ValueError, TypeError, UnsupportedAlgorithm):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise SettingsError(
            "the checkpoint key is none: write an Ed25519 key as PEM (PKCS #8), or its 32 bytes in base64"
        )
    return SigningKey(private)


def rotate(data_dir: str) -> SigningKey:
    """A new key at the head of the file; the older ones stay to sign it, until they are taken out
    by hand. Raises SettingsError.
    """
    file = _file(data_dir)
    fresh = _new()
    file.write([fresh, *_there(file, file.read())])
    return parse(fresh)


def command(arguments: list[str]) -> int:
    """Exit status: 0 there is a new key, 2 there can't be."""
    if arguments:
        print("rotate-checkpoint-key: takes no arguments", file=sys.stderr)
        return 2
    if os.environ.get("TOLLGATE_CHECKPOINT_KEY"):
        print(
            "rotate-checkpoint-key: the key comes from TOLLGATE_CHECKPOINT_KEY: put a new one there, and the one that is there into"
            " TOLLGATE_CHECKPOINT_OLD_KEYS",
            file=sys.stderr,
        )
        return 2
    try:
        key = rotate(os.environ.get("TOLLGATE_DATA_DIR") or ".tollgate")
    except SettingsError as error:
        print(f"rotate-checkpoint-key: {error}", file=sys.stderr)
        return 2
    print(
        f"{key.id} signs from the ledger's next start on; {FILE} keeps the older ones, the last of which signs it then"
    )
    return 0


def _file(data_dir: str) -> KeyFile:
    return KeyFile(Path(data_dir) / FILE, "checkpoint key", "TOLLGATE_CHECKPOINT_KEY")


def _of_file(file: KeyFile, make: bool) -> list[SigningKey]:
    if not make and not file.is_there():
        return []
    return [parse(line) for line in _there(file, file.read_or_make(_new))]


def _there(file: KeyFile, lines: list[str]) -> list[str]:
    if not lines:
        raise SettingsError(f"{file.path}: the checkpoint key is empty")
    return lines


def _new() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()

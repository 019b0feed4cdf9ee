"""Google Cloud KMS: ciphertexts in base64 in the environment, decrypted by the key that
`GOOGLE_KMS_RESOURCE_NAME` names.
"""

import base64
import binascii
import re
from collections.abc import Mapping

from shared.secrets.base import Manager, ReadOnly, SecretError
from shared.secrets.google_client import GoogleClient, address_of
from shared.secrets.settings import KeyManagement
from shared.settings import SettingsError

NAME = "google_kms"
ADDRESS = "https://cloudkms.googleapis.com"
_KEY = re.compile(r"projects/[\w.:-]+/locations/[\w-]+/keyRings/[\w-]+/cryptoKeys/[\w-]+")


class GoogleKms(ReadOnly):
    name = NAME

    def __init__(self, client: GoogleClient, key: str, environ: Mapping[str, str]) -> None:
        self._client = client
        self._key = key
        self._environ = environ

    async def read(self, name: str) -> str | None:
        text = self._environ.get(name)
        if not text:
            return None
        try:
            base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise SecretError("junk", NAME, name, "not base64") from None
        answer = await self._client.call("POST", f"/v1/{self._key}:decrypt", name, {"ciphertext": text})
        if answer is None:
            raise SecretError("denied", NAME, name, "the key doesn't exist")
        try:
            return base64.b64decode(answer["plaintext"], validate=True).decode().strip()
        except (KeyError, TypeError, binascii.Error, ValueError):
            raise SecretError("junk", NAME, name) from None

    async def close(self) -> None:
        await self._client.close()


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    key = environ.get("GOOGLE_KMS_RESOURCE_NAME") or ""
    if _KEY.fullmatch(key) is None:
        raise SettingsError(
            "google_kms: GOOGLE_KMS_RESOURCE_NAME must be projects/P/locations/L/keyRings/R/cryptoKeys/K"
        )
    return GoogleKms(GoogleClient(NAME, address_of(environ, "GOOGLE_KMS_ENDPOINT", ADDRESS), environ), key, environ)

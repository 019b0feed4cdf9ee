"""AWS KMS: what is kept is a ciphertext in base64, in the environment or in the reference itself;
KMS gives the plaintext.
"""

import base64
import binascii
from collections.abc import Mapping

from shared.secrets.aws_client import AwsClient
from shared.secrets.base import Manager, ReadOnly, SecretError
from shared.secrets.settings import KeyManagement

NAME = "aws_kms"
CIPHERTEXT_BYTES_MAX = 6144
"""KMS's own bound."""


class AwsKms(ReadOnly):
    name = NAME

    def __init__(self, client: AwsClient, environ: Mapping[str, str]) -> None:
        self._client = client
        self._environ = environ

    async def read(self, name: str) -> str | None:
        """`name`: of an environment variable that holds a ciphertext, or the ciphertext itself
        (with `aws_kms/` or without).
        """
        text = self._environ.get(name)
        if text == "":
            return None
        return await self.decrypt(text if text is not None else name, name if text is not None else "a ciphertext")

    async def decrypt(self, ciphertext: str, named: str) -> str:
        """Raises SecretError."""
        try:
            raw = base64.b64decode(ciphertext.removeprefix("aws_kms/").strip(), validate=True)
        except (binascii.Error, ValueError):
            raise SecretError("junk", NAME, named, "not base64") from None
        if not 0 < len(raw) <= CIPHERTEXT_BYTES_MAX:
            raise SecretError("junk", NAME, named, "no ciphertext of KMS")
        answer = await self._client.call("decrypt", named, CiphertextBlob=raw)
        if answer is None:
            raise SecretError("denied", NAME, named, "the key doesn't exist")
        try:
            return bytes(answer["Plaintext"]).decode().strip()
        except (KeyError, UnicodeDecodeError):
            raise SecretError("junk", NAME, named, "no text") from None

    async def close(self) -> None:
        await self._client.close()


def make(environ: Mapping[str, str], settings: KeyManagement) -> Manager:
    return AwsKms(AwsClient(NAME, "kms", environ, settings), environ)

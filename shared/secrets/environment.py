"""The environment of a service, with what AWS KMS encrypted in it decrypted: in this process's
memory, and nowhere else.

With `USE_AWS_KMS="True"`, a variable whose name begins with `LITELLM_SECRET_AWS_KMS_` (in any case)
stands for the variable named by the rest, and a value that begins with `aws_kms/` for its
plaintext. Nothing is written to `os.environ`, so no process that is started from here inherits a
plaintext.
"""

import asyncio
from collections.abc import Mapping

from shared.secrets.aws_client import AwsClient
from shared.secrets.aws_kms import NAME, AwsKms
from shared.secrets.base import SecretError
from shared.secrets.settings import KeyManagement
from shared.settings import SettingsError

PREFIX = "LITELLM_SECRET_AWS_KMS_"
VALUE_PREFIX = "aws_kms/"


def encrypted(environ: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Name of the plaintext → (the variable that holds it, its ciphertext). Pure; empty without
    `USE_AWS_KMS`.
    """
    if environ.get("USE_AWS_KMS", "").strip().lower() != "true":
        return {}
    found = {name: (name, value) for name, value in environ.items() if value.startswith(VALUE_PREFIX)}
    for name, value in environ.items():
        if name.upper().startswith(PREFIX) and len(name) > len(PREFIX) and value:
            found[name[len(PREFIX) :]] = (name, value)
            found.pop(name, None)
    return found


async def load(environ: Mapping[str, str]) -> Mapping[str, str]:
    """`environ` itself where nothing is encrypted in it, else a copy with the plaintexts. Raises
    SettingsError.
    """
    wanted = encrypted(environ)
    if not wanted:
        return environ
    kms = AwsKms(AwsClient(NAME, "kms", environ, KeyManagement()), {})
    try:
        texts = await asyncio.gather(*(kms.decrypt(text, variable) for variable, text in wanted.values()))
    except SecretError as error:
        raise SettingsError(f"USE_AWS_KMS: {error}") from None
    finally:
        await kms.close()
    return {**environ, **dict(zip(wanted, texts, strict=True))}

"""Where a client's key is found (docs/litellm-compatibility.md): the same rule at edge and ledger.
Pure.
"""

import re
from typing import Protocol

from shared.ids import KeyDigest, digest_key

CREDENTIAL_CHARACTERS_MAX = 8192

_SIGNED = re.compile(r"^AWS4-HMAC-SHA256 .*\bCredential=Bearer ([^\s/,]+)/")
_SCHEMES = ("Bearer", "bearer")
"""As nearly everybody writes it; the comparison of the rest ignores case."""
_PLAIN_HEADERS = ("api-key", "x-api-key", "x-goog-api-key", "ocp-apim-subscription-key")

HEADERS = ("x-litellm-api-key", "authorization", *_PLAIN_HEADERS)
"""Every header a credential may be in: passed on to the ledger, never to a provider."""


class Getter(Protocol):
    """`headers.get`, case-insensitive."""

    def __call__(self, name: str, /) -> str | None: ...


def find(get: Getter) -> str | None:
    """The credential, without its scheme. None: none was sent; "": one was sent that can't be
    read.
    """
    value = get("x-litellm-api-key")
    if value is not None:
        return _without_scheme(value) or ""
    value = get("authorization")
    if value is not None:
        scheme, _, rest = value.partition(" ")
        if scheme in _SCHEMES or scheme.lower() in ("bearer", "basic"):
            return rest.strip()
        signed = _SIGNED.search(value)  # AWS SigV4, as Bedrock's clients send it
        return signed[1] if signed is not None else ""
    for name in _PLAIN_HEADERS:
        value = get(name)
        if value is not None:
            return _without_scheme(value)
    return None


def digest(credential: str) -> tuple[KeyDigest, str]:
    """Its SHA-256, and its shape: sk, jwt or other."""
    if credential.startswith("sk-"):
        return digest_key(credential), "sk"
    return digest_key(credential), "jwt" if credential.count(".") == 2 else "other"


def _without_scheme(value: str) -> str:
    value = value.strip()
    scheme, blank, rest = value.partition(" ")
    return rest.strip() if blank and scheme.lower() == "bearer" else value

"""A key of a JWKS: which algorithms it may be used with, and verifying a signature by it. Pure.

The key decides the algorithm, the token only says which of the key's it used: a token that names
HS256 and is signed with a public key's bytes meets no key that takes HS256. RS and ES are
python-jose's; PS and EdDSA, which it hasn't, cryptography's.
"""

import base64
from collections.abc import Callable
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from jose import jwk as jose_jwk
from jose.exceptions import JOSEError

RSA_BITS_MIN = 2048
RSA_BITS_MAX = 8192
KEYS_MAX = 64
"""Of one JWKS."""
_HASHES: dict[str, Callable[[], hashes.HashAlgorithm]] = {
    "PS256": hashes.SHA256,
    "PS384": hashes.SHA384,
    "PS512": hashes.SHA512,
}
_RSA = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}

Verify = Callable[[bytes, bytes], bool]
"""(what was signed, signature) → whether it holds."""


class Key(msgspec.Struct, frozen=True):
    key_id: str | None
    verifiers: dict[str, Verify]
    """Algorithm → how to verify with it. What isn't here isn't accepted of this key."""


def of_jwks(document: Any) -> list[Key]:
    """The keys of a JWKS that can verify; those that can't be used are passed over. Of two with one
    `kid`, the first.

    Raises ValueError where the document is no JWKS, or none of its keys is usable.
    """
    listed = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ValueError("no list of keys")
    found: dict[str, Key] = {}
    without_id = []
    for each in listed[:KEYS_MAX]:
        key = of_jwk(each)
        if key is not None and key.key_id is not None:
            found.setdefault(key.key_id, key)
        elif key is not None:
            without_id.append(key)
    keys = [*found.values(), *without_id]
    if not keys:
        raise ValueError("no usable key")
    return keys


def of_jwk(jwk: Any) -> Key | None:
    """None for what isn't a public key for signatures."""
    if not isinstance(jwk, dict) or jwk.get("use") not in (None, "sig"):
        return None
    operations = jwk.get("key_ops")
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    try:
        verifiers = _verifiers({name: value for name, value in jwk.items() if name not in ("d", "alg")})
    except (ValueError, TypeError, KeyError, JOSEError):
        return None
    named = jwk.get("alg")
    if named is not None:
        verifiers = {name: verify for name, verify in verifiers.items() if name == named}
    key_id = jwk.get("kid")
    return Key(key_id if isinstance(key_id, str) else None, verifiers) if verifiers else None


def _verifiers(jwk: dict[str, Any]) -> dict[str, Verify]:
    kind = jwk.get("kty")
    if kind == "RSA":
        number, exponent = (int.from_bytes(_base64url(jwk[name]), "big") for name in ("n", "e"))
        if not RSA_BITS_MIN <= number.bit_length() <= RSA_BITS_MAX:
            return {}
        key = rsa.RSAPublicNumbers(exponent, number).public_key()
        return {name: _pss(key, name) if name.startswith("PS") else _jose(jwk, name) for name in _RSA}
    if kind == "EC" and jwk.get("crv") in _CURVES:
        name = _CURVES[jwk["crv"]]
        return {name: _jose(jwk, name)}
    if kind == "OKP" and jwk.get("crv") == "Ed25519":
        return {"EdDSA": _ed25519(Ed25519PublicKey.from_public_bytes(_base64url(jwk["x"])))}
    return {}


def _jose(jwk: dict[str, Any], algorithm: str) -> Verify:
    key = jose_jwk.construct(jwk, algorithm)

    def verify(signed: bytes, signature: bytes) -> bool:
        return bool(key.verify(signed, signature))

    return verify


def _pss(key: rsa.RSAPublicKey, algorithm: str) -> Verify:
    chosen = _HASHES[algorithm]()
    scheme = padding.PSS(padding.MGF1(chosen), salt_length=chosen.digest_size)

    def verify(signed: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signed, scheme, chosen)
        except InvalidSignature:
            return False
        return True

    return verify


def _ed25519(key: Ed25519PublicKey) -> Verify:
    def verify(signed: bytes, signature: bytes) -> bool:
        try:
            key.verify(signature, signed)
        except InvalidSignature:
            return False
        return True

    return verify


def _base64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

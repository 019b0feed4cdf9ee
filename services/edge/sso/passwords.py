"""Passwords of users: a digest that takes long to try (scrypt), and whether a password is the one.
Pure but for the salt.

    scrypt$14$8$1$<salt>$<digest>       cost (log2 n), block size, lanes; salt and digest in base64
"""

import base64
import binascii
import hashlib
import hmac

CHARACTERS_MIN = 12
CHARACTERS_MAX = 256
COST, BLOCK, LANES = 14, 8, 1
SALT_BYTES, DIGEST_BYTES = 16, 32
MEMORY_BYTES_MAX = 64 * 1024**2
NOBODYS = f"scrypt${COST}${BLOCK}${LANES}$" + "A" * 22 + "==$" + "A" * 43 + "="
"""Tried where there is no user, so that an answer takes as long."""


def fits(password: str) -> bool:
    return CHARACTERS_MIN <= len(password) <= CHARACTERS_MAX


def digest(password: str, salt: bytes) -> str:
    """`salt`: SALT_BYTES, never twice."""
    made = _scrypt(password, salt, COST, BLOCK, LANES)
    return "$".join(("scrypt", str(COST), str(BLOCK), str(LANES), _text(salt), _text(made)))


def holds(password: str, kept: str) -> bool:
    """Whether the digest is this password's. What can't be read is nobody's."""
    try:
        kind, cost, block, lanes, salt, wanted = kept.split("$")
        if kind != "scrypt" or len(password) > CHARACTERS_MAX:
            return False
        made = _scrypt(password, _bytes(salt), int(cost), int(block), int(lanes))
        return hmac.compare_digest(made, _bytes(wanted))
    except (ValueError, binascii.Error):
        return False


def _scrypt(password: str, salt: bytes, cost: int, block: int, lanes: int) -> bytes:
    if not 1 <= cost <= 15:  # what memory allows
        raise ValueError("cost")
    text = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(text, salt=salt, n=2**cost, r=block, p=lanes, maxmem=MEMORY_BYTES_MAX, dklen=DIGEST_BYTES)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)

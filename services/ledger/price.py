"""Prices by their digests: few there are, and every row has one. A row's cell `price` is a
reference, the table `price` has the body.

    body       JSON, as rows.price_object has it
    digest     base64url( SHA-256( body ) ), without padding
    reference  the JSON string "sha256:<digest>": what is hashed into the row's leaf, so that row, digest and body hold each other

Rows of older batches have the body itself.
"""  # noqa: W505

import base64
import hashlib
import re

_REFERENCE = re.compile(r'"sha256:([A-Za-z0-9_-]{43})"')


def digest_of(body: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(body.encode()).digest()).decode().rstrip("=")


def reference(digest: str) -> str:
    return f'"sha256:{digest}"'


def referred(cell: str | None) -> str | None:
    """The digest that a row's cell names; None: it names none."""
    found = None if cell is None else _REFERENCE.fullmatch(cell)
    return None if found is None else found[1]

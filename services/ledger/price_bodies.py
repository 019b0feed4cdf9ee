"""What references in rows' `price` stand for, looked up in the table `price`."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from services.ledger.database import QUERIES
from services.ledger.price import referred

KEPT_MAX = 4096

Fetch = Callable[..., Awaitable[list[Any]]]
"""(query, *arguments) -> rows."""

_bodies: dict[str, str] = {}
"""Digest -> body, of those looked up lately: what has a digest never changes."""


async def resolved(fetch: Fetch, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their prices' bodies. One whose body isn't there keeps its reference: it is
    shown as what it is.
    """
    made = [dict(row) for row in rows]
    digests = [referred(row["price"]) for row in made]
    unknown = {digest for digest in digests if digest is not None} - _bodies.keys()
    if unknown:
        if len(_bodies) + len(unknown) > KEPT_MAX:
            _bodies.clear()
        _bodies.update({row["sha256"]: row["body"] for row in await fetch(QUERIES["price_bodies"], [*unknown])})
    for row, digest in zip(made, digests, strict=True):
        if digest is not None:
            row["price"] = _bodies.get(digest, row["price"])
    return made

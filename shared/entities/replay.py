"""What a call with an `Idempotency-Key` was answered: the same call again gets that, and changes
nothing.
"""

import msgspec

from shared.entities.kind import EntityKind, column

KEPT_S = 24 * 3600
"""Then the broker drops it, and the key may be used again."""
ANSWER_BYTES_MAX = 64 * 1024


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    """SHA-256 of who called and their Idempotency-Key."""
    route: str
    asked_sha256: str
    """Of what was asked: another question under the same key is refused."""
    answer: str | None = None
    """JSON, without a new key's plaintext or digest; None: it was too large to keep."""
    at_ms: int = 0
    extra: dict[str, str] = {}


REPLAY = EntityKind(
    "replay",
    Replay,
    "id",
    "Tollgate_Replay",
    Replay(id="", route="", asked_sha256=""),
    [column("route", None), column("asked_sha256", None), column("answer", None), column("at_ms", None)],
)

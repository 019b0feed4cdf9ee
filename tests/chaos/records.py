"""What is kept of a run: by clients, by the provider, by the book. Every request is known by its
`user` field, unique for ever.
"""

from datetime import date
from typing import Literal

import msgspec

Outcome = Literal["complete", "error", "error_event", "cut", "left", "unreachable"]


class Call(msgspec.Struct, kw_only=True):
    """One request as its client saw it."""

    user: str
    key_sha256: str | None
    """None: the key is one that nobody issued, or that was revoked; it must be refused."""
    tags: list[str]
    """Of key, team and request: what the book must say."""
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    """What a complete answer costs, known beforehand."""
    scripted: str = ""
    """What the provider was told to do wrong (`status`, `break`, `reset`, `hang`); empty: nothing,
    `later`: only at the first try.
    """
    leaves: bool = False
    afterwards: bool = False
    """Sent when everything was healed and the book had caught up: nothing may go wrong any more."""
    outcome: Outcome = "cut"
    """complete: the whole JSON with status 200, or `[DONE]`; error: a whole answer with an error
    status; error_event: a stream that ended with an error; cut: the connection broke, or nothing
    came in time; left: by the client; unreachable: not sent."""
    status: int = 0
    request_id: str | None = None
    """`x-tollgate-request-id`."""
    whole: bool = True
    """False: the answer was called complete, but isn't the one that was asked for."""
    detail: str = ""
    started_at: float = 0.0
    """Unix seconds."""
    ended_at: float = 0.0


class BillLine(msgspec.Struct, kw_only=True):
    """The provider's word. One line when a call starts, one when it ends."""

    user: str
    event: str
    """started; complete (the whole answer was written), cancelled (the caller left), broken (on
    purpose), error (a status).
    """
    prompt_tokens: int = 0
    completion_tokens: int = 0
    at: float = 0.0


class Row(msgspec.Struct, kw_only=True):
    """A row of request_log."""

    id: str
    day: date
    user: str | None
    provisional: bool
    outcome: str
    status: int
    input_tokens: int
    output_tokens: int
    usage_source: str
    cost_picousd: int | None
    key_sha256: str | None
    tags: list[str]
    model: str
    error_code: str | None = None


class RollupRow(msgspec.Struct, kw_only=True, frozen=True):
    dimension: str
    value: str
    requests: int
    input_tokens: int
    output_tokens: int
    spend_picousd: int


class Book(msgspec.Struct, kw_only=True):
    rows: list[Row]
    open_users: list[str]
    """Opened and never ended."""
    rollups: list[RollupRow]
    """Of everybody (scope ''), all days together."""
    anomalies: list[str]


class Records(msgspec.Struct, kw_only=True):
    calls: list[Call]
    bill: list[BillLine]
    book: Book
    behind: str = ""
    """What was still on its way into the book when the grace was over; empty: nothing."""
    double_failures: list[tuple[float, float]] = []
    """When an edge was killed while its broker had stopped answering, and the broker killed too:
    from, to, Unix seconds.
    """

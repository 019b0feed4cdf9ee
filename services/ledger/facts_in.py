"""TRAFFIC messages as a batch of opened and ended requests, ready to be posted. Pure but for the
clock, which is passed in.

Nothing in here can fail: what can't be read becomes an anomaly that keeps the bytes, and reading
goes on.
"""

import hashlib
import re
import uuid
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import msgspec

from services.ledger import rows
from services.ledger.message import Message
from services.ledger.rows import Row
from shared.billing import Price
from shared.decoding import UNREADABLE
from shared.facts import Opened, Settled, TrafficFact

MS_PER_DAY = 86_400_000
EPOCH = date(1970, 1, 1)
_CANONICAL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")

_split = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_decode = msgspec.msgpack.Decoder(TrafficFact).decode


class Anomaly(NamedTuple):
    """Something that should not have happened, with the bytes that did. A row of `anomalies`."""

    kind: str
    """conflict, unreadable, invalid_id, out_of_range, rejected, gap, rewind."""
    seq: int | None
    subject_id: str | None
    detail: str
    raw: bytes | None = None


class OpenedIn(NamedTuple):
    id: str
    day: date
    expires_at_ms: int
    sha256: bytes
    raw: bytes
    seq: int


class EndedIn(NamedTuple):
    id: str
    day: date
    sha256: bytes
    row: Row
    raw: msgspec.Raw | bytes
    seq: int


class Batch:
    """What some consecutive messages of one shard say, each request once."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self.opened: dict[str, OpenedIn] = {}
        self.ended: dict[str, EndedIn] = {}
        self.anomalies: list[Anomaly] = []
        self.counts = {"opened": 0, "settled": 0, "refused": 0}
        self.duplicates = 0
        self.messages = 0
        self.first_seq = 0
        self.last_seq = 0
        self.last_at_ns = 0

    def add(self, message: Message) -> int:
        """Read one message. Returns how many facts were in it."""
        self.messages += 1
        self.first_seq = self.first_seq or message.seq
        self.last_seq, self.last_at_ns = message.seq, message.at_ns
        try:
            facts = _split(message.data)
        except UNREADABLE as error:
            self._anomaly("unreadable", message.seq, None, f"message: {type(error).__name__}", message.data)
            return 0
        for raw in facts:
            try:
                self._add_fact(_decode(raw), raw, message.seq)
            except UNREADABLE as error:
                self._anomaly("unreadable", message.seq, None, f"fact: {str(error)[:200]}", bytes(raw))
        return len(facts)

    def _add_fact(self, fact: TrafficFact, raw: msgspec.Raw, seq: int) -> None:
        sha256 = hashlib.sha256(raw).digest()
        settled = type(fact) is Settled
        named = fact.opened.id if isinstance(fact, Settled) else fact.id
        known = self.opened.get(named)
        found = place(named) if known is None else (named, known.day)
        if found is None:
            self._anomaly("invalid_id", seq, named, "the request id is no UUIDv7", bytes(raw))
            return
        request_id, day = found
        if isinstance(fact, Opened):
            self.counts["opened"] += 1
            self._add_opened(OpenedIn(request_id, day, rows.expires_ms(fact, self._now_ms), sha256, bytes(raw), seq))
            return
        if isinstance(fact, Settled):
            row = rows.settled_row(fact, request_id, day, sha256, seq)
        else:
            row = rows.refused_row(fact, request_id, day, sha256, seq)
        self.counts["settled" if settled else "refused"] += 1
        self._add_ended(EndedIn(request_id, day, sha256, row, raw, seq))

    def add_expired(self, request_id: str, sha256: bytes, raw: bytes) -> None:
        """The provisional end of a request whose opened fact the book has kept."""
        opened, found = _decode(raw), place(request_id)
        assert isinstance(opened, Opened)
        assert found is not None
        row = rows.expired_row(opened, request_id, found[1], sha256, self._now_ms)
        self.ended[request_id] = EndedIn(request_id, found[1], sha256, row, raw, 0)

    def _add_opened(self, opened: OpenedIn) -> None:
        known = self.opened.setdefault(opened.id, opened)
        if known is not opened:
            self._again("opened", opened.id, known.sha256, opened.sha256, opened.seq, opened.raw)

    def _add_ended(self, ended: EndedIn) -> None:
        known = self.ended.setdefault(ended.id, ended)
        if known is not ended:
            self._again("end", ended.id, known.sha256, ended.sha256, ended.seq, ended.raw)
            return
        spoiled = rows.MONEY_FIELDS.intersection(ended.row[rows.ALTERED] or ())
        if spoiled:
            self._anomaly("out_of_range", ended.seq, ended.id, ", ".join(sorted(spoiled)), bytes(ended.raw))

    def _again(
        self, what: str, request_id: str, known: bytes, sha256: bytes, seq: int, raw: msgspec.Raw | bytes
    ) -> None:
        if known == sha256:
            self.duplicates += 1
        else:
            self._anomaly("conflict", seq, request_id, f"another {what} of the same request", bytes(raw))

    def _anomaly(self, kind: str, seq: int, subject_id: str | None, detail: str, raw: bytes) -> None:
        self.anomalies.append(Anomaly(kind, seq, subject_id, detail, raw))


def price_of(ended: EndedIn) -> Price | None:
    """By which an ended request was charged, from its fact."""
    fact = _decode(ended.raw)
    opened = fact.opened if isinstance(fact, Settled) else fact
    return opened.price if isinstance(opened, Opened) else None


def read_opened(raw: bytes) -> Opened | None:
    """Of request_open; None: it can't be read any more."""
    try:
        fact = _decode(raw)
    except UNREADABLE:
        return None
    return fact if isinstance(fact, Opened) else None


def midnight(day: date) -> datetime:
    """The instant at which a day begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


_days: dict[int, date] = {}
DAYS_KEPT_MAX = 1024


def place(request_id: str) -> tuple[str, date] | None:
    """The id in its canonical form, and the day of its partition. None: no UUID, or none with a
    time in this era.
    """
    if not _CANONICAL_ID.fullmatch(request_id):
        try:
            request_id = str(uuid.UUID(request_id))
        except ValueError:
            return None
    number = int(request_id[:8] + request_id[9:13], 16) // MS_PER_DAY
    day = _days.get(number)
    if day is None:
        try:
            day = EPOCH + timedelta(days=number)
        except OverflowError:
            return None
        if len(_days) >= DAYS_KEPT_MAX:
            _days.clear()
        _days[number] = day
    return request_id, day


def today(now_ms: int) -> date:
    return datetime.fromtimestamp(now_ms / 1000, UTC).date()

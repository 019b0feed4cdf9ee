"""Retention's decisions: terms, what is due, what a hold keeps, and the digest of what is dropped.
Pure.

Spend rows and payloads end by days (UTC), audit rows and sums by months: a part goes when all of it
is older than its term. Nothing is deleted row by row: whole partitions are dropped, and what a
partition held stays provable by the batches that name its rows.

The digest of a dropped day is SHA-256 over its shards in order, each as 4 bytes and SHA-256 over
the ids and leaves of the day's rows in the order of its batches and their manifests.
"""

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import msgspec

from services.ledger.batch_chain import entries
from services.ledger.facts_in import place
from shared.settings import SettingsError

_PERIOD = re.compile(r"([0-9]{1,5})\s*(d|w|mo|m|y|h|s)?")
_DAYS = {"d": 1, "w": 7, "mo": 30, "y": 365}
_HOURS = {"h": 3600, "s": 1, "m": 60}
HOLD_BY = ("tag", "team", "key", "day")


class Terms(msgspec.Struct, frozen=True):
    """Days that things stay; None: for ever."""

    spend: int | None = None
    audit: int | None = None
    rollup: int | None = None
    payload: int | None = None


class Hold(NamedTuple):
    id: str
    by: str
    """One of HOLD_BY."""
    value: str


class Drop(NamedTuple):
    """A row of retention_drop that is about request_log, as `verify` reads it."""

    n: int
    day: date
    rows: int
    sha256: bytes
    spans: Mapping[int, tuple[int, int]]
    """Shard → batches it covers: after the first, up to and with the second."""
    unsound: int


def days(name: str, text: str | None) -> int | None:
    """A term as LiteLLM writes it: `30d`, `4w`, `12mo`, `48h`. At least a day. Raises
    SettingsError.
    """
    if text is None or not text.strip():
        return None
    found = _PERIOD.fullmatch(text.strip())
    if found is not None:
        number, unit = int(found[1]), found[2] or "d"
        whole = number * _DAYS[unit] if unit in _DAYS else -(-number * _HOURS[unit] // 86_400)
        if whole >= 1:
            return whole
    raise SettingsError(f"{name}: {text[:40]!r} is no period of a day or more; write it like 30d, 4w or 12mo")


def due_before(today: date, term: int | None) -> date | None:
    """Days before this one are due."""
    return None if term is None else today - timedelta(days=term)


def month_is_due(month: date, today: date, term: int | None) -> bool:
    """Whether all of a month is older than the term."""
    return term is not None and next_month(month) <= today - timedelta(days=term)


def next_month(month: date) -> date:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1, day=1)


def holds(facts: Iterable[Mapping[str, Any]]) -> list[Hold]:
    """Of the last `hold` fact of each id, what it says after."""
    found = []
    for fact in facts:
        after = fact["after"]
        value = msgspec.json.decode(after) if after else None
        if isinstance(value, dict) and value.get("by") in HOLD_BY and isinstance(value.get("value"), str):
            found.append(Hold(fact["entity_id"], value["by"], value["value"]))
    return found


def day_entries(manifest: bytes, day: date) -> dict[bytes, bytes]:
    """Leaf by id, of the batch's rows of one day, in the manifest's order."""
    return {row_id: leaf for row_id, leaf in entries(manifest).items() if day_of(row_id) == day}


def day_of(row_id: bytes) -> date | None:
    text = row_id.hex()
    found = place(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")
    return None if found is None else found[1]


class DayDigest:
    """Of a day's rows; fed shard by shard in rising order, each in the order of its batches."""

    def __init__(self) -> None:
        self._shards: dict[int, Any] = {}
        self.rows = 0

    def add(self, shard: int, found: Mapping[bytes, bytes]) -> None:
        if not found:
            return
        digest = self._shards.setdefault(shard, hashlib.sha256())
        for row_id, leaf in found.items():
            digest.update(row_id + leaf)
        self.rows += len(found)

    def digest(self) -> bytes:
        parts = (struct.pack(">i", shard) + digest.digest() for shard, digest in sorted(self._shards.items()))
        return hashlib.sha256(b"".join(parts)).digest()


class Retired:
    """What `verify` knows of dropped days: which of a batch's rows may be missing, and whether the
    drops were what they say.
    """

    def __init__(self, drops: Iterable[Drop]) -> None:
        self._drops = list(drops)
        self._digests = {drop.n: DayDigest() for drop in self._drops}
        self.days = {drop.day for drop in self._drops}

    def see(self, shard: int, batch: int, manifest: bytes) -> None:
        """A sound batch, in the order of the chain."""
        covering = [drop for drop in self._drops if _covers(drop, shard, batch)]
        if not covering:
            return
        by_day: dict[date | None, dict[bytes, bytes]] = {}
        for row_id, leaf in entries(manifest).items():
            by_day.setdefault(day_of(row_id), {})[row_id] = leaf
        for drop in covering:
            if drop.day in by_day:
                self._digests[drop.n].add(shard, by_day[drop.day])

    def dropped(self, shard: int, batch: int, row_id: bytes) -> bool:
        day = day_of(row_id) if self._drops else None
        return any(drop.day == day and _covers(drop, shard, batch) for drop in self._drops)

    def conclude(self) -> list[tuple[int, str]]:
        """(n of retention_drop, what is wrong with it)."""
        wrong = []
        for drop in self._drops:
            seen = self._digests[drop.n]
            if (seen.rows, seen.digest()) != (drop.rows, drop.sha256) and (seen.rows or drop.rows):
                wrong.append(
                    (
                        drop.n,
                        f"the batches have {seen.rows} other rows of {drop.day} than the {drop.rows} it says were dropped",
                    )
                )
            if drop.unsound:
                wrong.append(
                    (drop.n, f"{drop.unsound} rows of {drop.day} weren't what their batches say when they were dropped")
                )
        return wrong


def _covers(drop: Drop, shard: int, batch: int) -> bool:
    after, until = drop.spans.get(shard, (0, 0))
    return after < batch <= until


def read_drop(row: Mapping[str, Any]) -> Drop:
    spans = {int(shard): (span[0], span[1]) for shard, span in msgspec.json.decode(row["spans"]).items()}
    return Drop(row["n"], row["day"], row["rows"], row["sha256"], spans, row["unsound"])

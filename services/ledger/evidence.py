"""What `verify` concludes from what it reads: of a chain's rows, and of request_log's rows against
their batches. Pure.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from services.ledger import batch_chain, formats
from services.ledger.chain import EMPTY, Link

PLACES_TRIED_MAX = 1_000
"""How far from where it stands a chain's row is looked for, on either side."""
PLACES_WANTED_MAX = 100
"""For how many rows of a chain that is done."""
BIGINT_MAX = 2**63 - 1
Again = Callable[[int, bytes], bytes]
"""n and previous_sha256 -> sha256."""
ADDED_KEPT_MAX = 1_000
"""Of one chunk; more are counted only."""


class Mismatch(NamedTuple):
    kind: str
    """changed, missing, added, moved, reordered, truncated: see verify.py."""
    where: str
    """The row, after its table's name."""
    detail: str = ""


class Walk:
    """Follows one chain, given its rows in the order of n.

    Args:
        where: begins each finding's `where`: the table, and the shard if it has any.
        begin: the last row that isn't there any more, because its term was over.
    """

    def __init__(self, where: str, begin: Link = EMPTY) -> None:
        self._where = where
        self.end = begin
        """The last row met."""
        self.rows = 0
        self._unsound = 0
        self._sound = True
        """Whether that one's own hash holds: then the next must follow it."""

    def step(self, n: int, previous_sha256: bytes, sha256: bytes, again: Again) -> tuple[list[Mismatch], bool]:
        """
        Args:
            again: the row's hash computed from its own cells, as number n behind a row of that
                hash.

        Returns: findings, and whether the row's own hash holds.
        """
        self.rows += 1
        if n <= self.end.n:
            return [Mismatch("added", f"{self._where} n {n}", "no row has such a number")], False
        findings = []
        gap = n > self.end.n + 1
        if gap:
            findings.append(Mismatch("missing", f"{self._where} n {_span(self.end.n + 1, n - 1)}"))
        sound = again(n, previous_sha256) == sha256
        if not sound:
            findings.append(self._misplaced(n, previous_sha256, sha256, again))
        elif self._sound and not gap and previous_sha256 != self.end.sha256:
            detail = f"n {n} follows another row than this"
            findings.append(Mismatch("changed", f"{self._where} n {n - 1}", detail))
        self.end, self._sound = Link(n, sha256), sound
        return findings, sound

    def conclude(self, kept: Link | None) -> list[Mismatch]:
        """After the last row. `kept`: the end stream_position has for this chain, None where it has
        none at all.
        """
        if kept is None:
            return [Mismatch("missing", f"stream_position of {self._where}")]
        if self.end.n < kept.n:
            return [
                Mismatch("truncated", f"{self._where} n {_span(self.end.n + 1, kept.n)}", "stream_position has them")
            ]
        if self.end.n > kept.n:
            return [
                Mismatch("added", f"{self._where} n {_span(kept.n + 1, self.end.n)}", "behind stream_position's end")
            ]
        if self._sound and self.end.sha256 != kept.sha256:
            return [Mismatch("changed", f"{self._where} n {kept.n}", "it isn't the end stream_position has")]
        return []

    def _misplaced(self, n: int, previous_sha256: bytes, sha256: bytes, again: Again) -> Mismatch:
        """Is it another row of the chain, or no row of it at all?"""
        self._unsound += 1
        for place in _nearest(n) if self._unsound <= PLACES_WANTED_MAX else ():
            if again(place, previous_sha256) == sha256:
                return Mismatch("reordered", f"{self._where} n {n}", f"its place is n {place}")
        return Mismatch("changed", f"{self._where} n {n}", "its hash isn't that of its cells")


def _nearest(n: int) -> Iterator[int]:
    for distance in range(1, PLACES_TRIED_MAX + 1):
        if n > distance:
            yield n - distance
        if n <= BIGINT_MAX - distance:
            yield n + distance


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


class Lost(NamedTuple):
    """A row that its batch has and request_log hasn't, there."""

    batch: int
    id: bytes
    leaf: bytes
    format: int


class Chunk:
    """Some batches of one shard, held against the rows that name them. Rows may come in any
    order.
    """

    def __init__(self) -> None:
        self._expected: dict[int, dict[bytes, bytes]] = {}
        self._formats: dict[int, int] = {}
        self._changed: set[tuple[int, bytes]] = set()
        self._added: list[tuple[int, bytes]] = []
        self._added_unnamed = 0
        self.rows = 0
        """Expected."""

    @property
    def span(self) -> tuple[int, int]:
        """First and last batch. Not of an empty chunk."""
        return min(self._expected), max(self._expected)

    def expect(self, batch: int, manifest: bytes, format: int) -> None:
        self._expected[batch] = batch_chain.entries(manifest)
        self._formats[batch] = format
        self.rows += len(self._expected[batch])

    def format_of(self, batch: int) -> int:
        """By which its rows are digested; of a batch that isn't there, the current one: it doesn't
        matter then.
        """
        return self._formats.get(batch, formats.CURRENT)

    def see(self, batch: int, row_id: bytes, leaf: bytes | None) -> None:
        """A row that names the batch. `leaf` is None where the row holds more than its format
        knows: that was never written.
        """
        expected = self._expected.get(batch)
        if expected is None:
            return  # a batch that can't be relied on, or isn't there: that is told elsewhere
        wanted = expected.get(row_id)
        if wanted == leaf:
            del expected[row_id]
            if (batch, row_id) in self._changed:  # no, that one was a second row of this id
                self._changed.remove((batch, row_id))
                self._add(batch, row_id)
        elif wanted is not None and (batch, row_id) not in self._changed:
            self._changed.add((batch, row_id))
        else:
            self._add(batch, row_id)

    def _add(self, batch: int, row_id: bytes) -> None:
        if len(self._added) < ADDED_KEPT_MAX:
            self._added.append((batch, row_id))
        else:
            self._added_unnamed += 1

    def conclude(self) -> tuple[list[tuple[str, int, bytes]], list[Lost], int]:
        """Kind, batch and id of rows changed and added; rows not found; how many more were
        added.
        """
        wrong = [("changed", *one) for one in sorted(self._changed)] + [("added", *one) for one in self._added]
        lost = [
            Lost(batch, row_id, leaf, self._formats[batch])
            for batch, expected in self._expected.items()
            for row_id, leaf in expected.items()
            if (batch, row_id) not in self._changed
        ]
        return wrong, lost, self._added_unnamed

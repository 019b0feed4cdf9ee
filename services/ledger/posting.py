"""What a batch changes in the book, given what the book knows of its requests. Pure: `book` asks
first, and writes after.

fact      the book has                 then
------ ------------------------- --------------------------------------------------------------
end       a final row, same digest     nothing: a duplicate
end       a final row, another digest  an anomaly: conflict
end       a provisional row (expired)  the row goes in and outranks it; its share leaves the rollups
end       nothing                      the row goes in
opened    its end, here or in the book nothing: it came late, or twice
opened    an open entry                nothing (duplicate), or conflict when the digests differ
opened    nothing                      it is open
"""

from typing import NamedTuple

from services.ledger.facts_in import Anomaly, Batch, EndedIn, OpenedIn


class Known(NamedTuple):
    """What the book has of the requests of a batch."""

    final: dict[str, bytes]
    """Digest of the final row's fact."""
    provisional: set[str]
    open: dict[str, bytes]
    """Digest of the opened fact, of those asked about."""


class Postings(NamedTuple):
    """What to write."""

    rows: list[EndedIn]
    outranked: list[EndedIn]
    """Those of `rows` whose provisional row must leave the rollups."""
    opened: list[OpenedIn]
    anomalies: list[Anomaly]
    duplicates: int


def decide(batch: Batch, known: Known) -> Postings:
    rows: list[EndedIn] = []
    outranked: list[EndedIn] = []
    anomalies = list(batch.anomalies)
    duplicates = batch.duplicates
    for ended in batch.ended.values():
        digest = known.final.get(ended.id)
        if digest is None:
            rows.append(ended)
            if ended.id in known.provisional:
                outranked.append(ended)
        elif digest == ended.sha256:
            duplicates += 1
        else:
            anomalies.append(
                Anomaly("conflict", ended.seq, ended.id, "another end of the same request", bytes(ended.raw))
            )
    opened: list[OpenedIn] = []
    for one in batch.opened.values():
        if one.id in batch.ended:
            continue
        if one.id in known.final or one.id in known.provisional:
            duplicates += 1
            continue
        digest = known.open.get(one.id)
        if digest is None:
            opened.append(one)
        elif digest == one.sha256:
            duplicates += 1
        else:
            anomalies.append(Anomaly("conflict", one.seq, one.id, "another opened of the same request", one.raw))
    return Postings(rows, outranked, opened, anomalies, duplicates)

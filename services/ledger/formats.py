"""Formats of evidence: which cells of a row its digest covers, by the number in `batch_log.format`.

A list, once a row was written by it, never changes: a column added tomorrow changes no digest of
yesterday. What is hashed changes by a new number with a list of its own, and a golden vector in the
tests. Columns that a row's format doesn't know must be NULL in it. The lists stand in offline.py,
which is handed out alone.
"""

from services.ledger import offline, rows

CURRENT = max(offline.FORMATS)

FORMATS = {number: tuple(columns) for number, columns in offline.FORMATS.items()}

assert FORMATS[CURRENT] == rows.COLUMNS, "what a row holds has changed: give it a format of its own"

LATER_COLUMNS = {
    number: tuple(name for name in rows.COLUMNS if name not in columns) for number, columns in FORMATS.items()
}
"""By format: columns of request_log that came after it. Empty in its rows."""

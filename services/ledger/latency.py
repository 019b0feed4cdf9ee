"""How long answered calls took, by day and model, and by day and whose they are: counts and sums of
milliseconds by buckets of the duration, from which a mean is exact and a percentile is within its
bucket. Filled by the cube's loop after its own sums; latency_report.py answers from them.

Failed and refused calls aren't in it: how fast an error comes says nothing about a model, and how
many there are is told elsewhere.
"""

from services.ledger.database import QUERIES

POSITION = "latency_position"
TABLES = ()
"""That are partitioned by month: none, it has few rows."""
KEYS = ("dimension", "value", "day", "bucket")
SUMS = ("calls", "took_ms", "first_calls", "first_ms")
BOUNDS_MS = (
    10, 20, 30, 50, 70, 100, 150, 200, 300, 400, 500, 700, 1000, 1500, 2000, 3000, 4000, 5000, 7000, 10000, 15000, 20000, 30000, 45000,
    60000, 90000, 120000, 180000, 300000, 600000,
)  # fmt: skip
"""Bucket n begins at bound n - 1, and 0 at nothing: as latency_bucket() has it."""


def counted(where: str) -> str:
    """The beginning of a query about these rows of spend_signed AS s, up to their sums."""
    return QUERIES["latency_counted"].replace("@WHERE@", where)


def add(where: str) -> str:
    return counted(where) + QUERIES["latency_add"]


ADD = add("s.in_shard = $1 AND s.in_batch BETWEEN $2 AND $3 AND s.in_day BETWEEN $4 AND $5 AND s.day BETWEEN $4 AND $5")
"""As `filling.Filling` has it."""

"""What the ledger counts. Labels are closed sets."""

from prometheus_client import Counter, Gauge, Histogram

LAG_MESSAGES = Gauge("tollgate_ledger_lag_messages", "Messages in the stream that aren't in the book.", ["stream"])
LAG_SECONDS = Gauge("tollgate_ledger_lag_seconds", "How long the oldest of them may have waited.", ["stream"])
RECORDING = Gauge(
    "tollgate_ledger_recording", "Whether this ledger records the stream (1) or stands by (0).", ["stream"]
)
FACTS = Counter("tollgate_ledger_facts", "Facts read in recorded messages.", ["type"])
ROWS = Counter("tollgate_ledger_rows", "Rows added to request_log.")
AUDIT_ROWS = Counter("tollgate_ledger_audit_rows", "Rows added to audit_log.")
DUPLICATES = Counter("tollgate_ledger_duplicates", "Facts that were in the book already.", ["stream"])
OUTRANKED = Counter("tollgate_ledger_outranked", "Settlements that came after their request had expired.")
EXPIRED = Counter("tollgate_ledger_expired", "Requests closed because nobody ended them in time.")
OPEN = Gauge("tollgate_ledger_open_requests", "Requests opened and not ended, of the shards recorded here.", ["shard"])
ANOMALIES = Counter("tollgate_ledger_anomalies", "Things that should not have happened; see the table.", ["kind"])
BATCH_SECONDS = Histogram(
    "tollgate_ledger_batch_seconds",
    "One recording transaction.",
    ["stream"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
RETRIES = Counter(
    "tollgate_ledger_retries", "Recording sessions that ended in an error and were begun again.", ["stream"]
)
TRIMMED = Counter("tollgate_ledger_trims", "Times recorded messages were removed from TRAFFIC.")
QUERIES = Counter("tollgate_ledger_queries", "Questions answered over HTTP.", ["route", "status"])
CUBE_BATCHES = Counter("tollgate_ledger_cube_batches", "Batches whose rows were added to the spend cube.")
RETIRED = Counter("tollgate_ledger_partitions_dropped", "Partitions that retention dropped.", ["table"])
PAYLOADS = Counter("tollgate_ledger_payloads", "Prompts and answers taken into their table.")
SINK_ROWS = Counter("tollgate_ledger_sink_rows", "Calls that a sink was told of.", ["sink"])
SINK_FAILURES = Counter("tollgate_ledger_sink_failures", "Times a sink could not be told.", ["sink"])
CHECKPOINT = Gauge("tollgate_ledger_checkpoint", "Number of the last signed checkpoint.")
CHECKPOINT_COPIED = Gauge(
    "tollgate_ledger_checkpoint_copied", "Number of the last checkpoint that a copy has.", ["target"]
)
CHECKPOINT_COPY_FAILURES = Counter(
    "tollgate_ledger_checkpoint_copy_failures", "Times a checkpoint could not be copied.", ["target"]
)

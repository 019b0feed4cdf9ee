-- Retention's queries, by name: see services/ledger/retention_run.py.

-- retention_partitions --
-- Partitions of a table that are made by time. $1 the table.
SELECT c.relname AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass('tollgate.' || $1) AND c.relname ~ '_[0-9]{6,8}$' ORDER BY 1

-- retention_default_days --
SELECT DISTINCT day FROM request_log_default WHERE day < $1 ORDER BY day

-- retention_holds --
-- The last fact of each hold.
SELECT DISTINCT ON (entity_id) entity_id, after FROM audit_log WHERE kind = 'hold' ORDER BY entity_id, n DESC

-- retention_held --
-- Whether a row of a day is held. $1 day, $2 tags, $3 teams, $4 keys.
SELECT EXISTS (SELECT FROM request_log WHERE day = $1 AND (tags && $2::text[] OR team_id = ANY($3::text[]) OR key_sha256 = ANY($4::text[])))

-- retention_spans --
-- By shard, the batches that rows of a day can be of: those that wrote what is there, and all of that time. $1 day, $2 and $3 from and
-- until when its rows were written (Unix ms).
SELECT shard, min(low) AS low, max(high) AS high FROM (
    SELECT shard, min(batch) AS low, max(batch) AS high FROM request_log WHERE day = $1 GROUP BY shard
    UNION ALL
    SELECT shard, min(n), max(n) FROM batch_log WHERE at_ms BETWEEN $2 AND $3 GROUP BY shard
) AS s GROUP BY shard ORDER BY shard

-- retention_before --
-- Up to which batch earlier drops of the day went, by shard.
SELECT (s.key)::integer AS shard, max((s.value ->> 1)::bigint) AS until
FROM retention_drop d CROSS JOIN LATERAL jsonb_each(d.spans) AS s
WHERE d.source = 'request_log' AND d.day = $1 GROUP BY 1

-- retention_batches --
SELECT n, format, rows, manifest FROM batch_log WHERE shard = $1 AND n > $2 AND n <= $3 ORDER BY n

-- retention_rows --
SELECT * FROM request_log WHERE day = $1 AND shard = $2 AND batch BETWEEN $3 AND $4

-- retention_drop --
SELECT retention_drop_partition($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- retention_summarize --
SELECT retention_summarize($1)

-- retention_drop_default --
SELECT retention_drop_default($1, $2, $3, $4, $5, $6)

-- retention_audit_ends --
-- Of the partition that holds what was recorded from $1 on and before $2.
SELECT min(n) AS first, max(n) AS last, count(*) AS rows FROM audit_log WHERE recorded_on >= $1 AND recorded_on < $2

-- retention_drops --
SELECT n, day, rows, sha256, spans, unsound FROM retention_drop WHERE source = 'request_log' ORDER BY n

-- retention_audit_end --
-- Where the audit log begins, after what was dropped of it.
SELECT (spans -> 'n' ->> 1)::bigint AS n, sha256 FROM retention_drop WHERE source = 'audit_log' ORDER BY 1 DESC LIMIT 1

-- retention_untold --
-- Drops that no fact tells of yet.
SELECT n, at_ms, source, day, rows, sha256, unsound FROM retention_drop
WHERE n > coalesce((SELECT max((after ->> 'last_n')::bigint) FROM audit_log WHERE kind = 'retention' AND action = 'updated'), 0)
ORDER BY n LIMIT 500

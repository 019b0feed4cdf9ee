-- Sinks' queries, by name: see services/ledger/sinks/.

-- sink_begun --
-- By their scopes: the table also has the positions of the audit log and of alerts, which end when nobody's sink does.
SELECT DISTINCT sink FROM sink_position WHERE sink ~ '^(config|team|key):'

-- sink_followed --
-- Up to which row of the audit log the choice was followed. $1 whose position that is.
SELECT batch FROM sink_position WHERE sink = $1 AND shard = -1

-- sink_entities --
-- Every key and team as it was at row $1 of the audit log.
SELECT DISTINCT ON (kind, entity_id) kind, entity_id, after FROM (
    SELECT kind, entity_id, after, n FROM audit_log WHERE kind IN ('key', 'team') AND n <= $1
    UNION ALL SELECT kind, entity_id, after, n FROM audit_kept WHERE kind IN ('key', 'team') AND n <= $1
) AS facts ORDER BY kind, entity_id, n DESC

-- sink_facts --
-- What came after row $1, in order.
SELECT n, kind, entity_id, after, at_ms FROM audit_log WHERE kind IN ('key', 'team') AND n > $1 ORDER BY n

-- sink_begin --
-- Where a new sink begins: after the batches written before it was chosen. Shards that come later, it reads from their first batch.
-- $2 TRAFFIC, $3 since when it is chosen (Unix ms).
INSERT INTO sink_position (sink, shard, batch)
SELECT $1, s.shard, s.n FROM (
    SELECT -1 AS shard, 0::bigint AS n
    UNION ALL
    SELECT p.shard, coalesce((SELECT b.n FROM batch_log b WHERE b.shard = p.shard AND b.at_ms < $3 ORDER BY b.n DESC LIMIT 1), 0)
    FROM stream_position p WHERE p.stream = $2
) AS s ON CONFLICT DO NOTHING

-- sink_end --
DELETE FROM sink_position WHERE sink = ANY($1::text[])

-- sink_head --
SELECT shard, chain_n FROM stream_position WHERE stream = $1

-- sink_behind --
-- Whether the book is behind a stream's sequence $2.
SELECT coalesce((SELECT max(seq) FROM stream_position WHERE stream = $1), 0) < $2

-- sink_positions --
SELECT shard, batch FROM sink_position WHERE sink = $1

-- sink_until --
-- The last of the next batches. $1 shard, $2 the last that was sent, $3 the last that may be, $4 how many.
SELECT max(n) FROM (SELECT n FROM batch_log WHERE shard = $1 AND n > $2 AND n <= $3 ORDER BY n LIMIT $4) AS ahead

-- sink_rows --
-- $4 a key, $5 a team: rows of these alone.
SELECT * FROM request_log WHERE shard = $1 AND batch > $2 AND batch <= $3
    AND ($4::text IS NULL OR key_sha256 = $4) AND ($5::text IS NULL OR team_id = $5)
ORDER BY batch, id

-- sink_move --
INSERT INTO sink_position AS p (sink, shard, batch) VALUES ($1, $2, $3)
ON CONFLICT (sink, shard) DO UPDATE SET batch = greatest(p.batch, excluded.batch), updated_at = now()

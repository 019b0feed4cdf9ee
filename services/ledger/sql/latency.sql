-- How long answered calls took: see services/ledger/latency.py.

-- latency_counted --
-- The beginning of the queries below. @WHERE@ says which rows of spend_signed.
WITH counted AS (
    SELECT s.sign, s.day, s.model, s.user_id, s.key_sha256, greatest(s.ended_at_ms - s.at_ms, 0) AS ms,
        CASE WHEN s.first_byte_at_ms IS NOT NULL THEN greatest(s.first_byte_at_ms - s.at_ms, 0) END AS first_ms
    FROM spend_signed s WHERE s.outcome = 'success' AND @WHERE@
), sums AS MATERIALIZED (
    SELECT k.dimension, k.value, day, latency_bucket(ms) AS bucket, sum(sign)::bigint AS calls, sum(sign * ms)::bigint AS took_ms,
        coalesce(sum(sign) FILTER (WHERE first_ms IS NOT NULL), 0)::bigint AS first_calls, coalesce(sum(sign * first_ms), 0)::bigint AS first_ms
    FROM counted CROSS JOIN LATERAL (
        SELECT 'model' AS dimension, coalesce(model, '') AS value
        UNION ALL SELECT CASE WHEN user_id IS NULL THEN 'key' ELSE 'user' END, coalesce(user_id, key_sha256, '')
    ) AS k
    GROUP BY 1, 2, 3, 4
)

-- latency_add --
-- After latency_counted. In the order of the keys.
INSERT INTO latency_day AS l (dimension, value, day, bucket, calls, took_ms, first_calls, first_ms)
SELECT dimension, value, day, bucket, calls, took_ms, first_calls, first_ms FROM sums ORDER BY dimension, value, day, bucket
ON CONFLICT (dimension, value, day, bucket) DO UPDATE SET calls = l.calls + excluded.calls, took_ms = l.took_ms + excluded.took_ms,
    first_calls = l.first_calls + excluded.first_calls, first_ms = l.first_ms + excluded.first_ms

-- latency_clear --
DELETE FROM latency_day WHERE day = $1

-- latency_behind --
-- Calls that are in the book and not in these sums yet: $1 the stream.
SELECT coalesce(sum(b.rows), 0)::bigint AS calls FROM stream_position p LEFT JOIN latency_position l USING (shard)
JOIN batch_log b ON b.shard = p.shard AND b.n > coalesce(l.batch, 0) WHERE p.stream = $1

-- Every query of the ledger, by name: `-- name --`, then a line that says what it is for.

-- position_start --
-- A stream's position, made when it is new.
INSERT INTO stream_position (stream, shard, seq) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING

-- position --
SELECT seq, message_at_ns FROM stream_position WHERE stream = $1 AND shard = $2

-- position_safe --
-- Commits behind everything that was read, and so waits until a synchronous standby has that too.
SELECT pg_logical_emit_message(true, 'tollgate', '')

-- position_hold --
-- Lock it until the transaction ends, and read the chain's end: no row when somebody else has moved it. $3 where it should be.
SELECT chain_n, chain_sha256 FROM stream_position WHERE stream = $1 AND shard = $2 AND seq = $3 FOR UPDATE

-- position_move --
-- Of a position that is held. $3 and $4 the last message, $5 and $6 the chain's end.
UPDATE stream_position SET seq = $3, message_at_ns = $4, chain_n = $5, chain_sha256 = $6, updated_at = now()
WHERE stream = $1 AND shard = $2

-- known --
-- What the book has of these requests of one day.
SELECT id, provisional, fact_sha256 FROM request_log WHERE day = $1 AND id = ANY($2::uuid[])

-- open_known --
SELECT id, fact_sha256 FROM request_open WHERE id = ANY($1::uuid[])

-- open_end --
DELETE FROM request_open WHERE id = ANY($1::uuid[])

-- open_expired --
-- Those that are due are open no longer. One that another transaction has just ended isn't returned.
DELETE FROM request_open WHERE id IN (
    SELECT id FROM request_open WHERE shard = $1 AND expires_at_ms <= $2 ORDER BY expires_at_ms LIMIT $3
)
RETURNING id, fact_sha256, fact

-- open_count --
SELECT count(*) FROM request_open WHERE shard = $1

-- open_newest --
-- $1 those before this id (NULL: the newest), $2 how many.
SELECT id, fact FROM request_open WHERE $1::uuid IS NULL OR id < $1 ORDER BY id DESC LIMIT $2

-- provisional_share --
-- What a provisional row put into the rollups, to take it out again.
SELECT day, key_sha256, team_id, user_id, customer_id, model, deployment_id, provider, tags, outcome,
       cost_picousd, input_tokens, output_tokens
FROM request_log WHERE day = $1 AND id = $2 AND provisional

-- rollup_add --
INSERT INTO rollup AS r (scope, dimension, day, value,
                         requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd)
SELECT '', dimension, day, value, requests, successes, failures, input_tokens, output_tokens, unpriced,
       dollars * 1000000000000::numeric + picousd
FROM unnest($1::text[], $2::date[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[],
            $10::bigint[], $11::bigint[])
    AS c (dimension, day, value, requests, successes, failures, input_tokens, output_tokens, unpriced, dollars, picousd)
ON CONFLICT (scope, dimension, day, value) DO UPDATE SET
    requests = r.requests + excluded.requests,
    successes = r.successes + excluded.successes,
    failures = r.failures + excluded.failures,
    input_tokens = r.input_tokens + excluded.input_tokens,
    output_tokens = r.output_tokens + excluded.output_tokens,
    unpriced = r.unpriced + excluded.unpriced,
    spend_picousd = r.spend_picousd + excluded.spend_picousd

-- anomaly_add --
INSERT INTO anomalies (stream, shard, seq, kind, subject_id, detail, sha256, raw) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- ensure_day --
SELECT request_log_ensure_day($1)

-- batch_add --
INSERT INTO batch_log (shard, n, previous_sha256, sha256, first_seq, last_seq, at_ms, rows, manifest, format)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- audit_known --
SELECT fact_id, message FROM audit_log WHERE fact_id = ANY($1::text[])

-- tag_rows --
-- $1 and $2 first and last day (NULL: open), $3 these tags (NULL: all), $4 how many.
SELECT value, min(day) AS first_day, max(day) AS last_day
FROM rollup
WHERE scope = '' AND dimension = 'tag' AND ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)
  AND ($3::text[] IS NULL OR value = ANY($3))
GROUP BY value HAVING sum(requests) > 0 ORDER BY value LIMIT $4

-- spent --
-- What some values of one dimension spent. $1 dimension, $2 values, $3 the first day that counts. Day by day, as the index has them;
-- without a first day also what they had spent before they came here (import-litellm), which is the last fact about it.
SELECT value, sum(spend_picousd) AS spend_picousd FROM (
    SELECT r.value, r.spend_picousd
    FROM generate_series(
        greatest($3::date, (SELECT min(day) FROM rollup WHERE scope = '' AND dimension = 'total')),
        (SELECT max(day) FROM rollup WHERE scope = '' AND dimension = 'total'), interval '1 day'
    ) AS days (day)
    JOIN rollup AS r ON r.scope = '' AND r.dimension = $1 AND r.day = days.day::date AND r.value = ANY($2::text[])
    UNION ALL
    SELECT asked.value, (
        SELECT (a.after ->> 'picousd')::numeric FROM audit_log AS a
        WHERE a.kind = 'opening_balance' AND a.entity_id = $1 || ':' || asked.value ORDER BY a.n DESC LIMIT 1
    )
    FROM unnest($2::text[]) AS asked (value)
    WHERE $3::date IS NULL
) AS spent
WHERE spend_picousd IS NOT NULL
GROUP BY value

-- spend_days --
-- Spend by day and dimension, for everybody.
SELECT day, dimension, value, spend_picousd FROM rollup
WHERE scope = '' AND dimension IN ('total', 'key', 'user', 'model') AND day BETWEEN $1 AND $2

-- spend_days_of --
-- The same of one key, one user or both. $3 key, $4 user, $5 calls without a key, $6 calls without a user.
SELECT day, key_sha256, user_id, model, coalesce(sum(cost_picousd), 0) AS spend_picousd
FROM request_book
WHERE day BETWEEN $1 AND $2 AND outcome <> 'refused'
  AND ($3::text IS NULL OR key_sha256 = $3) AND ($4::text IS NULL OR user_id = $4)
  AND (NOT $5 OR key_sha256 IS NULL) AND (NOT $6 OR user_id IS NULL)
GROUP BY day, key_sha256, user_id, model

-- logs_newest --
-- $1 and $2 first and last day, $3 key, $4 user, $5 calls without a key, $6 calls without a user, $7 how many.
SELECT day, id, provisional FROM request_book
WHERE ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)
  AND ($3::text IS NULL OR key_sha256 = $3) AND ($4::text IS NULL OR user_id = $4)
  AND (NOT $5 OR key_sha256 IS NULL) AND (NOT $6 OR user_id IS NULL)
ORDER BY id DESC
LIMIT $7

-- logs_own --
-- A call by our own id: $1 day, $2 id, and whose: $3 key, $4 user, $5 calls without a key, $6 calls without a user.
SELECT day, id, provisional FROM request_log
WHERE day = $1 AND id = $2
  AND ($3::text IS NULL OR key_sha256 = $3) AND ($4::text IS NULL OR user_id = $4)
  AND (NOT $5 OR key_sha256 IS NULL) AND (NOT $6 OR user_id IS NULL)
ORDER BY provisional

-- logs_named --
-- Calls by the provider's id or the client's, provisional rows that were outranked among them. $1 the text, $2 first day, $3 how many;
-- the rest as above.
SELECT day, id, provisional FROM (
    SELECT day, id, provisional, key_sha256, user_id FROM request_log WHERE response_id = $1 AND day >= $2
    UNION SELECT day, id, provisional, key_sha256, user_id FROM request_log WHERE litellm_call_id = $1 AND day >= $2
) AS found
WHERE ($4::text IS NULL OR key_sha256 = $4) AND ($5::text IS NULL OR user_id = $5)
  AND (NOT $6 OR key_sha256 IS NULL) AND (NOT $7 OR user_id IS NULL)
ORDER BY id DESC, provisional
LIMIT $3

-- logs_rows --
SELECT * FROM request_log WHERE day = $1 AND id = ANY($2::uuid[])

-- audit_count --
-- $1 kinds (NULL: all but aliases and checkpoints), $2 actor, $3 actor's key, $4 action, $5 entity, $6 and $7 from and to (Unix ms), $8 team in
-- the entity, $9 key in the entity, $10 any of four. A fact that can't be read has nothing of these: it is of the kind `unreadable`.
SELECT count(*) FROM audit_log
WHERE CASE WHEN $1::text[] IS NULL THEN coalesce(kind, 'unreadable') NOT IN ('alias', 'checkpoint') ELSE coalesce(kind, 'unreadable') = ANY($1) END
  AND ($2::text IS NULL OR fact_id IS NOT NULL AND coalesce(actor_user_id, 'default_user_id') = $2)
  AND ($3::text IS NULL OR actor_key_sha256 = $3)
  AND ($4::text IS NULL OR coalesce(action, 'unreadable') = $4)
  AND ($5::text IS NULL OR entity_id = $5)
  AND ($6::bigint IS NULL OR at_ms >= $6) AND ($7::bigint IS NULL OR at_ms <= $7)
  AND ($8::text IS NULL OR before ->> 'team_id' = $8 OR after ->> 'team_id' = $8)
  AND ($9::text IS NULL OR before ->> 'token' = $9 OR after ->> 'token' = $9)
  AND ($10::text IS NULL OR $10 IN (fact_id, coalesce(actor_user_id, 'default_user_id'), entity_id, actor_key_sha256))

-- audit_entry --
SELECT * FROM audit_log WHERE fact_id = $1 ORDER BY n LIMIT 1

-- rollup_again --
-- The rollups of a day ($1) computed again from request_book: a part of the query below.
WITH share AS (
    SELECT *,
        -- Only what policy vouches for is counted of a refusal: anybody can send any tag or model name.
        outcome <> 'refused' AS admitted
    FROM request_book WHERE day = $1
), counted AS (
    SELECT d.dimension, s.day, d.value, s.outcome, s.input_tokens, s.output_tokens, s.cost_picousd
    FROM share s CROSS JOIN LATERAL (
        SELECT v.dimension, v.value
        FROM (VALUES ('total', '', true), ('key', s.key_sha256, true), ('team', s.team_id, true), ('user', s.user_id, true),
                     ('customer', s.customer_id, s.admitted), ('model', s.model, s.admitted),
                     ('deployment', s.deployment_id, s.admitted), ('provider', s.provider, s.admitted)
             ) AS v (dimension, value, counts)
        WHERE v.counts AND v.value IS NOT NULL
        UNION ALL
        SELECT 'tag', t.tag FROM (SELECT DISTINCT unnest(s.tags) AS tag) AS t WHERE s.admitted
    ) AS d
), again AS (
    SELECT dimension, day, value,
        count(*) AS requests,
        count(*) FILTER (WHERE outcome = 'success') AS successes,
        count(*) FILTER (WHERE outcome <> 'success') AS failures,
        sum(input_tokens)::bigint AS input_tokens,
        sum(output_tokens)::bigint AS output_tokens,
        count(*) FILTER (WHERE cost_picousd IS NULL) AS unpriced,
        coalesce(sum(cost_picousd), 0) AS spend_picousd
    FROM counted GROUP BY dimension, day, value
)

-- rollup_differences --
-- After rollup_again: where the rollups kept differ from those computed.
SELECT dimension, day, value,
    ARRAY[k.requests, k.successes, k.failures, k.input_tokens, k.output_tokens, k.unpriced, k.spend_picousd]::numeric[] AS kept,
    ARRAY[a.requests, a.successes, a.failures, a.input_tokens, a.output_tokens, a.unpriced, a.spend_picousd]::numeric[] AS again
FROM again a FULL JOIN (
    -- A provisional row that was taken out again may leave a row of zeros behind.
    SELECT * FROM rollup WHERE scope = '' AND day = $1 AND (requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd)
        IS DISTINCT FROM (0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::numeric)
) k USING (dimension, day, value)
WHERE (k.requests, k.successes, k.failures, k.input_tokens, k.output_tokens, k.unpriced, k.spend_picousd)
    IS DISTINCT FROM (a.requests, a.successes, a.failures, a.input_tokens, a.output_tokens, a.unpriced, a.spend_picousd)
ORDER BY dimension, value

-- rollup_clear --
DELETE FROM rollup WHERE day = $1 AND (requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd)
    = (0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::numeric)

-- rebuild_days --
-- Days that can be computed again: those with rows or sums, but for those that retention has taken rows of. $1 and $2 first and last.
SELECT day FROM (
    SELECT DISTINCT day FROM request_log UNION SELECT DISTINCT day FROM rollup
    UNION SELECT (at AT TIME ZONE 'UTC')::date FROM spend_span WHERE grain = 'day'
) AS d
WHERE NOT day = ANY(ARRAY(SELECT DISTINCT day FROM retention_drop WHERE source = 'request_log'))
  AND ($1::date IS NULL OR day >= $1) AND ($2::date IS NULL OR day <= $2)
ORDER BY day

-- rebuild_reached --
SELECT day FROM rebuild_position WHERE what = $1

-- rebuild_move --
INSERT INTO rebuild_position (what, day) VALUES ($1, $2) ON CONFLICT (what) DO UPDATE SET day = excluded.day, at = now()

-- rebuild_end --
DELETE FROM rebuild_position WHERE what = $1

-- verify_end --
SELECT chain_n, chain_sha256 FROM stream_position WHERE stream = $1 AND shard = $2

-- verify_audit --
-- $1 and $2 first and last number (NULL: open).
SELECT n, previous_sha256, sha256, seq, subject, message,
    fact_id, at_ms, kind, entity_id, action, actor_key_sha256, actor_user_id, actor_role, on_behalf_of, requester_ip, before, after
FROM audit_log WHERE ($1::bigint IS NULL OR n >= $1) AND ($2::bigint IS NULL OR n <= $2) ORDER BY n

-- verify_audit_span --
-- Numbers of what was recorded on some days (NULL: open).
SELECT min(n) FILTER (WHERE wanted) AS first, max(n) FILTER (WHERE wanted) AS last, max(n) AS newest FROM (
    SELECT n, ($1::date IS NULL OR recorded_on >= $1) AND ($2::date IS NULL OR recorded_on <= $2) AS wanted FROM audit_log
) AS l

-- verify_restores --
SELECT after FROM audit_log WHERE kind = 'restore' AND after IS NOT NULL ORDER BY n

-- verify_told --
-- The checkpoints that control facts tell of.
SELECT at_ms, (after ->> 'n')::bigint AS n, after ->> 'sha256' AS sha256 FROM audit_log
WHERE kind = 'checkpoint' AND entity_id = 'book' AND after ->> 'n' ~ '^[0-9]{1,18}$' ORDER BY 2

-- restore_first_lost --
-- The first checkpoint that a control fact tells of, and that isn't here.
SELECT min((a.after ->> 'n')::bigint) FROM audit_log a
WHERE a.kind = 'checkpoint' AND a.entity_id = 'book' AND a.after ->> 'n' ~ '^[0-9]{1,18}$'
  AND NOT EXISTS (SELECT FROM checkpoint c WHERE encode(c.sha256, 'hex') = a.after ->> 'sha256')

-- verify_shards --
-- $1 TRAFFIC.
SELECT shard FROM stream_position WHERE stream = $1 UNION SELECT shard FROM batch_log ORDER BY shard

-- verify_batches --
-- $1 shard, $2 and $3 first and last number (NULL: open).
SELECT * FROM batch_log WHERE shard = $1 AND ($2::bigint IS NULL OR n >= $2) AND ($3::bigint IS NULL OR n <= $3) ORDER BY n

-- verify_batch_span --
-- $1 shard, $2 and $3 from and before (Unix ms; NULL: open).
SELECT min(n) FILTER (WHERE wanted) AS first, max(n) FILTER (WHERE wanted) AS last, max(n) AS newest FROM (
    SELECT n, ($2::bigint IS NULL OR at_ms >= $2) AND ($3::bigint IS NULL OR at_ms < $3) AS wanted FROM batch_log WHERE shard = $1
) AS l

-- verify_rows --
-- The rows of some batches of a shard: $2 to $3.
SELECT * FROM request_log WHERE shard = $1 AND batch BETWEEN $2 AND $3

-- verify_row --
SELECT * FROM request_log WHERE id = $1

-- verify_rows_of_no_batch --
SELECT shard, batch, count(*) AS rows, min(id::text) AS id FROM request_log l
WHERE NOT EXISTS (SELECT FROM batch_log b WHERE b.shard = l.shard AND b.n = l.batch)
GROUP BY shard, batch ORDER BY shard, batch

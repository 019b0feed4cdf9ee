-- The cube's queries, by name: see services/ledger/cube.py.

-- cube_start --
INSERT INTO cube_position (shard, batch) VALUES ($1, 0) ON CONFLICT DO NOTHING

-- cube_hold --
SELECT batch FROM cube_position WHERE shard = $1 FOR UPDATE

-- cube_move --
UPDATE cube_position SET batch = $2 WHERE shard = $1

-- cube_next --
-- How far the next step goes: $1 shard, $2 position, $3 rows at most (one batch at least).
SELECT max(n) AS batch FROM (
    SELECT n, sum(rows) OVER (ORDER BY n) - rows AS before FROM batch_log WHERE shard = $1 AND n > $2 ORDER BY n LIMIT 1000
) AS ahead WHERE before < $3

-- cube_shards --
SELECT shard, chain_n FROM stream_position WHERE stream = $1 ORDER BY shard

-- cube_ids --
-- Of a step's rows, which say what days they are of: $1 shard, $2 and $3 first and last batch.
SELECT substr(manifest, 1, 16 * rows) AS ids FROM batch_log WHERE shard = $1 AND n BETWEEN $2 AND $3

-- ensure_partition --
SELECT ensure_partition($1, $2, $3, $4)

-- cube_counted --
-- How rows count, with the group each is of: the beginning of the queries below. @WHERE@ says which rows of spend_signed.
WITH counted AS MATERIALIZED (
    SELECT s.sign, date_trunc('hour', s.id_at, 'UTC') AS at, s.tags, s.outcome <> 'refused' AS admitted,
        s.outcome = 'success' AS success, s.input_tokens, s.output_tokens, s.cached_tokens, s.cache_write_tokens, s.cost_picousd,
        s.flags, s.at_ms, s.key_sha256, s.key_alias, s.team_id, s.team_alias,
        ROW(NULL, s.key_sha256, s.team_id, s.user_id, s.organization_id, CASE WHEN s.outcome <> 'refused' THEN s.model END,
            s.upstream_model, s.deployment_id, s.provider, s.call_type)::spend_group AS who
    FROM spend_signed s WHERE @WHERE@
), grouped AS MATERIALIZED (
    SELECT who, (who).key_sha256, (who).team_id, (who).user_id, (who).organization_id, (who).model, (who).upstream_model,
        (who).deployment_id, (who).provider, (who).call_type,
        encode(substr(sha256(convert_to(json_build_array((who).key_sha256, (who).team_id, (who).user_id, (who).organization_id,
            (who).model, (who).upstream_model, (who).deployment_id, (who).provider, (who).call_type)::text, 'UTF8')), 1, 16),
            'hex')::uuid AS grp
    FROM (SELECT DISTINCT who FROM counted) AS found
)

-- cube_groups --
-- After cube_counted: the groups there are.
, groups AS (
    INSERT INTO spend_group
    SELECT grp, key_sha256, team_id, user_id, organization_id, model, upstream_model, deployment_id, provider, call_type
    FROM grouped ORDER BY grp
    ON CONFLICT DO NOTHING
)

-- cube_names --
-- After cube_counted: what keys and teams were called last.
, names AS (
    INSERT INTO spend_name (kind, id, name)
    SELECT DISTINCT ON (kind, id) kind, id, name FROM (
        SELECT 'key' AS kind, key_sha256 AS id, key_alias AS name, max(at_ms) AS at_ms FROM counted
        WHERE sign > 0 AND key_sha256 IS NOT NULL AND key_alias IS NOT NULL GROUP BY key_sha256, key_alias
        UNION ALL
        SELECT 'team', team_id, team_alias, max(at_ms) FROM counted
        WHERE sign > 0 AND team_id IS NOT NULL AND team_alias IS NOT NULL GROUP BY team_id, team_alias
    ) AS seen
    ORDER BY kind, id, at_ms DESC
    ON CONFLICT (kind, id) DO UPDATE SET name = excluded.name WHERE spend_name.name <> excluded.name
)

-- cube_sums --
-- After cube_counted: what the rows add up to, by hour.
, alike AS (
    SELECT c.at, c.tags, c.admitted, g.grp, sum(sign) AS requests, coalesce(sum(sign) FILTER (WHERE success), 0) AS successes,
        coalesce(sum(sign) FILTER (WHERE NOT success), 0) AS failures, sum(sign * input_tokens) AS input_tokens,
        sum(sign * output_tokens) AS output_tokens, sum(sign * cached_tokens) AS cached_tokens,
        sum(sign * cache_write_tokens) AS cache_write_tokens,
        coalesce(sum(sign) FILTER (WHERE cost_picousd IS NULL), 0) AS unpriced,
        coalesce(sum(sign) FILTER (WHERE flags IS NOT NULL), 0) AS flagged, coalesce(sum(sign * cost_picousd), 0) AS spend_picousd
    FROM counted c JOIN grouped g USING (who)
    GROUP BY c.at, c.tags, c.admitted, g.grp
), sums AS MATERIALIZED (
    SELECT at, k.tags, k.tag, grp, sum(requests)::bigint AS requests, sum(successes)::bigint AS successes,
        sum(failures)::bigint AS failures, sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens,
        sum(cached_tokens)::bigint AS cached_tokens, sum(cache_write_tokens)::bigint AS cache_write_tokens,
        sum(unpriced)::bigint AS unpriced, sum(flagged)::bigint AS flagged, sum(spend_picousd) AS spend_picousd
    FROM alike CROSS JOIN LATERAL (
        SELECT 'all' AS tags, '' AS tag
        UNION ALL SELECT 'none', '' WHERE admitted AND cardinality(alike.tags) = 0
        UNION ALL SELECT 'tag', t FROM (SELECT DISTINCT unnest(alike.tags) AS t) AS d WHERE admitted
    ) AS k
    GROUP BY at, k.tags, k.tag, grp
)

-- cube_add --
-- After both: add them. In the order of the keys, so that two can't wait for each other.
, hours AS (
    INSERT INTO spend_hour AS c SELECT * FROM sums ORDER BY tags, tag, at, grp
    @ADD@
), days AS (
    INSERT INTO spend_day AS c
    SELECT date_trunc('day', at, 'UTC') AS period, tags, tag, grp, @SUMS@ FROM sums GROUP BY period, tags, tag, grp
    ORDER BY tags, tag, period, grp
    @ADD@
)
INSERT INTO spend_month AS c
SELECT date_trunc('month', at, 'UTC') AS period, tags, tag, grp, @SUMS@ FROM sums GROUP BY period, tags, tag, grp
ORDER BY tags, tag, period, grp
@ADD@

-- cube_behind --
-- Batches that the cube hasn't got: $1 shards, $2 their positions in the cube. The ids of their rows say which days they are of.
SELECT b.shard, b.n, b.rows, substr(b.manifest, 1, 16 * b.rows) AS ids
FROM unnest($1::integer[], $2::bigint[]) AS p (shard, batch) JOIN batch_log b ON b.shard = p.shard AND b.n > p.batch

-- cube_positions --
SELECT s.shard, coalesce(c.batch, 0) AS batch FROM stream_position s LEFT JOIN cube_position c USING (shard)
WHERE s.stream = $1

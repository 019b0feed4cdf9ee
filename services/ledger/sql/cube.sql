-- The cube's queries, by name: see services/ledger/cube.py.

-- ensure_partition --
SELECT ensure_partition($1, $2, $3, $4)

-- cube_counted --
-- How rows count, with the group each is of: the beginning of the queries below. @WHERE@ says which rows of spend_signed.
WITH counted AS MATERIALIZED (
    SELECT s.sign, date_trunc('hour', s.id_at, 'UTC') AS at, CASE WHEN s.outcome <> 'refused' THEN s.tags END AS tags,
        s.outcome = 'success' AS success, s.input_tokens, s.output_tokens, s.cached_tokens, s.cache_write_tokens, s.cost_picousd,
        s.flags, s.at_ms, s.key_sha256, s.key_alias, s.team_id, s.team_alias,
        ROW(NULL, s.key_sha256, s.team_id, s.user_id, s.organization_id, CASE WHEN s.outcome <> 'refused' THEN s.model END,
            s.upstream_model, s.deployment_id, s.provider, s.call_type)::spend_group AS who
    FROM spend_signed s WHERE @WHERE@
), alike AS MATERIALIZED (
    SELECT at, tags, who, sum(sign)::bigint AS requests, coalesce(sum(sign) FILTER (WHERE success), 0)::bigint AS successes,
        coalesce(sum(sign) FILTER (WHERE NOT success), 0)::bigint AS failures, sum(sign * input_tokens)::bigint AS input_tokens,
        sum(sign * output_tokens)::bigint AS output_tokens, sum(sign * cached_tokens)::bigint AS cached_tokens,
        sum(sign * cache_write_tokens)::bigint AS cache_write_tokens,
        coalesce(sum(sign) FILTER (WHERE cost_picousd IS NULL), 0)::bigint AS unpriced,
        coalesce(sum(sign) FILTER (WHERE flags IS NOT NULL), 0)::bigint AS flagged, coalesce(sum(sign * cost_picousd), 0) AS spend_picousd
    FROM counted GROUP BY at, tags, who
), grouped AS MATERIALIZED (
    SELECT who, (who).key_sha256, (who).team_id, (who).user_id, (who).organization_id, (who).model, (who).upstream_model,
        (who).deployment_id, (who).provider, (who).call_type,
        encode(substr(sha256(convert_to(json_build_array((who).key_sha256, (who).team_id, (who).user_id, (who).organization_id,
            (who).model, (who).upstream_model, (who).deployment_id, (who).provider, (who).call_type)::text, 'UTF8')), 1, 16),
            'hex')::uuid AS grp
    FROM (SELECT DISTINCT who FROM alike) AS found
)

-- cube_words --
-- After cube_counted: the numbers of tags and teams, new ones made. (Only what isn't there is tried: a number is used up by trying. Nobody
-- else makes any: spend_position is held. Were there none for a word, spend_calls would refuse the row.)
, sets AS MATERIALIZED (
    SELECT tags, row_number() OVER () AS n FROM alike WHERE cardinality(tags) > 0 GROUP BY tags
), said AS MATERIALIZED (
    SELECT unnest(tags) AS value FROM sets UNION SELECT team_id FROM grouped WHERE team_id IS NOT NULL
), known AS MATERIALIZED (
    SELECT value, (SELECT w.id FROM spend_word w WHERE w.value = said.value) AS id FROM said
), made AS (
    INSERT INTO spend_word (value) SELECT value FROM known WHERE id IS NULL ORDER BY value RETURNING id, value
), words AS MATERIALIZED (
    SELECT id, value FROM made UNION ALL SELECT id, value FROM known WHERE id IS NOT NULL
), numbered AS MATERIALIZED (
    -- spend_tag_set(), which can't be inlined.
    SELECT sets.tags, k.numbers,
        encode(substr(sha256(convert_to(array_to_string(k.numbers, ','), 'UTF8')), 1, 16), 'hex')::uuid AS tag_set
    FROM sets JOIN (
        SELECT n, array_agg(DISTINCT w.id ORDER BY w.id) AS numbers
        FROM (SELECT n, unnest(tags) AS value FROM sets) AS s LEFT JOIN words w USING (value) GROUP BY n
    ) AS k USING (n)
)

-- cube_sums --
-- After cube_counted and cube_words: what the rows add up to, by hour; and of the admitted, by tag, team and day.
, sums AS MATERIALIZED (
    SELECT a.at, g.grp, coalesce(n.numbers, '{}') AS tags, coalesce(n.tag_set, spend_tag_set('{}')) AS tag_set,
        CASE WHEN a.tags IS NULL THEN 1 ELSE 0 END AS counts,
        coalesce(t.id, 0) AS team, @SUMS@
    FROM alike a JOIN grouped g USING (who) LEFT JOIN numbered n ON n.tags = a.tags LEFT JOIN words t ON t.value = g.team_id
    GROUP BY 1, 2, 3, 4, 5, 6
), tagged AS MATERIALIZED (
    SELECT date_trunc('day', at, 'UTC') AS at, tag, team, @SUMS@
    FROM (
        SELECT *, unnest(CASE WHEN tags = '{}' THEN '{0}' ELSE tags END) AS tag FROM sums WHERE counts = 0
    ) AS s
    GROUP BY 1, 2, 3
)

-- cube_groups --
-- After cube_counted: the groups there are.
, groups AS (
    INSERT INTO spend_group
    SELECT grp, key_sha256, team_id, user_id, organization_id, model, upstream_model, deployment_id, provider, call_type
    FROM grouped n WHERE (SELECT g.id FROM spend_group g WHERE g.id = n.grp) IS NULL ORDER BY grp
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

-- cube_add --
-- After all of these: add them. In the order of the keys. What was made from them is so no longer.
, calls AS (
    INSERT INTO spend_calls AS c (at, grp, tags, tag_set, counts, @NAMES@)
    SELECT at, grp, tags, tag_set, counts, @NAMES@ FROM sums ORDER BY grp, at, tag_set, counts
    ON CONFLICT (grp, at, tag_set, counts) DO UPDATE SET @ADD@
), teams AS (
    INSERT INTO spend_tag_team AS c (at, tag, team, @NAMES@)
    SELECT at, tag, team, @NAMES@ FROM tagged ORDER BY tag, team, at
    ON CONFLICT (tag, team, at) DO UPDATE SET @ADD@
), by_tag AS (
    INSERT INTO spend_tag AS c (grain, at, tag, @NAMES@)
    SELECT 'day', at, tag, @SUMS@ FROM tagged GROUP BY at, tag ORDER BY at, tag
    ON CONFLICT (grain, at, tag) DO UPDATE SET @ADD@
)
INSERT INTO spend_span AS c (grain, at, folded)
SELECT DISTINCT grain, spend_period_of(grain, at), false
FROM (SELECT DISTINCT at FROM sums) AS hours CROSS JOIN (VALUES ('day'), ('five'), ('month')) AS g (grain)
ON CONFLICT (grain, at) DO UPDATE SET folded = false WHERE c.folded

-- cube_clear --
-- Before a day ($1 to $2) is added again.
WITH calls AS (DELETE FROM spend_calls WHERE at >= $1 AND at < $2),
teams AS (DELETE FROM spend_tag_team WHERE at >= $1 AND at < $2),
tags AS (DELETE FROM spend_tag WHERE grain = 'day' AND at >= $1 AND at < $2)
UPDATE spend_span SET folded = false WHERE folded AND at = spend_period_of(grain, $1)

-- fold_due --
-- The next period that is over ($1 is an instant some time ago) and not folded: days first, a month only when its days are, and running totals when
-- all is that is in them, the newest first. Those that failed ($2 and $3 which, $4 how often) after all others.
SELECT grain, at FROM (
    SELECT grain, at, CASE grain WHEN 'day' THEN 0 WHEN 'five' THEN 1 ELSE 2 END AS turn FROM spend_span s
    WHERE NOT folded AND at <= $1::timestamptz - CASE
        WHEN grain = 'day' THEN interval '1 day' WHEN grain = 'month' THEN interval '31 days'
        WHEN extract(day FROM at AT TIME ZONE 'UTC') < 26 THEN interval '5 days' ELSE interval '6 days' END
      AND (grain <> 'month' OR NOT EXISTS (
        SELECT FROM spend_span d WHERE d.grain = 'day' AND NOT d.folded AND d.at >= s.at AND d.at < s.at + interval '31 days'))
    UNION ALL
    SELECT r.grain, s.at, 3 FROM spend_span s JOIN (VALUES ('month_to', 'five', 'month'), ('year_to', 'month', 'year')) AS r (grain, part, whole)
        ON s.grain = r.part
    WHERE s.folded AND (r.part = 'month' OR extract(day FROM s.at AT TIME ZONE 'UTC') < 26)
      AND NOT EXISTS (SELECT FROM spend_running k WHERE k.grain = r.grain AND k.at = s.at)
      AND NOT EXISTS (
        SELECT FROM spend_span d WHERE NOT d.folded AND d.at >= date_trunc(r.whole, s.at, 'UTC')
          AND d.at < CASE r.part WHEN 'five' THEN s.at + interval '5 days' ELSE s.at + interval '1 month' END
          AND d.grain IN ('day', r.part))
) AS due LEFT JOIN unnest($2::text[], $3::timestamptz[], $4::integer[]) AS f (grain, at, failures) USING (grain, at)
ORDER BY coalesce(failures, 0), turn, CASE WHEN turn < 3 THEN at END, at DESC LIMIT 1

-- fold_done --
UPDATE spend_span SET folded = true WHERE grain = $1 AND at = $2

-- running_done --
INSERT INTO spend_running (grain, at) VALUES ($1, $2)

-- fold_clear --
-- What was made of a period before.
WITH periods AS (DELETE FROM spend_period WHERE grain = $1 AND at = $2),
teams AS (DELETE FROM spend_tag_team_span WHERE grain = $1 AND at = $2)
DELETE FROM spend_tag WHERE grain = CASE $1 WHEN 'day' THEN 'every' ELSE $1 END AND at = $2

-- fold_day --
-- Of these: $1 and $2 beginning and end of what is added up, $3 the grain that is made, $4 where. In the order of the keys: what is asked for
-- together then lies together.
INSERT INTO spend_period (grain, at, grp, @NAMES@)
SELECT $3, $4, grp, @SUMS@ FROM spend_calls WHERE at >= $1 AND at < $2 AND counts <> 2 GROUP BY grp ORDER BY grp

-- fold_every --
-- All tags of a day together: what spend_tag's other grains have under their tags.
INSERT INTO spend_tag (grain, at, tag, @NAMES@)
SELECT 'every', $4, 0, @SUMS@ FROM spend_tag WHERE grain = $3 AND at >= $1 AND at < $2 HAVING count(*) > 0

-- fold_periods --
-- @PART@: the grain that is added up.
INSERT INTO spend_period (grain, at, grp, @NAMES@)
SELECT $3, $4, grp, @SUMS@ FROM spend_period WHERE grain = '@PART@' AND at >= $1 AND at < $2 GROUP BY grp ORDER BY grp

-- fold_tags --
INSERT INTO spend_tag (grain, at, tag, @NAMES@)
SELECT $3, $4, tag, @SUMS@ FROM spend_tag WHERE grain = '@PART@' AND at >= $1 AND at < $2 GROUP BY tag ORDER BY tag

-- fold_team_days --
INSERT INTO spend_tag_team_span (grain, at, tag, team, @NAMES@)
SELECT $3, $4, tag, team, @SUMS@ FROM spend_tag_team WHERE at >= $1 AND at < $2 GROUP BY tag, team ORDER BY tag, team

-- fold_teams --
INSERT INTO spend_tag_team_span (grain, at, tag, team, @NAMES@)
SELECT $3, $4, tag, team, @SUMS@ FROM spend_tag_team_span WHERE grain = '@PART@' AND at >= $1 AND at < $2 GROUP BY tag, team ORDER BY tag, team

-- spans --
-- Periods that have calls, of those between $1 and $2, as far as they begin; and the running totals of their years that hold.
SELECT grain, at, folded FROM spend_span WHERE at >= $1 AND at < $2
UNION ALL SELECT grain, at, true FROM spend_running WHERE at >= date_trunc('year', $1::timestamptz, 'UTC') AND at < $2

-- cube_behind --
-- Batches that the cube hasn't got: $1 shards, $2 their positions in the cube.
SELECT b.sha256, b.shard, b.n FROM unnest($1::integer[], $2::bigint[]) AS p (shard, batch) JOIN batch_log b ON b.shard = p.shard AND b.n > p.batch

-- batch_ids --
-- Of the rows of some batches, which say what days they are of: $1 shards, $2 batches.
SELECT b.sha256, substr(b.manifest, 1, 16 * b.rows) AS ids
FROM unnest($1::integer[], $2::bigint[]) AS p (shard, n) JOIN batch_log b USING (shard, n)

-- cube_positions --
SELECT s.shard, coalesce(c.batch, 0) AS batch FROM stream_position s LEFT JOIN spend_position c USING (shard)
WHERE s.stream = $1

-- Spend by every mix again, narrower: a call adds to one row of hours (its tags are in it, as numbers), where it added to six and more of
-- hours, days and months each. Coarser sums are made from finer ones when a period is over (services/ledger/cube.py).
--
-- Expand: an older ledger goes on with spend_hour, spend_day, spend_month and cube_position, which this one no longer writes (nor rows of
-- `rollup` with a scope); what they hold is taken over here. A later migration drops them, when no older ledger can be running.

-- What every table of sums has; gone at the end.
CREATE TABLE spend_sums (
    requests bigint NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    -- Calls whose cost isn't known; calls whose usage or cost is flagged.
    unpriced bigint NOT NULL,
    flagged bigint NOT NULL,
    spend_picousd numeric NOT NULL
);

-- Tags and teams as numbers. 0 is none of them.
CREATE TABLE spend_word (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    value text NOT NULL UNIQUE
);

CREATE TABLE spend_calls (
    -- The hour's beginning.
    at timestamptz NOT NULL,
    grp uuid NOT NULL,
    -- The call's tags (spend_word), each once, in the order of their numbers.
    tags integer[] NOT NULL CHECK (array_position(tags, NULL) IS NULL),
    -- Their digest: an index takes no list of any length.
    tag_set uuid NOT NULL,
    -- 0: in every sum. 1: not in sums by tag (refused: anybody can send any tag). 2: only in sums by tag (from before this migration, as 1).
    counts smallint NOT NULL CHECK (counts IN (0, 1, 2)),
    LIKE spend_sums,
    -- The group first: a tenant's rows are found by its groups.
    PRIMARY KEY (grp, at, tag_set, counts)
) PARTITION BY RANGE (at);
CREATE INDEX spend_calls_at ON spend_calls USING brin (at) WITH (pages_per_range = 32);

-- By tag and day, written with the hours; by five days and month when those are over.
CREATE TABLE spend_tag (
    grain text NOT NULL CHECK (grain IN ('day', 'five', 'month')),
    -- The period's beginning. Five days: the 1st, 6th, 11th, 16th, 21st, and from the 26th on.
    at timestamptz NOT NULL,
    -- 0: calls without a tag.
    tag integer NOT NULL,
    LIKE spend_sums,
    PRIMARY KEY (grain, at, tag)
) PARTITION BY RANGE (at);

-- By tag, team and day.
CREATE TABLE spend_tag_team (
    at timestamptz NOT NULL,
    tag integer NOT NULL,
    -- 0: calls without a team.
    team integer NOT NULL,
    LIKE spend_sums,
    PRIMARY KEY (tag, team, at)
) PARTITION BY RANGE (at);
CREATE INDEX spend_tag_team_at ON spend_tag_team USING brin (at) WITH (pages_per_range = 32);

-- The same by five days and month.
CREATE TABLE spend_tag_team_span (
    grain text NOT NULL CHECK (grain IN ('five', 'month')),
    at timestamptz NOT NULL,
    tag integer NOT NULL,
    team integer NOT NULL,
    LIKE spend_sums,
    PRIMARY KEY (grain, at, tag, team)
) PARTITION BY RANGE (at);

-- spend_calls without its tags, by day and month.
CREATE TABLE spend_period (
    grain text NOT NULL CHECK (grain IN ('day', 'month')),
    at timestamptz NOT NULL,
    grp uuid NOT NULL,
    LIKE spend_sums,
    PRIMARY KEY (grp, grain, at)
) PARTITION BY RANGE (at);

CREATE TABLE spend_calls_default PARTITION OF spend_calls DEFAULT;
CREATE TABLE spend_tag_default PARTITION OF spend_tag DEFAULT;
CREATE TABLE spend_tag_team_default PARTITION OF spend_tag_team DEFAULT;
CREATE TABLE spend_tag_team_span_default PARTITION OF spend_tag_team_span DEFAULT;
CREATE TABLE spend_period_default PARTITION OF spend_period DEFAULT;

-- Periods that have calls. Sums of a period are there while it is folded; otherwise they are those of the finer ones.
CREATE TABLE spend_span (
    grain text NOT NULL CHECK (grain IN ('day', 'five', 'month')),
    at timestamptz NOT NULL,
    folded boolean NOT NULL,
    PRIMARY KEY (grain, at)
);

CREATE TABLE spend_position (
    shard integer PRIMARY KEY,
    -- The last batch of batch_log whose rows are in these tables.
    batch bigint NOT NULL
);

CREATE INDEX spend_group_user ON spend_group (user_id);
CREATE INDEX spend_group_key ON spend_group (key_sha256);

CREATE FUNCTION spend_period_of(grain text, at timestamptz) RETURNS timestamptz LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE grain
        WHEN 'five' THEN date_trunc('month', at, 'UTC')
            + least(5, (extract(day FROM at AT TIME ZONE 'UTC')::integer - 1) / 5) * interval '120 hours'
        ELSE date_trunc(grain, at, 'UTC')
    END
$$;

CREATE FUNCTION spend_tag_set(tags integer[]) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT encode(substr(sha256(convert_to(array_to_string(tags, ','), 'UTF8')), 1, 16), 'hex')::uuid
$$;

-- What `rebuild` compares: sums by hour and group, of all calls and by tag.
CREATE VIEW spend_hourly AS
SELECT c.at, k.tags, k.tag, c.grp, sum(requests)::bigint AS requests, sum(successes)::bigint AS successes, sum(failures)::bigint AS failures,
    sum(input_tokens)::bigint AS input_tokens, sum(output_tokens)::bigint AS output_tokens, sum(cached_tokens)::bigint AS cached_tokens,
    sum(cache_write_tokens)::bigint AS cache_write_tokens, sum(unpriced)::bigint AS unpriced, sum(flagged)::bigint AS flagged,
    sum(spend_picousd) AS spend_picousd
FROM spend_calls c CROSS JOIN LATERAL (
    SELECT 'all' AS tags, 0 AS tag WHERE counts <> 2
    UNION ALL SELECT 'tag', unnest(CASE WHEN c.tags = '{}' THEN '{0}' ELSE c.tags END) WHERE counts <> 1
) AS k
GROUP BY c.at, k.tags, k.tag, c.grp;

CREATE OR REPLACE FUNCTION ensure_partition(parent text, suffix text, lower_bound text, upper_bound text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    name text := parent || '_' || suffix;
BEGIN
    IF parent NOT IN ('spend_calls', 'spend_tag', 'spend_tag_team', 'spend_tag_team_span', 'spend_period', 'audit_log', 'request_payload',
        'spend_hour', 'spend_day', 'spend_month') OR suffix !~ '^[0-9]{4,8}$'
    THEN
        RAISE EXCEPTION 'no such partition: % of %', suffix, parent;
    END IF;
    IF to_regclass(name) IS NOT NULL THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('tollgate.ensure_partition'));
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'tollgate'::regnamespace) THEN
        RETURN true;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name, parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, name, lower_bound, upper_bound);
    IF parent = 'audit_log' THEN
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION refuse_change()', name);
    END IF;
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END $$;

CREATE OR REPLACE FUNCTION retention_drop_partition(
    parent text, partition text, at_ms bigint, source text, day date, counted bigint, digest bytea, spans jsonb, unsound bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    later boolean := false;
    ends record;
    last_checkpoint jsonb;
BEGIN
    IF parent NOT IN ('request_log', 'audit_log', 'spend_calls', 'spend_tag', 'spend_tag_team', 'spend_tag_team_span', 'spend_period',
            'request_payload', 'spend_hour', 'spend_day', 'spend_month')
        OR partition !~ '_[0-9]{6,8}$'
        OR NOT EXISTS (SELECT FROM pg_inherits WHERE inhrelid = to_regclass(quote_ident(partition)) AND inhparent = to_regclass(parent))
    THEN
        RAISE EXCEPTION 'no such partition: % of %', partition, parent;
    END IF;
    -- Against writers of this one partition alone: those of the others go on while we look.
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', partition);
    SELECT (c.envelope::jsonb ->> 'text')::jsonb INTO last_checkpoint FROM checkpoint c ORDER BY n DESC LIMIT 1;
    IF parent = 'request_log' THEN
        EXECUTE format(
            'SELECT EXISTS (SELECT FROM %I l LEFT JOIN jsonb_each($1) s ON s.key::integer = l.shard
                WHERE s.key IS NULL OR l.batch > (s.value ->> 1)::bigint)', partition) INTO later USING spans;
        IF last_checkpoint IS NOT NULL AND EXISTS (
            SELECT FROM jsonb_each(spans) s
            WHERE (s.value ->> 1)::bigint > coalesce((last_checkpoint -> 'traffic' -> s.key ->> 'n')::bigint, 0))
        THEN
            RAISE EXCEPTION 'no checkpoint covers %', partition;
        END IF;
    ELSIF parent = 'audit_log' THEN
        EXECUTE format('SELECT count(*) AS rows, min(n) AS first, max(n) AS last FROM %I', partition) INTO ends;
        later := ends.rows <> counted OR (counted > 0 AND (spans -> 'n') <> jsonb_build_array(ends.first, ends.last));
        IF last_checkpoint IS NOT NULL AND ends.last > (last_checkpoint -> 'audit' ->> 'n')::bigint THEN
            RAISE EXCEPTION 'no checkpoint covers %', partition;
        END IF;
    END IF;
    IF later THEN
        RETURN false;
    END IF;
    EXECUTE format('ALTER TABLE %I DETACH PARTITION %I', parent, partition);
    INSERT INTO retention_drop (at_ms, source, day, rows, sha256, spans, unsound)
    VALUES (at_ms, source, day, counted, digest, spans, unsound);
    EXECUTE format('DROP TABLE %I', partition);
    RETURN true;
END $$;

DROP TABLE spend_sums;

-- What the older tables hold. Nobody moves their position meanwhile: an older ledger's cube waits, and records as ever. (A row of zeros may be left
-- behind in the hours alone: it says nothing.)
LOCK TABLE cube_position IN SHARE MODE;
INSERT INTO spend_position SELECT shard, batch FROM cube_position;
INSERT INTO spend_word (value)
SELECT tag FROM spend_hour WHERE tags = 'tag' UNION SELECT tag FROM spend_day WHERE tags = 'tag'
UNION SELECT team_id FROM spend_group WHERE team_id IS NOT NULL;
ANALYZE spend_word;
DO $$
DECLARE
    month date;
    parent text;
BEGIN
    FOR month IN
        SELECT DISTINCT date_trunc('month', at, 'UTC') AT TIME ZONE 'UTC' FROM spend_month
        UNION SELECT DISTINCT date_trunc('month', at, 'UTC') AT TIME ZONE 'UTC' FROM spend_hour
    LOOP
        FOREACH parent IN ARRAY ARRAY['spend_calls', 'spend_tag', 'spend_tag_team', 'spend_tag_team_span', 'spend_period'] LOOP
            PERFORM ensure_partition(parent, to_char(month, 'YYYYMM'), month::text || 'T00:00:00+00:00',
                (month + interval '1 month')::date::text || 'T00:00:00+00:00');
        END LOOP;
    END LOOP;
END $$;
WITH sets AS MATERIALIZED (
    SELECT value, ARRAY[id] AS tags, spend_tag_set(ARRAY[id]) AS tag_set FROM spend_word
    UNION ALL SELECT NULL, '{}', spend_tag_set('{}')
)
INSERT INTO spend_calls
SELECT h.at, h.grp, s.tags, s.tag_set, CASE h.tags WHEN 'all' THEN 1 ELSE 2 END, h.requests, h.successes,
    h.failures, h.input_tokens, h.output_tokens, h.cached_tokens, h.cache_write_tokens, h.unpriced, h.flagged, h.spend_picousd
FROM spend_hour h JOIN sets s ON coalesce(s.value, '') = h.tag AND (s.value IS NULL) = (h.tags <> 'tag')
WHERE (h.requests, h.successes, h.failures, h.input_tokens, h.output_tokens, h.cached_tokens, h.cache_write_tokens, h.unpriced, h.flagged,
    h.spend_picousd) IS DISTINCT FROM (0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::numeric);
INSERT INTO spend_tag_team
SELECT d.at, coalesce(w.id, 0), coalesce(t.id, 0), sum(requests), sum(successes), sum(failures), sum(input_tokens), sum(output_tokens),
    sum(cached_tokens), sum(cache_write_tokens), sum(unpriced), sum(flagged), sum(spend_picousd)
FROM spend_day d JOIN spend_group g ON g.id = d.grp LEFT JOIN spend_word w ON d.tags = 'tag' AND w.value = d.tag
LEFT JOIN spend_word t ON t.value = g.team_id
WHERE d.tags <> 'all' GROUP BY 1, 2, 3;
INSERT INTO spend_tag
SELECT 'day', at, tag, sum(requests), sum(successes), sum(failures), sum(input_tokens), sum(output_tokens), sum(cached_tokens),
    sum(cache_write_tokens), sum(unpriced), sum(flagged), sum(spend_picousd)
FROM spend_tag_team GROUP BY at, tag;
INSERT INTO spend_span
SELECT DISTINCT grain, spend_period_of(grain, at), false
FROM (SELECT DISTINCT date_trunc('day', at, 'UTC') AS at FROM spend_calls) AS days
CROSS JOIN (VALUES ('day'), ('five'), ('month')) AS g (grain);

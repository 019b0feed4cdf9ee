-- Spend by every mix of tag, key, team, user, organisation, model, deployment and provider, by hour, day and month (UTC).
-- Filled from request_log behind the recorders (services/ledger/cube.py): `cube_position` says up to which batch of each shard. What
-- lies after it is read from request_log itself, so that an answer is exact at any time.

-- Who and what, as it was at the call; named by a digest, so that nothing has to be looked up to add to it.
CREATE TABLE spend_group (
    id uuid PRIMARY KEY,
    key_sha256 text,
    team_id text,
    user_id text,
    organization_id text,
    -- NULL, as what follows, of refused calls: anybody can send any model name.
    model text,
    upstream_model text,
    deployment_id text,
    provider text,
    call_type text NOT NULL
);

-- Names people gave to keys and teams, as last seen.
CREATE TABLE spend_name (
    kind text NOT NULL,
    id text NOT NULL,
    name text NOT NULL,
    PRIMARY KEY (kind, id)
);

CREATE TABLE cube_position (
    shard integer PRIMARY KEY,
    -- The last batch of batch_log whose rows are in the cube.
    batch bigint NOT NULL
);

CREATE TABLE spend_hour (
    -- The hour's beginning.
    at timestamptz NOT NULL,
    -- all: every call once; tag: every call once for each of its tags; none: calls without a tag.
    tags text NOT NULL CHECK (tags IN ('all', 'tag', 'none')),
    tag text NOT NULL,
    grp uuid NOT NULL,
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
    spend_picousd numeric NOT NULL,
    PRIMARY KEY (tags, tag, at, grp)
) PARTITION BY RANGE (at);

CREATE TABLE spend_day (LIKE spend_hour INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE spend_month (LIKE spend_hour INCLUDING ALL) PARTITION BY RANGE (at);
CREATE TABLE spend_hour_default PARTITION OF spend_hour DEFAULT;
CREATE TABLE spend_day_default PARTITION OF spend_day DEFAULT;
CREATE TABLE spend_month_default PARTITION OF spend_month DEFAULT;

-- How each row of request_log counts: once, and what a provisional row counted is taken back by the final one that outranks it.
-- id_at is the time in the id, which decides the day in every table of sums.
CREATE VIEW spend_signed AS
SELECT 1 AS sign, l.shard AS in_shard, l.batch AS in_batch, l.day AS in_day,
    to_timestamp((('x' || translate(left(l.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0) AS id_at, l.*
FROM request_log l
UNION ALL
SELECT -1, f.shard, f.batch, f.day,
    to_timestamp((('x' || translate(left(p.id::text, 13), '-', ''))::bit(48)::bigint) / 1000.0), p.*
FROM request_log f JOIN request_log p ON p.day = f.day AND p.id = f.id AND p.provisional
WHERE NOT f.provisional;

-- Make a partition of one of the tables that are partitioned by time. False: its rows are in the default partition already.
CREATE FUNCTION ensure_partition(parent text, suffix text, lower_bound text, upper_bound text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    name text := parent || '_' || suffix;
BEGIN
    IF parent NOT IN ('spend_hour', 'spend_day', 'spend_month') OR suffix !~ '^[0-9]{4,8}$' THEN
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
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END $$;

REVOKE ALL ON FUNCTION ensure_partition(text, text, text, text) FROM PUBLIC;

-- Retention: the audit log by months, what was dropped, and what must outlive its month.

-- The audit log becomes partitioned by the month in which a row was recorded. Its rows and their hashes stay what they are.
ALTER TABLE audit_log RENAME TO audit_log_whole;
ALTER INDEX audit_log_fact RENAME TO audit_log_whole_fact;
ALTER INDEX audit_log_entity RENAME TO audit_log_whole_entity;
ALTER TABLE audit_log_whole RENAME CONSTRAINT audit_log_pkey TO audit_log_whole_pkey;

CREATE TABLE audit_log (
    LIKE audit_log_whole INCLUDING DEFAULTS,
    -- By the ledger's clock.
    recorded_on date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    PRIMARY KEY (n, recorded_on)
) PARTITION BY RANGE (recorded_on);
CREATE TABLE audit_log_default PARTITION OF audit_log DEFAULT;
CREATE INDEX audit_log_fact ON audit_log (fact_id);
CREATE INDEX audit_log_entity ON audit_log (kind, entity_id, n);
CREATE INDEX audit_log_at ON audit_log (at_ms, n);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log_default EXECUTE FUNCTION refuse_change();

CREATE OR REPLACE FUNCTION ensure_partition(parent text, suffix text, lower_bound text, upper_bound text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    name text := parent || '_' || suffix;
BEGIN
    IF parent NOT IN ('spend_hour', 'spend_day', 'spend_month', 'audit_log', 'request_payload') OR suffix !~ '^[0-9]{4,8}$' THEN
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

DO $$
DECLARE
    month date;
BEGIN
    FOR month IN
        SELECT DISTINCT date_trunc('month', to_timestamp(at_ms / 1000.0) AT TIME ZONE 'UTC')::date
        FROM audit_log_whole WHERE at_ms BETWEEN 1577836800000 AND 1000 * extract(epoch FROM now() + interval '1 day')
    LOOP
        PERFORM ensure_partition('audit_log', to_char(month, 'YYYYMM'), month::text, (month + interval '1 month')::date::text);
    END LOOP;
END $$;

INSERT INTO audit_log
SELECT w.*, CASE WHEN at_ms BETWEEN 1577836800000 AND 1000 * extract(epoch FROM now() + interval '1 day')
    THEN (to_timestamp(at_ms / 1000.0) AT TIME ZONE 'UTC')::date ELSE (now() AT TIME ZONE 'UTC')::date END
FROM audit_log_whole w;

DROP TABLE audit_log_whole;

-- The last fact of everything that is still there, out of months that were dropped: CONTROL can be rebuilt from here and audit_log.
CREATE TABLE audit_kept (LIKE audit_log INCLUDING DEFAULTS, PRIMARY KEY (n));

-- What retention took. Evidence, like the tables it is about: `verify` holds it against the batches and the chain that stay.
CREATE TABLE retention_drop (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at_ms bigint NOT NULL,
    -- request_log: a day of it. audit_log: rows first_n to last_n. Others: derived tables, without a digest.
    source text NOT NULL,
    -- The day, or the first day of the month.
    day date NOT NULL,
    rows bigint NOT NULL,
    -- Of request_log: of the ids and digests of its rows, in the order of shard, batch and manifest (services/ledger/retention.py).
    -- Of audit_log: the hash of its last row.
    sha256 bytea,
    -- Of request_log: by shard, the batches it covers: [after, until]. Of audit_log: {"n": [first, last]}.
    spans jsonb NOT NULL DEFAULT '{}',
    -- How many rows weren't what they should have been when it was dropped.
    unsound bigint NOT NULL DEFAULT 0
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON retention_drop FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON retention_drop EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_kept FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_kept EXECUTE FUNCTION refuse_change();

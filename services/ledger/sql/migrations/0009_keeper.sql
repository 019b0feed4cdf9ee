-- What retention may do, as functions of the owner's: the keeper's login has no right on any table of evidence, and can call these.

-- Detach and drop a partition, and keep the record of what it was: all or nothing. False: rows came after they were counted.
-- The record is about what the caller counted; what it can't say is that there was less: rows of other batches than it names keep the day.
CREATE FUNCTION retention_drop_partition(
    parent text, partition text, at_ms bigint, source text, day date, counted bigint, digest bytea, spans jsonb, unsound bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    later boolean := false;
    ends record;
    last_checkpoint jsonb;
BEGIN
    IF parent NOT IN ('request_log', 'audit_log', 'spend_hour', 'spend_day', 'spend_month', 'request_payload')
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

-- Rows of days that have no partition: they move into a new default partition, but for those that are due.
CREATE FUNCTION retention_drop_default(
    at_ms bigint, days date[], counted bigint[], digests bytea[], spans jsonb[], unsound bigint[]
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
BEGIN
    ALTER TABLE request_log DETACH PARTITION request_log_default;
    IF EXISTS (
        SELECT FROM unnest(days, counted) AS c (day, rows)
        JOIN (SELECT l.day, count(*) AS rows FROM request_log_default l WHERE l.day = ANY(days) GROUP BY l.day) AS f USING (day)
        WHERE f.rows > c.rows)
    THEN
        ALTER TABLE request_log ATTACH PARTITION request_log_default DEFAULT;
        RETURN false;
    END IF;
    ALTER TABLE request_log_default RENAME TO request_log_due;
    CREATE TABLE request_log_default (LIKE request_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
    ALTER TABLE request_log ATTACH PARTITION request_log_default DEFAULT;
    CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON request_log_default EXECUTE FUNCTION refuse_change();
    INSERT INTO request_log SELECT * FROM request_log_due d WHERE NOT d.day = ANY(days);
    DROP TABLE request_log_due;
    INSERT INTO retention_drop (at_ms, source, day, rows, sha256, spans, unsound)
    SELECT at_ms, 'request_log', u.day, u.rows, u.digest, u.spans, u.unsound
    FROM unnest(days, counted, digests, spans, unsound) AS u (day, rows, digest, spans, unsound);
    RETURN true;
END $$;

-- The last fact of everything that is still there, of the audit rows to be dropped.
CREATE FUNCTION retention_keep(first bigint, last bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
    INSERT INTO audit_kept
    SELECT a.* FROM audit_log a
    WHERE a.n BETWEEN first AND last AND a.after IS NOT NULL
      AND NOT EXISTS (SELECT FROM audit_log b WHERE b.kind = a.kind AND b.entity_id = a.entity_id AND b.n > a.n)
    ON CONFLICT DO NOTHING
$$;

REVOKE ALL ON FUNCTION retention_drop_partition(text, text, bigint, text, date, bigint, bytea, jsonb, bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION retention_drop_default(bigint, date[], bigint[], bytea[], jsonb[], bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION retention_keep(bigint, bigint) FROM PUBLIC;

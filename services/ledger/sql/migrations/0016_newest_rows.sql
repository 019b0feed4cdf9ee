-- The newest rows of the book are read again and again: by the cube, and by questions for what the cube hasn't got yet. The block range index on
-- `batch` sends both into every block that isn't summarised yet (those of the last minute, or of hours); and a final row's provisional one was looked
-- for in the index of a whole day's ids. A day that is made from now on has an index for each; those of the days before are read by nobody else.
CREATE FUNCTION request_log_index_newest(partition text) RETURNS void
LANGUAGE plpgsql SET search_path = tollgate, pg_temp AS $$
BEGIN
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (batch)', partition || '_newest', partition);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (id) WHERE provisional', partition || '_provisional', partition);
    EXECUTE format('CREATE INDEX IF NOT EXISTS %I ON %I (batch) WHERE tags = ''{}''', partition || '_untagged', partition);
END $$;

REVOKE ALL ON FUNCTION request_log_index_newest(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION request_log_ensure_day(wanted date) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    name text := 'request_log_' || to_char(wanted, 'YYYYMMDD');
BEGIN
    IF to_regclass(name) IS NOT NULL THEN
        RETURN true;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('tollgate.request_log_ensure_day'));
    -- Not to_regclass: what it found a moment ago is cached, whatever was committed while we waited for the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = name AND relnamespace = 'tollgate'::regnamespace) THEN
        RETURN true;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE request_log INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', name);
    EXECUTE format('ALTER TABLE request_log ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', name, wanted, wanted + 1);
    EXECUTE format(
        'CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON %I EXECUTE FUNCTION refuse_change()', name);
    PERFORM request_log_index_newest(name);
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END $$;

DO $$
DECLARE
    one regclass;
BEGIN
    FOR one IN
        SELECT inhrelid FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
        WHERE inhparent = 'request_log'::regclass
          AND (c.relname = 'request_log_default' OR c.relname >= 'request_log_' || to_char(now() AT TIME ZONE 'UTC' - interval '1 day', 'YYYYMMDD'))
        ORDER BY c.relname
    LOOP
        PERFORM request_log_index_newest((SELECT relname FROM pg_class WHERE oid = one));
    END LOOP;
END $$;

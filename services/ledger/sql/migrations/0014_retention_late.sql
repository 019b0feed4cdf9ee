-- Whether rows came into a day after it was counted is looked for by an index, where the whole day was read under its lock (a million rows: seconds).

CREATE OR REPLACE FUNCTION retention_drop_partition(
    parent text, partition text, at_ms bigint, source text, day date, counted bigint, digest bytea, spans jsonb, unsound bigint
) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp SET enable_seqscan = off AS $$
DECLARE
    later boolean := false;
    came boolean;
    one record;
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
        -- Shard by shard, so that the block range index on `batch` answers: it has nothing above what was counted.
        FOR one IN
            SELECT p.shard, (spans -> p.shard::text ->> 1)::bigint AS until FROM stream_position p WHERE p.stream = 'TRAFFIC'
        LOOP
            IF one.until IS NULL THEN
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE shard = $1)', partition) INTO came USING one.shard;
            ELSE
                EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE batch > $1 AND shard = $2)', partition)
                    INTO came USING one.until, one.shard;
            END IF;
            later := later OR came;
        END LOOP;
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

-- The block range index on `batch` made complete, before a day is looked at by it. Nobody waits for it.
CREATE FUNCTION retention_summarize(partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
BEGIN
    PERFORM brin_summarize_new_values(i.indexrelid::regclass)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE m.amname = 'brin' AND i.indrelid = to_regclass(quote_ident(partition))
      AND EXISTS (SELECT FROM pg_inherits p WHERE p.inhrelid = i.indrelid AND p.inhparent = 'request_log'::regclass);
END $$;

REVOKE ALL ON FUNCTION retention_summarize(text) FROM PUBLIC;

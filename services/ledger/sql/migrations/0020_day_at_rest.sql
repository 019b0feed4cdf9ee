-- A day that is about to go is left alone by autovacuum first. A worker that is at it gives way to whoever waits for it, but only after
-- deadlock_timeout (a second): that is waited for here, where it holds nobody up and no time runs, and not when the day goes.
CREATE OR REPLACE FUNCTION retention_summarize(partition text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_inherits WHERE inhrelid = to_regclass(quote_ident(partition)) AND inhparent = 'request_log'::regclass)
    THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', partition);
    -- The block range index on `batch` made complete, before the day is looked at by it.
    PERFORM brin_summarize_new_values(i.indexrelid::regclass)
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE m.amname = 'brin' AND i.indrelid = to_regclass(quote_ident(partition));
END $$;

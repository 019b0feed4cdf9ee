-- What the writer's login may do (its name takes the place of tollgate_ledger): add to the book, but not change or remove what is in it.
-- Where no login can be made, the service takes on the role tollgate_ledger instead. Repeatable.

GRANT USAGE ON SCHEMA tollgate TO tollgate_ledger;
GRANT SELECT, INSERT ON request_log, batch_log, audit_log, anomalies TO tollgate_ledger;
GRANT SELECT ON request_book, schema_migration TO tollgate_ledger;
GRANT SELECT, INSERT, DELETE ON request_open TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE ON stream_position TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON rollup TO tollgate_ledger;
GRANT EXECUTE ON FUNCTION request_log_ensure_day(date) TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON spend_group, spend_name, spend_word, spend_calls, spend_tag, spend_tag_team, spend_tag_team_span,
    spend_period, spend_span, spend_running, spend_position, latency_day, latency_position TO tollgate_ledger;
-- Of an older ledger that may still run.
GRANT SELECT, INSERT, UPDATE, DELETE ON cube_position, spend_hour, spend_day, spend_month TO tollgate_ledger;
GRANT SELECT ON spend_signed, spend_hourly TO tollgate_ledger;
GRANT EXECUTE ON FUNCTION ensure_partition(text, text, text, text) TO tollgate_ledger;
GRANT SELECT, INSERT ON price TO tollgate_ledger;
GRANT SELECT, INSERT ON request_payload TO tollgate_ledger;
GRANT SELECT ON audit_kept, retention_drop TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON sink_position TO tollgate_ledger;
GRANT SELECT, INSERT ON checkpoint, checkpoint_key TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE ON checkpoint_copy TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON rebuild_position TO tollgate_ledger;

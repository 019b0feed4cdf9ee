-- What the running service may do: it connects as the owner, migrates, and then goes on as this role, which can add to the
-- book but not change or remove what is in it. Repeatable.

GRANT USAGE ON SCHEMA tollgate TO tollgate_ledger;
GRANT SELECT, INSERT ON request_log, batch_log, audit_log, anomalies TO tollgate_ledger;
GRANT SELECT ON request_book, schema_migration TO tollgate_ledger;
GRANT SELECT, INSERT, DELETE ON request_open TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE ON stream_position TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON rollup TO tollgate_ledger;
GRANT EXECUTE ON FUNCTION request_log_ensure_day(date) TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON spend_group, spend_name, cube_position, spend_hour, spend_day, spend_month TO tollgate_ledger;
GRANT SELECT ON spend_signed TO tollgate_ledger;
GRANT EXECUTE ON FUNCTION ensure_partition(text, text, text, text) TO tollgate_ledger;
GRANT SELECT, INSERT ON request_payload TO tollgate_ledger;
GRANT SELECT, INSERT ON audit_kept, retention_drop TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON sink_position TO tollgate_ledger;
GRANT SELECT, INSERT ON checkpoint, checkpoint_key TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE ON checkpoint_copy TO tollgate_ledger;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert TO tollgate_ledger;

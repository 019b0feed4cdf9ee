-- What retention's login may do: read, call the functions that keep a record of what goes, and take out of tables that are no evidence.

GRANT USAGE ON SCHEMA tollgate TO @KEEPER@;
GRANT SELECT ON ALL TABLES IN SCHEMA tollgate TO @KEEPER@;
GRANT EXECUTE ON FUNCTION retention_drop_partition(text, text, bigint, text, date, bigint, bytea, jsonb, bigint) TO @KEEPER@;
GRANT EXECUTE ON FUNCTION retention_drop_default(bigint, date[], bigint[], bytea[], jsonb[], bigint[]) TO @KEEPER@;
GRANT EXECUTE ON FUNCTION retention_keep(bigint, bigint) TO @KEEPER@;
GRANT EXECUTE ON FUNCTION retention_summarize(text) TO @KEEPER@;
GRANT DELETE ON rollup, anomalies, spend_span, latency_day TO @KEEPER@;

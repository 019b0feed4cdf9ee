-- What answers over HTTP may do, and commands that look.

GRANT USAGE ON SCHEMA tollgate TO @READER@;
GRANT SELECT ON ALL TABLES IN SCHEMA tollgate TO @READER@;

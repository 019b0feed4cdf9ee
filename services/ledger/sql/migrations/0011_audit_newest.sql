-- The newest entries first, as /audit shows them: the order an index must have to give a page without sorting.
CREATE INDEX audit_log_newest ON audit_log (at_ms DESC NULLS LAST, n DESC);

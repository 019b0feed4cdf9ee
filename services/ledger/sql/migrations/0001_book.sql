-- The book. Everything lives in the schema `tollgate`, which the runner has made and put first in the search path.

-- One transaction moves a position and writes what lies before it: that is what makes the book exactly-once.
CREATE TABLE stream_position (
    stream text NOT NULL,
    shard integer NOT NULL,
    -- Sequence of the last message whose effects are in the book.
    seq bigint NOT NULL CHECK (seq >= 0),
    -- When the broker stored that message (Unix nanoseconds): tells this stream from one that was lost and rebuilt.
    message_at_ns bigint NOT NULL DEFAULT 0,
    -- The end of the hash chain written from it (batch_log's of this shard; audit_log for CONTROL): a chain that was cut short shows.
    chain_n bigint NOT NULL DEFAULT 0,
    chain_sha256 bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex'),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (stream, shard)
);

-- One final row a request; and at most one provisional row (`expired`), which a late settlement outranks without touching it.
CREATE TABLE request_log (
    -- UTC day in the id's own timestamp.
    day date NOT NULL,
    id uuid NOT NULL,
    provisional boolean NOT NULL,
    -- success, provider_error, client_gone, blocked, timeout, edge_error; refused; expired.
    outcome text NOT NULL,
    status integer NOT NULL,
    at_ms bigint NOT NULL,
    first_byte_at_ms bigint,
    ended_at_ms bigint NOT NULL,
    edge_id text NOT NULL,
    key_sha256 text,
    key_alias text,
    team_id text,
    team_alias text,
    user_id text,
    organization_id text,
    role text NOT NULL,
    customer_id text,
    call_type text NOT NULL,
    route text NOT NULL,
    model text NOT NULL,
    deployment_id text,
    provider text,
    upstream_model text,
    response_model text,
    response_id text,
    litellm_call_id text,
    stream boolean NOT NULL,
    attempts integer NOT NULL,
    error_code text,
    refused_by text,
    input_tokens bigint NOT NULL CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL CHECK (output_tokens >= 0),
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    reasoning_tokens bigint NOT NULL,
    -- provider, estimated, lower_bound, none.
    usage_source text NOT NULL,
    -- NULL: unpriced, or (expired) unknown; never a silent zero.
    cost_picousd bigint CHECK (cost_picousd >= 0),
    max_cost_picousd bigint,
    -- json, not jsonb: the very text stays that was hashed (batch_log). To search in it, cast it.
    price json,
    tags text[] NOT NULL,
    spend_logs_metadata json NOT NULL,
    requester_ip text,
    user_agent text,
    guardrails json NOT NULL,
    guardrail_outcomes json NOT NULL,
    -- Names of the fields that could not be stored as they came (NUL, too long, out of range).
    altered text[],
    -- Of the fact as it was on the wire: the same id with another digest is an alarm, not a duplicate.
    fact_sha256 bytea NOT NULL,
    -- Where the fact was in TRAFFIC; NULL for a row the ledger made itself.
    stream_seq bigint,
    -- Its row in batch_log.
    shard integer NOT NULL,
    batch bigint NOT NULL,
    -- The id first: ids are time-ordered, so the newest rows are found by it alone.
    PRIMARY KEY (id, day, provisional)
) PARTITION BY RANGE (day);

CREATE TABLE request_log_default PARTITION OF request_log DEFAULT;

CREATE INDEX request_log_key ON request_log (key_sha256, id);
CREATE INDEX request_log_user ON request_log (user_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX request_log_response ON request_log (response_id) WHERE response_id IS NOT NULL;
CREATE INDEX request_log_call ON request_log (litellm_call_id) WHERE litellm_call_id IS NOT NULL;
-- Ids are time-ordered, so rows lie in time order: a block range index costs next to nothing and is enough.
CREATE INDEX request_log_at ON request_log USING brin (at_ms);
-- Several shards write side by side, each with numbers of its own: hence several intervals a block range.
CREATE INDEX request_log_batch ON request_log USING brin (batch int8_minmax_multi_ops) WITH (autosummarize = on);

-- One row for every transaction that added to request_log, in the order of its shard. n is dense: a missing row shows.
CREATE TABLE batch_log (
    shard integer NOT NULL,
    n bigint NOT NULL,
    -- sha256(previous_sha256, shard, n, first_seq, last_seq, at_ms, rows, manifest): see services/ledger/batch_chain.py.
    previous_sha256 bytea NOT NULL,
    sha256 bytea NOT NULL,
    -- Sequences of the messages it was made from; 0 and 0: rows the ledger made itself (expired).
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    -- When it was recorded, by the ledger's clock.
    at_ms bigint NOT NULL,
    rows integer NOT NULL CHECK (rows > 0),
    -- The ids of its rows (16 bytes each), then their digests (32 bytes each).
    manifest bytea NOT NULL,
    PRIMARY KEY (shard, n)
);

-- Digests don't compress; don't try.
ALTER TABLE batch_log ALTER COLUMN manifest SET STORAGE EXTERNAL;

-- What readers see: one row a request.
CREATE VIEW request_book AS
SELECT l.*, l.cost_picousd IS NOT NULL AS priced, to_timestamp(l.at_ms / 1000.0) AS at
FROM request_log l
WHERE NOT l.provisional
   OR NOT EXISTS (SELECT 1 FROM request_log f WHERE f.day = l.day AND f.id = l.id AND NOT f.provisional);

-- Opened and not yet ended: a working set, not evidence.
CREATE TABLE request_open (
    id uuid PRIMARY KEY,
    shard integer NOT NULL,
    expires_at_ms bigint NOT NULL,
    fact_sha256 bytea NOT NULL,
    -- The encoded fact: an expired row is made from it.
    fact bytea NOT NULL
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);

CREATE INDEX request_open_expiry ON request_open (shard, expires_at_ms);

-- Sums of request_book, moved in the same transaction as its rows.
CREATE TABLE rollup (
    -- '' for everybody; user:<id>, or key:<digest> of calls without a user, where a tenant sees its own (dimension `tag` only).
    scope text NOT NULL,
    -- total, tag, key, team, user, customer, model, deployment, provider.
    dimension text NOT NULL,
    day date NOT NULL,
    value text NOT NULL,
    requests bigint NOT NULL,
    successes bigint NOT NULL,
    failures bigint NOT NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    total_tokens bigint NOT NULL GENERATED ALWAYS AS (input_tokens + output_tokens) STORED,
    spend_picousd numeric NOT NULL,
    -- Requests whose cost isn't known.
    unpriced bigint NOT NULL,
    PRIMARY KEY (scope, dimension, day, value)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 1000);

-- One row a control fact, in CONTROL's order. n is dense: a missing row shows.
CREATE TABLE audit_log (
    n bigint PRIMARY KEY,
    -- sha256(previous_sha256, n, seq, subject, message): see services/ledger/chain.py.
    previous_sha256 bytea NOT NULL,
    sha256 bytea NOT NULL,
    seq bigint NOT NULL,
    subject text NOT NULL,
    -- The fact exactly as it was on the wire: the stream can be rebuilt from here.
    message bytea NOT NULL,
    -- What follows is read from the message, for queries; NULL where it can't be read.
    fact_id text,
    at_ms bigint,
    kind text,
    entity_id text,
    action text,
    actor_key_sha256 text,
    actor_user_id text,
    actor_role text,
    on_behalf_of text,
    requester_ip text,
    -- json, not jsonb: the text the message gives, so that `verify` can compare it.
    before json,
    after json
);

CREATE INDEX audit_log_fact ON audit_log (fact_id);
CREATE INDEX audit_log_entity ON audit_log (kind, entity_id, n);

-- Whatever should not have happened. Nothing is dropped silently: the bytes are kept.
CREATE TABLE anomalies (
    n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    stream text NOT NULL,
    shard integer NOT NULL,
    seq bigint,
    -- conflict, unreadable, invalid_id, out_of_range, rejected, gap, rewind.
    kind text NOT NULL,
    subject_id text,
    detail text NOT NULL,
    sha256 bytea,
    raw bytea
);

CREATE INDEX anomalies_at ON anomalies (at);

-- Append-only, whoever is connected. (The service's role has no right to try: grants.sql.)
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on % is refused: the table is append-only', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON request_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON request_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON request_log_default EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON batch_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON batch_log EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON audit_log EXECUTE FUNCTION refuse_change();

-- Make the partition of a day. False: its rows are in the default partition already, and stay there.
-- Runs as the owner, so that the service's role needs no right to create tables. ATTACH instead of PARTITION OF: it lets
-- readers of the other partitions go on.
CREATE FUNCTION request_log_ensure_day(wanted date) RETURNS boolean
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
    RETURN true;
EXCEPTION WHEN check_violation THEN
    RETURN false;
END $$;

REVOKE ALL ON FUNCTION request_log_ensure_day(date) FROM PUBLIC;

-- Signed checkpoints, the keys that sign them, and how far each copy is: services/ledger/checkpoint.py.

CREATE TABLE checkpoint (
    n bigint PRIMARY KEY CHECK (n > 0),
    at_ms bigint NOT NULL,
    -- What is signed, and copied elsewhere: {"text", "key", "signature"}, to the byte.
    envelope text NOT NULL,
    -- Of the text in it: the next one names it.
    sha256 bytea NOT NULL
);

CREATE INDEX checkpoint_at ON checkpoint (at_ms);

CREATE TABLE checkpoint_key (
    number integer PRIMARY KEY CHECK (number > 0),
    id text NOT NULL UNIQUE,
    public_key bytea NOT NULL,
    -- The statement about it, signed by the key before.
    envelope text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON checkpoint FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON checkpoint EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON checkpoint_key FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON checkpoint_key EXECUTE FUNCTION refuse_change();

CREATE TABLE checkpoint_copy (
    -- Where to, without credentials.
    target text PRIMARY KEY,
    n bigint NOT NULL,
    key_number integer NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);

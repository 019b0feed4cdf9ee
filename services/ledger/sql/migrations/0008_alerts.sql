-- What people are to be told, once each, whichever ledger found it: services/ledger/alerts/. Kept a while after it was sent, so that
-- what is found again isn't told again.
CREATE TABLE alert (
    -- What it is about and in which span of time: the same fault has the same id.
    id text PRIMARY KEY,
    type text NOT NULL,
    level text NOT NULL,
    message text NOT NULL,
    -- How often it was found until it was sent.
    found bigint NOT NULL DEFAULT 1,
    at_ms bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    -- Channels that don't have it yet.
    waiting text[] NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL DEFAULT now(),
    -- NULL while some channel waits.
    ended_at timestamptz
);

CREATE INDEX alert_due ON alert (next_at) WHERE ended_at IS NULL;

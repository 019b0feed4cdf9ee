-- Prompts and answers that somebody wants kept, or that a sink gets: apart from request_log, and no evidence (shared/payloads.py).
CREATE TABLE request_payload (
    -- UTC day in the id's own timestamp, as in request_log.
    day date NOT NULL,
    id uuid NOT NULL,
    at_ms bigint NOT NULL,
    key_sha256 text,
    team_id text,
    user_id text,
    -- false: only sinks get it, and no answer shows it.
    kept boolean NOT NULL,
    stream boolean NOT NULL,
    -- As the bytes came (cut to the edge's limit), which may be no JSON and no UTF-8.
    request bytea NOT NULL,
    answer bytea NOT NULL,
    cut text[] NOT NULL,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);

-- Queries about prompts and answers, by name: see services/ledger/payload.py.

-- payload_add --
INSERT INTO request_payload (day, id, at_ms, key_sha256, team_id, user_id, kept, stream, request, answer, cut)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING

-- payload_one --
SELECT stream, request, answer, cut FROM request_payload WHERE day = $1 AND id = $2 AND kept

-- payload_some --
-- For sinks. $1 days, $2 ids.
SELECT id, stream, request, answer, cut FROM request_payload WHERE day = ANY($1::date[]) AND id = ANY($2::uuid[])

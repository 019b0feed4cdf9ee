-- The checkpoints' queries, by name: see services/ledger/checkpoints.py.

-- checkpoint_last --
SELECT n, at_ms, envelope, sha256 FROM checkpoint ORDER BY n DESC LIMIT 1

-- checkpoint_heads --
-- Where every chain ends: one statement, so one instant.
SELECT stream, shard, chain_n AS n, chain_sha256 AS sha256 FROM stream_position ORDER BY stream, shard

-- checkpoint_drops --
SELECT n, at_ms, source, day, rows, sha256, spans::text AS spans, unsound FROM retention_drop ORDER BY n

-- checkpoint_add --
INSERT INTO checkpoint (n, at_ms, envelope, sha256) VALUES ($1, $2, $3, $4)

-- checkpoint_keys --
SELECT number, id, public_key, envelope FROM checkpoint_key ORDER BY number

-- checkpoint_key_add --
INSERT INTO checkpoint_key (number, id, public_key, envelope) VALUES ($1, $2, $3, $4)

-- checkpoint_audit_row --
SELECT sha256 FROM audit_log WHERE n = $1

-- checkpoint_batch_row --
SELECT sha256 FROM batch_log WHERE shard = $1 AND n = $2

-- checkpoint_all --
SELECT n, at_ms, envelope, sha256 FROM checkpoint ORDER BY n

-- checkpoint_after --
-- $1 number, $2 how many.
SELECT n, at_ms, envelope FROM checkpoint WHERE n > $1 ORDER BY n LIMIT $2

-- checkpoint_copied --
SELECT n, key_number FROM checkpoint_copy WHERE target = $1

-- checkpoint_copy_move --
INSERT INTO checkpoint_copy (target, n, key_number) VALUES ($1, $2, $3)
ON CONFLICT (target) DO UPDATE SET n = excluded.n, key_number = excluded.key_number, updated_at = now()

-- checkpoint_since_batch --
-- Made after a batch was written (ten seconds for clocks). $1 shard, $2 batch, $3 how many.
SELECT envelope FROM checkpoint WHERE at_ms >= (SELECT at_ms - 10000 FROM batch_log WHERE shard = $1 AND n = $2) ORDER BY n LIMIT $3

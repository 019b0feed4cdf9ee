-- How far tables of sums are filled: see services/ledger/filling.py. @POSITION@: which of them.

-- filling_shards --
SELECT shard, chain_n FROM stream_position WHERE stream = $1 ORDER BY shard

-- filling_start --
INSERT INTO @POSITION@ (shard, batch) VALUES ($1, 0) ON CONFLICT DO NOTHING

-- filling_known --
SELECT batch FROM @POSITION@ WHERE shard = $1

-- filling_hold --
-- All of them: whoever changes the sums is alone with them.
SELECT shard, batch FROM @POSITION@ ORDER BY shard FOR UPDATE

-- filling_move --
UPDATE @POSITION@ SET batch = $2 WHERE shard = $1

-- filling_next --
-- How far the next step goes, and how many rows that is: $1 shard, $2 position, $3 rows at most (one batch at least).
SELECT max(n) AS batch, sum(rows) AS rows FROM (
    SELECT n, rows, sum(rows) OVER (ORDER BY n) - rows AS before FROM batch_log WHERE shard = $1 AND n > $2 ORDER BY n LIMIT 1000
) AS ahead WHERE before < $3

-- filling_ids --
-- Of a step's rows, which say what days they are of: $1 shard, $2 and $3 first and last batch.
SELECT substr(manifest, 1, 16 * rows) AS ids FROM batch_log WHERE shard = $1 AND n BETWEEN $2 AND $3

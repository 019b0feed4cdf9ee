-- What all tags of a day have together (a call counts once for each of its tags), kept while the day is folded: what is left beside the top of
-- the tags by day needn't be added up from every tag.

-- Alone with the sums, as whoever changes them.
SELECT FROM spend_position ORDER BY shard FOR UPDATE;
ALTER TABLE spend_tag DROP CONSTRAINT spend_tag_grain_check;
ALTER TABLE spend_tag ADD CONSTRAINT spend_tag_grain_check CHECK (grain IN ('day', 'five', 'month', 'every'));
INSERT INTO spend_tag
SELECT 'every', at, 0, sum(requests), sum(successes), sum(failures), sum(input_tokens), sum(output_tokens), sum(cached_tokens),
    sum(cache_write_tokens), sum(unpriced), sum(flagged), sum(spend_picousd)
FROM spend_tag WHERE grain = 'day' AND at IN (SELECT s.at FROM spend_span s WHERE s.grain = 'day' AND s.folded) GROUP BY at;

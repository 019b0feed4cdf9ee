-- Sums of a month lie together in the table, and so do those of a day: a question about months needn't read every day's.
CREATE INDEX spend_period_at ON spend_period USING brin (grain, at) WITH (pages_per_range = 16, autosummarize = on);

-- Running totals: what a month has up to the end of five days of it (month_to), and a year up to the end of a month (year_to). Any stretch of a month
-- or of a year is then the difference of two of them, however many days or months it has.
--
-- Expand: an older ledger neither makes nor reads them, and a late call that it adds ends those that it changes, by the trigger below.

-- Alone with the sums, as whoever changes them.
SELECT FROM spend_position ORDER BY shard FOR UPDATE;

-- Those that hold. `at`: the beginning of the last five days, or of the last month, that are in it; so are the sums named, in the tables below.
CREATE TABLE spend_running (
    grain text NOT NULL CHECK (grain IN ('month_to', 'year_to')),
    at timestamptz NOT NULL,
    PRIMARY KEY (grain, at)
);

ALTER TABLE spend_tag DROP CONSTRAINT spend_tag_grain_check;
ALTER TABLE spend_tag ADD CONSTRAINT spend_tag_grain_check CHECK (grain IN ('day', 'five', 'month', 'every', 'month_to', 'year_to'));
ALTER TABLE spend_tag_team_span DROP CONSTRAINT spend_tag_team_span_grain_check;
ALTER TABLE spend_tag_team_span ADD CONSTRAINT spend_tag_team_span_grain_check CHECK (grain IN ('five', 'month', 'month_to', 'year_to'));
ALTER TABLE spend_period DROP CONSTRAINT spend_period_grain_check;
ALTER TABLE spend_period ADD CONSTRAINT spend_period_grain_check CHECK (grain IN ('day', 'month', 'month_to', 'year_to'));

-- A total holds while every period in it is as it was when it was made: none is new, undone or gone.
CREATE FUNCTION spend_running_end() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = tollgate, pg_temp AS $$
DECLARE
    changed spend_span := coalesce(NEW, OLD);
    month timestamptz := date_trunc('month', changed.at, 'UTC');
BEGIN
    DELETE FROM spend_running WHERE grain = 'year_to' AND at >= month AND date_trunc('year', at, 'UTC') = date_trunc('year', month, 'UTC');
    IF changed.grain <> 'month' THEN
        DELETE FROM spend_running
        WHERE grain = 'month_to' AND at >= spend_period_of('five', changed.at) AND date_trunc('month', at, 'UTC') = month;
    END IF;
    RETURN NULL;
END $$;
REVOKE ALL ON FUNCTION spend_running_end() FROM PUBLIC;

CREATE TRIGGER running_end_new AFTER INSERT OR DELETE ON spend_span FOR EACH ROW EXECUTE FUNCTION spend_running_end();
CREATE TRIGGER running_end_undone AFTER UPDATE ON spend_span FOR EACH ROW WHEN (NOT NEW.folded) EXECUTE FUNCTION spend_running_end();

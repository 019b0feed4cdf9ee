-- How long answered calls took, by day. Filled from request_log as the sums of spend are (services/ledger/filling.py), up to a position of its own:
-- an older ledger, which adds to those and knows nothing of these, leaves nothing out. The calls of before are added from the beginning, in steps.

CREATE TABLE latency_day (
    -- Of the model that was asked for (every call once); of the user, or of the key where it is nobody's (every call once, too).
    dimension text NOT NULL CHECK (dimension IN ('model', 'user', 'key')),
    value text NOT NULL,
    day date NOT NULL,
    -- Which durations, see latency_bucket().
    bucket smallint NOT NULL,
    calls bigint NOT NULL,
    took_ms bigint NOT NULL,
    -- Of those whose first byte's time is known, and how long they took to it.
    first_calls bigint NOT NULL,
    first_ms bigint NOT NULL,
    PRIMARY KEY (dimension, value, day, bucket)
);
CREATE INDEX latency_day_all ON latency_day (day) WHERE dimension = 'model';

CREATE TABLE latency_position (
    shard integer PRIMARY KEY,
    -- The last batch of batch_log whose rows are in latency_day.
    batch bigint NOT NULL
);

-- The bucket of a duration: how many of these bounds it has reached. services/ledger/latency.py has the same.
CREATE FUNCTION latency_bucket(ms bigint) RETURNS smallint LANGUAGE sql IMMUTABLE AS $$
    SELECT width_bucket(ms, '{10,20,30,50,70,100,150,200,300,400,500,700,1000,1500,2000,3000,4000,5000,7000,10000,15000,20000,30000,45000,60000,90000,120000,180000,300000,600000}'::bigint[])::smallint
$$;

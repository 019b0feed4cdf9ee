-- Where each sink (Langfuse, OpenTelemetry, webhook, bucket) is in each shard's batches: services/ledger/sinks/.
CREATE TABLE sink_position (
    sink text NOT NULL,
    shard integer NOT NULL,
    -- The last batch whose rows it has confirmed.
    batch bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (sink, shard)
);

-- Usage by units, flags, and evidence with a version. Every new column is NULL in old rows, and an older ledger can go on writing.

ALTER TABLE request_log
    -- Of usage, beside the tokens: NULL where none was used.
    ADD COLUMN cache_write_1h_tokens bigint,
    ADD COLUMN audio_input_tokens bigint,
    ADD COLUMN cached_audio_tokens bigint,
    ADD COLUMN image_input_tokens bigint,
    ADD COLUMN audio_output_tokens bigint,
    ADD COLUMN image_output_tokens bigint,
    ADD COLUMN input_characters bigint,
    ADD COLUMN output_characters bigint,
    ADD COLUMN input_ms bigint,
    ADD COLUMN output_ms bigint,
    ADD COLUMN input_images bigint,
    ADD COLUMN images bigint,
    ADD COLUMN input_pixels bigint,
    ADD COLUMN pixels bigint,
    ADD COLUMN searches bigint,
    ADD COLUMN search_context text,
    -- flex, priority, batch; NULL: the standard service.
    ADD COLUMN service text,
    -- Why usage or cost is a guess (shared/money.py: Cost.flags, Usage.flags); NULL: neither is.
    ADD COLUMN flags text[],
    ADD COLUMN session_id text,
    -- Callbacks the caller turned off for this request.
    ADD COLUMN log_off text[];

-- Which cells the digests of its rows cover: services/ledger/formats.py.
ALTER TABLE batch_log ADD COLUMN format smallint NOT NULL DEFAULT 1;

-- What readers see: one row a request. New columns stand at the end, so that the view is replaced and not made anew.
CREATE OR REPLACE VIEW request_book AS
SELECT l.day, l.id, l.provisional, l.outcome, l.status, l.at_ms, l.first_byte_at_ms, l.ended_at_ms, l.edge_id, l.key_sha256,
    l.key_alias, l.team_id, l.team_alias, l.user_id, l.organization_id, l.role, l.customer_id, l.call_type, l.route, l.model,
    l.deployment_id, l.provider, l.upstream_model, l.response_model, l.response_id, l.litellm_call_id, l.stream, l.attempts,
    l.error_code, l.refused_by, l.input_tokens, l.output_tokens, l.cached_tokens, l.cache_write_tokens, l.reasoning_tokens,
    l.usage_source, l.cost_picousd, l.max_cost_picousd, l.price, l.tags, l.spend_logs_metadata, l.requester_ip, l.user_agent,
    l.guardrails, l.guardrail_outcomes, l.altered, l.fact_sha256, l.stream_seq, l.shard, l.batch,
    l.cost_picousd IS NOT NULL AS priced, to_timestamp(l.at_ms / 1000.0) AS at,
    l.cache_write_1h_tokens, l.audio_input_tokens, l.cached_audio_tokens, l.image_input_tokens, l.audio_output_tokens,
    l.image_output_tokens, l.input_characters, l.output_characters, l.input_ms, l.output_ms, l.input_images, l.images,
    l.input_pixels, l.pixels, l.searches, l.search_context, l.service, l.flags, l.session_id, l.log_off
FROM request_log l
WHERE NOT l.provisional
   OR NOT EXISTS (SELECT 1 FROM request_log f WHERE f.day = l.day AND f.id = l.id AND NOT f.provisional);

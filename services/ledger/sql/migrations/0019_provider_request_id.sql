-- What the provider calls the request: its support asks for it, and its own record of the call is found by it. NULL in rows of before.
ALTER TABLE request_log ADD COLUMN provider_request_id text;

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
    l.input_pixels, l.pixels, l.searches, l.search_context, l.service, l.flags, l.session_id, l.log_off, l.provider_request_id
FROM request_log l
WHERE NOT l.provisional
   OR NOT EXISTS (SELECT 1 FROM request_log f WHERE f.day = l.day AND f.id = l.id AND NOT f.provisional);

"""Formats of evidence: which cells of a row its digest covers, by the number in `batch_log.format`.

A list, once a row was written by it, never changes: a column added tomorrow changes no digest of
yesterday. What is hashed changes by a new number with a list of its own, and a golden vector in the
tests. Columns that a row's format doesn't know must be NULL in it.
"""

from services.ledger import rows

CURRENT = 3

FORMATS: dict[int, tuple[str, ...]] = {
    1: (
        "day", "id", "provisional", "outcome", "status", "at_ms", "first_byte_at_ms", "ended_at_ms", "edge_id",
        "key_sha256", "key_alias", "team_id", "team_alias", "user_id", "organization_id", "role", "customer_id",
        "call_type", "route", "model", "deployment_id", "provider", "upstream_model", "response_model", "response_id",
        "litellm_call_id", "stream", "attempts", "error_code", "refused_by",
        "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
        "cost_picousd", "max_cost_picousd", "price", "tags", "spend_logs_metadata", "requester_ip", "user_agent",
        "guardrails", "guardrail_outcomes", "altered", "fact_sha256", "stream_seq",
    ),
    2: (
        "day", "id", "provisional", "at_ms", "edge_id", "call_type", "route", "model", "deployment_id", "provider",
        "upstream_model", "stream", "customer_id", "tags", "spend_logs_metadata", "requester_ip", "user_agent", "guardrails",
        "max_cost_picousd", "litellm_call_id", "price", "session_id", "log_off", "key_sha256", "key_alias", "team_id",
        "team_alias", "user_id", "organization_id", "role", "outcome", "status", "first_byte_at_ms", "ended_at_ms",
        "response_model", "response_id", "attempts", "error_code", "guardrail_outcomes", "cost_picousd", "flags",
        "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
        "cache_write_1h_tokens", "audio_input_tokens", "cached_audio_tokens", "image_input_tokens", "audio_output_tokens",
        "image_output_tokens", "input_characters", "output_characters", "input_ms", "output_ms", "input_images", "images",
        "input_pixels", "pixels", "searches", "search_context", "service", "refused_by", "fact_sha256", "stream_seq", "altered",
    ),
}  # fmt: skip
FORMATS[3] = FORMATS[2]
"""The same cells; `price` names a digest (services/ledger/price.py), where 2 has the price
itself.
"""

assert FORMATS[CURRENT] == rows.COLUMNS, "what a row holds has changed: give it a format of its own"

LATER_COLUMNS = {
    number: tuple(name for name in rows.COLUMNS if name not in columns) for number, columns in FORMATS.items()
}
"""By format: columns of request_log that came after it. Empty in its rows."""

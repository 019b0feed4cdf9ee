"""Names that a format defines, and those that only look like one.

Some providers read names without regard to case, and of a name that stands twice the first, where we read the last. What
could be read in two ways was not screened, so it is refused.
"""

import unicodedata
from collections.abc import Iterable

from shared import errors
from shared.errors import RefusedError

GATEWAY = frozenset(
    {"metadata", "litellm_metadata", "tags", "guardrails", "cache", "fallbacks", "num_retries", "no-log", "spend_logs_metadata"}
)  # fmt: skip

TOP = frozenset(
    {
        "model", "messages", "prompt", "input", "stream", "stream_options", "temperature", "top_p", "top_k", "n", "stop", "user",
        "max_tokens", "max_completion_tokens", "max_output_tokens", "tools", "tool_choice", "functions", "function_call", "seed",
        "response_format", "presence_penalty", "frequency_penalty", "logit_bias", "logprobs", "top_logprobs", "suffix", "echo",
        "best_of", "parallel_tool_calls", "prediction", "modalities", "audio", "reasoning_effort", "reasoning", "service_tier",
        "store", "metadata", "encoding_format", "dimensions", "instructions", "system", "documents", "chat_template",
        "chat_template_kwargs", "guided_choice", "guided_json", "guided_regex", "guided_grammar", "extra_body", "extra_headers",
        "models", "web_search_options", "safety_identifier", "prompt_cache_key", "prompt_cache_retention", "verbosity",
        "previous_response_id", "include", "text", "truncation", "background", "conversation", "thinking", "stop_sequences",
        "mcp_servers", "container", "context_management", "api_base", "base_url", "api_key", "api_version", "user_config",
        "aws_secret_access_key", "aws_access_key_id", "vertex_credentials", "size", "quality", "style", "background", "voice", "query",
        "top_n", "return_documents", "rank_fields", "response_modalities", "safety_settings", "plugins", "transforms", "route",
        "provider", "min_p", "top_a", "repetition_penalty", "min_tokens", "structured_outputs", "add_generation_prompt", "bad_words",
    }
) | GATEWAY  # fmt: skip
"""Of a request, in every format we know; what isn't here is passed on, and screened as well."""

INNER = frozenset(
    {
        "role", "content", "name", "tool_calls", "tool_call_id", "function_call", "refusal", "audio", "reasoning_content",
        "reasoning", "thinking", "annotations", "type", "text", "image_url", "input_audio", "file", "url", "detail", "data", "format",
        "file_data", "file_id", "file_url", "filename", "function", "arguments", "id", "call_id", "output", "input", "tools", "index",
        "description", "parameters", "strict", "custom", "grammar", "definition", "syntax", "json_schema", "schema", "source",
        "media_type", "signature", "cache_control", "tool_use_id", "is_error", "input_schema", "title", "context", "citations",
        "status", "summary", "encrypted_content", "input_text", "output_text", "input_image", "input_file", "prefix", "weight",
        "allowed_tools", "mode", "video_url", "documents", "query", "queries", "results", "action", "tool_choice", "partial",
    }
)  # fmt: skip
"""Of the objects inside messages, inputs, tools and their choice."""

MAPS = frozenset(
    {
        "parameters", "schema", "input_schema", "properties", "$defs", "definitions", "metadata", "litellm_metadata", "logit_bias",
        "extra_body", "extra_headers", "chat_template_kwargs", "guided_json", "args", "kwargs", "headers", "spend_logs_metadata",
        "user_config", "variables", "structured_outputs", "cache", "output_schema", "response_schema",
    }
)  # fmt: skip
"""Names whose objects have keys that callers choose: no format defines what stands in them."""


def folded(name: str) -> str:
    """As the loosest reader of names might read it: neither case nor compatibility forms count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())


def refuse_look_alikes(names: Iterable[str], known: frozenset[str], where: str = "") -> None:
    """Raises RefusedError for a name that isn't a known one but could be read as one."""
    for name in names:
        if name in known:
            continue
        like = folded(name)
        if like in known and like != name:
            at = f"{where}.{name}" if where else name
            raise RefusedError(errors.bad_request(f"{at[:200]}: the name is {like!r}, in this case and spelling", at[:200]))


def repeated(name: str, where: str) -> RefusedError:
    at = f"{where}.{name}" if where else name
    return RefusedError(errors.bad_request(f"{at[:200]} stands twice in one object", at[:200]))

"""Names that a format defines, and those that only look like one.

Some providers read names without regard to case, and of a name that stands twice the first, where
we read the last. What could be read in two ways was not screened, so it is refused.
"""

import json
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from shared import errors
from shared.errors import RefusedError

GATEWAY = frozenset(
    {
        "metadata", "litellm_metadata", "tags", "guardrails", "guardrail_config", "cache", "caching", "no-log",
        "spend_logs_metadata", "fallbacks", "context_window_fallbacks", "content_policy_fallbacks", "num_retries",
        "max_retries", "retry_policy", "retry_strategy", "timeout", "stream_timeout", "request_timeout",
        "drop_params", "additional_drop_params", "allowed_openai_params", "modify_params", "disable_fallbacks",
        "mock_testing_fallbacks", "mock_testing_context_fallbacks", "mock_testing_content_policy_fallbacks",
        "mock_testing_rate_limit_error", "mock_response", "mock_tool_calls", "mock_timeout", "mock_delay",
        "custom_llm_provider", "litellm_session_id", "litellm_trace_id", "litellm_call_id", "litellm_logging_obj",
        "litellm_params", "litellm_parent_otel_span", "litellm_agent_id", "model_info", "model_config", "model_list",
        "proxy_server_request", "preset_cache_key", "secret_fields", "input_cost_per_token", "output_cost_per_token",
        "input_cost_per_second", "output_cost_per_second", "rpm", "tpm", "max_parallel_requests", "base_model",
        "use_in_pass_through", "use_litellm_proxy", "force_timeout", "cooldown_time", "hf_model_name",
        "supports_system_message", "prompt_id", "prompt_variables", "prompt_label", "text_completion", "verbose",
        "user_continue_message", "assistant_continue_message", "ensure_alternating_roles",
        "merge_reasoning_content_in_choices", "logger_fn", "eos_token", "bos_token", "enable_json_schema_validation",
        "turn_off_message_logging", "litellm_disabled_callbacks", "retry_unsafe",
    }
)  # fmt: skip
"""Fields of LiteLLM's API that are for the gateway: a provider would refuse them."""

OURS_IN_METADATA: Final = frozenset({"spend_logs_metadata", "guardrails", "permissions"})

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
        "aws_secret_access_key", "aws_access_key_id", "vertex_credentials", "size", "quality", "style", "voice", "query",
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


WORDS_OF_WIRES = frozenset(
    {
        "user", "system", "assistant", "developer", "tool", "function", "model", "text", "image_url", "input_text", "output_text",
        "input_image", "input_file", "input_audio", "image", "file", "refusal", "tool_use", "tool_result", "thinking", "document",
        "json_schema", "json_object", "auto", "none", "required", "any", "message", "function_call", "function_call_output",
        "reasoning", "summary_text", "ephemeral", "base64", "low", "high", "wav", "mp3", "object", "string", "number", "integer",
        "boolean", "array", "null", "stop", "length", "tool_calls", "completed", "in_progress", "custom", "custom_tool_call",
        "web_search", "web_search_preview", "code_interpreter", "file_search", "mcp", "allowed_tools", "content", "grammar", "url",
        "input_json", "computer_use_preview", "image_generation", "content_filter", "incomplete", "chat.completion.chunk",
    }
)  # fmt: skip
"""Values of `type`, `role` and the like that formats define."""
SCHEMA_WORDS = frozenset(
    {
        "type", "properties", "items", "required", "enum", "const", "description", "title", "default", "pattern", "format", "anyOf",
        "oneOf", "allOf", "not", "additionalProperties", "$defs", "$ref", "$schema", "$id", "definitions", "minimum", "maximum",
        "minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "examples", "nullable", "exclusiveMinimum",
        "exclusiveMaximum", "multipleOf", "patternProperties", "propertyNames", "prefixItems", "contains", "if", "then", "else",
        "dependentRequired", "dependentSchemas", "minProperties", "maxProperties", "readOnly", "writeOnly", "deprecated", "comment",
        "$comment", "contentEncoding", "contentMediaType", "unevaluatedProperties", "strict", "name", "schema",
    }
)  # fmt: skip


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
            raise RefusedError(
                errors.bad_request(f"{at[:200]}: the name is {like!r}, in this case and spelling", at[:200])
            )


def repeated(name: str, where: str) -> RefusedError:
    at = f"{where}.{name}" if where else name
    return RefusedError(errors.bad_request(f"{at[:200]} stands twice in one object", at[:200]))


def count_strings(raw: bytes) -> int:
    """All strings of a JSON text, names included: half its quotes, but for the escaped ones."""
    if b"\\" not in raw:
        return occurrences(raw, b'"') // 2
    if b"\\\\" in raw:
        raw = raw.replace(b"\\\\", b"")
    return (occurrences(raw, b'"') - raw.count(b'\\"')) // 2


def occurrences(data: bytes, byte: bytes) -> int:
    """As `data.count(byte)`, which looks at each byte in turn (0.7 ns); a search for the next one
    takes a vector's width at once.
    """
    found, at = 0, data.find(byte)
    while at >= 0 and found < SPARSE_MAX:
        found += 1
        at = data.find(byte, at + 1)
    return found if at < 0 else found + data.count(byte, at)


SPARSE_MAX: Final = 256
"""A search takes some 60 ns to begin."""


NAMED_BYTES_MAX: Final = 65_536
"""Of a body that is read once more, to say which name stands twice."""


def refuse_repeated_top(body: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
    """Raises RefusedError where a name of the topmost object stands twice: then there are more
    strings than `fields` holds.
    """
    if count_strings(body) == len(fields) + sum(count_strings(bytes(raw)) for raw in fields.values()):
        return
    seen: set[str] = set()

    def collect(pairs: list[tuple[str, Any]]) -> None:
        seen.clear()
        for name, _ in pairs:
            if name in seen:
                twice.append(name)
            seen.add(name)

    twice: list[str] = []
    if len(body) <= NAMED_BYTES_MAX:
        try:
            json.loads(body, object_pairs_hook=collect)  # the topmost object comes last
        except (ValueError, RecursionError):
            pass
    raise repeated(twice[-1] if twice else "a name", "")

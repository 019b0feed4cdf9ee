"""A row of the book as LiteLLM's logging payload, as Langfuse's events, and as an OpenTelemetry
span (GenAI conventions). Pure.

Ids are made from the row's own, so that what is sent twice is recognised.
"""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.ledger import responses
from services.ledger.rows import SUCCESS
from shared import tracing
from shared.money import usd_from_picousd

Record = Mapping[str, Any]
_SPACE = uuid.UUID("6d0f1c1e-7e2c-4f53-9f0b-3f1f6f6f5a10")


NAMELESS = dict.fromkeys(("key_sha256", "key_alias", "team_id", "team_alias", "user_id", "organization_id"), None)
"""Over a row: what `redact_user_api_key_info` keeps from every sink: the key, and whose it is."""


def payload(row: Record) -> dict[str, Any]:
    """LiteLLM's StandardLoggingPayload; messages and answer where the sink gets them."""
    content = row.get("content") or {}
    log = responses.spend_log(row)
    success = row["outcome"] == SUCCESS
    return {
        "id": str(row["id"]),
        "trace_id": row["session_id"] or str(row["id"]),
        "call_type": row["call_type"],
        "stream": row["stream"],
        "response_cost": log["spend"],
        "response_cost_usd": log["metadata"]["spend_picousd"],
        "status": "success" if success else "failure",
        "outcome": row["outcome"],
        "http_status": row["status"],
        "total_tokens": log["total_tokens"],
        "prompt_tokens": log["prompt_tokens"],
        "completion_tokens": log["completion_tokens"],
        "startTime": row["at_ms"] / 1000,
        "endTime": row["ended_at_ms"] / 1000,
        "completionStartTime": None if row["first_byte_at_ms"] is None else row["first_byte_at_ms"] / 1000,
        "model": log["model"],
        "model_id": row["deployment_id"],
        "model_group": row["model"],
        "custom_llm_provider": row["provider"],
        "response_id": row["response_id"],
        "litellm_call_id": log["litellm_call_id"],
        "metadata": log["metadata"],
        "request_tags": row["tags"],
        "end_user": row["customer_id"] or "",
        "requester_ip_address": row["requester_ip"],
        "error_str": row["error_code"],
        "messages": content.get("messages"),
        "response": content.get("response"),
    }


def langfuse(row: Record, shown: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """A trace and its generation, for POST /api/public/ingestion.

    Args:
        shown: names of metadata whose values are tags too.
    """
    row_id, start, end = str(row["id"]), responses.iso(row["at_ms"]), responses.iso(row["ended_at_ms"])
    trace_id = row_id
    metadata = {"team_id": row["team_id"], "key_alias": row["key_alias"], "deployment_id": row["deployment_id"], "outcome": row["outcome"],
                "spend_logs_metadata": msgspec.Raw(row["spend_logs_metadata"].encode())}  # fmt: skip
    content = row.get("content")
    said = {} if content is None else {"input": content["messages"], "output": content["response"]}
    trace = {
        "id": trace_id, "timestamp": start, "name": row["route"], "userId": row["customer_id"] or row["user_id"],
        "sessionId": row["session_id"], "tags": [*row["tags"], *_shown(row, shown)], "metadata": metadata, **said,
    }  # fmt: skip
    cost = None if row["cost_picousd"] is None else {"total": usd_from_picousd(row["cost_picousd"])}
    generation = {
        "id": _event_id(row_id, "generation"), "traceId": trace_id, "name": row["call_type"], "startTime": start, "endTime": end,
        "completionStartTime": responses.iso(row["first_byte_at_ms"]), "model": row["upstream_model"] or row["model"],
        "usageDetails": {"input": row["input_tokens"] - row["cached_tokens"], "output": row["output_tokens"],
                         "cache_read_input_tokens": row["cached_tokens"], "total": row["input_tokens"] + row["output_tokens"]},
        "costDetails": cost, "metadata": metadata, "level": "DEFAULT" if row["outcome"] == SUCCESS else "ERROR",
        "statusMessage": row["error_code"], **said,
    }  # fmt: skip
    return [
        {"id": _event_id(row_id, f"{kind}-{row['outcome']}"), "type": kind, "timestamp": end, "body": body}
        for kind, body in (("trace-create", trace), ("generation-create", generation))
    ]


def _shown(row: Record, names: frozenset[str]) -> list[str]:
    if not names:
        return []
    metadata = responses.spend_log(row)["metadata"]
    return [f"{name}:{metadata[name]}" for name in sorted(names) if metadata.get(name) not in (None, "")]


def _event_id(row_id: str, what: str) -> str:
    return str(uuid.uuid5(_SPACE, f"{row_id}/{what}"))


def span(row: Record) -> dict[str, Any]:
    """OTLP/JSON, names of the GenAI semantic conventions."""
    row_id = row["id"].hex if isinstance(row["id"], uuid.UUID) else str(row["id"]).replace("-", "")
    trace_id, parent = _trace_of(row) or (row_id, "")
    attributes: dict[str, Any] = {
        "gen_ai.operation.name": {
            "acompletion": "chat",
            "aembedding": "embeddings",
            "atext_completion": "text_completion",
        }.get(row["call_type"], row["call_type"]),
        "gen_ai.provider.name": row["provider"],
        "gen_ai.request.model": row["model"],
        "gen_ai.response.model": row["response_model"],
        "gen_ai.response.id": row["response_id"],
        "gen_ai.usage.input_tokens": row["input_tokens"],
        "gen_ai.usage.output_tokens": row["output_tokens"],
        "http.response.status_code": row["status"],
        "error.type": row["error_code"],
        "user.id": row["user_id"],
        "tollgate.team.id": row["team_id"],
        "tollgate.customer.id": row["customer_id"],
        "tollgate.outcome": row["outcome"],
        "tollgate.cost.picousd": row["cost_picousd"],
        "tollgate.tags": list(row["tags"]),
    }
    content = row.get("content")
    if content is not None:
        for name, part in (("input", "messages"), ("output", "response")):
            attributes[f"gen_ai.{name}.messages"] = msgspec.json.encode(content[part]).decode()
    return {
        "traceId": trace_id,
        "spanId": tracing.span_id(row_id),
        **({"parentSpanId": parent} if parent else {}),
        "name": f"{attributes['gen_ai.operation.name']} {row['model']}",
        "kind": 3,
        "startTimeUnixNano": str(row["at_ms"] * 1_000_000),
        "endTimeUnixNano": str(row["ended_at_ms"] * 1_000_000),
        "attributes": [
            {"key": key, "value": _otlp(value)} for key, value in attributes.items() if value not in (None, [])
        ],
        "status": {"code": 1 if row["outcome"] == SUCCESS else 2},
    }


_OPERATIONS = {"aembedding": "EMBEDDING", "arerank": "RERANKER"}


def open_inference(row: Record) -> dict[str, Any]:
    """The same span with OpenInference's names, by which Phoenix knows what it is."""
    made, content = span(row), row.get("content")
    more: dict[str, Any] = {
        "openinference.span.kind": _OPERATIONS.get(row["call_type"], "LLM"),
        "llm.model_name": row["upstream_model"] or row["model"],
        "llm.provider": row["provider"],
        "llm.token_count.prompt": row["input_tokens"],
        "llm.token_count.completion": row["output_tokens"],
        "llm.token_count.total": row["input_tokens"] + row["output_tokens"],
        "session.id": row["session_id"],
    }
    if content is not None:
        more["input.value"] = msgspec.json.encode(content["messages"]).decode()
        more["output.value"] = msgspec.json.encode(content["response"]).decode()
    made["attributes"] += [
        {"key": key, "value": _otlp(value)} for key, value in more.items() if value not in (None, "")
    ]
    return made


def langsmith(row: Record, project: str) -> dict[str, Any]:
    """A run, for POST /runs/batch: the root of its own trace."""
    row_id, log, content = str(row["id"]), payload(row), row.get("content")
    began = datetime.fromtimestamp(row["at_ms"] / 1000, UTC)
    return {
        "id": row_id, "trace_id": row_id, "dotted_order": f"{began:%Y%m%dT%H%M%S%fZ}{row_id}", "name": "LLMRun", "run_type": "llm",
        "session_name": project, "start_time": responses.iso(row["at_ms"]), "end_time": responses.iso(row["ended_at_ms"]),
        "inputs": {"model": row["model"], **({} if content is None else {"messages": content["messages"]})},
        "outputs": {"usage_metadata": {"input_tokens": row["input_tokens"], "output_tokens": row["output_tokens"],
                                       "total_tokens": row["input_tokens"] + row["output_tokens"]},
                    **({} if content is None else {"response": content["response"]})},
        "error": None if row["outcome"] == SUCCESS else row["error_code"] or row["outcome"],
        "tags": list(row["tags"]),
        "extra": {"metadata": {**log["metadata"], "ls_model_name": row["upstream_model"] or row["model"], "ls_provider": row["provider"],
                               "response_cost": log["response_cost"]}},
    }  # fmt: skip


def datadog(row: Record, source: str, service: str, tags: str) -> dict[str, Any]:
    """A log, for POST /api/v2/logs: LiteLLM's logging payload as its message."""
    named = "".join(f",request_tag:{_tag(tag)}" for tag in row["tags"])
    team = row["team_alias"] or row["team_id"]
    return {
        "ddsource": source, "service": service, "ddtags": f"{tags}{named}{f',team:{_tag(team)}' if team else ''}", "hostname": "",
        "status": "info" if row["outcome"] == SUCCESS else "error", "message": msgspec.json.encode(payload(row)).decode(),
    }  # fmt: skip


def _tag(value: object) -> str:
    """As Datadog takes it: lower case, and nothing that would begin another tag."""
    return "".join(sign if sign.isalnum() or sign in "_-:./" else "_" for sign in str(value).lower())


def _trace_of(row: Record) -> tuple[str, str] | None:
    """(trace, parent's span) where the client said whose trace its call belongs to."""
    kept = row["spend_logs_metadata"]
    if tracing.TRACEPARENT not in kept:
        return None
    said = tracing.read(msgspec.json.decode(kept, type=dict[str, Any]).get(tracing.TRACEPARENT))
    return None if said is None else tracing.ids(said)


def _otlp(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_otlp(item) for item in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": str(value)}

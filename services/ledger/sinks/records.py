"""A row of the book as LiteLLM's logging payload, as Langfuse's events, and as an OpenTelemetry span (GenAI conventions). Pure.

Ids are made from the row's own, so that what is sent twice is recognised.
"""

import uuid
from collections.abc import Mapping
from typing import Any

import msgspec

from services.ledger import shapes
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
    log = shapes.spend_log(row)
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


def langfuse(row: Record) -> list[dict[str, Any]]:
    """A trace and its generation, for POST /api/public/ingestion."""
    row_id, start, end = str(row["id"]), shapes.iso(row["at_ms"]), shapes.iso(row["ended_at_ms"])
    trace_id = row_id
    metadata = {"team_id": row["team_id"], "key_alias": row["key_alias"], "deployment_id": row["deployment_id"], "outcome": row["outcome"],
                "spend_logs_metadata": msgspec.Raw(row["spend_logs_metadata"].encode())}  # fmt: skip
    content = row.get("content")
    said = {} if content is None else {"input": content["messages"], "output": content["response"]}
    trace = {
        "id": trace_id, "timestamp": start, "name": row["route"], "userId": row["customer_id"] or row["user_id"],
        "sessionId": row["session_id"], "tags": row["tags"], "metadata": metadata, **said,
    }  # fmt: skip
    cost = None if row["cost_picousd"] is None else {"total": usd_from_picousd(row["cost_picousd"])}
    generation = {
        "id": _event_id(row_id, "generation"), "traceId": trace_id, "name": row["call_type"], "startTime": start, "endTime": end,
        "completionStartTime": shapes.iso(row["first_byte_at_ms"]), "model": row["upstream_model"] or row["model"],
        "usageDetails": {"input": row["input_tokens"] - row["cached_tokens"], "output": row["output_tokens"],
                         "cache_read_input_tokens": row["cached_tokens"], "total": row["input_tokens"] + row["output_tokens"]},
        "costDetails": cost, "metadata": metadata, "level": "DEFAULT" if row["outcome"] == SUCCESS else "ERROR",
        "statusMessage": row["error_code"], **said,
    }  # fmt: skip
    return [
        {"id": _event_id(row_id, f"{kind}-{row['outcome']}"), "type": kind, "timestamp": end, "body": body}
        for kind, body in (("trace-create", trace), ("generation-create", generation))
    ]


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

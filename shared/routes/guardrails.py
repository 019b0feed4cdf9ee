"""Guardrails of this gateway."""

from typing import Any

from shared.routes.route import Parameter, Route

_ONE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "guardrail_name": {"type": "string"},
        "litellm_params": {"type": "object"},
        "guardrail_info": {"type": "object"},
    },
}
_MANY: dict[str, Any] = {"type": "object", "properties": {"guardrails": {"type": "array", "items": _ONE}}}

ROWS = (
    Route(
        name="/guardrails/list",
        methods=("GET",),
        paths=("/guardrails/list",),
        surface="guardrails",
        summary="The guardrails of this gateway",
        answer=_MANY,
    ),
    Route(
        name="/v2/guardrails/list",
        methods=("GET",),
        paths=("/v2/guardrails/list",),
        surface="guardrails",
        summary="The same",
        answer=_MANY,
    ),
    Route(
        name="/guardrails/{guardrail_id}/info",
        methods=("GET",),
        paths=("/guardrails/{guardrail_id}/info", "/guardrails/{guardrail_id}"),
        surface="guardrails",
        summary="One of them",
        answer=_ONE,
    ),
    Route(
        name="/guardrails/report",
        methods=("GET",),
        paths=("/guardrails/report",),
        surface="ledger",
        groups=frozenset({"own_routes"}),
        summary="What guardrails did, from the book: ran, stopped, changed, would have, failed; how long, and what it cost",
        query=(
            Parameter("start_date", "YYYY-MM-DD; 7 days ago"),
            Parameter("end_date", "YYYY-MM-DD, that day included"),
            Parameter("by", "guardrail (default), stage, day, key, team; several with commas"),
            Parameter("guardrail"),
            Parameter("stage"),
            Parameter("key", "A key's digest"),
            Parameter("team"),
        ),
        answer={
            "type": "object",
            "properties": {"guardrails": {"type": "array", "items": {"type": "object"}}},
        },
    ),
    Route(
        name="/guardrails/apply_guardrail",
        methods=("POST",),
        paths=("/guardrails/apply_guardrail", "/apply_guardrail"),
        surface="guardrails",
        summary="Try a guardrail on a text",
        request={
            "type": "object",
            "properties": {
                "guardrail_name": {"type": "string"},
                "text": {"type": "string"},
                "language": {"type": "string"},
                "entities": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["guardrail_name", "text"],
        },
        answer={"type": "object", "properties": {"response_text": {"type": "string"}}},
    ),
)

"""What helps people who use or run the gateway."""

from typing import Any

from shared.routes.route import Parameter, Route

_OBJECT: dict[str, Any] = {"type": "object"}
_HEALTH: dict[str, Any] = {
    "type": "object",
    "properties": {
        "healthy_endpoints": {"type": "array", "items": _OBJECT},
        "unhealthy_endpoints": {"type": "array", "items": _OBJECT},
        "healthy_count": {"type": "integer"},
        "unhealthy_count": {"type": "integer"},
    },
    "required": ["healthy_endpoints", "unhealthy_endpoints", "healthy_count", "unhealthy_count"],
}
_TOKENS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "total_tokens": {"type": "integer"},
        "request_model": {"type": "string"},
        "model_used": {"type": "string"},
        "tokenizer_type": {"type": "string"},
        "count_source": {"type": "string"},
        "original_response": {"type": "null"},
        "error": {"type": "boolean"},
        "error_message": {"type": "null"},
        "status_code": {"type": "null"},
    },
    "required": ["total_tokens"],
}


def _row(path: str, summary: str, **more: Any) -> Route:
    return Route(
        name=path, methods=more.pop("methods", ("GET",)), paths=(path,), surface="utilities", summary=summary, **more
    )


ROWS = (
    _row("/routes", "Every path of this gateway", answer=_OBJECT),
    _row("/test", "Whether the gateway answers", answer=_OBJECT),
    _row(
        "/health",
        "Whether the models that this caller may use answer: each is called, at most once in health_check_interval",
        query=(Parameter("model", "Only this one"), Parameter("model_id", "Only this deployment")),
        answer=_HEALTH,
    ),
    _row(
        "/health/services",
        "Whether a service that the gateway uses can be reached: slack gets a test message",
        query=(
            Parameter(
                "service",
                "slack, cache, prometheus, guardrails, or the name of a guardrail that asks a service",
                required=True,
            ),
        ),
        answer=_OBJECT,
    ),
    _row(
        "/utils/token_counter",
        "How many tokens a request's texts are",
        methods=("POST",),
        request={
            "type": "object",
            "properties": {"model": {"type": "string"}, "messages": {"type": "array"}, "prompt": {}},
            "required": ["model"],
        },
        answer=_TOKENS,
    ),
    _row(
        "/utils/supported_openai_params",
        "Which of OpenAI's parameters a model takes",
        query=(Parameter("model", required=True),),
        groups=frozenset({"llm_api_routes"}),
        answer={
            "type": "object",
            "properties": {"supported_openai_params": {"type": "array", "items": {"type": "string"}}},
        },
    ),
)

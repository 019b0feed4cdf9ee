"""What anybody may ask, without a key."""

from typing import Any

from shared.routes.route import Route

_ALIVE = {"type": "string"}
_STATUS: dict[str, Any] = {
    "type": "object",
    "properties": {"status": {"type": "string"}, "db": {"type": "string"}},
    "required": ["status"],
}


def _health(path: str, summary: str, answer: Any) -> Route:
    return Route(
        name=path,
        methods=("GET", "OPTIONS"),
        paths=(path,),
        surface="health",
        summary=summary,
        answer=answer,
    )


ROWS = (
    _health("/health/liveliness", "Whether the process lives", _ALIVE),
    _health("/health/liveness", "Whether the process lives", _ALIVE),
    _health("/health/readiness", "Whether requests can be served", _STATUS),
)

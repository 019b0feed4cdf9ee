"""How rows of management routes are written: bodies, changes and questions."""

from typing import Any

from shared.entities import EntityKind
from shared.routes.route import Parameter, Route

OBJECT: dict[str, Any] = {"type": "object"}
OBJECTS: dict[str, Any] = {"type": "array", "items": OBJECT}
STRING: dict[str, Any] = {"type": "string"}
STRINGS: dict[str, Any] = {"type": "array", "items": STRING, "minItems": 1}
CURSOR = Parameter("cursor", "`next_cursor` of the page before, in the same order: instead of `page`")
PAGE = (Parameter("page", type="integer"), Parameter("size", type="integer"))


def body(kind: EntityKind[Any] | None = None, *required: str, **more: Any) -> dict[str, Any]:
    """An object with what may be set on a kind, and `more`."""
    known = {} if kind is None else kind.body_schema()["properties"]
    schema: dict[str, Any] = {"type": "object", "properties": {**known, **more}}
    return {**schema, "required": list(required)} if required else schema


def change(
    path: str,
    summary: str,
    request: Any = OBJECT,
    *also: str,
    answer: Any = OBJECT,
    mints: str = "",
    seals: str = "",
    name: str = "",
    method: str = "POST",
) -> Route:
    return Route(
        name=name or path,
        methods=(method,),
        paths=(path, *also),
        surface="management",
        mutates=True,
        summary=summary,
        request=request,
        answer=answer,
        mints=mints,
        seals=seals,
    )


def question(path: str, summary: str, *query: Parameter, also: tuple[str, ...] = (), answer: Any = OBJECT) -> Route:
    return Route(
        name=path,
        methods=("GET",),
        paths=(path, *also),
        surface="management",
        summary=summary,
        query=query,
        answer=answer,
    )


ID = body(None, "id", id=STRING)

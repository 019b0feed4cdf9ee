"""The OpenAPI document of a table of routes. Pure."""

from collections.abc import Iterable
from typing import Any

import msgspec

from shared.routes.route import Route, parameters

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "integer", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_REFUSED = {
    "description": "Refused: in `error` stands what is wrong, and where",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
}
_SECURITY: list[dict[str, list[str]]] = [{"key": []}]

FOR_BROWSERS = frozenset({"pages", "sso"})
"""Surfaces of the admin page: no part of the API."""


def document(routes: Iterable[Route], *, title: str, version: str, description: str = "") -> dict[str, Any]:
    """OpenAPI 3.1, as a JSON object. Of a route's paths each becomes an entry."""
    rows = [row for row in routes if row.surface not in FOR_BROWSERS]
    structs = sorted(
        {s for row in rows for s in (row.request, row.answer) if isinstance(s, type)}, key=lambda s: str(s.__name__)
    )
    found, components = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    schemas: dict[Any, Any] = dict(zip(structs, found, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for row in rows:
        for path in row.paths:
            shown = path.replace(":path}", "}")
            for method in row.methods:
                paths.setdefault(shown, {})[method.lower()] = _operation(row, path, method, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": version, **({"description": description} if description else {})},
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": {"Error": _ERROR, **components},
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "A virtual key (sk-...)"}},
        },
    }


def _operation(row: Route, path: str, method: str, schemas: dict[Any, Any]) -> dict[str, Any]:
    ok: dict[str, Any] = {"description": "OK"}
    if row.answer is not None:
        ok["content"] = {"application/json": {"schema": _schema(row.answer, schemas)}}
    asked = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in parameters(path)]
    for parameter in row.query:
        each: dict[str, Any] = {
            "name": parameter.name,
            "in": "query",
            "required": parameter.required,
            "schema": {"type": parameter.type},
        }
        if parameter.description:
            each["description"] = parameter.description
        asked.append(each)
    operation: dict[str, Any] = {
        "operationId": _id(method, path),
        "tags": [row.surface],
        "summary": row.summary or row.name,
        "responses": {"200": ok, "4XX": _REFUSED, "5XX": _REFUSED},
    }
    if asked:
        operation["parameters"] = asked
    if row.request is not None and method not in ("GET", "HEAD", "OPTIONS"):
        operation["requestBody"] = {
            "required": row.model_from == "body",
            "content": {"application/json": {"schema": _schema(row.request, schemas)}},
        }
    if not row.public:
        operation["security"] = _SECURITY
    return operation


def _schema(given: Any, schemas: dict[Any, Any]) -> Any:
    return schemas[given] if isinstance(given, type) else given


def _id(method: str, path: str) -> str:
    """Unique as long as paths are: every other character than letters and digits is spelled out."""
    return method.lower() + "".join(c if c.isalnum() else "_" if c in "/{}:" else f"_{ord(c):x}_" for c in path)

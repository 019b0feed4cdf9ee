"""The public model hub: what anybody may read about models that were made public."""

from typing import Any

from shared.routes.route import Parameter, Route

_OBJECT: dict[str, Any] = {"type": "object"}

ROWS = (
    Route(
        name="/public/model_hub",
        methods=("GET",),
        paths=("/public/model_hub",),
        surface="management",
        summary="The models that were made public",
        answer={"type": "array", "items": _OBJECT},
    ),
    Route(
        name="/public/v1/model_hub",
        methods=("GET",),
        paths=("/public/v1/model_hub",),
        surface="management",
        summary="The models that were made public, page by page",
        query=(Parameter("page", type="integer"), Parameter("size", type="integer")),
        answer=_OBJECT,
    ),
    Route(
        name="/model_group/make_public",
        methods=("POST",),
        paths=("/model_group/make_public",),
        surface="management",
        mutates=True,
        summary="Set which models are public",
        request={
            "type": "object",
            "properties": {"model_groups": {"type": "array", "items": {"type": "string"}}},
            "required": ["model_groups"],
        },
        answer=_OBJECT,
    ),
)

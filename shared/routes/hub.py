"""The public model hub, and pass-through endpoints made at run time: what policy keeps besides
keys, teams, users and customers.
"""

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
    *(
        Route(
            name=f"/public/v1/model_hub/{facet}",
            methods=("GET",),
            paths=(f"/public/v1/model_hub/{facet}",),
            surface="management",
            summary=f"The {facet} that public models have",
            query=(Parameter("page", type="integer"), Parameter("size", type="integer")),
            answer=_OBJECT,
        )
        for facet in ("providers", "modes", "features")
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
    Route(
        name="/config/pass_through_endpoint",
        methods=("GET",),
        paths=("/config/pass_through_endpoint",),
        surface="management",
        summary="Pass-through endpoints that were made at run time",
        query=(Parameter("endpoint_id"),),
        answer=_OBJECT,
    ),
    Route(
        name="/config/pass_through_endpoint/team/{team_id}",
        methods=("GET",),
        paths=("/config/pass_through_endpoint/team/{team_id}",),
        surface="management",
        summary="Those of them that a team may call",
        answer=_OBJECT,
    ),
    Route(
        name="POST /config/pass_through_endpoint",
        methods=("POST",),
        paths=("/config/pass_through_endpoint",),
        surface="management",
        mutates=True,
        summary="Make a pass-through endpoint",
        request=_OBJECT,
        answer=_OBJECT,
    ),
    Route(
        name="DELETE /config/pass_through_endpoint",
        methods=("DELETE",),
        paths=("/config/pass_through_endpoint",),
        surface="management",
        mutates=True,
        summary="Remove a pass-through endpoint",
        query=(Parameter("endpoint_id", required=True),),
        answer=_OBJECT,
    ),
    Route(
        name="/config/pass_through_endpoint/{endpoint_id}",
        methods=("POST",),
        paths=("/config/pass_through_endpoint/{endpoint_id}",),
        surface="management",
        mutates=True,
        summary="Change a pass-through endpoint",
        request=_OBJECT,
        answer=_OBJECT,
    ),
)

"""The models this caller may use, or one of them, in OpenAI's shape."""

from services.edge import metrics
from services.edge.answers import own_json
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.surfaces.asking import granted
from shared import errors
from shared.errors import RefusedError
from shared.grant import Denial
from shared.routes import Match

MODEL_CREATED = 1677610602
"""LiteLLM's constant."""
CALLED_BY = "/chat/completions"


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    started, route = parts.clock.seconds(), match.route
    head, grant = await granted(parts, request, route)
    models = grant.models
    one = match.params.get("model")
    if one is not None and one not in models:
        # A name that only a pattern serves stands in no list; who may call it may ask for it.
        callable_ = await parts.grants.decide(head.digest, head.shape, CALLED_BY, one)
        if isinstance(callable_, Denial):
            raise RefusedError(errors.model_not_found(one))
    metrics.of_route(route.name).note_answered(parts.clock.seconds() - started)
    return own_json(_model(one) if one is not None else {"data": [_model(n) for n in models], "object": "list"})


def _model(name: str) -> dict[str, object]:
    return {"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "openai"}

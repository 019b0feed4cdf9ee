"""The models this caller may use, in OpenAI's shape."""

import time

from services.edge import metrics, reading
from services.edge.answering import own_json
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from services.edge.pipeline import now_ms
from shared import grant as grants_
from shared.errors import Refusal
from shared.grant import Denial
from shared.routes import Match

MODEL_CREATED = 1677610602
"""LiteLLM's constant."""


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    started = time.perf_counter()
    pipeline, route = parts.pipeline, match.route
    head = reading.head(request)
    decision = await pipeline.grants.decide(head.digest, head.shape, route.name, "")
    if isinstance(decision, Denial):
        await pipeline.refuse(decision.refusal, route, head, decision.caller)
    outcome = grants_.apply(decision, grants_.Ask([], {}), now_ms(), float)
    if isinstance(outcome, Refusal):
        await pipeline.refuse(outcome, route, head, decision.caller)
    data = [{"id": name, "object": "model", "created": MODEL_CREATED, "owned_by": "openai"} for name in decision.models]
    metrics.of_route(route.name).note_answered(time.perf_counter() - started)
    return own_json({"data": data, "object": "list"})

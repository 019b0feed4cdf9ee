"""`/metrics` on the clients' port, as LiteLLM has it: for admins and admin viewers, or for anybody
where the configuration says so.

The probe port has the same without a key. Made in a thread: a scrape must not hold up calls.
"""

import asyncio

import msgspec
import prometheus_client

from services.edge import reading
from services.edge.answers import SAFE
from services.edge.http import Answer, Request, StreamAnswer, WholeAnswer
from services.edge.parts import Parts
from shared import service
from shared.errors import Refusal, RefusedError
from shared.grant import Denial
from shared.routes import Match

_one_at_a_time = asyncio.Lock()


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    if parts.metrics_need_key:
        refusal = await _refusal(parts, request, match.route.name)
        if refusal is not None:
            return _unauthorized(refusal)
    async with _one_at_a_time:
        pieces = await asyncio.to_thread(service.exposition)
    out = StreamAnswer(200, f"{SAFE}Content-Type: {prometheus_client.CONTENT_TYPE_LATEST}\r\n")
    await out.start(request)
    for piece in pieces:
        await out.write(piece)
        await asyncio.sleep(0)  # calls go on in between
    await out.end()
    return out


async def _refusal(parts: Parts, request: Request, route: str) -> Refusal | None:
    try:
        head = reading.head(request)
        await parts.tokens.identify(head, request)
        decision = await parts.grants.decide(head.digest, head.shape, route, "")
    except RefusedError as no:
        return no.refusal
    if isinstance(decision, Denial):
        return decision.refusal
    request.recognised()
    return None


def _unauthorized(refusal: Refusal) -> WholeAnswer:
    """LiteLLM's answer: a JSON string."""
    if refusal.status >= 500:
        raise RefusedError(refusal)
    said = (
        f"Unauthorized access to metrics endpoint: {refusal.message} To allow unauthenticated access, set "
        "`litellm_settings.require_auth_for_metrics_endpoint: false` in your proxy_config.yaml."
    )
    return WholeAnswer(401, f"{SAFE}Content-Type: application/json\r\n", msgspec.json.encode(said))

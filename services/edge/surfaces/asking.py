"""Who asks, on a route that is about no model."""

from services.edge import account, reading
from services.edge.http import Request
from services.edge.parts import Parts
from services.edge.reading import Head
from shared import admission
from shared.errors import Refusal
from shared.grant import Ask, Grant
from shared.routes import Route


async def granted(parts: Parts, request: Request, route: Route) -> tuple[Head, Grant]:
    """Raises RefusedError for who may not; that is in the book."""
    head = reading.head(request)
    await parts.tokens.identify(head, request)
    decision = await parts.grants.decide(head.digest, head.shape, route.name, "")
    outcome = admission.permit(decision, Ask([], {}, head.ip), parts.clock.unix_ms(), parts.random)
    if isinstance(outcome, Refusal):
        await account.refuse(parts, outcome, route, head, decision.caller)
    request.recognised()
    return head, outcome.grant

"""Whether the process lives, and whether it can serve: LiteLLM's shapes, for anybody."""

from services.edge.answers import own_json
from services.edge.http import Request, WholeAnswer
from services.edge.parts import Parts
from shared.routes import Match


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    if match.route.name != "/health/readiness":
        if parts.stopping():
            return own_json({"status": "shutting_down"}, 503)
        return own_json("I'm alive!")
    reason = parts.reason_not_ready()
    if reason is None:
        return own_json({"status": "healthy", "db": "connected"})
    return own_json({"status": "unhealthy", "db": "Not connected", "reason": reason}, 503)

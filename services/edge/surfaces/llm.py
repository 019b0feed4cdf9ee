"""Calls to models: see pipeline.py."""

from services.edge.http import Answer, Request
from services.edge.parts import Parts
from shared.routes import Match


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    return await parts.pipeline.serve(request, match.route)

"""What answers a route: one handler a surface, one signature.

`await serve(parts, request, match)` gives the Answer, or raises RefusedError, which server.py
renders.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from services.edge import pipeline
from services.edge.http import Answer, Request
from services.edge.parts import Parts
from services.edge.surfaces import (
    cache,
    guardrails,
    health,
    ledger,
    management,
    models,
    pages,
    passthrough,
    relayed,
    scrape,
    site,
    sso,
    utilities,
)
from shared.routes import Match

Serve = Callable[[Parts, Request, Match], Awaitable[Answer]]

SURFACES: dict[str, Serve] = {
    "llm": partial(pipeline.serve, relay=relayed.relay),
    "models": models.serve,
    "management": management.serve,
    "ledger": ledger.serve,
    "health": health.serve,
    "pages": pages.serve,
    "sso": sso.serve,
    "site": site.serve,
    "passthrough": passthrough.serve,
    "cache": cache.serve,
    "relayed": relayed.serve,
    "scrape": scrape.serve,
    "guardrails": guardrails.serve,
    "utilities": utilities.serve,
}

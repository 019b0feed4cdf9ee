"""The lean HTTP/1.1 server: how clients talk to the edge.

Owns: clients' connections (accepting, keeping, counting, closing), the wire of one request and its
answer, and their deadlines. Takes in: a handler, `async (Request) -> WholeAnswer | StreamAnswer`,
and what to say to those whose bytes aren't HTTP. Gives out: a `Request` as soon as its head is
there, then its body as it arrives; an answer as the handler made it. Never: routes, compresses,
logs, speaks HTTP/2 or WebSocket, or knows what an LLM is.

A connection has one task, which runs the handlers of its requests, one after the other. It is
cancelled, once, when the client leaves; so whatever a request set in motion ends with its client.

Why not aiohttp's server: it took a third of the edge's time. It stays the reference: the tests run
the same cases against both.
"""

from services.edge.http.answer import Answer, StreamAnswer, WholeAnswer
from services.edge.http.budget import Budget, Limits
from services.edge.http.known import KnownHead
from services.edge.http.listener import Listener
from services.edge.http.request import BrokenBodyError, OverBudgetError, Request
from services.edge.http.tls import Certificate

__all__ = [
    "Answer", "BrokenBodyError", "Budget", "Certificate", "KnownHead", "Limits", "Listener", "OverBudgetError", "Request",
    "StreamAnswer", "WholeAnswer",
]  # fmt: skip

"""The lean HTTP/1.1 client: how the edge talks to a provider.

Owns: connections to providers (opening, TLS, keeping, counting, closing), the wire of one exchange,
and its deadlines. Takes in: an origin, a method, a target, headers and a body that somebody else
decided on. Gives out: a `Response` as soon as its head is there, then its bytes as they arrive; or
one `UpstreamError`. Never: follows a redirect, repeats a request (but on a kept connection that was
closed under it), reads an environment variable (no proxies), keeps a cookie, logs, or knows what an
LLM is.

Why not aiohttp's client: it costs more CPU than everything else in a request together. It stays the
reference: the tests run the same cases against both.
"""

from services.edge.upstream.origin import Deadlines, Origin, UpstreamError
from services.edge.upstream.pool import Client
from services.edge.upstream.request import read_headers, render_headers
from services.edge.upstream.response import Response, can_undo, window_bits

__all__ = [
    "Client",
    "Deadlines",
    "Origin",
    "Response",
    "UpstreamError",
    "can_undo",
    "read_headers",
    "render_headers",
    "window_bits",
]

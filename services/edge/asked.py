"""What a client asked, once it is known to be allowed."""

import msgspec

from services.edge.formats.base import Call
from services.edge.formats.openai import OpenAI
from services.edge.http import Request
from services.edge.prepared import Prepared
from services.edge.reading import Head
from services.edge.screening import Screening
from shared.grant import Fallback, Permit
from shared.routes import Route


class Asked(msgspec.Struct):
    """The same for all attempts."""

    request: Request
    route: Route
    format: OpenAI
    head: Head
    call: Call
    prepared: Prepared
    permit: Permit
    screening: Screening
    started: float
    """By the clock's seconds."""
    fallbacks: list[Fallback] = []
    """What the request itself names; they go before the configuration's."""

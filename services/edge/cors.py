"""Cross-origin requests of browsers (Fetch standard §3.2): whom we let read our answers. Pure.

Never with credentials: a page has to have a key of its own, and no cookie of ours opens anything to
it.
"""

import re

from services.edge import answers
from services.edge.http import WholeAnswer

ANYBODY = "*"
MAX_AGE_S = 600
EXPOSED = (
    "x-litellm-call-id, x-litellm-model-id, x-litellm-model-group, x-litellm-response-cost, x-litellm-cache-key, x-tollgate-request-id, "
    "x-request-id, retry-after"
)
HEADERS_CHARACTERS_MAX = 2_000
_NAMES = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z, \t]*")
_ORIGIN = re.compile(r"[!-~]{1,512}")


def lines(origin: str, allowed: str) -> str:
    """Of an answer to a page of this origin; empty: it may not read it.

    Args:
        allowed: `*`, or origins with commas between them; empty: nobody.
    """
    if allowed == ANYBODY:
        return f"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: {EXPOSED}\r\n"
    if not allowed:
        return ""
    if origin in (each.strip() for each in allowed.split(",")) and _ORIGIN.fullmatch(origin):
        return f"Access-Control-Allow-Origin: {origin}\r\nAccess-Control-Expose-Headers: {EXPOSED}\r\n"
    return ""


def options(methods: tuple[str, ...], asked_headers: str | None) -> WholeAnswer:
    """To OPTIONS: the methods of a path, and to a preflight the headers that may come with them."""
    allowed = ", ".join((*methods, "OPTIONS"))
    more = f"Allow: {allowed}\r\n"
    if asked_headers is not None:
        names = asked_headers if _NAMES.fullmatch(asked_headers) and len(asked_headers) < HEADERS_CHARACTERS_MAX else ""
        more += f"Access-Control-Allow-Methods: {allowed}\r\nAccess-Control-Max-Age: {MAX_AGE_S}\r\n"
        if names:
            more += f"Access-Control-Allow-Headers: {names}\r\n"
    return WholeAnswer(204, f"{answers.SAFE}{more}", b"")

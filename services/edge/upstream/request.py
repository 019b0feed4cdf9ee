"""A request's head as bytes, checked: nothing a caller passes can end a line, a head or a body
early. No I/O.

Framing and the connection are ours alone: host, content-length, transfer-encoding, connection and
what else belongs to one hop. From a list of headers they are dropped, in a ready block they are
refused.
"""

import functools
import re
from collections.abc import Iterable

OURS = frozenset(
    (
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "keep-alive",
        "proxy-connection",
        "upgrade",
        "te",
        "trailer",
        "expect",
    )
)
"""Headers between us and the next hop. `expect`: the body is always sent at once, so there is
nothing to wait for.
"""

_METHOD = re.compile(r"[A-Z]{1,20}")
_TARGET = re.compile(r"/[!-~]*")
_OURS = "|".join(OURS)
_BLOCK = re.compile(
    # RFC 9110 §5.5 and §5.6.2: a token, a colon, a value without control characters (tab allowed),
    # CRLF.
    rb"(?:(?!(?i:" + _OURS.encode() + rb"):)[-!#$%&'*+.^_`|~0-9A-Za-z]+:[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*"
)
_BODY_EXPECTED = frozenset(("POST", "PUT", "PATCH"))


def render_headers(headers: Iterable[tuple[str, str]]) -> bytes:
    """Headers → a block that `Client.send` takes in their place; render once what goes out often.

    ValueError for a name or value that isn't one header and nothing else.
    """
    kept = [(name, value) for name, value in headers if name.lower() not in OURS]
    try:
        block = "".join([f"{name}: {value}\r\n" for name, value in kept]).encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("a header has characters outside latin-1") from None
    # A value that smuggles whole lines would pass the pattern, but not the count.
    if block.count(b"\r\n") != len(kept) or not _BLOCK.fullmatch(block) or any(":" in name for name, _ in kept):
        raise ValueError("a header has an invalid name, or a control character in its value")
    return block


def read_headers(block: bytes) -> list[tuple[str, str]]:
    """What `render_headers` rendered, as pairs again."""
    lines = (line.partition(": ") for line in block.decode("latin-1").split("\r\n") if line)
    return [(name, value) for name, _, value in lines]


def render_head(
    method: str, target: str, host_line: bytes, headers: list[tuple[str, str]] | bytes, body_bytes: int
) -> bytes:
    """Request line and headers, up to and with the empty line. ValueError for anything that could
    break out of it.
    """
    length = b"content-length: %d\r\n" % body_bytes if body_bytes or method in _BODY_EXPECTED else b""
    if isinstance(headers, bytes):  # rendered once, used often: so is what it becomes
        return b"%b%b\r\n" % (_kept_start(method, target, host_line, headers), length)
    return b"%b%b\r\n" % (_start(method, target, host_line, render_headers(headers)), length)


def _start(method: str, target: str, host_line: bytes, block: bytes) -> bytes:
    """Everything but the body's length."""
    if not _METHOD.fullmatch(method):
        raise ValueError("the method must be upper-case letters")
    if not _TARGET.fullmatch(target):
        raise ValueError("the target must start with / and have no spaces, control or non-ASCII characters")
    if not _BLOCK.fullmatch(block):
        raise ValueError("the header block isn't made of whole lines, or has a header that the client sets itself")
    identity = b"" if b"accept-encoding:" in block.lower() else b"accept-encoding: identity\r\n"
    return b"%b %b HTTP/1.1\r\n%b%b%b" % (method.encode(), target.encode(), host_line, block, identity)


_kept_start = functools.lru_cache(maxsize=1024)(_start)

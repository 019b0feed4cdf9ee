"""W3C Trace Context: whose trace a call belongs to (https://www.w3.org/TR/trace-context/). Pure.

A call is one span: its id is made from the request's own, so that whoever writes it down says the
same without being told.
"""

import hashlib
import re

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
STATE_CHARACTERS_MAX = 512

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<parent>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_STATE = re.compile(r"[ -~]*")


def read(value: object) -> str | None:
    """A `traceparent` as version 00 has it; None: it is none, and a trace begins with us."""
    found = _FORM.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found["version"] == "ff" or (found["version"] == "00" and found["more"]):
        return None
    if not found["trace"].strip("0") or not found["parent"].strip("0"):
        return None
    return f"00-{found['trace']}-{found['parent']}-{found['flags']}"


def state(value: str | None) -> str | None:
    """A `tracestate` that can go on as it is."""
    return value if value and len(value) <= STATE_CHARACTERS_MAX and _STATE.fullmatch(value) else None


def ids(traceparent: str) -> tuple[str, str]:
    """(trace, parent's span) of what `read` gave."""
    _, trace, parent, _ = traceparent.split("-")
    return trace, parent


def span_id(request_id: str) -> str:
    """Of the span that a request is."""
    return hashlib.sha256(request_id.replace("-", "").encode()).hexdigest()[:16]


def headers(traceparent: str | None, tracestate: str | None, request_id: str) -> list[tuple[str, str]]:
    """What whoever we ask for this request is told of its trace; none where it belongs to none."""
    if traceparent is None:
        return []
    told = [(TRACEPARENT, child(traceparent, request_id))]
    return told if tracestate is None else [*told, (TRACESTATE, tracestate)]


def child(traceparent: str, request_id: str) -> str:
    """The `traceparent` below a request's own span."""
    version, trace, _, flags = traceparent.split("-")
    return f"{version}-{trace}-{span_id(request_id)}-{flags}"

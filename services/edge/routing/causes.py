"""What can go wrong with an attempt, and what may follow: one table. Pure.

Two questions decide what may follow. Can the provider have done (and billed) the work? Then another
attempt may be paid twice, and only `retry_unsafe` allows it. And is it the deployment's fault, or
the request's? What is wrong with the request would be wrong everywhere.
"""

import itertools
import re
from collections.abc import Mapping
from typing import Final

import msgspec


class Cause(msgspec.Struct, frozen=True):
    """One row."""

    outcome: str
    """Of the fact that ends the call, if nothing follows."""
    elsewhere: bool
    """Another deployment may be asked."""
    again: bool = False
    """The same deployment may be asked once more, after a pause."""
    billed: bool = False
    """The provider may have done the work, or a part of it: what it said so far is booked."""
    unsafe: bool = False
    """May go on only where `retry_unsafe` allows that the work is done, and billed, twice."""
    cools: str = ""
    """`now`: the deployment rests at once; `counted`: after `allowed_fails` of them; empty: it
    isn't the deployment's fault.
    """
    error: str = "provider_broke_off"
    """Name of the refusal in shared.errors, where the provider said nothing itself."""


def _wrong(*, again: bool = False, cools: str = "counted", error: str = "provider_bad_answer") -> Cause:
    return Cause("provider_error", elsewhere=True, again=again, cools=cools, error=error)


CAUSES: Final[dict[str, Cause]] = {
    # Nothing was sent.
    "connect": Cause("provider_error", True, again=True, cools="now", error="provider_unreachable"),
    "tls": Cause("provider_error", True, again=True, cools="now", error="provider_unreachable"),
    "no_connection": Cause("timeout", True, again=True, cools="now", error="provider_timeout"),
    "no_credential": Cause("provider_error", True, cools="now", error="provider_unreachable"),
    "full": Cause("timeout", True, error="deployment_full"),
    # It was sent, and not a byte came back: whoever took it is gone.
    "hung_up": Cause("provider_error", True, billed=True, cools="now"),
    # It was sent, and may well have been worked on.
    "timeout": Cause("timeout", True, billed=True, unsafe=True, cools="counted", error="provider_timeout"),
    "reset": Cause("provider_error", True, billed=True, unsafe=True, cools="counted"),
    "protocol": Cause("provider_error", True, billed=True, unsafe=True, cools="counted"),
    "too_large": Cause("provider_error", False, billed=True),
    "no_room": Cause("edge_error", False, billed=True),
    # A stream that ended before it said anything.
    "early_end": Cause("provider_error", True, billed=True, cools="counted"),
    "early_timeout": Cause("timeout", True, billed=True, cools="counted", error="provider_timeout"),
    # A 200 that is none.
    "error_answer": _wrong(again=True),
    "empty": _wrong(again=True),
    "unreadable": _wrong(),
    "too_few": _wrong(),
    # What the provider says of itself.
    "refused": Cause("provider_error", False, error="provider_bad_answer"),
    "deployment": _wrong(cools="now"),
    "limited": _wrong(again=True, cools="now"),
    "failed": _wrong(again=True),
}

_BY_STATUS: Final = {
    401: "deployment", 402: "deployment", 403: "deployment", 404: "deployment", 407: "deployment", 408: "failed", 409: "failed",
    425: "failed", 429: "limited",
}  # fmt: skip
"""401 to 404 say something of this deployment (its key has ended, it was deleted), and nothing of
the others.
"""


def of_status(status: int) -> str:
    """The cause an answer of this status is."""
    if status >= 500 or status < 400:  # we follow no redirect
        return "failed"
    return _BY_STATUS.get(status, "refused")


OF_UPSTREAM: Final = {
    "connect": "connect", "tls": "tls", "timeout": "timeout", "reset": "reset", "protocol": "protocol", "too_large": "too_large",
    "no_room": "no_room",
}  # fmt: skip
"""services.edge.upstream's kinds, once something was sent."""

_TOO_LONG: Final = (
    "context_length_exceeded", "maximum context length", "context window", "prompt is too long", "input is too long",
    "exceeds the maximum number of tokens", "input token count", "string too long",
)  # fmt: skip
_NOT_ALLOWED: Final = (
    "content_policy_violation", "content_filter", "content management policy", "responsibleaipolicyviolation",
    "content policy", "safety system",
)  # fmt: skip


_HELD_ELSEWHERE: Final = (
    b"previous_response_not_found", b"previous response with id", b"invalid_encrypted_content", b"encrypted content", b"item with id",
)  # fmt: skip
_ID: Final = re.compile(rb"[A-Za-z]{1,32}[_-][A-Za-z0-9_-]{1,512}")
IDS_MAX: Final = 32
"""Of an error, looked for in its request."""


def of_model(said: bytes) -> bool:
    """Whether a 404 is about the model, and not about the route."""
    said = said.lower()
    return b"model" in said or b"deployment" in said


def held_elsewhere(status: int, said: bytes, fields: Mapping[str, msgspec.Raw]) -> bool:
    """Whether a refusal is about something that only the deployment has that made it: a stored
    response or item, reasoning that it encrypted. Nothing was done yet, and another may know it.
    So is a 404 that names what the request names: whoever invents a vector store's id makes
    nobody's route, or deployment, a missing one.

    Args:
        fields: the request's.
    """
    if status not in (400, 404):
        return False
    lower = said.lower()
    if any(words in lower for words in _HELD_ELSEWHERE):
        return True
    ids = {each[0] for each in itertools.islice(_ID.finditer(said), IDS_MAX)} if status == 404 else set()
    asked = [bytes(raw) for name, raw in fields.items() if name != "model"] if ids else []
    return any(id in raw for raw in asked for id in ids)


def kind_of(status: int, said: str) -> str:
    """What a refusal is about, as far as fallbacks go by it: `context_window`, `content_policy`, or
    nothing special.

    Args:
        said: the provider's code and message.
    """
    if status not in (400, 413, 422):
        return ""
    said = said.lower()
    if any(words in said for words in _TOO_LONG):
        return "context_window"
    return "content_policy" if any(words in said for words in _NOT_ALLOWED) else ""

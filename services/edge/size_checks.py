"""Whether a request or an answer is within its limits (sizes.py). Whoever is over one is told so,
and an alert goes out.
"""

from services.edge import reading
from services.edge.http import Request
from services.edge.parts import Parts
from services.edge.reading import Head
from services.edge.sizes import MB
from shared import errors
from shared.errors import Refusal, RefusedError
from shared.facts import Caller
from shared.grant import Grant


def arrived(parts: Parts, request: Request) -> bytes | None:
    """The body, where it is here already, as it is, and so small that it is nobody's matter; None:
    `body` reads it.
    """
    length, free_bytes = request.content_length, reading.HELD_FREE_BYTES
    if length is None or length > free_bytes or b"content-encoding" in request.fields:
        return None
    mb = parts.sizes.request_mb
    if (mb is not None and length > mb * MB) or parts.settings.edge_body_bytes_max < free_bytes:
        return None
    return request.whole_body()


async def body(parts: Parts, request: Request, head: Head, route: str) -> bytes:
    """The body of somebody we know. Raises RefusedError."""
    settings, mb = parts.settings, parts.sizes.request_mb
    bytes_max = settings.edge_body_bytes_max
    if mb is None or mb * MB >= bytes_max:
        return await reading.body(request, bytes_max, settings.edge_body_timeout_ms)

    def too_large(size_bytes: int | None, limit_bytes: int) -> Refusal:
        refusal = errors.request_too_large(limit_bytes + 1 if size_bytes is None else size_bytes, mb)
        tell(parts, refusal, route, request.remote, parts.grants.caller(head.digest))
        return refusal

    return await reading.body(request, int(mb * MB), settings.edge_body_timeout_ms, too_large)


def check_request(parts: Parts, grant: Grant, route: str, address: str | None, size_bytes: int) -> None:
    """The key's and team's own limit, once they are known. Raises RefusedError."""
    mb = grant.max_request_size_mb
    if mb is not None and size_bytes > mb * MB:
        refusal = errors.request_too_large(size_bytes, mb)
        tell(parts, refusal, route, address, grant.caller)
        raise RefusedError(refusal)


def response_mb(parts: Parts, grant: Grant) -> float | None:
    """The limit of what this caller may be answered; None: none."""
    ours, theirs = parts.sizes.response_mb, grant.max_response_size_mb
    return ours if theirs is None else theirs if ours is None else min(ours, theirs)


def response_refusal(
    parts: Parts, grant: Grant, route: str, address: str | None, size_bytes: int, mb: float
) -> Refusal:
    refusal = errors.response_too_large(size_bytes, mb)
    tell(parts, refusal, route, address, grant.caller)
    return refusal


def tell(parts: Parts, refusal: Refusal, route: str, address: str | None, caller: Caller | None) -> None:
    """An alert, at most one a minute for each kind and caller."""
    who = address or "unknown"
    if caller is not None and (caller.key_alias or caller.key_sha256):
        who = caller.key_alias or f"key {(caller.key_sha256 or '')[:12]}"
        who += "".join(
            f", {name} {value}" for name, value in (("team", caller.team_id), ("user", caller.user_id)) if value
        )
        who += f", from {address}" if address else ""
    parts.alerts.tell(refusal.code, who, f"{refusal.message}\nCaller: {who}\nRoute: {route}")

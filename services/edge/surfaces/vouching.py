"""Commands that only the edge can give, for somebody it has seen come in."""

from typing import Any

import msgspec
import structlog

from services.edge.http import Request
from services.edge.parts import Parts
from services.edge.sso.flow import SsoError
from services.edge.sso.throttle import Guess, source_of
from shared import bus, subjects
from shared.requests import AdminReply, AdminRequest

log = structlog.get_logger()


async def vouch(parts: Parts, request: Request, route: str, body: dict[str, Any]) -> dict[str, Any]:
    """The answer. Raises SsoError."""
    timeout_ms = parts.settings.edge_admin_timeout_ms
    question = AdminRequest(
        key_sha256=None,
        route=route,
        query={},
        body=body,
        requester_ip=request.remote,
        min_control_seq=parts.grants.seen_seq,
        deadline_at_ms=parts.clock.unix_ms() + timeout_ms,
        vouched=True,
    )
    try:
        reply = await bus.ask(parts.bus_client, subjects.POLICY_ADMIN, question, AdminReply, timeout_ms)
    except bus.BusError:
        raise SsoError(503, "Policy can't answer at the moment. Try again.") from None
    for subject in reply.changed:
        parts.grants.forget(subject, reply.control_seq)
    if reply.status == 404:
        raise SsoError(404, msgspec.json.decode(reply.body)["error"]["message"])
    if reply.status >= 400:
        log.warning("not_vouched", route=route, status=reply.status, answer=reply.body[:300].decode("utf-8", "replace"))
        raise SsoError(403, "You can't come in: policy refused it.")
    return msgspec.json.decode(reply.body, type=dict[str, Any])


def guess_of(request: Request) -> Guess:
    """By the address alone."""
    return Guess(source_of(request.remote))


async def tell_failure(parts: Parts, request: Request, how: str, guess: Guess | None = None) -> None:
    """A fact now and then, with how many: whoever tries passwords can't fill the audit log."""
    for source, count in parts.sso.guesses.failed(guess or guess_of(request), parts.clock.unix_ms() / 1000):
        try:
            await vouch(parts, request, "/sso/failed", {"source": source, "count": count, "how": how})
        except SsoError as error:
            log.warning("failed_login_not_told", error=str(error))

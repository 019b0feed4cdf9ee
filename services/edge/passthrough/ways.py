"""Whom a relayed call may go to, and what it is when one of them fails."""

from services.edge import groups as chooses
from services.edge.formats.base import Call
from services.edge.parts import Parts
from services.edge.passthrough import by_chat
from services.edge.passthrough.kinds import Kind
from services.edge.providers.base import CredentialsError
from services.edge.routing import request as asked_for
from services.edge.routing.plan import Group
from shared import errors
from shared.errors import Refusal
from shared.grant import Candidate, Fallback, Permit
from shared.outbound import OutboundError
from shared.routes import Route

_OF_OUTBOUND = {"timeout": "timeout", "unreachable": "connect", "broken": "hung_up", by_chat.UNREADABLE: "unreadable"}
"""shared.outbound's codes → routing/causes.py; any other: it can't be asked at all."""
NOBODY = "no_credential"
"""The cause where a deployment can't be asked at all."""


def groups_of(
    parts: Parts, route: Route, kind: Kind, call: Call, permit: Permit, named: list[Fallback], *, is_text: bool
) -> list[Group]:
    """Who can be asked. Raises RefusedError where that is nobody.

    Args:
        named: the fallbacks of the request.
        is_text: whether the body is what a model reads.
    """

    def is_callable(candidate: Candidate) -> bool:
        return by_chat.serves(chooses.target_of(parts, candidate), route.name, kind)

    def why_not() -> Refusal:
        return errors.not_served(call.model, f"no deployment of it has {route.name}")

    others = [*named, *permit.grant.fallbacks]
    return chooses.chosen(parts, call, permit, others, len(call.body) if is_text else 0, is_callable, why_not)


def found_as(call: Call, fell: tuple[str, str] | None) -> str:
    """The model of a response's id: by whose deployments it is found again.

    Args:
        fell: the other model that made it, and why. One that the request itself named is no
            fallback of the model it asked for when the response is read.
    """
    return fell[0] if fell is not None and fell[0] in asked_for.fallbacks(call) else call.model


def cause_of(error: OutboundError | CredentialsError, *, has_head: bool, is_stream: bool, has_begun: bool) -> str:
    """Of routing/causes.py.

    Args:
        has_head: the provider has answered, so it has worked, and bills.
        has_begun: something of an answer came behind the head.
    """
    cause = _OF_OUTBOUND.get(error.code, NOBODY) if isinstance(error, OutboundError) else NOBODY
    if not has_head or cause == "timeout":
        return cause
    if has_begun:
        return "reset"
    return cause if cause == "unreadable" else "early_end" if is_stream else "reset"

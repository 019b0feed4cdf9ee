"""The fact that a call which is relayed goes to a deployment."""

from services.edge import account
from services.edge.formats.base import Call
from services.edge.parts import Parts
from services.edge.reading import Head
from shared.facts import Opened
from shared.grant import Candidate, Permit
from shared.ids import new_request_id
from shared.routes import Route


def opened_of(
    parts: Parts,
    route: Route,
    head: Head,
    call: Call,
    permit: Permit,
    candidate: Candidate,
    left_ms: int,
    fallback_to: str | None,
) -> Opened:
    """
    Args:
        left_ms: until its deadline.
        fallback_to: the other model it goes to; None: the one that was asked for.
    """
    now_ms, metadata = parts.clock.unix_ms(), account.logged(permit.spend_logs_metadata, head)
    if fallback_to is not None:
        metadata = {**metadata, account.FALLBACK_TO: fallback_to}
    return Opened(
        id=new_request_id(),
        at_ms=now_ms,
        edge_id=parts.edge_id,
        caller=permit.grant.caller,
        call_type=route.call_type,
        route=route.name,
        model=call.model,
        deployment_id=candidate.deployment_id,
        provider=candidate.provider,
        upstream_model=candidate.upstream_model,
        price=candidate.price,
        stream=call.stream,
        customer_id=account.recorded_customer(parts, call),
        tags=account.recorded_tags(parts, permit.tags, head),
        spend_logs_metadata=metadata,
        requester_ip=account.recorded(parts, head.ip),
        user_agent=head.user_agent,
        guardrails=[each.name for each in permit.guardrails],
        litellm_call_id=head.litellm_call_id,
        expires_at_ms=now_ms + left_ms + parts.settings.edge_expiry_slack_ms,
        session_id=head.session_id,
    )

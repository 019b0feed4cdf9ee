"""Admission: the rules that a request must pass, in the one order in which they are looked at.

Some rules only need to know who asks for what (a blocked key, a model that isn't allowed): policy
looks at those once, and its Denial says which one refused. The others need the request itself (its
address, its parameters, the customer it names): the edge looks at those, every time. Where several
would refuse, the first in this order is reported, whichever side looks at it. The order is
LiteLLM's, but for one thing: who is nobody learns nothing else (401 first).

Pure. `decide`, `admit` and `explain` walk this list.
"""

from collections.abc import Callable

import msgspec

from shared.admission.predicates import BINDS, OF, PREDICATES, with_named
from shared.errors import Refusal
from shared.grant import Ask, Denial, Grant, Permit, draw_order, merge_tags

ORDER: tuple[str, ...] = (
    "credential",
    "ip",
    "allowed_routes",
    "key_blocked",
    "model_name",
    "key_models",
    "key_expired",
    "key_routes",
    "endpoints_disabled",
    "team",
    "team_models",
    "organization_models",
    "user_models",
    "customer",
    "project",
    "client_tags",
    "modify_guardrails",
    "role",
    "guardrails_served",
    "guardrail_names",
    "enforced_params",
    "model_served",
    "budget",
    "cache_controls",
)
"""Names of rules. Those without a predicate here are policy's alone (services/policy/decide.py)."""

_AT_THE_EDGE = tuple((name, PREDICATES[name]) for name in ORDER if name in PREDICATES)
_POSITION = {name: number for number, name in enumerate(ORDER)}


def admit(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """Why this request may not go on; None: it may.

    Args:
        now_ms: Unix milliseconds; decides whether the credential has ended since.
    """
    if isinstance(decision, Denial):
        until = _POSITION.get(decision.rule, 0)
        for name, check in _AT_THE_EDGE:
            if _POSITION[name] >= until:
                break
            refusal = check(decision, ask, now_ms)
            if refusal is not None:
                return _named(refusal, name, decision, ask)
        return decision.refusal
    for name, check in _AT_THE_EDGE:
        refusal = check(decision, ask, now_ms)
        if refusal is not None:
            return _named(refusal, name, decision, ask)
    return None


def named(refusal: Refusal, rule: str, of: str) -> Refusal:
    """With its decision: which rule, and whose it is."""
    return msgspec.structs.replace(refusal, decision=f"{rule}; of={of}" if of else rule)


def _named(refusal: Refusal, rule: str, decision: Grant | Denial, ask: Ask) -> Refusal:
    return refusal if refusal.decision is not None else named(refusal, rule, OF[rule](decision, ask))


def is_stranger(decision: Grant | Denial) -> bool:
    """Whether the credential itself is none: nothing more is asked or told then."""
    return isinstance(decision, Denial) and decision.rule == "credential"


_OF_THE_MODEL = frozenset(
    {"model_name", "key_models", "team_models", "organization_models", "user_models", "model_served"}
)
"""Asked without a model these say nothing: they may only mean that there was none."""
_FROM_THE_BODY = _POSITION["customer"]


def before_body(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """Why this caller may not go on, as far as that can be said before a byte of the body is read.

    Args:
        decision: about the credential and the route, without a model.
    """
    refusal = PREDICATES["ip"](decision, ask, now_ms)
    if refusal is not None:
        refusal = _named(refusal, "ip", decision, ask)
    if isinstance(decision, Denial) and decision.rule not in _OF_THE_MODEL:
        if is_stranger(decision):
            return decision.refusal
        if refusal is None and _POSITION.get(decision.rule, 0) < _FROM_THE_BODY:
            return decision.refusal
    return refusal


def standing(decision: Grant | Denial) -> Permit | None:
    """The permit of every request that says nothing of its own (no tags, metadata, guardrails,
    customer), until the credential ends (`expires_at_ms`). None: it depends on the request."""
    if isinstance(decision, Denial) or len(decision.candidates) > 1:
        return None
    if any(name not in BINDS or BINDS[name](decision) for name, _ in _AT_THE_EDGE):
        return None
    outcome = permit(decision, _NOTHING_SAID, 0, float)
    return outcome if isinstance(outcome, Permit) else None


_NOTHING_SAID = Ask([], {})


def permit(decision: Grant | Denial, ask: Ask, now_ms: int, random: Callable[[], float]) -> Permit | Refusal:
    """Apply a decision to one request.

    Args:
        random: uniform in [0, 1); draws the order of equal candidates.
    """
    refusal = admit(decision, ask, now_ms)
    if refusal is not None:
        return refusal
    assert isinstance(decision, Grant)
    tags = decision.tags if not ask.tags else merge_tags(ask.tags, decision.tags)
    metadata = decision.spend_logs_metadata
    if ask.spend_logs_metadata:
        metadata = {**metadata, **ask.spend_logs_metadata}
    candidates = decision.candidates
    if len(candidates) > 1:
        candidates = draw_order(candidates, random)
    return Permit(decision, candidates, tags, metadata, with_named(decision, ask.fields))

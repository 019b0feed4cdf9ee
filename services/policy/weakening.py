"""What makes an entity less strict than it was, as a table: field → where it stands → whether
`after` is as strict as `before`. Pure.

A key's owner and a team's admin may change much, but never so that a check which somebody above
them set lets more through.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from services.policy.model_access import GROUPS
from shared.entities.readers import texts_in

Strict = Callable[[Any, Any], bool]
"""(before, after) -> whether after is as strict."""


def in_effect(entity: Any, name: str) -> Any:
    """A field that LiteLLM also keeps in `metadata`."""
    value = entity.extra.get(name)
    return entity.metadata.get(name) if value is None else value


def _narrower(before: Any, after: Any) -> bool:
    """A list that allows: none or empty allows all."""
    return not before or (bool(after) and set(texts_in(after)) <= set(texts_in(before)))


def _wider(before: Any, after: Any) -> bool:
    """A list that demands or denies."""
    return set(texts_in(before)) <= set(texts_in(after))


def _lower(before: Any, after: Any) -> bool:
    """The most of something; none: no limit."""
    if not _is_number(before):
        return True
    return _is_number(after) and after <= before


def _each_lower(before: Any, after: Any) -> bool:
    """Limits by name."""
    if not isinstance(before, Mapping):
        return True
    now = after if isinstance(after, Mapping) else {}
    return all(name in now and (now[name] == limit or _lower(limit, now[name])) for name, limit in before.items())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _models(entity: Any) -> list[str]:
    """With its groups, which are no models, even of the same name."""
    return [*entity.models, *(f"{GROUPS}: {group}" for group in texts_in(entity.extra.get(GROUPS)))]


class Check(msgspec.Struct, frozen=True):
    name: str
    as_strict: Strict
    makers: bool = False
    """Whether who made the entity may loosen it again: they could as well make another."""
    read: Callable[[Any], Any] | None = None
    """None: it is kept in `extra`, or in `metadata`."""


CHECKS: tuple[Check, ...] = (
    Check("models", _narrower, makers=True, read=_models),
    Check("allowed_ips", _narrower),
    Check("enforced_params", _wider),
    Check("guardrails", _wider),
    Check("denied_passthrough_routes", _wider),
    Check("allowed_cache_controls", _narrower),
    Check("max_request_size_mb", _lower),
    Check("max_response_size_mb", _lower),
    Check("tpm_limit", _lower, makers=True),
    Check("rpm_limit", _lower, makers=True),
    Check("tpd_limit", _lower, makers=True),
    Check("max_parallel_requests", _lower, makers=True),
    Check("model_rpm_limit", _each_lower, makers=True),
    Check("model_tpm_limit", _each_lower, makers=True),
)

PRIVILEGED = ("permissions", "allowed_routes")
"""For proxy admins alone; attributes of their own."""
PRIVILEGED_KEPT = ("disable_global_guardrails", "modify_guardrails", "allowed_passthrough_routes")

MONEY = (
    "spend", "budget_limits", "soft_budget", "project_id", "budget_id", "budget_duration", "budget_reset_at", "model_max_budget",
    "temp_budget_increase", "temp_budget_expiry", "throttle_on_budget_exceeded",
)  # fmt: skip
"""Of a key, besides `max_budget`: for those who administer it, never for its owner."""


def weakened(before: Any, after: Any, *, made_by_actor: bool = False) -> str | None:
    """The first field of a key, team or project whose check `after` makes weaker than `before` had
    it; None: none.
    """
    for check in CHECKS:
        if check.makers and made_by_actor:
            continue
        now, then = (
            in_effect(each, check.name) if check.read is None else check.read(each) for each in (after, before)
        )
        if not check.as_strict(then, now):
            return check.name
    return None


def privileged(before: Any, after: Any) -> str | None:
    """The first field that changed and that only proxy admins may set; None: none."""
    for name in PRIVILEGED:
        if getattr(before, name, None) != getattr(after, name, None):
            return name
    for name in PRIVILEGED_KEPT:
        if in_effect(before, name) != in_effect(after, name):
            return name
    modify = [_modify(entity.metadata) for entity in (before, after)]
    return None if modify[0] == modify[1] else "metadata"


def money(before: Any, after: Any) -> str | None:
    """The first field about money that changed, be it to nothing; None: none."""
    if before.max_budget_picousd != after.max_budget_picousd:
        return "max_budget"
    if getattr(before, "spend_offset_picousd", 0) != getattr(after, "spend_offset_picousd", 0):
        return "spend"
    return next((name for name in MONEY if before.extra.get(name) != after.extra.get(name)), None)


def _modify(metadata: dict[str, Any]) -> Any:
    guardrails = metadata.get("guardrails")
    return guardrails.get("modify_guardrails") if isinstance(guardrails, dict) else None

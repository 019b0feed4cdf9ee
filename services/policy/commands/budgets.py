"""/budget/*: limits with a name. Kept and shown; what refers to one (`budget_id`) shows it too. For
proxy admins.
"""

from typing import Any

from services.policy.commands import generic
from services.policy.plan import Call, Plan, change
from shared import errors
from shared.entities import BUDGET, Budget, EntityKind, budget
from shared.entities import readers as fields
from shared.errors import RefusedError

BUDGETS_MAX = 100
"""Of one /budget/info."""
SHOWN_MAX = 1_000
HOLDERS = ("key", "customer", "organization", "project", "tag")
"""Kinds with a `budget_id`."""
SETTINGS = {
    "max_parallel_requests": "Integer",
    "tpm_limit": "Integer",
    "rpm_limit": "Integer",
    "tpd_limit": "Integer",
    "budget_duration": "String",
    "max_budget": "Float",
    "soft_budget": "Float",
    "model_max_budget": "Object",
}
"""What /budget/settings tells of, and LiteLLM's word for its type."""


def new(call: Call) -> Plan:
    budget_id = fields.text("budget_id", call.body.get("budget_id")) or call.new_id()
    if budget_id in call.directory.tables["budget"]:
        raise RefusedError(errors.bad_request(f"Budget with id '{budget_id}' already exists.", "budget_id"))
    made = Budget(budget_id=budget_id, created_at_ms=call.now_ms, created_by=call.actor.user_id)
    return _save(call, made, None)


def update(call: Call) -> Plan:
    before = _named(call, call.body.get("budget_id"), "budget_id")
    return _save(call, before, before)


def delete(call: Call) -> Plan:
    """Refused while something refers to it: that would have no limits any more."""
    before = _named(call, call.body.get("id"), "id")
    for kind in HOLDERS:
        held = call.directory.find(kind, "budget_id", before.budget_id)
        if held:
            message = f"Budget '{before.budget_id}' is still the budget of {len(held)} {kind}(s)"
            raise RefusedError(errors.bad_request(message, "id"))
    return Plan(BUDGET.row(before), [change(call.directory, BUDGET, "deleted", before, None)])


def info(call: Call) -> Plan:
    """Those that are there."""
    names = generic.names(call, "budgets", BUDGETS_MAX)
    table = call.directory.tables["budget"]
    return Plan([BUDGET.row(table[name]) for name in names if name in table])


def list_budgets(call: Call) -> Plan:
    """LiteLLM answers them all; here it is a page, the first one unless asked otherwise."""
    page = generic.page(call, call.directory.ordered("budget", "budget_id"), default=SHOWN_MAX, most=SHOWN_MAX)
    return Plan([BUDGET.row(each) for each in page.items])


def settings(call: Call) -> Plan:
    """What can be set on a budget, and what is."""
    found = call.directory.tables["budget"].get(call.query.get("budget_id", ""))
    row = {} if found is None else BUDGET.row(found)
    return Plan(
        [
            {
                "field_name": name,
                "field_type": type_,
                "field_description": "",
                "field_value": row.get(name),
                "stored_in_db": True,
                "field_default_value": None,
            }
            for name, type_ in SETTINGS.items()
        ]
    )


def shown(call: Call, kind: EntityKind[Any], entity: Any, *, own: bool = True) -> dict[str, Any] | None:
    return budget.shown(call.directory.tables["budget"], kind, entity, own=own)


def check(call: Call, before: Any, after: Any) -> None:
    """A budget that is new to an entity must exist. Raises RefusedError."""
    budget_id = after.extra.get("budget_id")
    if budget_id != before.extra.get("budget_id") and budget_id not in {None, *call.directory.tables["budget"]}:
        fields.refuse("budget_id", "must name a budget that exists (/budget/new makes one)")


def _named(call: Call, sent: Any, field: str) -> Budget:
    budget_id = fields.text(field, sent)
    return generic.named(call, BUDGET, budget_id, field, f"Budget not found, {field}={budget_id}")


def _save(call: Call, known: Budget, before: Budget | None) -> Plan:
    made = BUDGET.merge(known, call.body)
    after = generic.stamped(call, made.entity)
    BUDGET.check_size(after)
    changes = [change(call.directory, BUDGET, "created" if before is None else "updated", before, after)]
    return Plan(BUDGET.row(after), changes, made.unknown, made.not_enforced)

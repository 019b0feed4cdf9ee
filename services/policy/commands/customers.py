"""/customer/* and /end_user/*, and the page's /user/block and /user/unblock, which mean customers
too.

A customer who was only seen on a call is in the book alone; here is who somebody set something on.
"""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any

import msgspec

from services.policy.commands import budgets, generic, keys
from services.policy.plan import Call, Change, Plan, Spent, change
from shared import errors
from shared.entities import CUSTOMER, Customer
from shared.entities import readers as fields
from shared.errors import RefusedError

USERS_MAX = 1_000
"""Of one call."""
SHOWN_MAX = 1_000


def new(call: Call) -> Plan:
    user_id = fields.text("user_id", call.body.get("user_id"))
    if user_id is None:
        fields.refuse("user_id", "must name the customer")
    if user_id in call.directory.customers:
        raise RefusedError(errors.bad_request(f"Customer already exists, passed user_id={user_id}", "user_id"))
    return _merge(call, Customer(user_id=user_id, created_at_ms=call.now_ms), None)


def update(call: Call) -> Plan:
    before = _named(call, fields.text("user_id", call.body.get("user_id")))
    return _merge(call, before, before)


def _merge(call: Call, customer: Customer, before: Customer | None) -> Plan:
    if call.body.get("budget_id") is not None and call.body.get("max_budget") is not None:
        fields.refuse("budget_id", "and max_budget can't both be set")
    made = CUSTOMER.merge(customer, call.body)
    after = generic.stamped(call, made.entity)
    keys.check_names(call, customer.models, after.models)
    budgets.check(call, customer, after)
    if after.default_model is not None and after.default_model != customer.default_model:
        keys.check_names(call, [], [after.default_model], "default_model")
    CUSTOMER.check_size(after)
    row = show(call, after, spend=None if before is not None else 0.0)
    changes = [change(call.directory, CUSTOMER, "created" if before is None else "updated", before, after)]
    return Plan(row, changes, made.unknown, made.not_enforced)


def delete(call: Call) -> Plan:
    names = generic.names(call, "user_ids", USERS_MAX)
    found = [_named(call, name, "user_ids") for name in names]
    changes = [change(call.directory, CUSTOMER, "deleted", each, None) for each in found]
    answer = {"deleted_customers": len(found), "message": f"Successfully deleted customers with ids: {names}"}
    return Plan(answer, changes)


def info(call: Call) -> Plan:
    customer = _named(call, call.query.get("end_user_id") or call.query.get("user_id"), "end_user_id")
    row = show(call, customer, spend=None)
    return Plan(row, spend=[Spent(row, "customer", [customer.user_id])])


def list_customers(call: Call) -> Plan:
    """LiteLLM answers them all; here it is a page, the first one unless asked otherwise.

    `search`: a part of the id or alias; `after`: only ids that come after this one, so that a page
    stays where it is whoever comes and goes.
    """
    page = generic.page(call, _listed(call), default=SHOWN_MAX, most=SHOWN_MAX)
    rows = [show(call, each, spend=None) for each in page.items]
    spend = [Spent(row, "customer", [each.user_id]) for row, each in zip(rows, page.items, strict=True)]
    return Plan(rows, spend=spend)


def _listed(call: Call) -> Sequence[Customer]:
    """By their ids."""
    search, after = call.query.get("search") or "", call.query.get("after") or ""
    if not search:
        found: Sequence[Customer] = call.directory.ordered("customer", "user_id")
        return found[bisect_right(found, after, key=lambda each: each.user_id) :] if after else found
    either = {
        each.user_id: each
        for attribute in ("user_id", "alias")
        for each in call.directory.containing("customer", attribute, search)
    }
    return [either[name] for name in sorted(either) if name > after]


def block(call: Call) -> Plan:
    names, changes, after = _set_blocked(call, True)
    return Plan({"blocked_users": [show(call, after[name], spend=None) for name in names]}, changes)


def unblock(call: Call) -> Plan:
    """The answer names who is still blocked, be it by the API or by the configuration's list."""
    names, changes, _ = _set_blocked(call, False)
    blocked: list[Customer] = call.directory.find("customer", "blocked", "True")
    still = [each.user_id for each in blocked]
    listed = [user_id for user_id in call.catalog.blocked_users if user_id not in call.directory.customers]
    gone = set(names)
    remaining = [user_id for user_id in dict.fromkeys((*still, *listed)) if user_id not in gone]
    return Plan({"blocked_users": remaining[:SHOWN_MAX]}, changes)


def _set_blocked(call: Call, blocked: bool) -> tuple[list[str], list[Change], dict[str, Customer]]:
    """Also of customers nobody knew: that they are blocked (or are not, whatever the list says) is
    what is known now.
    """
    names = generic.names(call, "user_ids", USERS_MAX)
    changes, after = [], {}
    for name in names:
        user_id = fields.text("user_ids", name)
        assert user_id is not None
        before = call.directory.customers.get(user_id)
        known = before or Customer(user_id=user_id, created_at_ms=call.now_ms)
        after[user_id] = generic.stamped(call, msgspec.structs.replace(known, blocked=blocked))
        action = "blocked" if blocked else "unblocked"
        changes.append(change(call.directory, CUSTOMER, action, before, after[user_id]))
    return names, changes, after


def show(call: Call, customer: Customer, **more: Any) -> dict[str, Any]:
    row = CUSTOMER.row(customer, litellm_budget_table=budgets.shown(call, CUSTOMER, customer), **more)
    if customer.blocked is None:
        row["blocked"] = customer.user_id in call.catalog.blocked_users
    return row


def _named(call: Call, user_id: str | None, field: str = "user_id") -> Customer:
    missing = f"End User Id={(user_id or '')[:256]} does not exist"
    return generic.named(call, CUSTOMER, user_id, field, missing)

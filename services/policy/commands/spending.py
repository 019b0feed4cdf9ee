"""/provider/budgets: what providers may spend by the file, and what they have."""

from services.policy import budgets
from services.policy.plan import Call, Plan, Spent
from shared.config.budgets import window
from shared.entities.kind import iso, usd


def provider_budgets(call: Call) -> Plan:
    """Of those that are held to. The file names the others when it is read."""
    rows = {}
    spend = []
    for each in call.catalog.budgets:
        if each.dimension == "provider":
            row = rows[each.value] = {
                "budget_limit": usd(each.max_picousd),
                "time_period": each.term or None,
                "spend": None,
                "budget_reset_at": iso(window(each.term, call.now_ms)[1]),
            }
            spend.append(Spent(row, each.dimension, [each.value], since=budgets.first_day(each, call.now_ms)))
    return Plan({"providers": rows}, spend=spend)

"""Budgets: limits with a name, which keys, customers, organisations, projects and tags may share
(`budget_id`).
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, later, max_budget, who
from shared.entities.limits import MODEL_BUDGETS, check_budgets


class Budget(msgspec.Struct, frozen=True, kw_only=True):
    budget_id: str
    max_budget_picousd: int | None = None
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


BUDGET = EntityKind(
    "budget",
    Budget,
    "budget_id",
    "LiteLLM_BudgetTable",
    Budget(budget_id=""),
    [
        max_budget(),
        later("soft_budget", readers.usd, empty=None),
        later("max_parallel_requests", readers.integer, empty=None),
        later("tpm_limit", readers.integer, empty=None),
        later("rpm_limit", readers.integer, empty=None),
        later("tpd_limit", readers.integer, empty=None),
        later("model_max_budget", MODEL_BUDGETS, empty=None),
        later("budget_duration", readers.period, empty=None),
        later("budget_reset_at", readers.instant, empty=None),
        later("allowed_models", readers.texts, empty=[]),
        later("temp_budget_increase", readers.usd),
        later("temp_budget_expiry", readers.instant),
        *who(),
    ],
    check=check_budgets,
)


def shown(
    budgets: Mapping[str, Budget], kind: EntityKind[Any], entity: Any, *, own: bool = True
) -> dict[str, Any] | None:
    """`litellm_budget_table` of an entity's row: the budget it refers to.

    Args:
        own: whether limits of its own stand there too, as where LiteLLM keeps them in a budget
            nobody named.
    """
    budget = budgets.get(entity.extra.get("budget_id"))
    if budget is not None:
        return BUDGET.row(budget)
    row = kind.row(entity) if own else {}
    limits = {name: row[name] for name in BUDGET.settable() if row.get(name)}
    return {"budget_id": None, **limits} if limits else None

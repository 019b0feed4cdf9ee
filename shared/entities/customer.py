"""Customers (end users): whom a caller's calls are made for. One who was only ever seen on a call
exists in the book alone.
"""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, later, max_budget, ours, times
from shared.entities.limits import MODEL_BUDGETS, check_budgets


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    alias: str | None = None
    blocked: bool | None = None
    """None: nobody said; then the configuration's `blocked_user_list` decides."""
    models: list[str] = []
    """Empty: all."""
    default_model: str | None = None
    max_budget_picousd: int | None = None
    created_at_ms: int = 0
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}


CUSTOMER = EntityKind(
    "customer",
    Customer,
    "user_id",
    "LiteLLM_EndUserTable",
    Customer(user_id=""),
    [
        column("alias", readers.text),
        column("blocked", readers.flag, show=bool),
        column("models", readers.texts),
        column("default_model", readers.text, enforced=False),
        max_budget(),
        later("allowed_model_region", readers.one_of("eu", "us"), empty=None),
        later("soft_budget", readers.usd),
        later("budget_duration", readers.period),
        later("budget_reset_at", readers.instant),
        later("budget_id", readers.text, empty=None),
        later("tpm_limit", readers.integer),
        later("rpm_limit", readers.integer),
        later("tpd_limit", readers.integer),
        later("max_parallel_requests", readers.integer),
        later("model_max_budget", MODEL_BUDGETS),
        later("spend", readers.usd, empty=None),
        later("object_permission", readers.mapping, empty=None),
        ours("object_permission_id"),
        *times("created_at", "updated_at"),
    ],
    read_only=("user_ids", "litellm_budget_table"),
    indexes=("blocked", "budget_id"),
    check=check_budgets,
)

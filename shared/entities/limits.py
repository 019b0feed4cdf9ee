"""Fields that keys, teams, users and others have alike: limits that are kept for their enforcement,
and rules that bind now.
"""

from typing import Any

from shared.entities import readers
from shared.entities.composed import by_name, each, record
from shared.entities.kind import Field, kept, later, ours

LIMITS_BY_NAME = by_name(readers.integer)
MODEL_BUDGETS = by_name(
    record(
        max_budget=readers.usd,
        budget_limit=readers.usd,
        budget_duration=readers.period,
        time_period=readers.period,
        tpm_limit=readers.integer,
        rpm_limit=readers.integer,
    )
)
"""`{model: {max_budget, budget_duration}}`, also by LiteLLM's older names `budget_limit` and
`time_period`.
"""
BUDGET_WINDOWS = each(record("max_budget", "budget_duration", max_budget=readers.usd, budget_duration=readers.period))

LIMITS: tuple[Field, ...] = (
    later("soft_budget", readers.usd, empty=None),
    later("budget_duration", readers.period, empty=None),
    later("budget_reset_at", readers.instant, empty=None),
    later("tpm_limit", readers.integer, empty=None),
    later("rpm_limit", readers.integer, empty=None),
    later("tpd_limit", readers.integer, empty=None),
    later("max_parallel_requests", readers.integer, empty=None),
    later("model_rpm_limit", LIMITS_BY_NAME, in_metadata=True),
    later("model_tpm_limit", LIMITS_BY_NAME, in_metadata=True),
    later("model_max_budget", MODEL_BUDGETS, empty={}),
    ours("model_spend", {}),
    later("budget_limits", BUDGET_WINDOWS, empty=None),
    later("policies", readers.texts, empty=[]),
    later("prompts", readers.texts, in_metadata=True),
    kept("access_group_ids", readers.texts, empty=[]),
    later("router_settings", readers.mapping, empty={}),
    later("object_permission", readers.mapping, empty=None),
    ours("object_permission_id"),
)

ACTING: tuple[Field, ...] = (
    Field(name="tags", read=readers.tags, inside="metadata"),
    kept("guardrails", readers.texts, in_metadata=True),
    kept("disable_global_guardrails", readers.flag, in_metadata=True),
    kept("modify_guardrails", readers.flag),
    kept("enforced_params", readers.texts, in_metadata=True),
    kept("allowed_ips", readers.networks),
)
"""Also where they stand in `metadata`, as LiteLLM stores them."""


PASSTHROUGH: tuple[Field, ...] = (
    kept("allowed_passthrough_routes", readers.texts, in_metadata=True),
    kept("denied_passthrough_routes", readers.texts, in_metadata=True),
)
"""Likewise."""


def check_budgets(entity: Any) -> None:
    soft = readers.picousd("soft_budget", entity.extra.get("soft_budget"))
    if soft is not None and entity.max_budget_picousd is not None and soft >= entity.max_budget_picousd:
        readers.refuse("soft_budget", "must be lower than max_budget")
    if (entity.extra.get("temp_budget_increase") is None) != (entity.extra.get("temp_budget_expiry") is None):
        readers.refuse("temp_budget_expiry", "and temp_budget_increase must come together")

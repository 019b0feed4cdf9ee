"""Tags somebody said something about. One that calls have and nobody spoke of exists in the book
alone.
"""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, kept, later, max_budget, who
from shared.entities.limits import MODEL_BUDGETS, check_budgets


class Tag(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str | None = None
    models: list[str] = []
    max_budget_picousd: int | None = None
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


TAG = EntityKind(
    "tag",
    Tag,
    "name",
    "LiteLLM_TagTable",
    Tag(name=""),
    [
        column("description", readers.prose),
        column("models", readers.texts),
        kept("model_info", readers.mapping, enforced=False, empty={}),
        max_budget(),
        later("budget_id", readers.text, empty=None),
        later("soft_budget", readers.usd),
        later("max_parallel_requests", readers.integer),
        later("tpm_limit", readers.integer),
        later("rpm_limit", readers.integer),
        later("tpd_limit", readers.integer),
        later("model_max_budget", MODEL_BUDGETS),
        later("budget_duration", readers.period),
        later("spend", readers.usd),
        *who(),
    ],
    read_only=("litellm_budget_table",),
    indexes=("budget_id", "models"),
    check=check_budgets,
)

"""Organisations, above teams, and projects, between a team and its keys."""

from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, kept, later, max_budget, who
from shared.entities.limits import ACTING, LIMITS, check_budgets

ORGANIZATION_ROLES = ("org_admin", "internal_user", "internal_user_viewer")


class Organization(msgspec.Struct, frozen=True, kw_only=True):
    organization_id: str
    organization_alias: str | None = None
    models: list[str] = []
    """Empty: all. Binds every key of the organisation and of its teams."""
    members: list[dict[str, Any]] = []
    """`{user_id, user_role}`"""
    metadata: dict[str, Any] = {}
    max_budget_picousd: int | None = None
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}

    @property
    def member_ids(self) -> list[str]:
        return [str(member.get("user_id")) for member in self.members]

    @property
    def admin_ids(self) -> list[str]:
        return [str(member.get("user_id")) for member in self.members if member.get("user_role") == "org_admin"]


class Project(msgspec.Struct, frozen=True, kw_only=True):
    project_id: str
    project_alias: str | None = None
    team_id: str | None = None
    models: list[str] = []
    metadata: dict[str, Any] = {}
    """Also `tags` and `guardrails`, as keys and teams have them."""
    blocked: bool = False
    max_budget_picousd: int | None = None
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}


ORGANIZATION = EntityKind(
    "organization",
    Organization,
    "organization_id",
    "LiteLLM_OrganizationTable",
    Organization(organization_id=""),
    [
        column("organization_alias", readers.text),
        column("models", readers.texts),
        column("members", None),
        column("metadata", readers.metadata),
        max_budget(),
        later("spend", readers.usd, empty=None),
        *LIMITS,
        later("budget_id", readers.text, empty=None),
        *who(),
    ],
    read_only=("organization_ids", "teams", "users", "litellm_budget_table"),
    indexes=("admin_ids", "member_ids", "budget_id"),
    check=check_budgets,
)

PROJECT = EntityKind(
    "project",
    Project,
    "project_id",
    "LiteLLM_ProjectTable",
    Project(project_id=""),
    [
        column("project_alias", readers.text),
        kept("description", readers.prose, empty=None),
        column("team_id", readers.text),
        column("models", readers.texts),
        column("metadata", readers.metadata),
        column("blocked", readers.flag),
        max_budget(),
        later("spend", readers.usd, empty=None),
        *LIMITS,
        *ACTING,
        later("budget_id", readers.text, empty=None),
        *who(),
    ],
    read_only=("project_ids", "litellm_budget_table"),
    indexes=("team_id", "budget_id"),
    check=check_budgets,
)

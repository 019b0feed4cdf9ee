"""Teams: whose keys share rules, and who is in them."""

from typing import Any

import msgspec

from shared.entities import callbacks, readers
from shared.entities.kind import EntityKind, column, kept, later, max_budget, ours, times
from shared.entities.limits import ACTING, LIMITS, PASSTHROUGH, check_budgets


class Team(msgspec.Struct, frozen=True, kw_only=True):
    team_id: str
    team_alias: str | None = None
    organization_id: str | None = None
    admins: list[str] = []
    members: list[str] = []
    members_with_roles: list[dict[str, Any]] = []
    """`{role: admin|user, user_id?, user_email?}`, and what limits a member has of its own."""
    models: list[str] = []
    metadata: dict[str, Any] = {}
    max_budget_picousd: int | None = None
    blocked: bool = False
    created_at_ms: int = 0
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}

    @property
    def member_ids(self) -> list[str]:
        named = (str(member["user_id"]) for member in self.members_with_roles if member.get("user_id") is not None)
        return list(dict.fromkeys((*self.admins, *self.members, *named)))

    def role_of(self, user_id: str | None) -> str | None:
        """admin, user; None: not a member."""
        if user_id is None:
            return None
        if user_id in self.admins:
            return "admin"
        for member in self.members_with_roles:
            if member.get("user_id") == user_id:
                return str(member.get("role"))
        return "user" if user_id in self.members else None

    def shows_spend_to(self, user_id: str | None) -> bool:
        """Whether this user sees what the whole team spent, and not just their own rows."""
        role = self.role_of(user_id)
        return role == "admin" or (role is not None and SEES_SPEND in self.extra.get("team_member_permissions", ()))


MEMBER_LIMITS = ("max_budget_in_team", "tpm_limit", "rpm_limit")
"""What a member may have of their own."""


def own_limits(member: dict[str, Any]) -> dict[str, Any] | None:
    """As `litellm_budget_table` of a membership shows them."""
    own = {name: member.get(name) for name in MEMBER_LIMITS}
    if all(each is None for each in own.values()):
        return None
    return {"max_budget": own["max_budget_in_team"], "tpm_limit": own["tpm_limit"], "rpm_limit": own["rpm_limit"]}


SEES_SPEND = "/team/daily/activity"
"""Of `team_member_permissions`."""


TEAM = EntityKind(
    "team",
    Team,
    "team_id",
    "LiteLLM_TeamTable",
    Team(team_id=""),
    [
        column("team_alias", readers.text),
        column("organization_id", readers.text),
        column("admins", readers.texts),
        column("members", readers.texts),
        column("members_with_roles", readers.members),
        column("models", readers.texts),
        column("metadata", readers.metadata, show=callbacks.shown),
        max_budget(),
        column("blocked", readers.flag),
        later("spend", readers.usd, empty=None),
        *LIMITS,
        *ACTING,
        *PASSTHROUGH,
        kept("model_aliases", readers.text_mapping),
        kept("team_member_permissions", readers.texts, empty=[]),
        later("team_member_budget", readers.usd),
        later("team_member_budget_duration", readers.period),
        later("team_member_rpm_limit", readers.integer),
        later("team_member_tpm_limit", readers.integer),
        later("team_member_key_duration", readers.duration, in_metadata=True),
        later("secret_manager_settings", readers.mapping, in_metadata=True),
        later("default_team_member_models", readers.texts, empty=[]),
        later("allow_team_guardrail_config", readers.flag, empty=False),
        ours("model_id"),
        *times("created_at", "updated_at"),
    ],
    read_only=("keys", "team_info", "team_memberships", "data"),
    indexes=("organization_id", "member_ids"),
    check=check_budgets,
)

"""Internal users: people with keys and roles. Who a client's calls are made for is a customer."""

import unicodedata
from typing import Any

import msgspec

from shared.entities import readers
from shared.entities.kind import EntityKind, column, kept, later, max_budget, ours, times
from shared.entities.limits import LIMITS, check_budgets
from shared.entities.model import SealedText

ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
"""What `user_role` may say. `org_admin` comes from a membership, `customer` and `team` are nobody's
to hold.
"""


def same_email(email: str) -> str:
    """What two spellings of one address have in common: letter case, and forms that Unicode holds
    to be the same.
    """
    return unicodedata.normalize("NFKC", email).casefold()


class User(msgspec.Struct, frozen=True, kw_only=True):
    user_id: str
    user_email: str | None = None
    user_alias: str | None = None
    user_role: str = "internal_user"
    teams: list[str] = []
    """Of which teams they are a member; the teams' own lists decide."""
    models: list[str] = []
    metadata: dict[str, Any] = {}
    max_budget_picousd: int | None = None
    sealed: dict[str, SealedText] = {}
    """`password`: a digest that takes long to try, sealed for `user/<user_id>/password`. Shown to
    nobody.
    """
    created_at_ms: int = 0
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}

    @property
    def email_key(self) -> str | None:
        return None if self.user_email is None else same_email(self.user_email)


USER = EntityKind(
    "user",
    User,
    "user_id",
    "LiteLLM_UserTable",
    User(user_id=""),
    [
        column("user_email", readers.text),
        column("user_alias", readers.text),
        column("user_role", readers.one_of(*ROLES)),
        column("teams", None),
        column("models", readers.texts),
        column("metadata", readers.metadata),
        max_budget(),
        later("spend", readers.usd, empty=None),
        *LIMITS,
        kept("sso_user_id", readers.text, empty=None),
        ours("allowed_cache_controls", []),
        *times("created_at", "updated_at"),
    ],
    read_only=(
        "key", "token", "auto_create_key", "send_invite_email", "keys", "organizations", "organization_memberships",
        "user_ids", "duration", "key_alias", "key_name", "expires", "team_id", "sealed",
        "sso_role",
    ),
    indexes=("email_key", "user_role", "sso_user_id"),
    check=check_budgets,
)  # fmt: skip

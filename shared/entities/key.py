"""Virtual keys, and the names reserved for them."""

from typing import Any

import msgspec

from shared.entities import callbacks, readers
from shared.entities.composed import by_name
from shared.entities.kind import EntityKind, column, iso, kept, later, max_budget, ours, who
from shared.entities.limits import ACTING, LIMITS, LIMITS_BY_NAME, PASSTHROUGH, check_budgets
from shared.ids import KeyDigest

DELEGATED = "delegated"
LIMIT_TYPE = readers.one_of("guaranteed_throughput", "best_effort_throughput", "dynamic")


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A virtual key. Identified by its digest; the plaintext exists only in the answer that made
    it.
    """

    token: KeyDigest
    key_name: str
    """`sk-...` and the last four characters."""
    key_alias: str | None = None
    models: list[str] = []
    """Empty: all."""
    metadata: dict[str, Any] = {}
    """tags, spend_logs_metadata and whatever the caller stores."""
    expires_at_ms: int | None = None
    """None: never."""
    blocked: bool = False
    team_id: str | None = None
    user_id: str | None = None
    organization_id: str | None = None
    max_budget_picousd: int | None = None
    permissions: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    allowed_routes: list[str] = []
    created_at_ms: int = 0
    created_by: str | None = None
    updated_at_ms: int = 0
    updated_by: str | None = None
    extra: dict[str, Any] = {}
    replaced_by: KeyDigest | None = None
    """This key was rotated and lives on for its grace period: it stands for that other key, until
    its own expiry.
    """
    spend_offset_picousd: int = 0
    """What it is shown to have spent, less what the book has: somebody set its spend (`spend`,
    /key/{key}/reset_spend).
    """
    previous_tokens: list[KeyDigest] = []
    """Digests this key had before its rotations, the newest last: what they spent is its spend
    too.
    """

    @property
    def tags(self) -> list[str]:
        """Of `metadata`, as far as they are such."""
        return readers.texts_in(self.metadata.get("tags"))

    @property
    def delegated(self) -> bool:
        """Somebody else than its user has its secret: who administers a team or an organisation
        made it for them, or took it over. It calls models in their name, and has none of their
        other rights."""
        return bool(self.extra.get(DELEGATED))

    @property
    def is_session(self) -> bool:
        """Of somebody who signed in to the admin page."""
        return readers.SESSION in self.metadata

    @property
    def is_listed(self) -> bool:
        """Whether lists show it unasked: it doesn't stand for another one, and is no sign-in."""
        return self.replaced_by is None and not self.is_session

    @property
    def rotates(self) -> bool:
        """By itself."""
        return bool(self.extra.get("auto_rotate"))


class Alias(msgspec.Struct, frozen=True):
    """Which key an alias is reserved for."""

    alias: str
    token: KeyDigest


KEY = EntityKind(
    "key",
    Key,
    "token",
    "LiteLLM_VerificationToken",
    Key(token=KeyDigest(""), key_name=""),
    [
        column("key_name", None),
        column("key_alias", readers.text),
        column("expires", None, "expires_at_ms", show=iso),
        column("models", readers.texts),
        column("aliases", readers.text_mapping),
        kept("config", readers.mapping, enforced=False, empty={}),
        column("user_id", readers.text),
        column("team_id", readers.text),
        column("organization_id", readers.text),
        kept("project_id", readers.text, empty=None),
        later("agent_id", readers.text, empty=None),
        column("permissions", readers.mapping),
        column("metadata", readers.metadata, show=callbacks.shown),
        column("blocked", readers.flag),
        max_budget(),
        kept("spend", readers.usd, empty=None),
        ours("total_spend"),
        column("allowed_routes", readers.texts),
        kept("key_type", readers.text, empty=None),
        *LIMITS,
        *ACTING,
        *PASSTHROUGH,
        kept("allowed_cache_controls", readers.texts, empty=[]),
        later("budget_id", readers.text, empty=None),
        later("mcp_rpm_limit", LIMITS_BY_NAME, in_metadata=True),
        later("tag_rpm_limit", LIMITS_BY_NAME, in_metadata=True),
        later("budget_fallbacks", by_name(readers.texts), empty=None),
        later("rpm_limit_type", LIMIT_TYPE, in_metadata=True),
        later("tpm_limit_type", LIMIT_TYPE, in_metadata=True),
        kept("auto_rotate", readers.flag, empty=False),
        kept("rotation_interval", readers.period, empty=None),
        ours("rotation_count", 0),
        ours("last_rotation_at"),
        ours("key_rotation_at"),
        ours("soft_budget_cooldown", False),
        ours("last_active"),
        later("throttle_on_budget_exceeded", readers.flag, in_metadata=True),
        later("end_user_budget_id", readers.text, in_metadata=True),
        later("temp_budget_increase", readers.usd, in_metadata=True),
        later("temp_budget_expiry", readers.instant, in_metadata=True),
        *who(),
    ],
    read_only=(
        "key", "keys", "token_id", "status", "info", "litellm_budget_table", "send_invite_email", "duration", "key_aliases",
        "grace_period", "new_key", "new_master_key", "replaced_by", "previous_tokens", "settings_updated_at",
        "rotation_claim", DELEGATED,
    ),
    indexes=(
        "team_id", "user_id", "replaced_by", "organization_id", "created_by", "blocked", "rotates", "budget_id", "project_id",
        "agent_id", "access_group_ids", "is_session", "tags",
    ),
    check=check_budgets,
)  # fmt: skip

ALIAS = EntityKind("alias", Alias, "alias", "Tollgate_KeyAlias", Alias("", KeyDigest("")), [column("token", None)])

"""Keys and teams as LiteLLM's answers show them.

`spend` is null except on what was just created: the ledger owns what was spent, and policy doesn't guess.
"""

from datetime import UTC, datetime
from typing import Any

from shared.entities import Key, Team
from shared.money import usd_from_picousd

_KEY_DEFAULTS: dict[str, Any] = {
    "soft_budget": None,
    "budget_duration": None,
    "budget_reset_at": None,
    "tpm_limit": None,
    "rpm_limit": None,
    "max_parallel_requests": None,
    "allowed_cache_controls": [],
    "config": {},
    "model_max_budget": {},
    "litellm_budget_table": None,
    "object_permission": None,
}
_TEAM_DEFAULTS: dict[str, Any] = {
    "soft_budget": None,
    "budget_duration": None,
    "budget_reset_at": None,
    "tpm_limit": None,
    "rpm_limit": None,
    "max_parallel_requests": None,
    "model_max_budget": {},
}


def iso(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _usd(picousd: int | None) -> float | None:
    return None if picousd is None else usd_from_picousd(picousd)


def key_row(key: Key, *, spend: float | None = None) -> dict[str, Any]:
    return {
        **_KEY_DEFAULTS,
        **key.extra,
        "token": key.token,
        "key_name": key.key_name,
        "key_alias": key.key_alias,
        "spend": spend,
        "expires": iso(key.expires_at_ms),
        "models": key.models,
        "aliases": key.aliases,
        "user_id": key.user_id,
        "team_id": key.team_id,
        "organization_id": key.organization_id,
        "permissions": key.permissions,
        "metadata": key.metadata,
        "blocked": key.blocked,
        "max_budget": _usd(key.max_budget_picousd),
        "allowed_routes": key.allowed_routes,
        "created_at": iso(key.created_at_ms),
        "created_by": key.created_by,
        "updated_at": iso(key.updated_at_ms),
        "updated_by": key.updated_by,
    }


def key_info(key: Key, now_ms: int) -> dict[str, Any]:
    """The row without its token, and its state."""
    row = key_row(key)
    del row["token"]
    return {**row, "status": status(key, now_ms)}


def status(key: Key, now_ms: int) -> str:
    """LiteLLM's words: revoked is what `blocked` makes of a key."""
    if key.blocked:
        return "revoked"
    return "expired" if key.expires_at_ms is not None and now_ms >= key.expires_at_ms else "active"


def team_row(team: Team, *, spend: float | None = None) -> dict[str, Any]:
    return {
        **_TEAM_DEFAULTS,
        **team.extra,
        "team_id": team.team_id,
        "team_alias": team.team_alias,
        "organization_id": team.organization_id,
        "admins": team.admins,
        "members": team.members,
        "members_with_roles": team.members_with_roles,
        "models": team.models,
        "metadata": team.metadata,
        "spend": spend,
        "max_budget": _usd(team.max_budget_picousd),
        "blocked": team.blocked,
        "created_at": iso(team.created_at_ms),
        "updated_at": iso(team.updated_at_ms),
    }

"""Entities policy keeps: each is the fold of its control facts, and the `after` of the last one.

Fields carry LiteLLM's names, so that answers and audit rows need no translation. Unknown LiteLLM fields of a key or team
that we don't act on yet are kept in `extra`, so that nothing a caller stored is lost.
"""

from typing import Any

import msgspec

from shared.ids import KeyDigest


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A virtual key. Identified by its digest; the plaintext exists only in the answer to /key/generate."""

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


class Team(msgspec.Struct, frozen=True, kw_only=True):
    team_id: str
    team_alias: str | None = None
    organization_id: str | None = None
    admins: list[str] = []
    members: list[str] = []
    members_with_roles: list[dict[str, Any]] = []
    models: list[str] = []
    metadata: dict[str, Any] = {}
    max_budget_picousd: int | None = None
    blocked: bool = False
    created_at_ms: int = 0
    updated_at_ms: int = 0
    extra: dict[str, Any] = {}

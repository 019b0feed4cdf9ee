"""Which fields a key and a team have, and how each is read: tables, and the one merge that applies them.

Four kinds of field: those we act on (`COLUMNS`, in the entity's own attributes); those LiteLLM knows and we keep for later
pieces (`KEPT`, typed, in `extra`); those nobody but us may set (`OURS`, dropped); and unknown ones (kept in `extra` as they
came). Merging is LiteLLM's: what is absent stays, null clears.
"""

from typing import Any, TypeVar

import msgspec

from services.policy.commands import fields
from services.policy.commands.fields import Reader
from services.policy.commands.plan import ENTITY_BYTES_MAX
from shared import errors
from shared.entities import Key, Team
from shared.errors import RefusedError
from shared.ids import KeyDigest

Entity = TypeVar("Entity", Key, Team)

_LIMITS: dict[str, Reader] = {
    "soft_budget": fields.usd,
    "spend": fields.usd,
    "budget_duration": fields.duration,
    "tpm_limit": fields.integer,
    "rpm_limit": fields.integer,
    "tpd_limit": fields.integer,
    "max_parallel_requests": fields.integer,
    "model_rpm_limit": fields.mapping,
    "model_tpm_limit": fields.mapping,
    "model_max_budget": fields.mapping,
    "budget_limits": fields.mappings,
    "guardrails": fields.texts,
    "policies": fields.texts,
    "prompts": fields.texts,
    "disable_global_guardrails": fields.flag,
    "access_group_ids": fields.texts,
    "allowed_passthrough_routes": fields.texts,
    "denied_passthrough_routes": fields.texts,
    "router_settings": fields.mapping,
    "object_permission": fields.mapping,
}

KEY_COLUMNS: dict[str, Reader] = {
    "key_alias": fields.text,
    "models": fields.texts,
    "metadata": fields.metadata,
    "blocked": fields.flag,
    "team_id": fields.text,
    "user_id": fields.text,
    "organization_id": fields.text,
    "permissions": fields.mapping,
    "aliases": fields.text_mapping,
    "allowed_routes": fields.texts,
}
KEY_KEPT: dict[str, Reader] = {
    **_LIMITS,
    "config": fields.mapping,
    "budget_id": fields.text,
    "project_id": fields.text,
    "agent_id": fields.text,
    "key_type": fields.text,
    "enforced_params": fields.texts,
    "allowed_cache_controls": fields.texts,
    "mcp_rpm_limit": fields.mapping,
    "tag_rpm_limit": fields.mapping,
    "budget_fallbacks": fields.mapping,
    "rpm_limit_type": fields.text,
    "tpm_limit_type": fields.text,
    "auto_rotate": fields.flag,
    "rotation_interval": fields.duration,
    "throttle_on_budget_exceeded": fields.flag,
    "end_user_budget_id": fields.text,
    "temp_budget_increase": fields.usd,
}
KEY_OURS = frozenset({
    "key", "keys", "token", "token_id", "key_name", "expires", "status", "info", "created_at", "created_by", "updated_at",
    "updated_by", "litellm_budget_table", "send_invite_email", "max_budget", "duration", "tags",
})  # fmt: skip

TEAM_COLUMNS: dict[str, Reader] = {
    "team_alias": fields.text,
    "organization_id": fields.text,
    "admins": fields.texts,
    "members": fields.texts,
    "models": fields.texts,
    "metadata": fields.metadata,
    "blocked": fields.flag,
}
TEAM_KEPT: dict[str, Reader] = {
    **_LIMITS,
    "model_aliases": fields.text_mapping,
    "team_member_budget": fields.usd,
    "team_member_budget_duration": fields.duration,
    "team_member_rpm_limit": fields.integer,
    "team_member_tpm_limit": fields.integer,
    "team_member_key_duration": fields.duration,
    "team_member_permissions": fields.texts,
    "secret_manager_settings": fields.mapping,
}
TEAM_OURS = frozenset({
    "team_id", "keys", "team_info", "team_memberships", "data", "created_at", "updated_at", "max_budget", "tags",
    "members_with_roles",
})  # fmt: skip


def merge(
    entity: Entity, body: dict[str, Any], columns: dict[str, Reader], kept: dict[str, Reader], ours: frozenset[str]
) -> Entity:
    """The entity with the body's fields, `max_budget` and `tags` included. Raises RefusedError naming the first wrong field."""
    changed: dict[str, Any] = {}
    extra = dict(entity.extra)
    defaults = _EMPTY[type(entity)]
    for name, value in body.items():
        if name in columns:
            read = columns[name](name, value)
            changed[name] = getattr(defaults, name) if read is None else read
        elif name not in ours:
            read = kept[name](name, value) if name in kept else value
            if read is None:
                extra.pop(name, None)
            else:
                extra[name] = read
    if "max_budget" in body:
        changed["max_budget_picousd"] = fields.picousd("max_budget", body["max_budget"])
    tags = fields.tags("tags", body.get("tags"))
    if tags is not None:
        changed["metadata"] = {**changed.get("metadata", entity.metadata), "tags": tags}
        fields.metadata("metadata", changed["metadata"])
    merged = msgspec.structs.replace(entity, **changed, extra=extra)
    _check_budgets(merged)
    return merged


_EMPTY: dict[type, Key | Team] = {Key: Key(token=KeyDigest(""), key_name=""), Team: Team(team_id="")}
"""What null resets a column to."""


def check_size(entity: Key | Team) -> None:
    """Last of all: what several calls added up to must still fit into one fact."""
    size = len(msgspec.json.encode(entity))
    if size > ENTITY_BYTES_MAX:
        raise RefusedError(errors.body_too_large(size, ENTITY_BYTES_MAX))


def _check_budgets(entity: Key | Team) -> None:
    soft = fields.picousd("soft_budget", entity.extra.get("soft_budget"))
    if soft is not None and entity.max_budget_picousd is not None and soft >= entity.max_budget_picousd:
        fields.refuse("soft_budget", "must be lower than max_budget")

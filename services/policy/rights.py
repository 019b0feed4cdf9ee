"""Who may touch whose rows (contract §1.3 to §1.8, §2, §5.3), as data: command → the relations that suffice.

Which role may call a route at all was decided before (`routes.py`); here it is about the entity. Relations are those of the
actor to a key or a team; `member` counts only where the team lets its members call this route. Pure.
"""

from collections.abc import Callable
from typing import Any

from services.policy.commands.plan import Call
from services.policy.directory import Directory
from shared import errors
from shared.entities import Key, Team
from shared.errors import RefusedError
from shared.facts import Caller

MEMBER_MAY = ("/key/info", "/key/health")
"""What plain members may do with their team's keys where the team doesn't say (`team_member_permissions`)."""

KEY_RIGHTS: dict[str, frozenset[str]] = {
    "/key/info": frozenset({"admin", "viewer", "self", "owner", "team_admin", "member"}),
    "/key/generate": frozenset({"admin", "owner", "team_admin", "member"}),
    "/key/update": frozenset({"admin", "owner", "team_admin", "member"}),
    "/key/delete": frozenset({"admin", "owner", "team_admin", "member"}),
    "/key/regenerate": frozenset({"admin", "owner", "team_admin", "member"}),
    "/key/block": frozenset({"admin", "team_admin"}),
    "/key/unblock": frozenset({"admin", "team_admin"}),
}
TEAM_RIGHTS: dict[str, frozenset[str]] = {
    "/team/info": frozenset({"admin", "viewer", "team_admin", "team_user", "own_key"}),
    "/team/update": frozenset({"admin", "team_admin"}),
    "/team/delete": frozenset({"admin"}),
    "/team/block": frozenset({"admin", "team_admin"}),
    "/team/unblock": frozenset({"admin", "team_admin"}),
    "/team/member_add": frozenset({"admin", "team_admin"}),
    "/team/member_update": frozenset({"admin", "team_admin"}),
    "/team/member_delete": frozenset({"admin", "team_admin"}),
    "/team/permissions_list": frozenset({"admin", "viewer", "team_admin"}),
    "/team/permissions_update": frozenset({"admin", "team_admin"}),
    "/team/model/add": frozenset({"admin"}),
    "/team/model/delete": frozenset({"admin"}),
}

BUDGET_FIELDS = ("max_budget", "spend", "budget_limits", "soft_budget", "project_id")
"""Of a key: for those who administer it, never for its owner."""


def key_relations(directory: Directory, actor: Caller, key: Key, route: str) -> set[str]:
    found = _by_role(actor)
    if key.token == actor.key_sha256:
        found.add("self")
    if actor.user_id is not None and actor.user_id in (key.user_id, key.created_by):
        found.add("owner")
    team = None if key.team_id is None else directory.teams.get(key.team_id)
    if team is not None:
        role = team.role_of(actor.user_id)
        if role == "admin":
            found.add("team_admin")
        elif role is not None and route in team.extra.get("team_member_permissions", MEMBER_MAY):
            found.add("member")
    return found


def team_relations(actor: Caller, team: Team) -> set[str]:
    found = _by_role(actor)
    role = team.role_of(actor.user_id)
    if role is not None:
        found.add("team_admin" if role == "admin" else "team_user")
    if actor.team_id == team.team_id:
        found.add("own_key")
    return found


def _by_role(actor: Caller) -> set[str]:
    role = {"proxy_admin": "admin", "proxy_admin_viewer": "viewer"}.get(actor.role)
    return set() if role is None else {role}


def may_touch_key(call: Call, key: Key, route: str | None = None) -> bool:
    route = route or call.route
    return not KEY_RIGHTS[route].isdisjoint(key_relations(call.directory, call.actor, key, route))


def may_touch_team(call: Call, team: Team, route: str | None = None) -> bool:
    return not TEAM_RIGHTS[route or call.route].isdisjoint(team_relations(call.actor, team))


def need_key(call: Call, key: Key, route: str | None = None) -> None:
    if not may_touch_key(call, key, route):
        raise RefusedError(errors.not_yours("You are not allowed to access this key's info."))


def administers_key(call: Call, key: Key) -> bool:
    return not {"admin", "team_admin"}.isdisjoint(key_relations(call.directory, call.actor, key, call.route))


# What weakens a check.


def in_effect(entity: Any, name: str) -> Any:
    """A field that LiteLLM also keeps in `metadata`."""
    value = entity.extra.get(name)
    return entity.metadata.get(name) if value is None else value


def _narrower(before: Any, after: Any) -> bool:
    """A list that allows: empty allows all."""
    return not before or (bool(after) and set(after) <= set(before))


def _wider(before: Any, after: Any) -> bool:
    """A list that demands."""
    return set(before or ()) <= set(after or ())


_LISTS: tuple[tuple[str, Callable[[Any], Any], Callable[[Any, Any], bool]], ...] = (
    ("models", lambda e: e.models, _narrower),
    ("allowed_ips", lambda e: in_effect(e, "allowed_ips"), _narrower),
    ("enforced_params", lambda e: in_effect(e, "enforced_params"), _wider),
    ("guardrails", lambda e: _texts(in_effect(e, "guardrails")), _wider),
)


def _texts(value: Any) -> list[str]:
    return value if isinstance(value, list) else []


def weakened(before: Any, after: Any) -> str | None:
    """The first field of a key or team whose check `after` makes weaker than `before` had it; None: none."""
    for name, read, as_strict in _LISTS:
        if not as_strict(read(before), read(after)):
            return name
    return None


def privileged(before: Any, after: Any) -> str | None:
    """The first field that changed and that only proxy admins may set; None: none."""
    for name in ("permissions", "allowed_routes"):
        if getattr(before, name, None) != getattr(after, name, None):
            return name
    for name in ("disable_global_guardrails", "modify_guardrails"):
        if in_effect(before, name) != in_effect(after, name):
            return name
    modify = [_modify(entity.metadata) for entity in (before, after)]
    return None if modify[0] == modify[1] else "metadata"


def _modify(metadata: dict[str, Any]) -> Any:
    guardrails = metadata.get("guardrails")
    return guardrails.get("modify_guardrails") if isinstance(guardrails, dict) else None


def check_change(call: Call, before: Any, after: Any, *, administers: bool, made_by_actor: bool) -> None:
    """Refuse what this actor may not set. Raises RefusedError naming the field.

    Args:
        administers: whether the actor administers the entity (proxy or team admin).
        made_by_actor: then its lists were theirs to choose, within their own rights.
    """
    if call.is_admin:
        return
    name = privileged(before, after)
    if name is not None:
        raise RefusedError(errors.for_admins(name))
    if administers:
        return
    name = next((name for name in BUDGET_FIELDS if name in call.body and call.body[name] is not None), None)
    if name is not None and call.route != "/key/generate":
        raise RefusedError(errors.for_admins(name))
    if not made_by_actor:
        name = weakened(before, after)
        if name is not None:
            raise RefusedError(errors.for_admins(name))

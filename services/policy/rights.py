"""Who may touch whose rows, as data: command → the relations that suffice.

Which role may call a route at all was decided before (`routes.py`); here it is about the entity.
Relations are those of the actor to it (`relations.py`). Pure.
"""

from typing import Any

from services.policy import weakening
from services.policy.plan import Call
from services.policy.relations import (
    administered,
    key_relations,
    members_may,
    organization_relations,
    project_relations,
    team_relations,
    user_relations,
)
from shared import errors
from shared.entities import Key, Organization, Project, Team, User
from shared.errors import RefusedError

_ADMINS = frozenset({"admin"})
_KEEPERS = frozenset({"admin", "org_admin", "team_admin"})
_KEY_USERS = _KEEPERS | {"owner", "member"}

KEY_RIGHTS: dict[str, frozenset[str]] = {
    "/key/info": _KEY_USERS | {"viewer", "self"},
    "/key/generate": _KEY_USERS,
    "/key/update": _KEY_USERS,
    "/key/delete": _KEY_USERS,
    "/key/regenerate": _KEY_USERS,
    "/key/block": _KEEPERS,
    "/key/unblock": _KEEPERS,
    "/key/{key_id}/reset_spend": _KEEPERS,
}
TEAM_RIGHTS: dict[str, frozenset[str]] = {
    "/team/info": _KEEPERS | {"viewer", "team_user", "own_key"},
    "/team/new": frozenset({"admin", "org_admin"}),
    "/team/update": _KEEPERS,
    "PATCH /team/{team_id}": _KEEPERS,
    "/team/key/bulk_update": _KEEPERS,
    "/team/delete": frozenset({"admin", "org_admin"}),
    "/team/block": frozenset({"admin", "org_admin"}),
    "/team/unblock": frozenset({"admin", "org_admin"}),
    "/team/member_add": _KEEPERS,
    "/team/bulk_member_add": _KEEPERS,
    "/team/member_update": _KEEPERS,
    "/team/member_delete": _KEEPERS,
    "/team/{team_id}/member/{user_id}/reset_spend": _KEEPERS,
    "/team/{team_id}/member/{user_id}/reset_budget": _KEEPERS,
    "/team/permissions_list": _KEEPERS | {"viewer"},
    "/team/permissions_update": _KEEPERS,
    "/team/{team_id}/callback": _KEEPERS | {"viewer"},
    "POST /team/{team_id}/callback": _KEEPERS,
    "/team/{team_id}/callback/{callback_name}": _KEEPERS,
    "/team/{team_id}/disable_logging": _KEEPERS,
    "/team/model/add": frozenset({"admin", "org_admin"}),
    "/team/model/delete": frozenset({"admin", "org_admin"}),
}
ORGANIZATION_RIGHTS: dict[str, frozenset[str]] = {
    "/organization/info": frozenset({"admin", "viewer", "org_admin", "member", "own_key"}),
    "/organization/update": _ADMINS,
    "/organization/delete": _ADMINS,
    "/organization/member_add": frozenset({"admin", "org_admin"}),
    "/organization/member_update": frozenset({"admin", "org_admin"}),
    "/organization/member_delete": frozenset({"admin", "org_admin"}),
}
PROJECT_RIGHTS: dict[str, frozenset[str]] = {
    "/project/info": _KEEPERS | {"viewer", "team_user"},
    "/project/new": _KEEPERS,
    "/project/update": _KEEPERS,
    "/project/delete": frozenset({"admin", "org_admin"}),
}
USER_RIGHTS: dict[str, frozenset[str]] = {
    "/user/info": frozenset({"admin", "viewer", "self", "org_admin"}),
    "/v2/user/info": frozenset({"admin", "viewer", "self", "org_admin"}),
    "/user/new": frozenset({"admin", "org_admin"}),
    "/user/update": _ADMINS,
    "/user/delete": _ADMINS,
}


NO_KEY = "You are not allowed to access this key's info."


MAKING = frozenset({"/key/generate", "/key/service-account/generate"})


def may_touch_key(call: Call, key: Key, route: str | None = None) -> bool:
    route = route or call.route
    return not KEY_RIGHTS[route].isdisjoint(key_relations(call.directory, call.actor, key, route))


def may_touch_team(call: Call, team: Team, route: str | None = None) -> bool:
    return not TEAM_RIGHTS[route or call.route].isdisjoint(team_relations(call.directory, call.actor, team))


def may_give_key_to(call: Call, team: Team) -> bool:
    """A team's keys are the team's to give: its admins, those above it, and its members where it
    lets them.
    """
    found = team_relations(call.directory, call.actor, team)
    making = {"/key/generate", *(MAKING & {call.route})}
    return not _KEEPERS.isdisjoint(found) or ("team_user" in found and not making.isdisjoint(members_may(team)))


def may_touch_organization(call: Call, organization: Organization, route: str | None = None) -> bool:
    relations = organization_relations(call.actor, organization)
    return not ORGANIZATION_RIGHTS[route or call.route].isdisjoint(relations)


def may_touch_project(call: Call, project: Project, route: str | None = None) -> bool:
    relations = project_relations(call.directory, call.actor, project)
    return not PROJECT_RIGHTS[route or call.route].isdisjoint(relations)


def may_touch_user(call: Call, user: User | str, route: str | None = None) -> bool:
    user_id = user if isinstance(user, str) else user.user_id
    relations = user_relations(call.directory, call.actor, user_id)
    return not USER_RIGHTS[route or call.route].isdisjoint(relations)


def need_key(call: Call, key: Key, route: str | None = None) -> None:
    if not may_touch_key(call, key, route):
        raise RefusedError(errors.not_yours(NO_KEY))


def administers_key(call: Call, key: Key) -> bool:
    return not _KEEPERS.isdisjoint(key_relations(call.directory, call.actor, key, call.route))


def owns_key(call: Call, key: Key) -> bool:
    return "owner" in key_relations(call.directory, call.actor, key, call.route)


def check_organization(call: Call, before: str | None, after: str | None, *, member_may: bool = False) -> None:
    """An organisation's models bind what belongs to it: who takes it out, or puts it into another,
    must administer both.

    Args:
        member_may: whether it is enough to be a member of the organisation that a thing without one
            goes to.

    Raises RefusedError.
    """
    if call.is_admin or before == after:
        return
    mine = administered(call.directory, call.actor.user_id)
    if before is None and member_may and after is not None:
        into: Organization | None = call.directory.tables["organization"].get(after)
        if into is not None and not organization_relations(call.actor, into).isdisjoint({"member", "own_key"}):
            return
    if any(each is not None and each not in mine for each in (before, after)):
        raise RefusedError(errors.for_admins("organization_id"))


def check_change(call: Call, before: Any, after: Any, *, administers: bool, made_by_actor: bool) -> None:
    """Refuse what this actor may not set. Raises RefusedError naming the field.

    Args:
        administers: whether the actor administers the entity (proxy, organisation or team admin).
        made_by_actor: then its models and rates were theirs to choose, within their own rights.
    """
    if call.is_admin:
        return
    name = weakening.privileged(before, after)
    if name is not None:
        raise RefusedError(errors.for_admins(name))
    if administers:
        return
    name = None if call.route in MAKING else weakening.money(before, after)
    name = name or weakening.weakened(before, after, made_by_actor=made_by_actor)
    if name is not None:
        raise RefusedError(errors.for_admins(name))

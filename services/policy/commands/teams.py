"""/team/new, /team/update, /team/delete, /team/block, /team/unblock, /team/info, /team/list (contract §2.1)."""

from typing import Any

import msgspec

from services.policy.commands import fields, keys
from services.policy.commands.plan import Call, Plan, change_team
from services.policy.commands.rows import key_row, team_row
from services.policy.commands.schema import TEAM_COLUMNS, TEAM_KEPT, TEAM_OURS, check_size, merge
from shared import errors
from shared.entities import Key, Team
from shared.errors import RefusedError
from shared.facts import Caller

RESERVED = frozenset({"litellm-dashboard"})
"""LiteLLM keeps this one for its own admin page."""
TEAMS_MAX = 100
"""Of one /team/delete."""
KEYS_SHOWN_MAX = 100
"""In /team/info; /key/list?team_id= pages through all."""


def new(call: Call) -> Plan:
    team_id = fields.text("team_id", call.body.get("team_id")) or call.new_id()
    if team_id in RESERVED:
        fields.refuse("team_id", f"{team_id} is reserved")
    if team_id in call.directory.teams:
        message = f"Team id = {team_id} already exists. Please use a different team id."
        raise RefusedError(errors.bad_request(message, "team_id"))
    team = _merged(call, Team(team_id=team_id, created_at_ms=call.now_ms))
    creator = call.actor.user_id
    if creator is not None and not any(member.get("user_id") == creator for member in team.members_with_roles):
        roles = [*team.members_with_roles, {"role": "admin", "user_id": creator}]
        team = msgspec.structs.replace(team, members_with_roles=roles)
    # A key made for a team of this name while that was being deleted must not come back to life with it.
    leftovers = [change for key in call.directory.team_keys(team_id) for change in keys.deletion(call, key)]
    return Plan(team_row(team, spend=0.0), [*leftovers, change_team(call.directory, "created", None, team)])


def update(call: Call) -> Plan:
    team = _named_team(call)
    after = _merged(call, team)
    return Plan(
        {"team_id": team.team_id, "data": team_row(after)}, [change_team(call.directory, "updated", team, after)]
    )


def delete(call: Call) -> Plan:
    """The teams' keys go first, each team after its own. Should it stop half-way, the team is still there, calling again
    goes on, and a key made for the team in between can't be used: a key without its team is refused."""
    names = fields.texts("team_ids", call.body.get("team_ids"))
    if not names:
        fields.refuse("team_ids", "must name at least one team")
    if len(names) > TEAMS_MAX:
        fields.refuse("team_ids", f"must name at most {TEAMS_MAX} teams")
    names = list(dict.fromkeys(names))
    teams = [_team(call, team_id) for team_id in names]
    changes = []
    for team in teams:
        for key in call.directory.team_keys(team.team_id):
            changes += keys.deletion(call, key)
        changes.append(change_team(call.directory, "deleted", team, None))
    return Plan({"deleted_teams": names}, changes)


def block(call: Call) -> Plan:
    return _set_blocked(call, True)


def unblock(call: Call) -> Plan:
    return _set_blocked(call, False)


def info(call: Call) -> Plan:
    team_id = call.query.get("team_id") or call.actor.team_id
    if not team_id:
        fields.refuse("team_id", "must name the team")
    team = _team(call, team_id)
    if not _may_see(call, team):
        raise RefusedError(errors.not_yours("You are not allowed to access this team's info."))
    shown = [key_row(key) for key in call.directory.team_keys(team_id) if _may_see_key(call, team, key)]
    return Plan(
        {"team_id": team_id, "team_info": team_row(team), "keys": shown[:KEYS_SHOWN_MAX], "team_memberships": []}
    )


def list_teams(call: Call) -> Plan:
    user_id, organization_id = call.query.get("user_id"), call.query.get("organization_id")
    found = [
        team_row(team)
        for team in call.directory.teams.values()
        if _may_see(call, team)
        and (not user_id or is_member(team, Caller(user_id=user_id)))
        and (not organization_id or team.organization_id == organization_id)
    ]
    return Plan(found)


def is_member(team: Team, actor: Caller) -> bool:
    user_id = actor.user_id
    if user_id is None:
        return False
    return (
        user_id in team.members
        or user_id in team.admins
        or any(member.get("user_id") == user_id for member in team.members_with_roles)
    )


def _may_see(call: Call, team: Team) -> bool:
    return call.sees_all or team.team_id == call.actor.team_id or is_member(team, call.actor)


def _may_see_key(call: Call, team: Team, key: Key) -> bool:
    actor = call.actor
    own = key.token == actor.key_sha256 or (actor.user_id is not None and key.user_id == actor.user_id)
    return own or call.sees_all or is_member(team, actor)


def _set_blocked(call: Call, blocked: bool) -> Plan:
    team = _named_team(call)
    after = msgspec.structs.replace(team, blocked=blocked, updated_at_ms=call.now_ms)
    action = "blocked" if blocked else "unblocked"
    return Plan(team_row(after), [change_team(call.directory, action, team, after)])


def _named_team(call: Call) -> Team:
    team_id = fields.text("team_id", call.body.get("team_id"))
    if team_id is None:
        fields.refuse("team_id", "must name the team")
    return _team(call, team_id)


def _team(call: Call, team_id: str) -> Team:
    team = call.directory.teams.get(team_id)
    if team is None:
        raise RefusedError(errors.entity_not_found(f"Team not found, passed team_id={team_id[:256]}", "team_id"))
    return team


def _merged(call: Call, team: Team) -> Team:
    after = merge(team, call.body, TEAM_COLUMNS, TEAM_KEPT, TEAM_OURS)
    if "members_with_roles" in call.body:
        roles = [_member(m) for m in fields.mappings("members_with_roles", call.body["members_with_roles"]) or []]
        after = msgspec.structs.replace(after, members_with_roles=roles)
    after = msgspec.structs.replace(after, updated_at_ms=call.now_ms)
    check_size(after)
    return after


def _member(member: dict[str, Any]) -> dict[str, Any]:
    """`{role, user_id, user_email}`, one of the last two at least."""
    role = member.get("role")
    if role not in ("admin", "user"):
        fields.refuse("members_with_roles", "role must be admin or user")
    named = {name: fields.text(f"members_with_roles.{name}", member.get(name)) for name in ("user_id", "user_email")}
    if named["user_id"] is None and named["user_email"] is None:
        fields.refuse("members_with_roles", "each member needs a user_id or a user_email")
    return {"role": role, **{name: value for name, value in named.items() if value is not None}}

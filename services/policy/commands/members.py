"""/team/member_add, /team/member_update, /team/member_delete: who is in a team, and as what.

The team's own list decides; a user's list of teams follows it in the same batch.
"""

from typing import Any

import msgspec

from services.policy.commands import generic, teams, users
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import TEAM, USER, Team, User
from shared.entities import readers as fields
from shared.errors import RefusedError

MEMBERS_MAX = 100
"""Of one call."""


def add(call: Call) -> Plan:
    """`member` is one `{role, user_id|user_email}`, or a list of them. A user nobody knows yet is made."""
    team = teams.named_team(call)
    teams.need(call, team)
    sent = call.body.get("member")
    wanted = sent if isinstance(sent, list) else [sent]
    if not wanted or len(wanted) > MEMBERS_MAX:
        fields.refuse("member", f"must name 1 to {MEMBERS_MAX} members")
    return add_all(call, wanted)


def add_all(call: Call, wanted: list[Any]) -> Plan:
    """All of them, or none."""
    team = teams.named_team(call)
    members, changes, noted = list(team.members_with_roles), [], []
    for each in wanted:
        member = fields.member("member", each)
        user, change_ = _user_of(call, member, team)
        member["user_id"] = user.user_id
        if any(known.get("user_id") == user.user_id for known in members):
            raise RefusedError(errors.bad_request(f"User={user.user_id} already in team", "member"))
        members.append(member)
        if change_ is not None:
            changes.append(change_)
            noted.append(users.shown(call, user)[0])
    after = _with(call, team, members)
    changes = list({c.subject: c for c in changes}.values())
    row = {**TEAM.row(after, spend=None), "updated_users": noted, "updated_team_memberships": []}
    return Plan(row, [*changes, change(call.directory, TEAM, "updated", team, after)])


def update(call: Call) -> Plan:
    team = teams.named_team(call)
    teams.need(call, team)
    found = _find(call, team)
    role = call.body.get("role")
    if role is not None and role not in ("admin", "user"):
        fields.refuse("role", "must be admin or user")
    limits = {name: call.body.get(name) for name in ("max_budget_in_team", "tpm_limit", "rpm_limit")}
    member = fields.member("member", {**found, "role": role or found["role"], **_set(limits)})
    after = _with(call, team, [member if each is found else each for each in team.members_with_roles])
    answer = {
        "team_id": team.team_id,
        "user_id": member.get("user_id"),
        "user_email": member.get("user_email"),
        **limits,
    }
    changes = [change(call.directory, TEAM, "updated", team, after)]
    return Plan(answer, changes, not_enforced=list(_set(limits)))


def delete(call: Call) -> Plan:
    team = teams.named_team(call)
    teams.need(call, team)
    found = _find(call, team)
    user_id = found.get("user_id")
    lists = {name: [m for m in getattr(team, name) if m != user_id] for name in ("admins", "members")}
    after = _with(
        call, msgspec.structs.replace(team, **lists), [each for each in team.members_with_roles if each is not found]
    )
    changes = [change(call.directory, TEAM, "updated", team, after)]
    user = call.directory.users.get(user_id) if user_id is not None else None
    if user is not None and team.team_id in user.teams:
        left = msgspec.structs.replace(user, teams=[t for t in user.teams if t != team.team_id])
        changes.append(change(call.directory, USER, "updated", user, generic.stamped(call, left)))
    return Plan(TEAM.row(after, spend=None), changes)


def _find(call: Call, team: Team) -> dict[str, Any]:
    for name in ("user_id", "user_email"):
        value = fields.text(name, call.body.get(name))
        if value is None:
            continue
        for member in team.members_with_roles:
            if member.get(name) == value:
                return member
        raise RefusedError(errors.entity_not_found(f"{name}={value} is not in this team", name))
    return fields.refuse("user_id", "or user_email must name the member")


def _user_of(call: Call, member: dict[str, Any], team: Team) -> tuple[User, Change | None]:
    """The member as a user, and the change that notes the team with them."""
    user_id, email = member.get("user_id"), member.get("user_email")
    before = call.directory.users.get(user_id) if user_id is not None else None
    if before is None and user_id is None:
        before = next(iter(call.directory.find("user", "user_email", str(email))), None)
    user = before or User(user_id=user_id or call.new_id(), user_email=email, created_at_ms=call.now_ms)
    if team.team_id in user.teams:
        return user, None
    after = generic.stamped(call, msgspec.structs.replace(user, teams=[*user.teams, team.team_id]))
    return user, change(call.directory, USER, "created" if before is None else "updated", before, after)


def _with(call: Call, team: Team, members: list[dict[str, Any]]) -> Team:
    after = generic.stamped(call, msgspec.structs.replace(team, members_with_roles=members))
    TEAM.check_size(after)
    return after


def _set(limits: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in limits.items() if value is not None}

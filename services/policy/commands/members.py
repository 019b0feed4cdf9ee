"""/team/member_add, /team/member_update, /team/member_delete: who is in a team, and as what; what a
member has of their own there.

The team's own list decides; a user's list of teams follows it in the same batch. Who leaves leaves
their keys of the team behind: these end.
"""

from typing import Any

import msgspec

from services.policy.commands import generic, keys, teams, users
from services.policy.commands.membership import OFFSET, check_distinct, left, user_of
from services.policy.plan import Call, Plan, Spent, change
from shared import errors
from shared.entities import TEAM, Key, Team
from shared.entities import readers as fields
from shared.entities.kind import usd
from shared.entities.team import MEMBER_LIMITS, own_limits
from shared.errors import RefusedError

MEMBERS_MAX = 100
"""Of one call."""


def add(call: Call) -> Plan:
    """`member` is one `{role, user_id|user_email}`, or a list of them; limits beside it are of each
    that has none of its own. A user nobody knows yet is made.
    """
    team = teams.named_team(call)
    teams.need(call, team)
    sent = call.body.get("member")
    wanted = sent if isinstance(sent, list) else [sent]
    if not wanted or len(wanted) > MEMBERS_MAX:
        fields.refuse("member", f"must name 1 to {MEMBERS_MAX} members")
    limits = _set({name: call.body.get(name) for name in MEMBER_LIMITS})
    plan = add_all(call, [{**limits, **each} if isinstance(each, dict) else each for each in wanted])
    return msgspec.structs.replace(plan, not_enforced=list(limits))


def add_all(call: Call, wanted: list[Any]) -> Plan:
    """All of them, or none."""
    team = teams.named_team(call)
    members, changes, noted = list(team.members_with_roles), [], []
    sent = [fields.member("member", each) for each in wanted]
    check_distinct("member", sent)
    for member in sent:
        user, change_ = user_of(call, member, team)
        member["user_id"] = user.user_id
        if any(known.get("user_id") == user.user_id for known in members):
            raise RefusedError(errors.bad_request(f"User={user.user_id} already in team", "member"))
        members.append(member)
        changes.append(change_)
        noted.append(users.shown(call, user)[0])
    after = _with(call, team, members)
    changes = list({c.subject: c for c in changes}.values())
    row = {**TEAM.row(after, spend=None), "updated_users": noted, "updated_team_memberships": []}
    changes = [*changes, change(call.directory, TEAM, "updated", team, after)]
    return Plan(row, changes, spend=[teams.spent(after, row)])


def update(call: Call) -> Plan:
    team = teams.named_team(call)
    teams.need(call, team)
    found = _find(call, team)
    role = call.body.get("role")
    if role is not None and role not in ("admin", "user"):
        fields.refuse("role", "must be admin or user")
    limits = {name: call.body.get(name) for name in MEMBER_LIMITS}
    member = fields.member("member", {**found, "role": role or found["role"], **_set(limits)})
    if OFFSET in found:
        member[OFFSET] = found[OFFSET]
    after = _replaced(call, team, found, member)
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
    follows = [] if user_id is None else left(call, team, user_id)
    changes = [*follows, change(call.directory, TEAM, "updated", team, after)]
    return teams.answered(after, changes)


def me(call: Call) -> Plan:
    """/team/{team_id}/members/me: what the caller is in this team, and has of their own there."""
    user_id = call.actor.user_id
    if user_id is None:
        fields.refuse("user_id", "is what your key has none of: it is nobody's, or holds somebody else's name")
    team_id = call.params.get("team_id", "")
    team = call.directory.teams.get(team_id)
    role = None if team is None else team.role_of(user_id)
    if team is None or role is None:
        message = f"User user_id={user_id} is not a member of team_id={team_id[:256]}."
        raise RefusedError(errors.entity_not_found(message, "team_id"))
    member = next((each for each in team.members_with_roles if each.get("user_id") == user_id), {})
    user = call.directory.users.get(user_id)
    row = {
        "user_id": user_id,
        "team_id": team.team_id,
        "team_alias": team.team_alias,
        "role": role,
        "user_email": None if user is None else user.user_email,
        "spend": None,
        "budget_id": None,
        "litellm_budget_table": own_limits(member),
    }
    return Plan(row, spend=[_spent(call, team, member, user_id, row)])


def reset_spend(call: Call) -> Plan:
    """/team/{team_id}/member/{user_id}/reset_spend: what a member counts as having spent in the
    team. The book stays as it is.
    """
    team, member = _of_path(call)
    user_id = str(member["user_id"])
    if user_id == call.actor.user_id and not call.is_admin:
        raise RefusedError(errors.not_yours("Cannot reset your own spend. Ask a proxy admin."))
    in_book = call.spent_picousd(*_of_book(call, team, user_id))
    before = in_book + int(member.get(OFFSET, 0))
    reset_to = fields.picousd("reset_to", call.body.get("reset_to"))
    if reset_to is None or reset_to > before:
        fields.refuse("reset_to", f"must be an amount of USD from 0 to what they have spent, {usd(before)}")
    answer = {
        "team_id": team.team_id,
        "user_id": user_id,
        "spend": usd(reset_to),
        "previous_spend": usd(before),
        "max_budget": member.get("max_budget_in_team"),
    }
    after = _replaced(call, team, member, {**member, OFFSET: reset_to - in_book})
    return Plan(answer, [change(call.directory, TEAM, "spend_reset", team, after)])


def reset_budget(call: Call) -> Plan:
    """/team/{team_id}/member/{user_id}/reset_budget: the member has the team's limits for members
    again, and none of their own.
    """
    team, member = _of_path(call)
    after = _replaced(call, team, member, {name: each for name, each in member.items() if name not in MEMBER_LIMITS})
    default = team.extra.get("team_member_budget")
    answer = {
        "team_id": team.team_id,
        "user_id": member["user_id"],
        "budget_id": None,
        "previous_budget_id": None,
        "max_budget": default,
        "budget_source": "none" if default is None else "team_default",
    }
    return Plan(answer, [change(call.directory, TEAM, "updated", team, after)])


def _of_path(call: Call) -> tuple[Team, dict[str, Any]]:
    team = teams.named_team(call)
    teams.need(call, team)
    user_id = call.params.get("user_id", "")
    member = next((each for each in team.members_with_roles if each.get("user_id") == user_id), None)
    if member is None:
        message = f"User {user_id[:256]} is not a member of team {team.team_id}."
        raise RefusedError(errors.entity_not_found(message, "user_id"))
    return team, member


def _of_book(call: Call, team: Team, user_id: str) -> tuple[str, list[str]]:
    """(dimension, values) of a member in the book: their keys in the team, by every digest these
    had.
    """
    found: list[Key] = [key for key in call.directory.find("key", "user_id", user_id) if key.team_id == team.team_id]
    return "key", [token for key in found for token in keys.of_book(key)[1]]


def _spent(call: Call, team: Team, member: dict[str, Any], user_id: str, row: dict[str, Any]) -> Spent:
    return Spent(row, *_of_book(call, team, user_id), int(member.get(OFFSET, 0)))


def _replaced(call: Call, team: Team, member: dict[str, Any], now: dict[str, Any]) -> Team:
    return _with(call, team, [now if each is member else each for each in team.members_with_roles])


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


def _with(call: Call, team: Team, members: list[dict[str, Any]]) -> Team:
    after = generic.stamped(call, msgspec.structs.replace(team, members_with_roles=members))
    TEAM.check_size(after)
    return after


def _set(limits: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in limits.items() if value is not None}

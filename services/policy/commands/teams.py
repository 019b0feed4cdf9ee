"""/team/new, /team/update, /team/delete, /team/block, /team/unblock, /team/info, /team/list."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from services.policy import relations, rights
from services.policy.commands import generic, keys, membership
from services.policy.model_access import entries_of
from services.policy.plan import Call, Change, Plan, Spent, change
from shared import errors
from shared.entities import KEY, TEAM, USER, Key, Team
from shared.entities import readers as fields
from shared.entities.kind import Merged
from shared.entities.team import own_limits
from shared.errors import RefusedError

RESERVED = frozenset({"litellm-dashboard"})
"""LiteLLM keeps this one for its own admin page."""
TEAMS_MAX = 100
"""Of one /team/delete."""
KEYS_SHOWN, KEYS_SHOWN_MAX = 100, 500
"""In /team/info; /key/list?team_id= pages through all."""


def new(call: Call) -> Plan:
    team_id = fields.text("team_id", call.body.get("team_id")) or call.new_id()
    if team_id in RESERVED:
        fields.refuse("team_id", f"{team_id} is reserved")
    if team_id in call.directory.teams:
        message = f"Team id = {team_id} already exists. Please use a different team id."
        raise RefusedError(errors.bad_request(message, "team_id"))
    made = _merged(call, Team(team_id=team_id, created_at_ms=call.now_ms))
    team = made.entity
    need(call, team)
    rights.check_change(call, TEAM.empty, team, administers=True, made_by_actor=True)
    team, follows = membership.followed(call, Team(team_id=team_id), team)
    creator = call.actor.user_id
    stays_out = call.is_admin and call.catalog.general.get("disable_auto_add_proxy_admin_to_teams") is True
    if creator is not None and not stays_out and team.role_of(creator) is None:
        roles = [*team.members_with_roles, {"role": "admin", "user_id": creator}]
        team = msgspec.structs.replace(team, members_with_roles=roles)
        if creator in call.directory.users:
            follows.append(membership.user_of(call, {"user_id": creator}, team)[1])
    # A key made for a team of this name while that was being deleted must not come back to life
    # with it.
    leftovers = keys.deletions(call, call.directory.team_keys(team_id))
    changes = [*leftovers.values(), *follows, change(call.directory, TEAM, "created", None, team)]
    return Plan(TEAM.row(team, spend=0.0), changes, made.unknown, made.not_enforced)


def patch(call: Call) -> Plan:
    """PATCH /team/{team_id}: as /team/update, and answered by the row."""
    plan = update(call)
    return msgspec.structs.replace(plan, answer=plan.answer["data"])


def update(call: Call) -> Plan:
    team = named_team(call)
    need(call, team)
    made = _merged(call, team)
    after = made.entity
    administers = "org_admin" in relations.team_relations(call.directory, call.actor, team)
    rights.check_change(call, team, after, administers=administers, made_by_actor=False)
    rights.check_organization(call, team.organization_id, after.organization_id)
    if team.blocked and not after.blocked and not (administers or call.is_admin):
        raise RefusedError(errors.for_admins("blocked"))
    after, follows = membership.followed(call, team, after)
    TEAM.check_size(after)
    row = TEAM.row(after, spend=None)
    changes = [*follows, change(call.directory, TEAM, "updated", team, after)]
    answer = {"team_id": team.team_id, "data": row}
    return Plan(answer, changes, made.unknown, made.not_enforced, [spent(after, row)])


def delete(call: Call) -> Plan:
    """The teams' keys go first, and the members' lists of teams, each team after its own. Should it
    stop half-way, the team is still there, calling again goes on, and a key made for the team in
    between can't be used: a key without its team is refused."""
    names = generic.names(call, "team_ids", TEAMS_MAX)
    teams = [_team(call, team_id) for team_id in names]
    changes: dict[str, Change] = {}
    for team in teams:
        need(call, team)
        changes |= keys.deletions(call, call.directory.team_keys(team.team_id))
        changes.update((c.subject, c) for c in _left(call, team, set(names)))
        deleted = change(call.directory, TEAM, "deleted", team, None)
        changes[deleted.subject] = deleted
    return Plan({"deleted_teams": names}, list(changes.values()))


def _left(call: Call, team: Team, gone: set[str]) -> Iterator[Change]:
    """The team's members, without the teams that are gone."""
    for user_id in team.member_ids:
        user = None if user_id is None else call.directory.users.get(user_id)
        if user is not None and team.team_id in user.teams:
            after = msgspec.structs.replace(user, teams=[each for each in user.teams if each not in gone])
            yield change(call.directory, USER, "updated", user, generic.stamped(call, after))


def block(call: Call) -> Plan:
    return _set_blocked(call, True)


def unblock(call: Call) -> Plan:
    return _set_blocked(call, False)


def info(call: Call) -> Plan:
    team_id = call.query.get("team_id") or call.actor.team_id
    if not team_id:
        fields.refuse("team_id", "must name the team")
    team = _team(call, team_id)
    need(call, team)
    most = generic.number(call.query, "key_limit", KEYS_SHOWN, KEYS_SHOWN_MAX)
    theirs = [key for key in call.directory.team_keys(team_id) if key.replaced_by is None]
    shown = [key for key in theirs if _may_see_key(call, team, key)][:most]
    row = TEAM.row(team, spend=None)
    rows = [KEY.row(key, spend=None) for key in shown]
    memberships = [
        {"user_id": member.get("user_id"), "team_id": team_id, "litellm_budget_table": own_limits(member)}
        for member in team.members_with_roles
    ]
    return Plan(
        {"team_id": team_id, "team_info": row, "keys": rows, "team_memberships": memberships},
        spend=[spent(team, row), *(keys.spent(key, each) for key, each in zip(shown, rows, strict=True))],
    )


def list_teams(call: Call) -> Plan:
    found = _listed(call)
    rows = [TEAM.row(team, spend=None) for team in found]
    return Plan(rows, spend=[spent(team, row) for row, team in zip(rows, found, strict=True)])


def list_page(call: Call) -> Plan:
    """/v2/team/list: the same, a page at a time."""
    found, by, descending = _listed(call), *generic.order(call.query, SORTABLE)
    attribute = f"{by}_ms" if by.endswith("_at") else by
    begins = None
    if by:
        found = generic.in_order(TEAM, found, attribute, descending=descending)
        begins = generic.begins_at(call, TEAM, found, attribute, descending=descending)
    page = generic.page(call, found, "page_size", begins=begins)
    rows = [TEAM.row(team, spend=None) for team in page.items]
    return Plan(
        {
            "teams": rows,
            "total": page.total,
            "page": page.number,
            "page_size": page.size,
            "total_pages": page.pages,
            "next_cursor": generic.next_cursor(TEAM, page, attribute) if by else None,
        },
        spend=[Spent(row, "team", [row["team_id"]]) for row in rows],
    )


def available(call: Call) -> Plan:
    """Teams that anybody may join by themselves: there are none."""
    return Plan([])


def _listed(call: Call) -> list[Team]:
    user_id, organization_id = call.query.get("user_id"), call.query.get("organization_id")
    alias, team_id = (call.query.get("team_alias") or "").casefold(), call.query.get("team_id")
    search = (call.query.get("search") or "").casefold()
    if user_id:
        teams: Iterable[Team] = call.directory.find("team", "member_ids", user_id)
    elif organization_id:
        teams = call.directory.find("team", "organization_id", organization_id)
    elif call.sees_all:
        teams = call.directory.teams.values()
    else:
        teams = _own(call)
    return [
        team
        for team in teams
        if rights.may_touch_team(call, team, "/team/info")
        and (not user_id or team.role_of(user_id) is not None)
        and (not organization_id or team.organization_id == organization_id)
        and (not team_id or team.team_id == team_id)
        and (not alias or alias in (team.team_alias or "").casefold())
        and (not search or search in team.team_id.casefold() or search in (team.team_alias or "").casefold())
    ]


SORTABLE = ("team_id", "team_alias", "created_at", "updated_at", "organization_id")


def _own(call: Call) -> Iterable[Team]:
    """Those that somebody may see who doesn't see all: theirs, and those of the organisations they
    administer.
    """
    directory, actor = call.directory, call.actor
    found: list[Team] = directory.find("team", "member_ids", actor.user_id) if actor.user_id is not None else []
    for organization_id in relations.administered(directory, actor.user_id):
        found += directory.find("team", "organization_id", organization_id)
    own = None if actor.team_id is None else directory.teams.get(actor.team_id)
    return {team.team_id: team for team in (*found, *([] if own is None else [own]))}.values()


def permissions_list(call: Call) -> Plan:
    team = _team(call, call.query.get("team_id") or "")
    need(call, team)
    return Plan(
        {
            "team_id": team.team_id,
            "team_member_permissions": relations.members_may(team),
            "all_available_permissions": [*relations.PERMISSIONS],
        }
    )


def permissions_with(call: Call, team_id: str, more: list[str]) -> list[str]:
    """What plain members of a team may do with its keys, and `more`."""
    return list(dict.fromkeys((*relations.members_may(_team(call, team_id)), *more)))


def permissions_update(call: Call) -> Plan:
    team = named_team(call)
    need(call, team)
    wanted = fields.texts("team_member_permissions", call.body.get("team_member_permissions"))
    if wanted is None:
        fields.refuse("team_member_permissions", "must be a list of routes")
    for route in wanted:
        if route not in relations.PERMISSIONS:
            fields.refuse(
                "team_member_permissions", f"holds {route[:64]!r}, which is not one of {[*relations.PERMISSIONS]}"
            )
    after = generic.stamped(call, TEAM.merge(team, {"team_member_permissions": wanted}).entity)
    return answered(after, [change(call.directory, TEAM, "updated", team, after)])


def model_add(call: Call) -> Plan:
    return _set_models(call, add=True)


def model_delete(call: Call) -> Plan:
    return _set_models(call, add=False)


def _set_models(call: Call, *, add: bool) -> Plan:
    team = named_team(call)
    need(call, team)
    names = generic.names(call, "models", fields.TEXTS_MAX)
    if add:
        keys.check_names(call, team.models, names)
        models = list(dict.fromkeys((*team.models, *names)))
        if not entries_of(team):
            fields.refuse("models", "can't be added: a team without a list may use all models already")
    else:
        models = [name for name in team.models if name not in names]
        if team.models and not models and len(entries_of(team)) == len(team.models):
            fields.refuse("models", "can't be left empty: an empty list allows all models; use no-default-models")
    after = generic.stamped(call, msgspec.structs.replace(team, models=models))
    TEAM.check_size(after)
    return answered(after, [change(call.directory, TEAM, "updated", team, after)])


def _may_see_key(call: Call, team: Team, key: Key) -> bool:
    actor = call.actor
    own = key.token == actor.key_sha256 or (actor.user_id is not None and key.user_id == actor.user_id)
    in_it = not {"team_admin", "team_user", "org_admin"}.isdisjoint(
        relations.team_relations(call.directory, actor, team)
    )
    return own or call.sees_all or in_it


def _set_blocked(call: Call, blocked: bool) -> Plan:
    team = named_team(call)
    need(call, team)
    after, changed = generic.set_blocked(call, TEAM, team, blocked)
    return answered(after, [changed])


def answered(team: Team, changes: list[Change]) -> Plan:
    """A change of a team that is answered by its row."""
    row = TEAM.row(team, spend=None)
    return Plan(row, changes, spend=[spent(team, row)])


def spent(team: Team, row: dict[str, Any]) -> Spent:
    """What its row's spend is to be filled from."""
    return Spent(row, "team", [team.team_id])


def named_team(call: Call) -> Team:
    team_id = call.params.get("team_id") or fields.text("team_id", call.body.get("team_id"))
    if team_id is None:
        fields.refuse("team_id", "must name the team")
    return _team(call, team_id)


def _team(call: Call, team_id: str) -> Team:
    """Whoever doesn't see everything gets one and the same no for a team that isn't theirs and for
    one that isn't there.
    """
    team = call.directory.teams.get(team_id)
    if team is None:
        raise generic.absent(call, f"Team not found, passed team_id={team_id[:256]}", "team_id", NO_TEAM)
    return team


def need(call: Call, team: Team) -> None:
    if not rights.may_touch_team(call, team):
        raise RefusedError(errors.not_yours(NO_TEAM))


NO_TEAM = "You are not allowed to access this team's info."


def _merged(call: Call, team: Team) -> Merged[Team]:
    made = TEAM.merge(team, membership.said(call.body))
    after: Any = generic.stamped(call, made.entity)
    keys.check_models(call, team, after)
    generic.check_organization(call, team, after)
    generic.check_guardrails(call, team, after)
    TEAM.check_size(after)
    return Merged(after, made.unknown, made.not_enforced)

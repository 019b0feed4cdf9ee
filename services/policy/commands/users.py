"""/user/new, /user/update, /user/delete, /user/info, /user/available_roles."""

from typing import Any

import msgspec

from services.policy import relations, rights, user_defaults
from services.policy.commands import generic, invitations, key_defaults, keys
from services.policy.commands.keys import spent
from services.policy.plan import Call, Change, Plan, Spent, change
from shared import errors
from shared.entities import KEY, ORGANIZATION, TEAM, USER, Key, Organization, Team, User, same_email
from shared.entities import readers as fields
from shared.errors import RefusedError

USERS_MAX = 500
"""Of one /user/delete."""
TEAMS_MAX = 100
KEYS_SHOWN_MAX = 100

ROLES = {
    "proxy_admin": {
        "description": "admin over litellm proxy, has all permissions",
        "ui_label": "Admin (All Permissions)",
    },
    "proxy_admin_viewer": {
        "description": "view all keys, view all spend",
        "ui_label": "Admin (View Only)",
    },
    "internal_user": {
        "description": "can login, view/create/delete their own keys, view their spend",
        "ui_label": "Internal User (Create/Delete/View)",
    },
    "internal_user_viewer": {
        "description": "can login, view their own keys, view their own spend",
        "ui_label": "Internal User (View Only)",
    },
}


_KEYS_ALONE = frozenset(
    {"aliases", "allowed_cache_controls", "blocked", "budget_fallbacks", "config", "guardrails", "mcp_rpm_limit", "permissions",
     "tag_rpm_limit", "team_id"}
)  # fmt: skip
"""Of /user/new's fields those that say nothing of the user, only of the key that is made with
it."""
_OF_THE_KEY = _KEYS_ALONE | {"key_alias", "duration", "models"}


def new(call: Call) -> Plan:
    """The user, the teams they are in, and a key of theirs unless `auto_create_key` is false."""
    body = call.body
    _refuse_password(body)
    user_id = fields.text("user_id", body.get("user_id")) or call.new_id()
    if user_id in call.directory.users:
        raise RefusedError(errors.bad_request(f"User with user_id {user_id} already exists", "user_id"))
    of_user = {name: value for name, value in body.items() if name not in _KEYS_ALONE}
    made = USER.merge(User(user_id=user_id, created_at_ms=call.now_ms), user_defaults.completed(call.catalog, of_user))
    _check_email(call, made.entity, None)
    keys.check_models(call, USER.empty, made.entity)
    teams = _team_changes(call, user_id, body)
    if body.get("teams") is None:
        teams += _default_teams(call, user_id)
    organizations = _organization_changes(call, user_id, body)
    _check_maker(call, made.entity, organizations)
    user = generic.stamped(call, msgspec.structs.replace(made.entity, teams=[c.entity_id for c in teams]))
    USER.check_size(user)
    changes = [change(call.directory, USER, "created", None, user), *teams, *organizations]
    row: dict[str, Any] = {**dict.fromkeys(KEY.settable()), **USER.row(user, spend=0.0), "key": None, "token_id": None}
    if fields.flag("auto_create_key", body.get("auto_create_key")) is not False:
        key = keys.new_key(call)
        sent = {name: value for name, value in body.items() if name in _OF_THE_KEY}
        key = msgspec.structs.replace(key, user_id=user_id)
        key = keys.held(call, keys.merged(call, key, key_defaults.completed(call, sent)).entity)
        rights.check_change(call, KEY.empty, key, administers=True, made_by_actor=True)
        changes += keys.creation(call, key)
        of_key = KEY.row(key)
        row |= {
            name: of_key[name] for name in ("token", "key_name", "key_alias", "expires", "created_by", "updated_by")
        }
        row |= {name: of_key.get(name) for name in _KEYS_ALONE} | {"key": key.token, "token_id": key.token}
    return Plan(row, changes, made.unknown, made.not_enforced)


def _refuse_password(body: dict[str, Any]) -> None:
    if body.get("password") is not None:
        fields.refuse("password", "is set by the user, invited by /invitation/new, or kept by your identity provider")


_NOT_THERE = "You may only make users in organizations that you administer."


def _check_maker(call: Call, user: User, organizations: list[Change]) -> None:
    """Whoever administers an organisation makes users in it, with no more than an internal user's
    role.
    """
    if call.is_admin:
        return
    if not organizations:
        raise RefusedError(errors.not_yours(_NOT_THERE))
    if user.user_role not in ("internal_user", "internal_user_viewer"):
        raise RefusedError(errors.for_admins("user_role"))


_NO_USER = "You are not allowed to access this user's info."


def _need(call: Call, user: User | str) -> None:
    if not rights.may_touch_user(call, user):
        raise RefusedError(errors.not_yours(_NO_USER))


def update(call: Call) -> Plan:
    user = _named(call)
    _need(call, user)
    _refuse_password(call.body)
    made = USER.merge(user, call.body)
    _check_email(call, made.entity, user)
    keys.check_models(call, user, made.entity)
    after = generic.stamped(call, made.entity)
    USER.check_size(after)
    row = USER.row(after, spend=None)
    changes = [change(call.directory, USER, "updated", user, after)]
    of_user = [Spent(row, "user", [user.user_id])]
    return Plan({"user_id": user.user_id, "data": row}, changes, made.unknown, made.not_enforced, of_user)


def delete(call: Call) -> Plan:
    """With their keys, and out of their teams."""
    names = generic.names(call, "user_ids", USERS_MAX)
    changes: dict[str, Change] = {}
    gone = set(names)
    teams: dict[str, Team] = {}
    for name in names:
        user = _of_id(call, name, "user_ids")
        _need(call, user)
        changes |= keys.deletions(call, call.directory.find("key", "user_id", name))
        teams |= {t: call.directory.teams[t] for t in user.teams if t in call.directory.teams}
        changes.update((c.subject, c) for c in invitations.withdrawn(call, name))
        deleted = change(call.directory, USER, "deleted", user, None)
        changes[deleted.subject] = deleted
    for organization in {o.organization_id: o for name in names for o in _organizations_of(call, name)}.values():
        left_in = [member for member in organization.members if member.get("user_id") not in gone]
        without = generic.stamped(call, msgspec.structs.replace(organization, members=left_in))
        out = change(call.directory, ORGANIZATION, "updated", organization, without)
        changes[out.subject] = out
    for team in teams.values():
        after = msgspec.structs.replace(
            team,
            members_with_roles=[m for m in team.members_with_roles if m.get("user_id") not in gone],
            members=[m for m in team.members if m not in gone],
            admins=[m for m in team.admins if m not in gone],
        )
        left = change(call.directory, TEAM, "updated", team, generic.stamped(call, after))
        changes[left.subject] = left
    return Plan(len(names), list(changes.values()))


def info(call: Call) -> Plan:
    user_id = _asked(call)
    _need(call, user_id)
    user = call.directory.users.get(user_id)
    found = _keys(call, user_id)[:KEYS_SHOWN_MAX]
    if user is None and not found:
        raise RefusedError(errors.entity_not_found(f"User not found, passed user_id={user_id[:256]}", "user_id"))
    row, of_user = shown(call, user or User(user_id=user_id))
    if not _knows(call, user_id):
        found = [key for key in found if rights.may_touch_key(call, key, "/key/info")]
    rows = [KEY.row(key, spend=None) for key in found]
    of_teams = [(team, TEAM.row(team, spend=None)) for team in _teams(call, user_id)]
    return Plan(
        {"user_id": user_id, "user_info": row, "keys": rows, "teams": [each for _, each in of_teams]},
        spend=[
            *of_user,
            *(Spent(each, "team", [team.team_id]) for team, each in of_teams),
            *(spent(k, r) for k, r in zip(found, rows, strict=True)),
        ],
    )


def _knows(call: Call, user_id: str) -> bool:
    """Whether all that is known of a user is the caller's to see."""
    return call.sees_all or call.actor.user_id == user_id


def _teams(call: Call, user_id: str) -> list[Team]:
    teams: list[Team] = call.directory.find("team", "member_ids", user_id)
    if _knows(call, user_id):
        return teams
    return [team for team in teams if rights.may_touch_team(call, team, "/team/info")]


def shown(call: Call, user: User, *, named: bool = False, **more: Any) -> tuple[dict[str, Any], list[Spent]]:
    """(row, what its spend is to be filled from): whole for the user and those who see everything.
    Who administers an organisation or a team can make anybody a member: they learn who it is, and
    which of their own teams they are in.

    Args:
        named: by id and name alone, as a colleague.
    """
    if _knows(call, user.user_id):
        row = USER.row(user, spend=None, **more)
        return row, [Spent(row, "user", [user.user_id])]
    if named:
        return USER.row(User(user_id=user.user_id, user_alias=user.user_alias), spend=None), []
    known = User(
        user_id=user.user_id,
        user_email=user.user_email,
        user_alias=user.user_alias,
        user_role=user.user_role,
        teams=[team.team_id for team in _teams(call, user.user_id)],
        created_at_ms=user.created_at_ms,
        updated_at_ms=user.updated_at_ms,
    )
    return USER.row(known, spend=None), []


def info_v2(call: Call) -> Plan:
    """/v2/user/info: the user alone, and how many keys and teams they have."""
    user_id = _asked(call)
    _need(call, user_id)
    user = _of_id(call, user_id)
    row, of_user = shown(call, user, key_count=key_count(call, user))
    return Plan(row, spend=of_user)


def key_count(call: Call, user: User) -> int:
    return len(_keys(call, user.user_id))


def _keys(call: Call, user_id: str) -> list[Key]:
    """Without sign-ins, and old secrets in their grace period."""
    theirs: list[Key] = call.directory.find("key", "user_id", user_id)
    return [key for key in theirs if key.is_listed]


def _asked(call: Call) -> str:
    """Ids are addresses, often: a `+` that came unquoted, as a space, is one where that is
    somebody.
    """
    user_id = call.query.get("user_id") or call.actor.user_id
    if not user_id:
        fields.refuse("user_id", "must name the user")
    plus = user_id.replace(" ", "+")
    return plus if plus in call.directory.users and user_id not in call.directory.users else user_id


def available_roles(call: Call) -> Plan:
    return Plan(ROLES)


def _named(call: Call) -> User:
    user_id = fields.text("user_id", call.body.get("user_id"))
    if user_id is None:
        email = fields.text("user_email", call.body.get("user_email"))
        found = None if email is None else call.directory.user_of(email)
        if email is not None and found is None:
            raise generic.absent(call, f"User not found, passed user_email={email}", "user_email", _NO_USER)
        user_id = None if found is None else found.user_id
    return _of_id(call, user_id)


def _of_id(call: Call, user_id: str | None, field: str = "user_id") -> User:
    return generic.named(
        call, USER, user_id, field, f"User not found, passed user_id={(user_id or '')[:256]}", _NO_USER
    )


def _check_email(call: Call, user: User, before: User | None) -> None:
    """One user an address. Of two made at the same instant both may stand: an address is no
    credential.
    """
    email = user.user_email
    if email is None or (before is not None and before.user_email == email):
        return
    if "@" not in email[1:-1]:
        fields.refuse("user_email", "must be an e-mail address")
    if any(other.user_id != user.user_id for other in call.directory.find("user", "email_key", same_email(email))):
        raise RefusedError(errors.bad_request(f"User with email {email} already exists", "user_email"))


def _organizations_of(call: Call, user_id: str) -> list[Organization]:
    return call.directory.find("organization", "member_ids", user_id)


def administered_members(call: Call) -> set[str]:
    """The users of the organisations that the caller administers."""
    table = call.directory.tables["organization"]
    mine = relations.administered(call.directory, call.actor.user_id)
    return {user_id for each in mine for user_id in table[each].member_ids}


def _organization_changes(call: Call, user_id: str, body: dict[str, Any]) -> list[Change]:
    """`organizations`: ids; the user becomes a plain member of each."""
    changes = {}
    for organization_id in fields.texts("organizations", body.get("organizations")) or []:
        before: Organization | None = call.directory.tables["organization"].get(organization_id)
        if before is None and call.sees_all:
            fields.refuse("organizations", "must name organizations that exist")
        if before is None or not (
            call.is_admin or organization_id in relations.administered(call.directory, call.actor.user_id)
        ):
            raise RefusedError(errors.not_yours(_NOT_THERE))
        if user_id not in before.member_ids:
            members = [*before.members, {"user_id": user_id, "user_role": "internal_user"}]
            after = generic.stamped(call, msgspec.structs.replace(before, members=members))
            ORGANIZATION.check_size(after)
            added = change(call.directory, ORGANIZATION, "updated", before, after)
            changes[added.subject] = added
    return list(changes.values())


def _default_teams(call: Call, user_id: str) -> list[Change]:
    """Those of `default_internal_user_params` that are there: the operator's word, whoever makes
    the user.
    """
    changes = []
    for team_id in call.catalog.new_user_teams:
        team = call.directory.teams.get(team_id)
        if team is not None and team.role_of(user_id) is None:
            changes.append(_joined(call, team, {"role": "user", "user_id": user_id}))
    return changes


def _joined(call: Call, team: Team, member: dict[str, Any]) -> Change:
    after = msgspec.structs.replace(team, members_with_roles=[*team.members_with_roles, member])
    TEAM.check_size(after)
    return change(call.directory, TEAM, "updated", team, generic.stamped(call, after))


def _team_changes(call: Call, user_id: str, body: dict[str, Any]) -> list[Change]:
    """`teams`: ids, or `{team_id, user_role}`."""
    sent = body.get("teams")
    if sent is None:
        return []
    if not isinstance(sent, list) or len(sent) > TEAMS_MAX:
        fields.refuse("teams", f"must be a list of at most {TEAMS_MAX} teams")
    changes: dict[str, Change] = {}
    for each in sent:
        named = each if isinstance(each, dict) else {"team_id": each}
        team_id = fields.text("teams", named.get("team_id"))
        team = None if team_id is None else call.directory.teams.get(team_id)
        if team is None and (call.sees_all or team_id is None):
            fields.refuse("teams", "must name teams that exist")
        if team is None or not rights.may_touch_team(call, team, "/team/member_add"):
            raise RefusedError(errors.not_yours(f"You may not add members to team {team_id}."))
        role = named.get("user_role", "user")
        member = fields.member("teams", {"role": role, "user_id": user_id})
        if team.role_of(user_id) is None:
            added = _joined(call, team, member)
            changes[added.subject] = added
    return list(changes.values())

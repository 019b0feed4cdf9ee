"""Sessions of the admin page. The edge asks, having seen who it is (an identity provider's answer,
or the password): no caller can.

A session is a short-lived key of its user, so what holds for keys holds for it: one path, one
audit, gone on every edge at once.
"""

from typing import Any

import msgspec

from services.policy import user_defaults
from services.policy.commands import generic, keys
from services.policy.commands.generic import Command
from services.policy.identity.memberships import Pair, follow
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import KEY, TEAM, USER, Key, Team, User
from shared.entities import readers as fields
from shared.entities.user import ROLES
from shared.errors import RefusedError
from shared.ids import KeyDigest

PASSWORD = "password"  # noqa: S105 - the name of what is sealed
SESSIONS_MAX = 20
"""Of one user: the oldest ends when another begins."""
SESSION_MS_MAX = 30 * 86_400_000
SSO_ROLE = "sso_role"
"""Of a user: the role that the identity provider gave at the last login, so that it is known for
what the provider takes back.
"""
FAILED = "login"
"""The kind of a failed login's fact: it is about no entity, only seen."""


def begin(call: Call) -> Plan:
    """The user (made, or with what the identity provider now says of them), and a key of theirs."""
    body = call.body
    user_id = fields.text("user_id", body.get("user_id"))
    if user_id is None:
        fields.refuse("user_id", "must name the user")
    email = fields.text("user_email", body.get("user_email"))
    before = call.directory.users.get(user_id)
    if before is None and email is not None:
        before = _made_beforehand(call, user_id, email)
    if body.get("known") is True and (before is None or body.get("sealed") not in (None, before.sealed.get(PASSWORD))):
        text = "This user is no longer there, or has another password by now."
        raise RefusedError(errors.entity_not_found(text, "user_id"))
    user, teams = _teams(call, before, _user(call, before, user_id, email))
    changes = [] if user == before else [_stamped(call, before, user)]
    changes += [change(call.directory, TEAM, "updated" if old else "created", old, new) for old, new in teams]
    lasts_ms = body.get("lasts_ms")
    if not isinstance(lasts_ms, int) or not 0 < lasts_ms <= SESSION_MS_MAX:
        fields.refuse("lasts_ms", "must be milliseconds, up to 30 days")
    key = msgspec.structs.replace(
        keys.new_key(call),
        user_id=user.user_id,
        expires_at_ms=call.now_ms + lasts_ms,
        metadata={fields.SESSION: fields.text("how", body.get("how")) or "password"},
        created_by=user.user_id,
        updated_by=user.user_id,
    )
    changes.append(change(call.directory, KEY, "login", None, key))
    changes += _ended(call, user.user_id)
    return Plan({"user_id": user.user_id, "user_role": user.user_role, "expires": KEY.row(key)["expires"]}, changes)


def end(call: Call) -> Plan:
    """Logout. What is no session any more has ended."""
    key = call.directory.keys.get(KeyDigest(str(call.body.get("token"))))
    if key is None or fields.SESSION not in key.metadata:
        return Plan({"ended": False})
    return Plan({"ended": True}, [change(call.directory, KEY, "logout", key, None)])


def failed(call: Call) -> Plan:
    """Failed logins of one source, added up by the edge: a fact of its own, about nobody."""
    source = fields.text("source", call.body.get("source")) or "unknown"
    after = {"source": source, "count": call.body.get("count", 1), "how": fields.text("how", call.body.get("how"))}
    return Plan({}, [Change(FAILED, source, "login_failed", None, after, call.directory.expected(FAILED, source))])


VOUCHED: dict[str, Command] = {"/sso/session": begin, "/sso/end": end, "/sso/failed": failed}
"""Commands for which the edge itself vouches; no route leads to them."""


def _made_beforehand(call: Call, sso_user_id: str, email: str) -> User | None:
    """The user whom an admin made with this address, unless it is bound to somebody else of the
    identity provider already.
    """
    found = call.directory.user_of(email)
    bound = None if found is None else found.extra.get("sso_user_id")
    return found if bound is None or bound == sso_user_id else None


def _user(call: Call, before: User | None, user_id: str, email: str | None) -> User:
    """The role that the provider gives, else the one the user has from elsewhere, else the default.
    A person's teams are the teams' to say.
    """
    body = call.body
    said = fields.one_of(*ROLES)("user_role", body.get("user_role"))
    default = fields.one_of(*ROLES)("default_role", body.get("default_role"))
    by_provider = default is not None
    alias = fields.text("user_alias", body.get("user_alias"))
    mark = {SSO_ROLE: said} if by_provider and said is not None else {}
    if before is None:
        new = User(user_id=user_id, user_email=email, user_alias=alias, created_at_ms=call.now_ms, extra=mark)
        role = said or default or "internal_user_viewer"
        return USER.merge(new, user_defaults.completed(call.catalog, {"user_role": role})).entity
    extra = {name: value for name, value in before.extra.items() if name != SSO_ROLE or not by_provider} | mark
    if before.user_id != user_id:
        extra["sso_user_id"] = user_id
    taken_back = by_provider and said is None and before.extra.get(SSO_ROLE) == before.user_role
    changed: dict[str, Any] = {"user_role": default if taken_back else said or before.user_role, "extra": extra}
    if email is not None:
        changed["user_email"] = email
    if alias is not None:
        changed["user_alias"] = alias
    return msgspec.structs.replace(before, **changed)


def _teams(call: Call, before: User | None, user: User) -> tuple[User, list[Pair]]:
    """The teams of the configuration for a new user; and those that the provider's groups are named
    after, where they are to follow.
    """
    directory, catalog = call.directory, call.catalog
    groups = fields.texts_in(call.body.get("groups"))
    rules = None if catalog.jwt is None else catalog.jwt.rules
    follows = catalog.teams_follow_groups
    wanted = groups if follows else []
    if before is None:
        wanted = [*wanted, *catalog.new_user_teams]
    mine = [] if before is None else directory.find("team", "member_ids", user.user_id)

    def made(team_id: str) -> Team:
        new = Team(team_id=team_id, team_alias=team_id, created_at_ms=call.now_ms, updated_at_ms=call.now_ms)
        return TEAM.merge(new, catalog.new_teams).entity

    return follow(
        user,
        wanted,
        directory.teams.get,
        mine,
        call.now_ms,
        make=made if follows and rules is not None and rules.team_id_upsert else None,
        leave=follows and rules is not None and rules.sync_user_role_and_teams and before is not None,
    )


def _stamped(call: Call, before: User | None, user: User) -> Change:
    action = "created" if before is None else "updated"
    return change(call.directory, USER, action, before, generic.stamped(call, user))


def _of(call: Call, user_id: str) -> list[Key]:
    return [key for key in call.directory.find("key", "user_id", user_id) if fields.SESSION in key.metadata]


def all_ended(call: Call, user_id: str) -> list[Change]:
    """Of a user."""
    return [change(call.directory, KEY, "logout", key, None) for key in _of(call, user_id)]


def _ended(call: Call, user_id: str) -> list[Change]:
    """The user's sessions that are over, or too many, leave the directory."""
    found = _of(call, user_id)
    over = [key for key in found if key.expires_at_ms is not None and key.expires_at_ms <= call.now_ms]
    live = [key for key in found if key not in over]
    live.sort(key=lambda key: key.created_at_ms)
    return [
        change(call.directory, KEY, "logout", key, None)
        for key in (*over, *live[: max(0, len(live) - SESSIONS_MAX + 1)])
    ]

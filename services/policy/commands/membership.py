"""What follows from who is in a team: a user's list of teams, the users nobody knew, and the keys
that somebody leaves behind. The team's own list decides; what follows lands in the same batch.
"""

from collections import Counter
from typing import Any

import msgspec

from services.policy import user_defaults
from services.policy.commands import generic, keys
from services.policy.plan import Call, Change, change
from shared.entities import USER, Team, User, same_email
from shared.entities import readers as fields

FIELD = "members_with_roles"
LISTS = (FIELD, "admins", "members")
OFFSET = "spend_offset_picousd"
"""Of a member: added to what their keys in the team spent, since somebody set that."""
CHANGES_MAX = 450
"""That one call makes: they land in one batch."""


def user_of(call: Call, member: dict[str, Any], team: Team) -> tuple[User, Change]:
    """A new member as a user, and the change that notes the team with them: also where they list it
    already. Then they have just left it, and the fact that says so is still on its way here: this
    one mustn't land after it.
    """
    user_id, email = member.get("user_id"), member.get("user_email")
    before = call.directory.users.get(user_id) if user_id is not None else None
    if before is None and user_id is None:
        before = call.directory.user_of(str(email))
    user = before or _new(call, user_id or call.new_id(), email)
    listed = list(dict.fromkeys([*user.teams, team.team_id]))
    after = generic.stamped(call, msgspec.structs.replace(user, teams=listed))
    return user, change(call.directory, USER, "created" if before is None else "updated", before, after)


def left(call: Call, team: Team, user_id: str, field: str = "user_id") -> list[Change]:
    """Of who leaves: their keys of the team end, and the team is off their list."""
    of_team = [key for key in call.directory.find("key", "user_id", user_id) if key.team_id == team.team_id]
    gone = keys.deletions(call, of_team)
    if len(gone) > CHANGES_MAX:
        fields.refuse(field, f"has more than {CHANGES_MAX} keys and names in this team: delete some first")
    user = call.directory.users.get(user_id)
    if user is None or team.team_id not in user.teams:
        return list(gone.values())
    without = msgspec.structs.replace(user, teams=[each for each in user.teams if each != team.team_id])
    return [*gone.values(), change(call.directory, USER, "updated", user, generic.stamped(call, without))]


def followed(call: Call, before: Team, after: Team) -> tuple[Team, list[Change]]:
    """(the team whose lists of members were written whole, with the ids of those that were named by
    their address; what follows).
    """
    if before.member_ids == after.member_ids and _shown(before) == _shown(after):
        return msgspec.structs.replace(after, members_with_roles=before.members_with_roles), []
    if before.member_ids and not after.member_ids and not after.members_with_roles:
        fields.refuse(
            FIELD, "can't be left empty: that ends the keys of all members (/team/member_delete takes them out)"
        )
    check_distinct(FIELD, after.members_with_roles)
    offsets = {each.get("user_id"): each[OFFSET] for each in before.members_with_roles if OFFSET in each}
    was, named = set(before.member_ids), set[str]()
    members = []
    changes: dict[str, Change] = {}
    for member in after.members_with_roles:
        user_id = member.get("user_id")
        if user_id not in was:
            user, joined = user_of(call, member, after)
            user_id = user.user_id
            changes[joined.subject] = joined
        if user_id in named:
            fields.refuse(FIELD, f"names {user_id[:128]!r} twice")
        named.add(user_id)
        members.append({**member, "user_id": user_id, **({OFFSET: offsets[user_id]} if user_id in offsets else {})})
    after = msgspec.structs.replace(after, members_with_roles=members)
    for user_id in after.member_ids:
        if user_id not in was and user_id not in named:
            _, joined = user_of(call, {"user_id": user_id}, after)
            changes[joined.subject] = joined
    for user_id in was.difference(after.member_ids):
        changes |= {each.subject: each for each in left(call, before, user_id, FIELD)}
    if len(changes) > CHANGES_MAX:
        fields.refuse(FIELD, f"changes more than {CHANGES_MAX} users and keys: do it in parts")
    return after, list(changes.values())


def said(body: dict[str, Any]) -> dict[str, Any]:
    """The body without lists of members that are null: clients send so what they say nothing of,
    and who is out of a list loses their keys.
    """
    return {name: value for name, value in body.items() if value is not None or name not in LISTS}


def check_distinct(field: str, members: list[dict[str, Any]]) -> None:
    """An address that nobody has yet would otherwise become two users. Raises RefusedError."""
    addresses = [(each.get("user_id"), str(each["user_email"])) for each in members if each.get("user_email")]
    times = Counter(same_email(address) for _, address in addresses)
    for user_id, address in addresses:
        if user_id is None and times[same_email(address)] > 1:
            fields.refuse(field, f"names {address[:128]!r} twice")


def _shown(team: Team) -> list[dict[str, Any]]:
    """Its members as they can be sent."""
    return [{name: value for name, value in each.items() if name != OFFSET} for each in team.members_with_roles]


def _new(call: Call, user_id: str, email: str | None) -> User:
    user = User(user_id=user_id, created_at_ms=call.now_ms)
    return USER.merge(user, user_defaults.completed(call.catalog, {"user_email": email})).entity

"""What follows from who is in a team: a user's list of teams, the users nobody knew, and the keys
that somebody leaves behind. The team's own list decides; what follows lands in the same batch.
"""

from typing import Any

import msgspec

from services.policy import user_defaults
from services.policy.commands import generic, keys
from services.policy.plan import Call, Change, change
from shared.entities import USER, Team, User
from shared.entities import readers as fields

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
    if before.member_ids == after.member_ids and before.members_with_roles == after.members_with_roles:
        return after, []
    known = {str(each["user_id"]): each for each in before.members_with_roles if each.get("user_id") is not None}
    was, members = set(before.member_ids), []
    changes: dict[str, Change] = {}
    for member in after.members_with_roles:
        of_before = known.get(str(member.get("user_id")), {})
        if member.get("user_id") not in was:
            user, joined = user_of(call, member, after)
            member = {**member, "user_id": user.user_id}
            changes[joined.subject] = joined
        members.append({**member, **{name: each for name, each in of_before.items() if name == OFFSET}})
    after = msgspec.structs.replace(after, members_with_roles=members)
    named = {member["user_id"] for member in members}
    for user_id in after.member_ids:
        if user_id not in was and user_id not in named:
            _, joined = user_of(call, {"user_id": user_id}, after)
            changes[joined.subject] = joined
    for user_id in was.difference(after.member_ids):
        changes |= {each.subject: each for each in left(call, before, user_id, "members_with_roles")}
    if len(changes) > CHANGES_MAX:
        fields.refuse("members_with_roles", f"changes more than {CHANGES_MAX} users and keys: do it in parts")
    return after, list(changes.values())


def _new(call: Call, user_id: str, email: str | None) -> User:
    user = User(user_id=user_id, created_at_ms=call.now_ms)
    return USER.merge(user, user_defaults.completed(call.catalog, {"user_email": email})).entity

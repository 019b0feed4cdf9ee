"""Teams that follow what an identity provider says of a person: by a token's claims, or at a login.
Pure.
"""

from collections.abc import Callable, Iterable

import msgspec

from shared.entities import Team, User

TEAMS_MAX = 100
"""Of one person, by what one answer of an identity provider says."""

Pair = tuple[Team | None, Team]
"""(before, after)"""


def follow(
    user: User,
    groups: Iterable[str],
    find: Callable[[str], Team | None],
    mine: list[Team],
    now_ms: int,
    *,
    make: Callable[[str], Team] | None = None,
    leave: bool = False,
) -> tuple[User, list[Pair]]:
    """The user with the teams they are in afterwards, and the teams that change.

    Args:
        mine: teams that the user is a member of now.
        make: a team for a group that has none; None: such a group says nothing.
        leave: the user leaves the teams that no group is named after.
    """
    wanted = [each for each in dict.fromkeys(groups) if each][:TEAMS_MAX]
    pairs: list[Pair] = []
    for group in wanted:
        team = find(group)
        if team is None and make is not None:
            team = make(group)
            pairs.append((None, _joined(team, user, now_ms)))
        elif team is not None and team.role_of(user.user_id) is None:
            pairs.append((team, _joined(team, user, now_ms)))
    ids = {team.team_id for _, team in pairs} | {team.team_id for team in mine}
    if leave:
        gone = [team for team in mine if team.team_id not in wanted]
        pairs += [(team, _left(team, user, now_ms)) for team in gone]
        ids -= {team.team_id for team in gone}
    if not pairs:
        return user, []
    # Another user in any case: one that lists a team already has just left it, and the fact that
    # says so may be on its way still. This one mustn't land after it.
    return msgspec.structs.replace(user, teams=sorted(ids), updated_at_ms=now_ms), pairs


def _joined(team: Team, user: User, now_ms: int) -> Team:
    member = {"role": "user", "user_id": user.user_id, "user_email": user.user_email}
    return msgspec.structs.replace(team, members_with_roles=[*team.members_with_roles, member], updated_at_ms=now_ms)


def _left(team: Team, user: User, now_ms: int) -> Team:
    return msgspec.structs.replace(
        team,
        members_with_roles=[each for each in team.members_with_roles if each.get("user_id") != user.user_id],
        members=[each for each in team.members if each != user.user_id],
        admins=[each for each in team.admins if each != user.user_id],
        updated_at_ms=now_ms,
    )

"""What an actor is to an entity. Pure.

`admin`, `viewer`: proxy admins. `org_admin`: of the organisation it belongs to. `team_admin`,
`team_user`: of its team. `owner`: it is theirs, or they made it and it is nobody else's. `self`:
the key, or the user, itself. `own_key`: a key of the team or organisation. `member`: of a key, a
plain member of its team, where that lets its members call this route; of an organisation, anybody
in it.
"""

from services.policy.directory import Directory
from shared.entities import Key, Organization, Project, Team
from shared.entities.team import SEES_SPEND
from shared.facts import Caller

MEMBER_MAY = ("/key/info", "/key/health")
"""What plain members may do with their team's keys where the team doesn't say
(`team_member_permissions`).
"""


PERMISSIONS = {
    **{
        name: name
        for name in (
            "/key/info", "/key/health", "/key/generate", "/key/service-account/generate", "/key/update", "/key/delete", "/key/regenerate",
            "/key/block", "/key/unblock", "/key/{key_id}/reset_spend", SEES_SPEND,
        )
    },
    "/key/list": "/key/info",
    "/key/aliases": "/key/info",
    "/key/{key_id}/regenerate": "/key/regenerate",
    "/key/bulk_update": "/key/update",
}  # fmt: skip
"""What a team may let its plain members do with its keys, by LiteLLM's names → what that is here;
and whether they see what the whole team spent.
"""


def members_may(team: Team) -> list[str]:
    """What plain members of a team may do with its keys."""
    return list(dict.fromkeys((*MEMBER_MAY, *team.extra.get("team_member_permissions", ()))))


def administered(directory: Directory, user_id: str | None) -> list[str]:
    """The ids of the organisations whose admin this user is."""
    if user_id is None:
        return []
    found: list[Organization] = directory.find("organization", "admin_ids", user_id)
    return [each.organization_id for each in found]


def key_relations(directory: Directory, actor: Caller, key: Key, route: str) -> set[str]:
    found = _by_role(actor)
    if key.token == actor.key_sha256:
        found.add("self")
    team = None if key.team_id is None else directory.teams.get(key.team_id)
    if actor.user_id is not None and (actor.user_id == key.user_id or _made(actor.user_id, key, team)):
        found.add("owner")
    organization_id = key.organization_id or (None if team is None else team.organization_id)
    if organization_id is not None and organization_id in administered(directory, actor.user_id):
        found.add("org_admin")
    if team is not None:
        role = team.role_of(actor.user_id)
        if role == "admin":
            found.add("team_admin")
        elif role is not None and route in {PERMISSIONS.get(name) for name in members_may(team)}:
            found.add("member")
    return found


def _made(user_id: str, key: Key, team: Team | None) -> bool:
    """Whether it is still theirs because they made it: it has no other user, and its team, if it
    has one, has them.
    """
    if key.created_by != user_id or key.user_id is not None:
        return False
    return key.team_id is None or (team is not None and team.role_of(user_id) is not None)


def team_relations(directory: Directory, actor: Caller, team: Team) -> set[str]:
    found = _by_role(actor)
    role = team.role_of(actor.user_id)
    if role is not None:
        found.add("team_admin" if role == "admin" else "team_user")
    if actor.team_id == team.team_id:
        found.add("own_key")
    if team.organization_id is not None and team.organization_id in administered(directory, actor.user_id):
        found.add("org_admin")
    return found


def organization_relations(actor: Caller, organization: Organization) -> set[str]:
    found = _by_role(actor)
    if actor.user_id is not None and actor.user_id in organization.member_ids:
        found.add("member")
    if actor.user_id is not None and actor.user_id in organization.admin_ids:
        found.add("org_admin")
    if actor.organization_id == organization.organization_id:
        found.add("own_key")
    return found


def project_relations(directory: Directory, actor: Caller, project: Project) -> set[str]:
    """Those to its team."""
    team = None if project.team_id is None else directory.teams.get(project.team_id)
    found = _by_role(actor) if team is None else team_relations(directory, actor, team)
    return found - {"own_key"}


def user_relations(directory: Directory, actor: Caller, user_id: str) -> set[str]:
    found = _by_role(actor)
    if actor.user_id == user_id:
        found.add("self")
    tables = directory.tables["organization"]
    if any(user_id in tables[each].member_ids for each in administered(directory, actor.user_id)):
        found.add("org_admin")
    return found


def _by_role(actor: Caller) -> set[str]:
    role = {"proxy_admin": "admin", "proxy_admin_viewer": "viewer"}.get(actor.role)
    return set() if role is None else {role}

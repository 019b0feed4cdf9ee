"""Who the operator's own function says is calling, to a principal: a key that exists only in this
decision. Pure.
"""

import msgspec

from services.policy.directory import Directory
from services.policy.identity.principal import NotLetIn, Principal
from shared import errors, subjects
from shared.decoding import UNREADABLE
from shared.entities import Key
from shared.identity.own import Identity
from shared.ids import KeyDigest

ROLES = frozenset({"proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer"})


def principal(directory: Directory, told: bytes) -> Principal | NotLetIn:
    """A team that nobody made here is a name and nothing more, as LiteLLM has it; one that is here
    binds.

    Args:
        told: an Identity, as the edge sent it.
    """
    try:
        identity = msgspec.json.decode(told, type=Identity)
    except UNREADABLE:
        return NotLetIn(errors.own_auth_refused(), [])
    depends_on = [
        subjects.control(kind, each)
        for kind, each in (("team", identity.team_id), ("user", identity.user_id))
        if each is not None
    ]
    team = None if identity.team_id is None else directory.teams.get(identity.team_id)
    user = None if identity.user_id is None else directory.users.get(identity.user_id)
    known = "internal_user" if user is None else user.user_role
    key = Key(
        token=KeyDigest(identity.token),
        key_name="",
        key_alias=identity.key_alias,
        models=identity.models,
        metadata=identity.metadata,
        expires_at_ms=identity.expires_at_ms,
        blocked=identity.blocked,
        team_id=None if team is None else team.team_id,
        user_id=identity.user_id,
        organization_id=identity.org_id,
        permissions=identity.permissions,
        aliases=identity.aliases,
        allowed_routes=identity.allowed_routes,
    )
    named = None if team is not None else (identity.team_id, identity.team_alias)
    return Principal(
        key,
        identity.user_role if identity.user_role in ROLES else known,
        depends_on,
        team,
        model_lists=[identity.team_models] if identity.team_models else [],
        team_named=named,
    )

"""Entities policy keeps, one file a kind. Fields carry LiteLLM's names, so that answers and audit
rows need no translation.
"""

from typing import Any

from shared.entities.budget import BUDGET, Budget
from shared.entities.credential import CREDENTIAL, Credential
from shared.entities.customer import CUSTOMER, Customer
from shared.entities.invitation import INVITATION, Invitation
from shared.entities.jwt_mapping import JWT_MAPPING, JwtMapping, mapping_id
from shared.entities.key import ALIAS, KEY, Alias, Key
from shared.entities.kind import ENTITY_BYTES_MAX, EntityKind, Field, iso
from shared.entities.model import MODEL, Model
from shared.entities.organization import ORGANIZATION, PROJECT, Organization, Project
from shared.entities.pass_through import PASS_THROUGH, PassThrough
from shared.entities.replay import REPLAY, Replay
from shared.entities.setting import SETTING, Setting
from shared.entities.tag import TAG, Tag
from shared.entities.team import TEAM, Team
from shared.entities.user import USER, User, same_email

__all__ = [
    "ALIAS",
    "BUDGET",
    "CREDENTIAL",
    "CUSTOMER",
    "ENTITY_BYTES_MAX",
    "INVITATION",
    "JWT_MAPPING",
    "KEY",
    "KINDS",
    "MODEL",
    "ORGANIZATION",
    "PASS_THROUGH",
    "PROJECT",
    "REPLAY",
    "SETTING",
    "TABLE_NAMES",
    "TAG",
    "TEAM",
    "USER",
    "Alias",
    "Budget",
    "Credential",
    "Customer",
    "EntityKind",
    "Field",
    "Invitation",
    "JwtMapping",
    "Key",
    "Model",
    "Organization",
    "PassThrough",
    "Project",
    "Replay",
    "Setting",
    "Tag",
    "Team",
    "User",
    "iso",
    "mapping_id",
    "same_email",
]

KINDS: dict[str, EntityKind[Any]] = {
    kind.name: kind
    for kind in (
        KEY,
        ALIAS,
        TEAM,
        USER,
        CUSTOMER,
        SETTING,
        PASS_THROUGH,
        REPLAY,
        ORGANIZATION,
        PROJECT,
        MODEL,
        CREDENTIAL,
        BUDGET,
        TAG,
        JWT_MAPPING,
        INVITATION,
    )
}

TABLE_NAMES: dict[str, str] = {name: kind.table for name, kind in KINDS.items()}
"""LiteLLM's name for each kind, in the audit log."""

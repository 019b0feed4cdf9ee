"""One row of a LiteLLM database as one of our entities. Pure.

Rows are those of PostgreSQL's row_to_json, so any version's columns may be there or not. What
LiteLLM keeps beside an entity (its budget, members, model aliases) is folded in, but for budgets,
which others refer to by name. A field that can't be read refuses its row, unless nothing acts on
it: leaving out a rule would open something.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from services.policy.importing import stored
from services.policy.importing.secrets import Secrets
from services.policy.model_access import GROUPS, NO_MODELS
from shared import errors
from shared.entities import (
    BUDGET,
    CREDENTIAL,
    CUSTOMER,
    JWT_MAPPING,
    KEY,
    MODEL,
    ORGANIZATION,
    PROJECT,
    TAG,
    TEAM,
    USER,
    Budget,
    Credential,
    Customer,
    EntityKind,
    JwtMapping,
    Key,
    Model,
    Organization,
    Project,
    Tag,
    Team,
    User,
    iso,
    mapping_id,
)
from shared.entities.readers import texts_in
from shared.entities.user import ROLES
from shared.errors import RefusedError
from shared.ids import KeyDigest, digest_key
from shared.money import PICOUSD_PER_USD

Row = dict[str, Any]

_DIGEST = re.compile("[0-9a-f]{64}")
SESSIONS_TEAM = "litellm-dashboard"
"""Its keys are sessions of LiteLLM's admin page."""


class Found(msgspec.Struct, frozen=True):
    """What a row says."""

    kind: EntityKind[Any] | None
    """None: nothing is to be kept of it but its balance."""
    entity: Any = None
    balances: list[tuple[str, str, int, int]] = []
    """(dimension, value, pico-USD ever, pico-USD of the running budget window)."""
    remarks: list[str] = []
    secrets: Row = {}
    """Of a model or a credential, in the clear: to be sealed."""


class Source:
    """What other rows need of those that came before them."""

    def __init__(self, secrets: Secrets) -> None:
        self.secrets = secrets
        self.budgets: dict[str, Row] = {}
        self.aliases: dict[Any, Any] = {}
        """`model_id` of a team → its model aliases."""
        self.organization_members: dict[str, list[Row]] = {}
        self.team_members: dict[tuple[str, str], Row] = {}
        self.groups: dict[str, list[str]] = {}
        """Access group → its models."""

    def keep(self, table: str, row: Row) -> bool:
        """Whether the row is of a table that only others refer to."""
        match table:
            case "LiteLLM_AccessGroupTable":
                self.groups[str(row.get("access_group_id"))] = texts_in(row.get("access_model_names"))
            case "LiteLLM_BudgetTable":
                self.budgets[str(row.get("budget_id"))] = row
                return False  # it is an entity besides
            case "LiteLLM_ModelTable":
                self.aliases[row.get("id")] = row.get("aliases") or row.get("model_aliases")
            case "LiteLLM_OrganizationMembership":
                self.organization_members.setdefault(str(row.get("organization_id")), []).append(row)
            case "LiteLLM_TeamMembership":
                self.team_members[str(row.get("team_id")), str(row.get("user_id"))] = row
            case _:
                return False
        return True


def read(source: Source, table: str, row: Row, now_ms: int) -> Found:
    """Raises RefusedError naming the field for a row that can't be kept; KeyError for a table
    nobody reads.
    """
    ids = texts_in(row.get(GROUPS))
    if not ids:
        return READERS[table](source, row, now_ms)
    known = [each for each in ids if each in source.groups]
    models = [*texts_in(row.get("models")), *(name for each in known for name in source.groups[each])]
    gone = [each for each in ids if each not in source.groups]  # which keep the row from allowing everything
    stands = {"models": list(dict.fromkeys(models)) or [NO_MODELS], GROUPS: gone}
    found = READERS[table](source, {**row, **stands}, now_ms)
    text = "what is in its access groups stands in its models: groups of the gateway are what deployments say"
    return msgspec.structs.replace(found, remarks=[*found.remarks, text])


def _budget(source: Source, row: Row, now_ms: int) -> Found:
    remarks: list[str] = []
    empty = Budget(budget_id=str(row["budget_id"]), **_made(row, now_ms, who=True))
    return Found(BUDGET, _merged(BUDGET, empty, row, remarks), [], remarks)


def _organization(source: Source, row: Row, now_ms: int) -> Found:
    organization_id = str(row["organization_id"])
    members = []
    remarks: list[str] = []
    for member in source.organization_members.get(organization_id, ()):
        role = member.get("user_role") or "internal_user"
        if role not in ("org_admin", "internal_user", "internal_user_viewer"):
            remarks.append(f"member {member.get('user_id')} has the role {role!r}, internal_user is taken for it")
            role = "internal_user"
        members.append({"user_id": str(member.get("user_id")), "user_role": role})
    empty = Organization(organization_id=organization_id, members=members, **_made(row, now_ms, who=True))
    entity = _merged(ORGANIZATION, empty, row, remarks)
    return Found(ORGANIZATION, entity, _balance("organization", organization_id, row), remarks)


def _team(source: Source, row: Row, now_ms: int) -> Found:
    team_id = str(row["team_id"])
    remarks: list[str] = []
    members = row.get("members_with_roles") or []
    metadata = stored.logging(source.secrets, row.get("metadata"), remarks)
    body = {**row, "metadata": metadata, "members_with_roles": members if isinstance(members, list) else []}
    for each in body["members_with_roles"]:
        membership = source.team_members.get((team_id, str(each.get("user_id")))) if isinstance(each, dict) else None
        budget = None if membership is None else source.budgets.get(str(membership.get("budget_id")))
        if budget is not None:
            limits = {
                "max_budget_in_team": budget.get("max_budget"),
                **{n: budget.get(n) for n in ("tpm_limit", "rpm_limit")},
            }
            each.update({name: value for name, value in limits.items() if value is not None})
    aliases = source.aliases.get(row.get("model_id"))
    if row.get("model_id") is not None and isinstance(aliases, dict) and aliases:
        body["model_aliases"] = aliases
    entity = _merged(TEAM, Team(team_id=team_id, **_made(row, now_ms)), body, remarks)
    return Found(TEAM, entity, _balance("team", team_id, row), remarks)


def _project(source: Source, row: Row, now_ms: int) -> Found:
    project_id = str(row["project_id"])
    remarks: list[str] = []
    empty = Project(project_id=project_id, **_made(row, now_ms, who=True))
    entity = _merged(PROJECT, empty, row, remarks)
    return Found(PROJECT, entity, [], remarks)


def _user(source: Source, row: Row, now_ms: int) -> Found:
    user_id = str(row["user_id"])
    remarks: list[str] = []
    role = row.get("user_role") or "internal_user"
    if role not in ROLES:
        remarks.append(f"its role {role!r} is none of ours, internal_user is taken for it")
        role = "internal_user"
    teams = [str(each) for each in row.get("teams") or []]
    entity = _merged(
        USER, User(user_id=user_id, teams=teams, **_made(row, now_ms)), {**row, "user_role": role}, remarks
    )
    return Found(USER, entity, _balance("user", user_id, row), remarks)


_OF_CUSTOMERS = (
    "alias",
    "models",
    "default_model",
    "allowed_model_region",
    "budget_id",
    "blocked",
    "object_permission_id",
)


def _customer(source: Source, row: Row, now_ms: int) -> Found:
    """LiteLLM makes a row of everybody a call was made for; an entity is whom somebody set
    something on.
    """
    user_id = str(row["user_id"])
    balances = _balance("customer", user_id, row)
    if not any(row.get(name) for name in _OF_CUSTOMERS):
        return Found(None, None, balances)
    remarks: list[str] = []
    body = {
        **row,
        "blocked": row.get("blocked") or None,
    }  # false is what a row has where nobody said
    empty = Customer(user_id=user_id, **_made(row, now_ms))
    return Found(CUSTOMER, _merged(CUSTOMER, empty, body, remarks), balances, remarks)


def _tag(source: Source, row: Row, now_ms: int) -> Found:
    """Its sum; an entity where somebody said something about it."""
    name = str(row["tag_name"])
    balances = _balance("tag", name, row)
    if not any(row.get(field) for field in ("description", "models", "budget_id")):
        return Found(None, None, balances)
    remarks: list[str] = []
    return Found(TAG, _merged(TAG, Tag(name=name, **_made(row, now_ms, who=True)), row, remarks), balances, remarks)


def _credential(source: Source, row: Row, now_ms: int) -> Found:
    values, clear = stored.values(source.secrets, row, "credential_values")
    remarks: list[str] = []
    empty = Credential(
        credential_name=str(row["credential_name"]), credential_values=values, **_made(row, now_ms, who=True)
    )
    body = {name: row.get(name) for name in ("display_name", "credential_info")}
    return Found(CREDENTIAL, _merged(CREDENTIAL, empty, body, remarks), [], remarks, clear)


def _model(source: Source, row: Row, now_ms: int) -> Found:
    info = stored.object_of(row.get("model_info"))
    if info.get("team_id") is not None:
        raise RefusedError(errors.bad_request("a model of one team alone isn't known here", "model_info.team_id"))
    values, clear = stored.values(source.secrets, row, "litellm_params")
    remarks: list[str] = []
    empty = Model(
        model_id=str(row["model_id"]),
        model_name=str(row["model_name"]),
        litellm_params=values,
        model_info={name: value for name, value in info.items() if name not in ("id", "db_model")},
        **_made(row, now_ms, who=True),
    )
    return Found(MODEL, _merged(MODEL, empty, {"blocked": row.get("blocked")}, remarks), [], remarks, clear)


def _key(source: Source, row: Row, now_ms: int) -> Found:
    token = str(row["token"])
    if row.get("team_id") == SESSIONS_TEAM:
        return Found(None)
    digest = digest_key(token) if token.startswith("sk-") else KeyDigest(token)
    if _DIGEST.fullmatch(digest) is None:
        raise ValueError("no digest")
    remarks: list[str] = []
    empty = Key(
        token=digest,
        key_name=str(row.get("key_name") or "sk-..."),
        expires_at_ms=_ms(row.get("expires")),
        **_made(row, now_ms, who=True),
    )
    body = {**row, "metadata": stored.logging(source.secrets, row.get("metadata"), remarks)}
    entity = _merged(KEY, empty, body, remarks)
    kept = {name: row.get(name) for name in ("rotation_count", "last_rotation_at", "key_rotation_at") if row.get(name)}
    if entity.extra.get("auto_rotate") and entity.extra.get("rotation_interval") is None:
        remarks.append("auto_rotate has no rotation_interval, so it is off")
        entity = msgspec.structs.replace(entity, extra={n: v for n, v in entity.extra.items() if n != "auto_rotate"})
    for name in ("last_rotation_at", "key_rotation_at"):
        if name in kept:
            kept[name] = _instant(kept[name])
    return Found(
        KEY, msgspec.structs.replace(entity, extra={**entity.extra, **kept}), _balance("key", digest, row), remarks
    )


def _jwt_mapping(source: Source, row: Row, now_ms: int) -> Found:
    issuer, name, value = row.get("jwt_issuer") or None, str(row["jwt_claim_name"]), str(row["jwt_claim_value"])
    remarks: list[str] = []
    empty = JwtMapping(
        id=mapping_id(issuer, name, value), token=KeyDigest(str(row["token"])), **_made(row, now_ms, who=True)
    )
    return Found(JWT_MAPPING, _merged(JWT_MAPPING, empty, row, remarks), [], remarks)


def _retired(source: Source, row: Row, now_ms: int) -> Found:
    """A rotated key that lives on for its grace period."""
    until = _ms(row.get("revoke_at"))
    if until is None or until <= now_ms:
        return Found(None)
    token, active = KeyDigest(str(row["token"])), KeyDigest(str(row["active_token_id"]))
    return Found(
        KEY, Key(token=token, key_name="sk-...", expires_at_ms=until, replaced_by=active, **_made(row, now_ms))
    )


READERS: dict[str, Callable[[Source, Row, int], Found]] = {
    "LiteLLM_BudgetTable": _budget,
    "LiteLLM_OrganizationTable": _organization,
    "LiteLLM_TeamTable": _team,
    "LiteLLM_ProjectTable": _project,
    "LiteLLM_UserTable": _user,
    "LiteLLM_EndUserTable": _customer,
    "LiteLLM_TagTable": _tag,
    "LiteLLM_VerificationToken": _key,
    "LiteLLM_DeprecatedVerificationToken": _retired,
    "LiteLLM_JWTKeyMapping": _jwt_mapping,
    "LiteLLM_CredentialsTable": _credential,
    "LiteLLM_ProxyModelTable": _model,
}


def _merged(kind: EntityKind[Any], entity: Any, row: Row, remarks: list[str]) -> Any:
    """The entity with the row's fields, as a command would read them. Raises RefusedError."""
    body = {
        name: value
        for name, value in row.items()
        if name in kind.settable() and value not in (None, "", [], {}) and name not in _OURS
    }
    for name in ("budget_reset_at", "expires"):
        if name in body:
            body[name] = _instant(body[name])
    while True:
        try:
            merged = kind.merge(entity, body).entity
            kind.check_size(merged)
            return merged
        except RefusedError as refused:
            field = kind.fields.get(refused.refusal.param or "")
            if field is None or field.enforced or field.name not in body:
                raise
            remarks.append(f"{field.name} is left out: {refused.refusal.message}")
            del body[field.name]


_OURS = frozenset({"spend", "key_name", "teams"})


def _made(row: Row, now_ms: int, *, who: bool = False) -> dict[str, Any]:
    created = _ms(row.get("created_at")) or now_ms
    made: dict[str, Any] = {"created_at_ms": created, "updated_at_ms": _ms(row.get("updated_at")) or created}
    if who:
        made |= {name: row.get(name) for name in ("created_by", "updated_by")}
    return made


def _balance(dimension: str, value: str, row: Row) -> list[tuple[str, str, int, int]]:
    """LiteLLM's `spend` begins anew with every budget window; `total_spend`, where there is one,
    doesn't.
    """
    window, total = (_picousd(row.get(name)) for name in ("spend", "total_spend"))
    ever = max(window, total)
    return [(dimension, value, ever, window)] if ever > 0 else []


def _picousd(usd: Any) -> int:
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd < 1e15:
        return 0
    return round(usd * PICOUSD_PER_USD)


def _ms(instant: Any) -> int | None:
    """Milliseconds of a timestamp as PostgreSQL writes it; without a zone it is UTC."""
    if not isinstance(instant, str):
        return None
    read = datetime.fromisoformat(instant)
    return round((read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp() * 1000)


def _instant(value: Any) -> Any:
    ms = _ms(value)
    return value if ms is None else iso(ms)

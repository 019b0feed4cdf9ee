"""/organization/* and /project/*. Who may touch which: `rights.py`."""

from typing import Any

import msgspec

from services.policy import relations, rights
from services.policy.commands import budgets, generic, keys
from services.policy.plan import Call, Plan, Spent, change
from shared import errors
from shared.entities import ORGANIZATION, PROJECT, TEAM, Organization, Project, Team
from shared.entities import readers as fields
from shared.entities.kind import iso
from shared.entities.organization import ORGANIZATION_ROLES
from shared.errors import RefusedError

IDS_MAX = 100
_NO_ORGANIZATION = "You are not allowed to access this organization's info."
_NO_PROJECT = "You are not allowed to access this project's info."


def new_organization(call: Call) -> Plan:
    organization_id = fields.text("organization_id", call.body.get("organization_id")) or call.new_id()
    _free(call, "organization", organization_id)
    return _save(call, ORGANIZATION, Organization(organization_id=organization_id, created_at_ms=call.now_ms), None)


def update_organization(call: Call) -> Plan:
    before = _organization(call, fields.text("organization_id", call.body.get("organization_id")))
    _need(call, before)
    return _save(call, ORGANIZATION, before, before)


def delete_organizations(call: Call) -> Plan:
    """Refused while teams or keys are in it: they would have other models then."""
    names = generic.names(call, "organization_ids", IDS_MAX)
    found = [_organization(call, name, "organization_ids") for name in names]
    for each in found:
        _need(call, each)
        for kind in ("team", "key"):
            if call.directory.find(kind, "organization_id", each.organization_id):
                message = f"Organization {each.organization_id} still has {kind}s"
                raise RefusedError(errors.bad_request(message, "organization_ids"))
    changes = [change(call.directory, ORGANIZATION, "deleted", each, None) for each in found]
    return Plan([_organization_row(call, each) for each in found], changes)


def organization_info(call: Call) -> Plan:
    sent = call.query.get("organization_id") or fields.text("organization_id", call.body.get("organization_id"))
    found = _organization(call, sent)
    _need(call, found)
    row = _organization_row(call, found)
    return Plan(row, spend=[_spent(found, row)])


def organization_infos(call: Call) -> Plan:
    """By POST: of those that are named the ones that are there, and that the caller may see."""
    table = call.directory.tables["organization"]
    names = generic.names(call, "organizations", IDS_MAX)
    return _rows(call, [table[name] for name in dict.fromkeys(names) if name in table])


def _rows(call: Call, found: list[Organization]) -> Plan:
    seen = [each for each in found if rights.may_touch_organization(call, each, "/organization/info")]
    rows = [_organization_row(call, each) for each in seen]
    return Plan(rows, spend=[_spent(each, row) for each, row in zip(seen, rows, strict=True)])


def _spent(found: Organization, row: dict[str, Any]) -> Spent:
    return Spent(row, "organization", [found.organization_id])


def list_organizations(call: Call) -> Plan:
    """`org_id` is the id; `org_alias` a part of the name."""
    table = call.directory.tables["organization"]
    org_id, alias = call.query.get("org_id"), (call.query.get("org_alias") or "").casefold()
    every: list[Organization] = [*table.values()] if not org_id else [table[org_id]] if org_id in table else []
    return _rows(call, [each for each in every if alias in (each.organization_alias or "").casefold()])


def add_member(call: Call) -> Plan:
    found = _organization(call, fields.text("organization_id", call.body.get("organization_id")))
    _need(call, found)
    sent = call.body.get("member")
    members = list(found.members)
    for each in sent if isinstance(sent, list) else [sent]:
        member = _member(call, each)
        if any(known["user_id"] == member["user_id"] for known in members):
            raise RefusedError(errors.bad_request(f"User={member['user_id']} is a member already", "member"))
        members.append(member)
    return _with_members(call, found, members)


def update_member(call: Call) -> Plan:
    found, member = _named_member(call)
    role = _role(call.body.get("role"))
    members = [{**each, "user_role": role} if each is member else each for each in found.members]
    plan = _with_members(call, found, members)
    changed = next(each for each in plan.answer["members"] if each["user_id"] == member["user_id"])
    return msgspec.structs.replace(plan, answer={**plan.answer, **changed})


def delete_member(call: Call) -> Plan:
    found, member = _named_member(call)
    return _with_members(call, found, [each for each in found.members if each is not member])


def new_project(call: Call) -> Plan:
    project_id = fields.text("project_id", call.body.get("project_id")) or call.new_id()
    _free(call, "project", project_id)
    return _save(call, PROJECT, Project(project_id=project_id, created_at_ms=call.now_ms), None)


def update_project(call: Call) -> Plan:
    before = _project(call, fields.text("project_id", call.body.get("project_id")))
    _need_project(call, before)
    return _save(call, PROJECT, before, before)


def delete_projects(call: Call) -> Plan:
    names = generic.names(call, "project_ids", IDS_MAX)
    found = [_project(call, name, "project_ids") for name in names]
    for each in found:
        _need_project(call, each)
    changes = [change(call.directory, PROJECT, "deleted", each, None) for each in found]
    return Plan([_project_row(call, each) for each in found], changes)


def project_info(call: Call) -> Plan:
    found = _project(call, call.query.get("project_id"))
    _need_project(call, found)
    return Plan(_project_row(call, found))


def list_projects(call: Call) -> Plan:
    every: list[Project] = list(call.directory.tables["project"].values())
    found = [each for each in every if rights.may_touch_project(call, each, "/project/info")]
    return Plan([_project_row(call, each) for each in found])


def _project_row(call: Call, found: Project) -> dict[str, Any]:
    return PROJECT.row(found, spend=None, litellm_budget_table=budgets.shown(call, PROJECT, found))


def _save(call: Call, kind: Any, entity: Any, before: Any) -> Plan:
    made = kind.merge(entity, call.body)
    after = generic.stamped(call, made.entity)
    if before is None and after.created_by is None:
        after = msgspec.structs.replace(after, created_by=call.actor.user_id)
    keys.check_models(call, entity, after)
    budgets.check(call, entity, after)
    team_id = getattr(after, "team_id", None)
    known = team_id in (None, getattr(entity, "team_id", None)) or team_id in call.directory.teams
    if call.sees_all and not known:
        fields.refuse("team_id", "must name a team that exists")
    if kind is PROJECT:
        generic.check_guardrails(call, entity, after)
        _check_project(call, entity, after, new=before is None)
    kind.check_size(after)
    changes = [change(call.directory, kind, "created" if before is None else "updated", before, after)]
    if kind is PROJECT:
        return Plan(_project_row(call, after), changes, made.unknown, made.not_enforced)
    row = _organization_row(call, after)
    return Plan(row, changes, made.unknown, made.not_enforced, [_spent(after, row)])


def _free(call: Call, kind: str, entity_id: str) -> None:
    if entity_id in call.directory.tables[kind]:
        raise RefusedError(errors.bad_request(f"{kind} {entity_id} already exists", f"{kind}_id"))


def _organization(call: Call, organization_id: str | None, field: str = "organization_id") -> Organization:
    missing = f"Organization not found for organization_id={(organization_id or '')[:256]}"
    return generic.named(call, ORGANIZATION, organization_id, field, missing, _NO_ORGANIZATION)


def _project(call: Call, project_id: str | None, field: str = "project_id") -> Project:
    missing = f"Project not found, project_id={(project_id or '')[:256]}"
    return generic.named(call, PROJECT, project_id, field, missing, _NO_PROJECT)


def _organization_row(call: Call, found: Organization) -> dict[str, Any]:
    return ORGANIZATION.row(
        found,
        spend=None,
        members=_memberships(call, found),
        teams=[_team_row(call, team) for team in _teams(call, found)],
        users=[],
        litellm_budget_table=budgets.shown(call, ORGANIZATION, found),
    )


def _teams(call: Call, found: Organization) -> list[Team]:
    return call.directory.find("team", "organization_id", found.organization_id)[:IDS_MAX]


def _team_row(call: Call, team: Team) -> dict[str, Any]:
    """Whole for whom the team shows itself to."""
    if rights.may_touch_team(call, team, "/team/info"):
        return TEAM.row(team, spend=None)
    return {"team_id": team.team_id, "team_alias": team.team_alias}


def _memberships(call: Call, found: Organization) -> list[dict[str, Any]]:
    """As LiteLLM's rows of them. Addresses are for who administers it."""
    administers = call.sees_all or found.organization_id in relations.administered(call.directory, call.actor.user_id)
    users = call.directory.users if administers else {}
    return [
        {
            **member,
            "organization_id": found.organization_id,
            "user_email": None if (user := users.get(str(member.get("user_id")))) is None else user.user_email,
            "spend": None,
            "budget_id": None,
            "litellm_budget_table": None,
            "user": None,
            "created_at": iso(found.created_at_ms),
            "updated_at": iso(found.updated_at_ms),
        }
        for member in found.members
    ]


def _need(call: Call, found: Organization) -> None:
    if not rights.may_touch_organization(call, found):
        raise RefusedError(errors.not_yours(_NO_ORGANIZATION))


def _need_project(call: Call, found: Project) -> None:
    if not rights.may_touch_project(call, found):
        raise RefusedError(errors.not_yours(_NO_PROJECT))


def _check_project(call: Call, before: Project, after: Project, *, new: bool) -> None:
    """Also whoever makes one, or moves it, must look after the team it goes to. A team's admin
    doesn't loosen what stands.
    """
    _need_project(call, after)
    administers = new or "org_admin" in relations.project_relations(call.directory, call.actor, before)
    rights.check_change(call, before, after, administers=administers, made_by_actor=False)
    if before.blocked and not after.blocked and not (administers or call.is_admin):
        raise RefusedError(errors.for_admins("blocked"))


def _role(value: Any) -> str:
    role = fields.one_of(*ORGANIZATION_ROLES)("role", value)
    return str(role or "internal_user")


def _member(call: Call, sent: Any) -> dict[str, Any]:
    if not isinstance(sent, dict):
        fields.refuse("member", "must be an object with user_id (or user_email) and role")
    user_id = fields.text("member.user_id", sent.get("user_id"))
    email = fields.text("member.user_email", sent.get("user_email"))
    if user_id is None and email is not None:
        user = call.directory.user_of(email)
        if user is None:
            raise generic.absent(call, f"User not found, passed user_email={email}", "member", _NO_ORGANIZATION)
        user_id = user.user_id
    if user_id is None:
        fields.refuse("member", "needs a user_id or the user_email of a user")
    return {"user_id": user_id, "user_role": _role(sent.get("role") or sent.get("user_role"))}


def _named_member(call: Call) -> tuple[Organization, dict[str, Any]]:
    found = _organization(call, fields.text("organization_id", call.body.get("organization_id")))
    _need(call, found)
    user_id = fields.text("user_id", call.body.get("user_id"))
    email = fields.text("user_email", call.body.get("user_email"))
    if user_id is None and email is not None:
        user = call.directory.user_of(email)
        user_id = None if user is None else user.user_id
    for member in found.members:
        if member.get("user_id") == user_id:
            return found, member
    raise RefusedError(errors.entity_not_found(f"user_id={user_id or email} is not in this organization", "user_id"))


def _with_members(call: Call, found: Organization, members: list[dict[str, Any]]) -> Plan:
    if len(members) > fields.MEMBERS_MAX:
        fields.refuse("member", f"would be more than {fields.MEMBERS_MAX}")
    after = generic.stamped(call, msgspec.structs.replace(found, members=members))
    ORGANIZATION.check_size(after)
    row = _organization_row(call, after)
    row |= {"updated_users": [], "updated_organization_memberships": row["members"]}
    return Plan(row, [change(call.directory, ORGANIZATION, "updated", found, after)], spend=[_spent(after, row)])

"""The rules that policy looks at, by their names in the order of admission: each a pure function of
who asks for what.
"""

from collections.abc import Callable

import msgspec

from services.policy import access, budgets, folding, routes
from services.policy.budgets import GATEWAY, Over
from services.policy.catalog import Catalog
from services.policy.model_access import allows, key_allows, lets
from shared import admission, errors, subjects
from shared.admission.predicates import CONFIG, REQUEST
from shared.entities import Key, Organization, Project, Team, User
from shared.errors import Refusal
from shared.facts import Caller
from shared.money import format_usd
from shared.routes import Route

MODEL_CHARACTERS_MAX = 512


class Who(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks for what, and everything about them that rules look at."""

    route: Route
    asked: str
    """The model's name as it was asked for; empty where there is none."""
    model: str
    """What it stands for, by the aliases of key and team."""
    caller: Caller
    depends_on: list[str]
    now_ms: int
    catalog: Catalog
    key: Key | None = None
    team: Team | None = None
    user: User | None = None
    organization: Organization | None = None
    project: Project | None = None
    project_id: str | None = None
    expires_at_ms: int | None = None
    """When the credential ends; None: never."""
    blocked: bool = False
    over: Over = budgets.NONE
    """Budgets that are used up."""
    model_lists: list[list[str]] = []
    """A model must be let through by each of them, besides the lists of key, team and user."""
    refusal: Refusal | None = None
    """Why the credential is none."""
    anonymous: bool = False
    public: bool = False


def _allowed_routes(who: Who) -> Refusal | None:
    allowed = who.catalog.access.allowed
    return None if allowed is None or who.route.name in allowed else errors.route_not_allowed(who.route.name)


def _key_blocked(who: Who) -> Refusal | None:
    return errors.blocked_key() if who.blocked else None


def _model_name(who: Who) -> Refusal | None:
    if len(who.asked) > MODEL_CHARACTERS_MAX:
        return errors.bad_request(f"model is longer than {MODEL_CHARACTERS_MAX} characters", "model")
    return None


def _key_models(who: Who) -> Refusal | None:
    """Who is limited learns "not allowed" also of a name nobody serves."""
    if not who.route.model_from or who.key is None:
        return None
    listed = all(allows(entries, who.model, who.catalog) for entries in who.model_lists)
    if listed and key_allows(who.key, who.team, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked)


def _key_expired(who: Who) -> Refusal | None:
    end = who.expires_at_ms
    return errors.expired_key(end, who.now_ms) if end is not None and who.now_ms >= end else None


def _key_routes(who: Who) -> Refusal | None:
    allowed = [] if who.key is None else who.key.allowed_routes
    if not allowed or any(access.covers(entry, who.route, below=True) for entry in allowed):
        return None
    return errors.key_route_not_allowed(allowed, who.route.name)


def _endpoints_disabled(who: Who) -> Refusal | None:
    configured = who.catalog.access
    if configured.no_llm and who.route.surface in routes.CALLS:
        return errors.endpoints_disabled("LLM API routes are")
    if configured.no_admin and who.route.surface == "management":
        return errors.endpoints_disabled("Management routes are")
    return None


def _team(who: Who) -> Refusal | None:
    if who.key is not None and who.key.team_id is not None and who.team is None:
        return errors.unknown_team(who.key.team_id)
    return errors.blocked_team(who.team.team_id) if who.team is not None and who.team.blocked else None


def _team_models(who: Who) -> Refusal | None:
    if not who.route.model_from or who.team is None or lets(who.team, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "team")


def _organization_models(who: Who) -> Refusal | None:
    """Its keys', and those of its teams. An id that nobody made an organisation of is a name and
    nothing more.
    """
    if not who.route.model_from or who.organization is None:
        return None
    if lets(who.organization, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "org")


def _project(who: Who) -> Refusal | None:
    project = who.project
    if who.project_id is None:
        return None
    if project is None or project.blocked:
        return errors.blocked_project(who.project_id)
    if not who.route.model_from or lets(project, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "project")


def _user_models(who: Who) -> Refusal | None:
    """Only where there is no team: its keys are the team's."""
    if not who.route.model_from or who.team is not None or who.user is None:
        return None
    return None if lets(who.user, who.model, who.catalog) else errors.model_not_allowed(who.asked, "user")


def _role(who: Who) -> Refusal | None:
    if who.public and not who.route.mutates:
        return None
    admin_only = who.route.name in who.catalog.access.admin_only
    return routes.refusal(who.route, who.caller.role, anonymous=who.anonymous, admin_only=admin_only)


def _guardrails_served(who: Who) -> Refusal | None:
    """What key, team or project name must run, also once the file has it no longer: nobody is
    served without a check that somebody counts on.
    """
    found = _unserved(who)
    return None if found is None else errors.guardrail_not_here(found[0])


def _unserved(who: Who) -> tuple[str, str] | None:
    if not who.route.model_from:
        return None
    return folding.first_unserved(who.catalog, who.key, who.team, who.project)


def _model_served(who: Who) -> Refusal | None:
    if not who.route.model_from or who.catalog.for_caller(who.catalog.candidates(who.model), who.caller):
        return None
    reason = who.catalog.left_out.get(who.model)
    return (
        errors.unknown_model(who.route.name, who.asked) if reason is None else errors.model_left_out(who.asked, reason)
    )


def _budget(who: Who) -> Refusal | None:
    """The gateway's own, then those of all who could be asked."""
    if not who.over or who.route.surface not in routes.CALLS:
        return None
    gateway = who.over.get(GATEWAY)
    if gateway is not None:
        return errors.over_budget(*map(format_usd, gateway))
    if not who.route.model_from:
        return None
    candidates = who.catalog.for_caller(who.catalog.candidates(who.model), who.caller)
    fallbacks = who.catalog.fallbacks_for(who.model, who.caller)
    if budgets.affordable(candidates, who.over) or budgets.affordable_fallbacks(fallbacks, who.over):
        return None
    return errors.no_deployment_in_budget(who.asked)


RULES: dict[str, Callable[[Who], Refusal | None]] = {
    "credential": lambda who: who.refusal,
    "allowed_routes": _allowed_routes,
    "key_blocked": _key_blocked,
    "model_name": _model_name,
    "key_models": _key_models,
    "key_expired": _key_expired,
    "key_routes": _key_routes,
    "endpoints_disabled": _endpoints_disabled,
    "team": _team,
    "team_models": _team_models,
    "organization_models": _organization_models,
    "user_models": _user_models,
    "project": _project,
    "role": _role,
    "guardrails_served": _guardrails_served,
    "model_served": _model_served,
    "budget": _budget,
}


def _of(kind: str, attribute: str) -> Callable[[Who], str]:
    return lambda who: subjects.control(kind, getattr(who.caller, attribute) or "")


_OF_KEY = _of("key", "key_sha256")
OF: dict[str, Callable[[Who], str]] = {
    "credential": lambda who: "",
    "allowed_routes": lambda who: who.catalog.access.of("allowed_routes"),
    "key_blocked": _OF_KEY,
    "model_name": lambda who: REQUEST,
    "key_models": _OF_KEY,
    "key_expired": _OF_KEY,
    "key_routes": _OF_KEY,
    "endpoints_disabled": lambda who: CONFIG,
    "team": _of("team", "team_id"),
    "team_models": _of("team", "team_id"),
    "organization_models": _of("organization", "organization_id"),
    "user_models": _of("user", "user_id"),
    "project": lambda who: subjects.control("project", who.project_id or ""),
    "role": lambda who: (
        who.catalog.access.of("admin_only_routes")
        if who.route.name in who.catalog.access.admin_only
        else f"role.{who.caller.role}"
    ),
    "guardrails_served": lambda who: (_unserved(who) or ("", CONFIG))[1],
    "model_served": lambda who: CONFIG,
    "budget": lambda who: subjects.control("setting", budgets.NAME),
}
"""Whose each rule is: a control subject, or where else it stands."""

_IN_ORDER = tuple((name, RULES[name]) for name in admission.ORDER if name in RULES)


def first_refusal(who: Who) -> tuple[str, Refusal] | None:
    for name, rule in _IN_ORDER:
        refusal = rule(who)
        if refusal is not None:
            return name, admission.named(refusal, name, OF[name](who))
    return None

"""The decision: a credential, a route and a model become a grant or a denial. Pure and without I/O: microseconds.

Who asks is found first; then the rules of `shared.admission.ORDER` that policy can look at are looked at in that order, and the
first that refuses names itself in the denial. Every subject that was looked at is in `depends_on`, also of a denial: a key
that doesn't exist yet ends its own "unknown key" by being created.
"""

import secrets
from collections.abc import Callable
from typing import Any

import msgspec

from services.policy import access, folding, routes
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.identity import tokens
from services.policy.identity.claims import NotLetIn
from services.policy.model_access import allows, key_allows
from shared import admission, errors, subjects
from shared import routes as table
from shared.entities import Key, Organization, Project, Team, User
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Ask, Denial, Grant
from shared.ids import KeyDigest
from shared.requests import DecideRequest
from shared.routes import Route

MODEL_CHARACTERS_MAX = 512
ROTATIONS_MAX = 64
"""How many rotations within their grace periods are followed from an old key to its present one."""

MASTER_KEY_LABEL = KeyDigest("litellm_proxy_master_key")
"""Stands for the master key in facts and logs; its real digest is never shown. No key can have it: it is no digest."""

MASTER = Caller(key_sha256=MASTER_KEY_LABEL, user_id="default_user_id", role="proxy_admin")
ANONYMOUS = Caller()
PUBLIC = Caller(role="internal_user_viewer")
"""Whoever calls a public route: nobody is asked who they are."""

SETTINGS = "control.setting.>"


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
    model_lists: list[list[str]] = []
    """A model must be let through by each of them, besides the lists of key, team and user."""
    refusal: Refusal | None = None
    """Why the credential is none."""
    anonymous: bool = False
    public: bool = False


def decide(directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int, seq: int) -> Grant | Denial:
    """
    Args:
        now_ms: Unix milliseconds; decides whether a key has expired.
        seq: the CONTROL sequence the directory is at.
    """
    if request.customer_id is not None:
        return decide_customer(directory, catalog, request.customer_id, seq)
    route = table.named(request.route)
    if route is None:
        return Denial(errors.route_not_allowed(request.route), seq, [])
    who = identify(directory, catalog, request, route, now_ms)
    decision = _decide(directory, who, seq)
    if request.requester_ip is not None:
        refusal = admission.admit(decision, Ask([], {}, request.requester_ip), now_ms)
        if refusal is not None and not (isinstance(decision, Denial) and refusal is decision.refusal):
            return Denial(refusal, seq, who.depends_on, who.caller, "ip", decision.rules)
    return decision


def _decide(directory: Directory, who: Who, seq: int) -> Grant | Denial:
    denied = first_refusal(who)
    if denied is not None:
        name, refusal = denied
        rules = (
            folding.rules(directory, who.catalog, who.key, who.team, who.project)
            if name != "credential"
            else folding.NONE
        )
        return Denial(refusal, seq, who.depends_on, who.caller, name, rules)
    return _grant(directory, who, seq)


def decide_customer(directory: Directory, catalog: Catalog, customer_id: str, seq: int) -> Grant | Denial:
    """About the customer alone, whoever calls for them: the edge keeps it apart."""
    depends_on = [subjects.control("customer", customer_id), SETTINGS]
    customer = directory.customers.get(customer_id)
    blocked = None if customer is None else customer.blocked
    if blocked or (blocked is None and customer_id in catalog.blocked_users):
        return Denial(errors.blocked_customer(customer_id), seq, depends_on, rule="customer")
    return Grant(
        caller=ANONYMOUS,
        route="",
        model="",
        control_seq=seq,
        depends_on=depends_on,
        models=[] if customer is None else customer.models,
    )


def _grant(directory: Directory, who: Who, seq: int) -> Grant:
    key, team, catalog = who.key, who.team, who.catalog
    common: dict[str, Any] = {
        "caller": who.caller,
        "route": who.route.name,
        "model": who.asked,
        "control_seq": seq,
        "depends_on": who.depends_on,
        "expires_at_ms": who.expires_at_ms,
        "rules": folding.rules(directory, catalog, key, team, who.project),
        "max_request_size_mb": folding.smallest("max_request_size_mb", key, team),
        **folding.passthrough(key, team),
        **folding.cache(key, team),
        "max_response_size_mb": folding.smallest("max_response_size_mb", key, team),
    }
    if not who.route.model_from:
        return Grant(models=_models(who) if who.route.name == routes.MODELS else [], **common)
    tags, spend_logs_metadata = folding.tags_and_metadata(key, team, who.project)
    return Grant(
        candidates=catalog.candidates(who.model),
        fallbacks=catalog.fallbacks(who.model),
        tags=tags,
        spend_logs_metadata=spend_logs_metadata,
        guardrails=folding.guardrails(catalog, key, team, who.project),
        **common,
    )


# Who.


def identify(directory: Directory, catalog: Catalog, request: DecideRequest, route: Route, now_ms: int) -> Who:
    def who(caller: Caller, depends_on: list[str], **more: Any) -> Who:
        organization_id, key = caller.organization_id, more.get("key")
        project_id = None if key is None else key.extra.get("project_id")
        if organization_id is not None:
            depends_on = [*depends_on, subjects.control("organization", organization_id)]
            more["organization"] = directory.tables["organization"].get(organization_id)
        if project_id is not None:
            depends_on = [*depends_on, subjects.control("project", project_id)]
            more["project"] = directory.tables["project"].get(project_id)
            more["project_id"] = project_id
        return Who(
            route=route,
            asked=request.model,
            model=_resolved(request.model, more.get("key"), more.get("team")),
            caller=caller,
            depends_on=[*depends_on, SETTINGS],
            now_ms=now_ms,
            catalog=catalog,
            **more,
        )

    digest, master = request.key_sha256, catalog.master_key_sha256
    if route.public or route.name in catalog.access.public:
        return who(PUBLIC, [], public=True)
    if digest is None:
        return who(ANONYMOUS, [], anonymous=True, refusal=None if master is None else errors.no_key())
    if master is not None and secrets.compare_digest(digest.encode(), master.encode()):
        return who(MASTER, [])
    if request.claims:
        return _by_token(directory, catalog, request, now_ms, who)
    depends_on = [subjects.control("key", digest)]
    key = directory.keys.get(digest)
    expires_at_ms, blocked = (None, False) if key is None else (key.expires_at_ms, key.blocked)
    for _ in range(ROTATIONS_MAX):
        if key is None or key.replaced_by is None:
            break
        depends_on.append(subjects.control("key", key.replaced_by))
        key = directory.keys.get(key.replaced_by)
        if key is not None:
            blocked = blocked or key.blocked
            ends = [
                ms for ms in (expires_at_ms, key.expires_at_ms if key.replaced_by is None else None) if ms is not None
            ]
            expires_at_ms = min(ends) if ends else None
    if key is None or key.replaced_by is not None:
        if master is None:
            return who(ANONYMOUS, depends_on, anonymous=True)
        known_shape = request.credential_shape == "sk"
        refused = errors.unknown_key(digest) if known_shape else errors.not_a_virtual_key()
        return who(ANONYMOUS, depends_on, refusal=refused)
    team = user = None
    if key.team_id is not None:
        depends_on.append(subjects.control("team", key.team_id))
        team = directory.teams.get(key.team_id)
    if key.user_id is not None:
        depends_on.append(subjects.control("user", key.user_id))
        user = directory.users.get(key.user_id)
    return who(
        _caller(key, team, user),
        depends_on,
        key=key,
        team=team,
        user=user,
        expires_at_ms=expires_at_ms,
        blocked=blocked,
    )


def _by_token(
    directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int, who: Callable[..., Who]
) -> Who:
    """A token's owner has a key that stands here alone: what holds for keys holds for it."""
    found = tokens.principal(directory, catalog, request, now_ms)
    if isinstance(found, NotLetIn):
        return who(ANONYMOUS, found.depends_on, refusal=found.refusal)
    key, team = found.key, found.team
    user = None if key.user_id is None else directory.users.get(key.user_id)
    caller = msgspec.structs.replace(_caller(key, team, user), role=found.role)
    return who(
        caller,
        found.depends_on,
        key=key,
        team=team,
        user=user,
        expires_at_ms=key.expires_at_ms,
        blocked=key.blocked,
        model_lists=found.model_lists,
    )


def _caller(key: Key, team: Team | None, user: User | None) -> Caller:
    organization = key.organization_id or (team.organization_id if team is not None else None)
    return Caller(
        key.token,
        key.key_alias,
        key.team_id,
        None if team is None else team.team_alias,
        key.user_id,
        organization,
        "internal_user" if user is None else user.user_role,
    )


def _resolved(model: str, key: Key | None, team: Team | None) -> str:
    """A key's aliases, then its team's."""
    if key is not None:
        model = key.aliases.get(model, model)
    if team is not None:
        aliases = team.extra.get("model_aliases")
        if aliases:
            model = str(aliases.get(model, model))
    return model


# The rules, by their names in the order of admission.


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
    if configured.no_llm and who.route.surface == "llm":
        return errors.endpoints_disabled("LLM API routes are")
    if configured.no_admin and who.route.surface == "management":
        return errors.endpoints_disabled("Management routes are")
    return None


def _team(who: Who) -> Refusal | None:
    if who.key is not None and who.key.team_id is not None and who.team is None:
        return errors.unknown_team(who.key.team_id)
    return errors.blocked_team(who.team.team_id) if who.team is not None and who.team.blocked else None


def _team_models(who: Who) -> Refusal | None:
    if not who.route.model_from or who.team is None or allows(who.team.models, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "team")


def _organization_models(who: Who) -> Refusal | None:
    """Its keys', and those of its teams. An id that nobody made an organisation of is a name and nothing more."""
    if not who.route.model_from or who.organization is None:
        return None
    if allows(who.organization.models, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "org")


def _project(who: Who) -> Refusal | None:
    project = who.project
    if who.project_id is None:
        return None
    if project is None or project.blocked:
        return errors.blocked_project(who.project_id)
    if not who.route.model_from or allows(project.models, who.model, who.catalog):
        return None
    return errors.model_not_allowed(who.asked, "project")


def _user_models(who: Who) -> Refusal | None:
    """Only where there is no team: its keys are the team's."""
    if not who.route.model_from or who.team is not None or who.user is None:
        return None
    return None if allows(who.user.models, who.model, who.catalog) else errors.model_not_allowed(who.asked, "user")


def _role(who: Who) -> Refusal | None:
    if who.public and not who.route.mutates:
        return None
    admin_only = who.route.name in who.catalog.access.admin_only
    return routes.refusal(who.route, who.caller.role, anonymous=who.anonymous, admin_only=admin_only)


def _model_served(who: Who) -> Refusal | None:
    if not who.route.model_from or who.catalog.candidates(who.model):
        return None
    reason = who.catalog.left_out.get(who.model)
    return (
        errors.unknown_model(who.route.name, who.asked) if reason is None else errors.model_left_out(who.asked, reason)
    )


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
    "model_served": _model_served,
}

_IN_ORDER = tuple((name, RULES[name]) for name in admission.ORDER if name in RULES)


def first_refusal(who: Who) -> tuple[str, Refusal] | None:
    for name, rule in _IN_ORDER:
        refusal = rule(who)
        if refusal is not None:
            return name, refusal
    return None


def _models(who: Who) -> list[str]:
    """Every name that a call of theirs may carry, as far as names are known: those of the configuration, those that their own
    lists name and a pattern serves, and their aliases. Never a star: nobody can call that."""
    lists = [*(who.key.models if who.key is not None else []), *(who.team.models if who.team is not None else [])]
    listed = [name for name in lists if "*" not in name and who.catalog.candidates(name)]
    aliases = who.key.aliases if who.key is not None else {}
    shown = (
        alias for alias in who.catalog.aliases if alias not in who.catalog.hidden and who.catalog.candidates(alias)
    )
    allowed = _allowed(who, list(dict.fromkeys((*who.catalog.models, *shown, *listed))))
    may = set(_allowed(who, [name for name in aliases.values() if who.catalog.candidates(name)]))
    return [*allowed, *(alias for alias, name in aliases.items() if name in may and alias not in allowed)]


def _allowed(who: Who, names: list[str]) -> list[str]:
    for entries in who.model_lists:
        names = [name for name in names if allows(entries, name, who.catalog)]
    if who.key is not None:
        names = [name for name in names if key_allows(who.key, who.team, name, who.catalog)]
    if who.team is not None:
        names = [name for name in names if allows(who.team.models, name, who.catalog)]
    elif who.user is not None:
        names = [name for name in names if allows(who.user.models, name, who.catalog)]
    return names

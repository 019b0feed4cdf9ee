"""The decision: a credential, a route and a model become a grant or a denial. Pure and without I/O:
microseconds.

Who asks is found first; then the rules of `shared.admission.ORDER` that policy can look at are
looked at in that order, and the first that refuses names itself in the denial. Every subject that
was looked at is in `depends_on`, also of a denial: a key that doesn't exist yet ends its own
"unknown key" by being created.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from services.policy import budgets, folding, relations, routes
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.identity import tokens
from services.policy.identity.principal import NotLetIn
from services.policy.model_access import allows, key_allows, lets
from services.policy.rules import Who, first_refusal
from shared import admission, errors, subjects
from shared import routes as table
from shared.entities import Key, Team, User
from shared.facts import Caller
from shared.grant import Ask, Denial, Grant
from shared.identity.own import LABEL
from shared.ids import KeyDigest
from shared.requests import DecideRequest
from shared.routes import Route
from shared.routes.llm import COMPLETIONS

MASTER_KEY_LABEL = KeyDigest("litellm_proxy_master_key")
"""Stands for the master key in facts and logs; its real digest is never shown. No key can have it:
it is no digest.
"""

MASTER = Caller(key_sha256=MASTER_KEY_LABEL, user_id="default_user_id", role="proxy_admin")
ANONYMOUS = Caller()
PUBLIC = Caller(role="internal_user_viewer")
"""Whoever calls a public route: nobody is asked who they are."""

SETTINGS = "control.setting.>"
ORGANIZATIONS = "control.organization.>"
"""Whose admin somebody is."""
MODELS = ("control.model.>", "control.credential.>", "control.tag.>")
"""Which models there are, and where a call for one goes."""


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
        refusal = admission.named(errors.blocked_customer(customer_id), "customer", depends_on[0])
        return Denial(refusal, seq, depends_on, rule="customer")
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
    candidates = catalog.for_caller(catalog.candidates(who.model), who.caller)
    fallbacks = catalog.fallbacks_for(who.model, who.caller)
    return Grant(
        candidates=folding.tagged(
            directory,
            catalog.aliases.get(who.model, who.model),
            budgets.affordable(candidates, who.over) if who.over else candidates,
        ),
        fallbacks=budgets.affordable_fallbacks(fallbacks, who.over) if who.over else fallbacks,
        tags=tags,
        spend_logs_metadata=spend_logs_metadata,
        guardrails=folding.guardrails(catalog, key, team, who.project),
        content=folding.content(catalog, key, team),
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
            model=(catalog.completion_model if route.name in COMPLETIONS else None)
            or _resolved(request.model, more.get("key"), more.get("team")),
            caller=caller,
            depends_on=[*depends_on, SETTINGS, *(MODELS if route.model_from or route.name == routes.MODELS else ())],
            now_ms=now_ms,
            catalog=catalog,
            over=budgets.over(directory, catalog, now_ms),
            **more,
        )

    digest, master = request.key_sha256, catalog.master_key
    if route.public or route.name in catalog.access.public:
        return who(PUBLIC, [], public=True)
    if digest is None:
        return who(ANONYMOUS, [], anonymous=True, refusal=errors.no_key() if master else None)
    if master.is_it(digest, now_ms):
        return who(MASTER, [], expires_at_ms=master.ends_at_ms(digest))
    if request.claims or digest.startswith(LABEL):
        return _by_token(directory, catalog, request, now_ms, who)
    depends_on, ends, blocked, delegated = [], [], False, False
    for token, key in directory.successors(digest):
        depends_on.append(subjects.control("key", token))
        if key is not None:
            blocked = blocked or key.blocked
            delegated = delegated or key.delegated  # who rotates a key in their name has the new secret alone
            if (token == digest or key.replaced_by is None) and key.expires_at_ms is not None:
                ends.append(key.expires_at_ms)
    if key is None or key.replaced_by is not None:
        if not master:
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
    caller = _caller(key, team, user)
    if delegated:
        caller = _delegated(caller, route)
    if route.surface == "management" and caller.role in ("internal_user", "internal_user_viewer"):
        depends_on.append(ORGANIZATIONS)
        if relations.administered(directory, caller.user_id):
            caller = msgspec.structs.replace(caller, role="org_admin")
    return who(
        caller,
        depends_on,
        key=key,
        team=team,
        user=user,
        expires_at_ms=min(ends, default=None),
        blocked=blocked,
    )


def _by_token(
    directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int, who: Callable[..., Who]
) -> Who:
    """A token's owner, or whom the operator's own function knows, has a key that stands here alone:
    what holds for keys holds for it.
    """
    found = tokens.principal(directory, catalog, request, now_ms)
    if isinstance(found, NotLetIn):
        return who(ANONYMOUS, found.depends_on, refusal=found.refusal)
    key, team, user, depends_on = found.key, found.team, None, found.depends_on
    if key.user_id is not None:  # also that of a key which the token stands for, or of an admin
        depends_on = [*dict.fromkeys((*depends_on, subjects.control("user", key.user_id)))]
        user = directory.users.get(key.user_id)
    caller = msgspec.structs.replace(_caller(key, team, user), role=found.role)
    if key.delegated:
        caller = _delegated(caller, table.named(request.route))
    if found.team_named is not None:
        caller = msgspec.structs.replace(caller, team_id=found.team_named[0], team_alias=found.team_named[1])
    return who(
        caller,
        depends_on,
        key=key,
        team=team,
        user=user,
        expires_at_ms=key.expires_at_ms,
        blocked=key.blocked,
        model_lists=found.model_lists,
    )


def _delegated(caller: Caller, route: Route | None) -> Caller:
    """Of a key in its user's name that somebody else has: it calls models for them, and has none of
    their other rights.
    """
    calls = route is not None and route.surface in routes.CALLS
    return msgspec.structs.replace(caller, role="internal_user", user_id=caller.user_id if calls else None)


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
    if team is not None and (aliases := team.extra.get("model_aliases")):
        model = str(aliases.get(model, model))
    return model


def _models(who: Who) -> list[str]:
    """Every name that a call of theirs may carry, as far as names are known: those of the
    configuration, those that their own lists name and a pattern serves, and their aliases. Never a
    star: nobody can call that."""
    lists = [*(who.key.models if who.key is not None else []), *(who.team.models if who.team is not None else [])]

    def served(name: str) -> bool:
        return bool(who.catalog.for_caller(who.catalog.candidates(name), who.caller))

    listed = [name for name in lists if "*" not in name and served(name)]
    names = [*(who.key.aliases if who.key is not None else ())]
    names += (who.team.extra.get("model_aliases") or ()) if who.team is not None else ()
    aliases = {name: _resolved(name, who.key, who.team) for name in names}
    shown = (alias for alias in who.catalog.aliases if alias not in who.catalog.hidden and served(alias))
    named = (name for name in who.catalog.models if not who.catalog.owners or served(name))
    allowed = _allowed(who, list(dict.fromkeys((*named, *shown, *listed))))
    may = set(_allowed(who, [name for name in aliases.values() if served(name)]))
    return [*allowed, *(alias for alias, name in aliases.items() if name in may and alias not in allowed)]


def _allowed(who: Who, names: list[str]) -> list[str]:
    for entries in who.model_lists:
        names = [name for name in names if allows(entries, name, who.catalog)]
    if who.key is not None:
        names = [name for name in names if key_allows(who.key, who.team, name, who.catalog)]
    if who.team is not None:
        names = [name for name in names if lets(who.team, name, who.catalog)]
    elif who.user is not None:
        names = [name for name in names if lets(who.user, name, who.catalog)]
    return names

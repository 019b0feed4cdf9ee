"""The catalog: what the configuration decides. Built once at start from config.yaml, no I/O; what
was added by API is kept in it by stored_models.py.

A `model_name` with a star (`openai/*`) is a pattern, as in LiteLLM: it serves every name it
matches, and a star in its upstream model stands for what the name's star matched. Plain names go
first, then the pattern with the longest prefix.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from services.policy import access, fallbacks, new_keys
from services.policy.access import Access, InForce
from services.policy.blocked_users import BlockedUsers
from services.policy.fallbacks import FallbackRoute
from services.policy.master_key import MasterKey
from services.policy.new_keys import NewKeys
from shared import guardrails, prices
from shared.billing import Price
from shared.config import Config, ConfigError, Deployment, LeftOut, own_auth
from shared.config.budgets import Budget, budget, of_providers
from shared.config.callbacks import NOTHING_SAID, SENT, TYPES, kind
from shared.config.references import Lookup as Variables
from shared.config.stored import StoredSettings
from shared.entities import TEAM, USER, Key, Team, User, callbacks
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Candidate, Fallback
from shared.guardrails import Enabled
from shared.identity import settings as jwt_settings
from shared.identity.settings import JwtAuth
from shared.ids import DeploymentId

KEPT_MAX = 10_000
"""Of models whose fallbacks are remembered: callers choose names that patterns serve."""

ROTATION_CHECK_S = 60.0

Lookup = Callable[[str, str], Price | None]
"""(provider, model) -> the table's price; None: nobody knows it."""
Priced = Callable[[str, str, Price | None], Price | None]
"""(provider, model, the entry's own price) -> what a call is charged."""


def nobody(key: Key) -> str | None:
    """Why a key that policy itself makes can't be delivered, where no secret manager stores
    keys.
    """
    return "needs a secret manager that stores keys: nobody else could hand out the new key"


class Content(msgspec.Struct, frozen=True):
    """What the configuration says of prompts and answers."""

    kept: bool = False
    """`store_prompts_in_spend_logs`."""
    shown: bool = False
    """One of the file's sinks gets them."""
    teams: dict[str, bool] = {}
    """`default_team_settings`: teams with sinks of their own, and whether these get them."""
    turned_off: bool = False
    """`turn_off_message_logging`."""


class Catalog(msgspec.Struct, frozen=True, kw_only=True):
    models: dict[str, list[Candidate]]
    """Plain model names, in the configuration's order."""
    patterns: list[tuple[str, str, list[Deployment]]]
    """(before the star, after it, deployments), the longest prefix first."""
    guardrails: list[Enabled]
    """In the order they run."""
    allow_unenforced: frozenset[str] = frozenset()
    """Names of what protects and may be left undone, as the operator says."""
    master_key: MasterKey
    """False: the gateway is open."""
    in_force: InForce
    """Rules of who may reach what: the file's, with what was set while we run."""
    price: Priced
    warnings: list[str]
    general: Mapping[str, Any] = {}
    """`general_settings` as the file has them, without secrets."""
    environ: Mapping[str, str] = {}
    callbacks: dict[str, list[str]] = {}
    """When calls are sent somewhere (shared.config.callbacks.TYPES) → where, by the file."""
    left_out: dict[str, str] = {}
    """Models of the configuration that can't be served, each with the reason."""
    blocked_users: BlockedUsers = msgspec.field(default_factory=BlockedUsers)
    """Customers in `litellm_settings.blocked_user_list`, where the callback `blocked_user_check` is
    on.
    """
    public_model_groups: tuple[str, ...] = ()
    """`litellm_settings.public_model_groups`, until `/model_group/make_public` says otherwise."""
    jwt: JwtAuth | None = None
    """How an identity provider's tokens become callers; None: they don't."""
    own_auth: bool = False
    """Whether edges ask the operator's own function who calls (`custom_auth`)."""
    completion_model: str | None = None
    """What every completion asks, whatever it names."""
    owners: dict[DeploymentId, str] = {}
    """Deployments that are one team's alone (`model_info.team_id`), and whose."""
    aliases: dict[str, str] = {}
    """`model_group_alias`: other names of models, for everybody."""
    filters_tags: bool = False
    """`enable_tag_filtering`: a request's tags choose among a model's deployments."""
    hidden: frozenset[str] = frozenset()
    """Aliases that no list of models shows."""
    routes: list[FallbackRoute] = []
    kept_fallbacks: dict[str, list[Fallback]] = {}
    """Worked out so far, by model."""
    access_groups: dict[str, frozenset[str]] = {}
    """Name → models: by such a name a list of models means them all."""
    new_keys: NewKeys = msgspec.field(default_factory=lambda: NewKeys())
    deployments: dict[DeploymentId, Deployment] = {}
    """All that are served, the file's and those added by API: for what answers show of them."""
    credentials: dict[str, dict[str, Any]] = {}
    """The file's `credential_list`; its secrets may be missing here."""
    waiting: list[LeftOut] = []
    """Entries of the file that a credential added by API would serve."""
    revisions: dict[DeploymentId, int] = {}
    """Of what was added by API: the CONTROL sequence it was last changed at."""
    stored: StoredSettings = StoredSettings()
    lookup: Variables = msgspec.field(default_factory=lambda: Variables({}))
    """Variables of the environment that a provider of a model may take its address from."""
    content: Content = Content()
    budgets: list[Budget] = []
    """Of the gateway and of providers."""
    new_users: dict[str, Any] = {}
    """`default_internal_user_params`, without roles and teams."""
    new_user_role: str | None = None
    """The role it says."""
    new_user_teams: tuple[str, ...] = ()
    """Its `teams`."""
    new_teams: dict[str, Any] = {}
    """`default_team_params`."""
    teams_follow_groups: bool = False
    """`litellm_jwtauth.upsert_sso_user_to_team`, or `sync_user_role_and_teams`: who comes in is
    made a member of the teams that their groups at the identity provider are named after."""
    rotation_grace: str | None = None
    """How long a rotated key lives on where the call doesn't say
    (LITELLM_KEY_ROTATION_GRACE_PERIOD); None: not at all.
    """
    rotation_check_s: float = ROTATION_CHECK_S
    """Between two looks for keys that are to be rotated by themselves
    (LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS).
    """
    undeliverable: Callable[[Key], str | None] = nobody
    """Why a key that policy itself makes can't reach its users; None: it can (delivery.py)."""

    @property
    def access(self) -> Access:
        return self.in_force.now

    def fallbacks(self, model: str) -> list[Fallback]:
        """Where a call for `model` may go when all its own deployments have failed; what nobody
        serves isn't there.
        """
        alias = self.aliases.get(model, model)
        kept = self.kept_fallbacks.get(alias)
        if kept is None:
            found = (
                Fallback(name, self.candidates(name), why) for name, why in fallbacks.of(self.routes, alias, model)
            )
            kept = [fallback for fallback in found if fallback.candidates]
            if len(self.kept_fallbacks) < KEPT_MAX:
                self.kept_fallbacks[alias] = kept
        return kept

    def candidates(self, model: str) -> list[Candidate]:
        """Where a call for `model` may go; empty: nobody serves it."""
        model = self.aliases.get(model, model)
        found = self.models.get(model)
        if found is not None:
            return found
        for prefix, suffix, deployments in self.patterns:
            if len(model) > len(prefix) + len(suffix) and model.startswith(prefix) and model.endswith(suffix):
                star = model[len(prefix) : len(model) - len(suffix)]
                return [self.candidate(deployment, star) for deployment in deployments]
        return []

    def for_caller(self, candidates: list[Candidate], caller: Caller) -> list[Candidate]:
        """Without what is another team's; administrators without a team have all."""
        if not self.owners or (caller.team_id is None and caller.role == "proxy_admin"):
            return candidates
        return [each for each in candidates if self.owners.get(each.deployment_id) in (None, caller.team_id)]

    def fallbacks_for(self, model: str, caller: Caller) -> list[Fallback]:
        found = self.fallbacks(model)
        if not self.owners:
            return found
        mine = (msgspec.structs.replace(each, candidates=self.for_caller(each.candidates, caller)) for each in found)
        return [each for each in mine if each.candidates]

    def candidate(self, deployment: Deployment, star: str = "*") -> Candidate:
        """A deployment as it is now, with what the star of its upstream model stands for."""
        upstream_model = deployment.upstream_model.replace("*", star)
        return _candidate(deployment, upstream_model, self.price, self.revisions.get(deployment.id, 0))


def build(config: Config, lookup: Lookup, environ: Mapping[str, str] | None = None) -> Catalog:
    """Raises ConfigError or SettingsError, with the place."""
    price = _priced(config, lookup)
    models: dict[str, dict[str, Candidate]] = {}
    patterns: dict[str, dict[str, Deployment]] = {}
    for deployment in config.deployments:
        name = deployment.model_name
        if "*" in name:
            patterns.setdefault(name, {})[deployment.id] = deployment
        else:
            candidate = _candidate(deployment, deployment.upstream_model, price)
            for each in deployment.names:
                models.setdefault(each, {})[deployment.id] = candidate
    enabled = guardrails.enabled(config)
    warnings = guardrails.not_known(config)
    aliases, hidden = fallbacks.aliases(config)
    return Catalog(
        models={name: list(candidates.values()) for name, candidates in models.items()},
        patterns=in_order({name: list(found.values()) for name, found in patterns.items()}),
        guardrails=enabled,
        allow_unenforced=frozenset(config.general.allow_unenforced),
        master_key=MasterKey(config.master_key),
        in_force=InForce(access.read(config.general_settings, environ or {})),
        general=config.general_settings,
        environ=environ or {},
        callbacks=_callbacks(config),
        jwt=jwt_settings.read(config.general_settings, environ or {}),
        own_auth=own_auth.of(config.general, config.directory) is not None,
        completion_model=config.general.completion_model or None,
        owners={each.id: each.team_id for each in config.deployments if each.team_id},
        **_people(config),
        rotation_grace=(environ or {}).get("LITELLM_KEY_ROTATION_GRACE_PERIOD") or None,
        rotation_check_s=_seconds(environ or {}, "LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS", ROTATION_CHECK_S),
        public_model_groups=_public_model_groups(config),
        price=price,
        aliases=aliases,
        hidden=hidden,
        filters_tags=config.router.enable_tag_filtering,
        routes=fallbacks.routes(config),
        warnings=[*warnings, *access.unmatched(config.general_settings)],
        blocked_users=BlockedUsers(config.blocked_users),
        access_groups=access_groups(config.deployments),
        new_keys=new_keys.of(config),
        content=_content(config),
        budgets=_budgets(config),
        left_out={each.model_name: each.reason for each in config.left_out},
        deployments={each.id: each for each in config.deployments},
        credentials=config.credentials,
        waiting=[each for each in config.left_out if each.credential],
        stored=config.stored_models,
        lookup=Variables(environ or {}),
    )


def in_order(patterns: Mapping[str, list[Deployment]]) -> list[tuple[str, str, list[Deployment]]]:
    """As `Catalog.patterns` has them, of names with one star."""
    split = [(*name.partition("*")[::2], found) for name, found in patterns.items()]
    return sorted(split, key=lambda pattern: -len(pattern[0]))


def _people(config: Config) -> dict[str, Any]:
    """What people and teams have that an identity provider is the first to name. Raises
    ConfigError.
    """
    rules = config.general_settings.get("litellm_jwtauth") or {}
    users, teams = config.litellm.default_internal_user_params, config.litellm.default_team_params
    named = users.get("teams") or []
    ids = [each.get("team_id") if isinstance(each, dict) else each for each in named] if isinstance(named, list) else []
    if not isinstance(named, list) or not all(isinstance(each, str) for each in ids):
        raise ConfigError("litellm_settings.default_internal_user_params.teams must be a list of team ids")
    try:
        own = {name: value for name, value in users.items() if name not in ("user_role", "teams", "auto_create_key")}
        USER.merge(User(user_id="x"), {**own, "user_role": users.get("user_role")})
        TEAM.merge(Team(team_id="x"), teams)
    except RefusedError as error:
        raise ConfigError(
            f"litellm_settings.default_internal_user_params or default_team_params: {error.refusal.message}"
        ) from None
    return {
        "new_users": own,
        "new_user_role": users.get("user_role") or None,
        "new_user_teams": tuple(ids),
        "new_teams": teams,
        "teams_follow_groups": bool(rules.get("upsert_sso_user_to_team") or rules.get("sync_user_role_and_teams")),
    }


def _public_model_groups(config: Config) -> tuple[str, ...]:
    value = config.litellm_settings.get("public_model_groups") or []
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ConfigError("litellm_settings.public_model_groups: a list of model names is needed")
    return tuple(value)


def _seconds(environ: Mapping[str, str], name: str, default: float) -> float:
    """Raises ConfigError."""
    given = environ.get(name)
    if not given:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not 1 <= seconds <= 366 * 86_400:
        raise ConfigError(f"{name} must be a number of seconds, at least 1")
    return seconds


def _callbacks(config: Config) -> dict[str, list[str]]:
    settings = config.litellm
    lists = (settings.success_callback, settings.failure_callback, settings.callbacks)
    found = zip(TYPES, (callbacks.names(each) for each in lists), strict=True)
    return {type_: [name for name in names if kind(name) != "guardrail"] for type_, names in found}


def _budgets(config: Config) -> list[Budget]:
    term = None if config.general.disable_reset_budget else config.litellm.budget_duration
    gateway = budget("total", "", config.litellm.max_budget, term)
    return [*([] if gateway is None else [gateway]), *of_providers(config.router.provider_budget_config)]


def _content(config: Config) -> Content:
    settings, turned_off = config.litellm, config.litellm.turn_off_message_logging
    listed = (settings.success_callback, settings.failure_callback, settings.callbacks)
    said = config.callback_settings

    def shown(name: str) -> bool:
        return (name in SENT or name in said) and said.get(name, NOTHING_SAID).shows_content

    teams: dict[str, bool] = {}
    for team in settings.default_team_settings:
        team_id = team.get("team_id")
        own = [name for key in ("success_callback", "failure_callback") for name in callbacks.names(team.get(key))]
        if isinstance(team_id, str) and SENT.intersection(own):
            shows = callbacks.shows_content({"callback_vars": team}, turned_off=turned_off)
            teams[team_id] = teams.get(team_id, False) or shows
    return Content(
        kept=config.general.store_prompts_in_spend_logs,
        shown=not turned_off and any(shown(name) for each in listed for name in callbacks.names(each)),
        teams=teams,
        turned_off=turned_off,
    )


def access_groups(deployments: Iterable[Deployment]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for deployment in deployments:
        groups = deployment.info.get("access_groups") or []
        for group in groups if isinstance(groups, list) else []:
            found.setdefault(str(group), set()).add(deployment.model_name)
    return {group: frozenset(models) for group, models in found.items()}


def _priced(config: Config, lookup: Lookup) -> Priced:
    """An entry's own prices before the table's, and what the operator charges on top or less."""
    discounts, margins = config.litellm.cost_discount_config, config.litellm.cost_margin_config
    for provider in (*discounts, *margins):
        try:
            prices.adjustment(provider, discounts, margins)
        except ValueError as error:
            raise ConfigError(
                f"litellm_settings.cost_discount_config or cost_margin_config: {provider}: {error}"
            ) from None

    @lru_cache(maxsize=PRICES_KEPT_MAX)
    def priced(provider: str, model: str, own: Price | None) -> Price | None:
        found = prices.merged(own, lookup(provider, model))
        return None if found is None else prices.adjustment(provider, discounts, margins).of(found)

    return priced


PRICES_KEPT_MAX = 4096
"""Callers name the models behind a pattern: bounded."""


def _candidate(deployment: Deployment, upstream_model: str, price: Priced, revision: int = 0) -> Candidate:
    known_as = deployment.base_model or upstream_model
    return Candidate(
        deployment_id=deployment.id,
        provider=deployment.provider,
        upstream_model=upstream_model,
        price=price(deployment.provider, known_as, deployment.price),
        weight=_weight(deployment),
        order=deployment.order,
        tpm=deployment.tpm,
        rpm=deployment.rpm,
        input_tokens_max=deployment.input_tokens_max or prices.context_window(deployment.provider, known_as),
        revision=revision,
    )


def _weight(deployment: Deployment) -> float:
    """Its `weight`; where none is given, requests or tokens a minute are its share, as in LiteLLM's
    shuffle.
    """
    if deployment.weight != 1.0:
        return deployment.weight
    return float(deployment.rpm or deployment.tpm or 1.0)

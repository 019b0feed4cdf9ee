"""Verified claims to a principal. Pure.

A principal is a key that exists only in this decision, so every rule that holds for keys holds for
tokens too: models, routes, team, expiry. Order: role (admin scope, team, user, `role_mappings`) and
what it may → scopes → admin's routes → team (the one the caller asks for, else the first that may
use the model) → user.
"""

import hashlib
from typing import Any

import msgspec

from services.policy.access import covers
from services.policy.identity.memberships import follow
from services.policy.identity.principal import Known, NotLetIn, Principal, Question, Upsert
from services.policy.model_access import entries_of
from shared import errors, routes, subjects
from shared.entities import JwtMapping, Key, Team, User, mapping_id
from shared.errors import Refusal
from shared.identity.settings import ClaimRules, Issuer, JwtAuth
from shared.identity.tokens import claim, ends_at_s, string, strings
from shared.ids import KeyDigest

LABEL = "hashed-jwt-"
"""Before the digest of whom a token is about: what stands for a key in facts and rows. It stays the
same with the next token.
"""
ID_CHARACTERS_MAX = 256
TEAMS_MAX = 100
_ROLE_ORDER = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")


class _No(Exception):
    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal


def resolve(auth: JwtAuth, question: Question, known: Known, now_ms: int) -> Principal | NotLetIn:
    """Raises nothing."""
    resolving = _Resolving(auth, question, known, now_ms)
    try:
        return resolving.principal()
    except _No as no:
        return NotLetIn(no.refusal, resolving.depends_on)


class _Resolving:
    """One token's way through the rules: a method a rule, in the order of `principal`."""

    def __init__(self, auth: JwtAuth, question: Question, known: Known, now_ms: int) -> None:
        self._auth = auth
        self._rules = _of_issuer(auth.rules, question.claims)
        self._question = question
        self._claims = question.claims
        self._known = known
        self._now_ms = now_ms
        self.depends_on: list[str] = []
        self._upserts: list[Upsert] = []

    def principal(self) -> Principal:
        by_key = self._named_key()
        if by_key is not None:
            return by_key
        rules, claims = self._rules, self._claims
        roles = strings(claim(claims, rules.roles_jwt_field))
        admin = rules.admin_jwt_scope in self._scopes()
        user_id, team_ids = self._user_id(), self._team_ids()
        mapped = self._mapped_role(roles)
        role = "proxy_admin" if admin else "team" if team_ids else "internal_user" if user_id else mapped
        if rules.enforce_rbac and role is None:
            raise _No(errors.token_without_role())
        models = self._role_limits(role)
        if admin or mapped == "proxy_admin":
            self._need_route("Admin", rules.admin_allowed_routes)
            return self._made(user_id, None, "proxy_admin", [models])
        scope_models = self._scope_limits()
        team = self._team(team_ids, user_id)
        if team is not None and user_id is None:
            self._need_route("Team", rules.team_allowed_routes)
        self._check_user_roles()
        user = self._user(user_id)
        litellm_role = self._litellm_role(roles, user)
        if user is not None:
            self._sync(user, litellm_role, team_ids)
        return self._made(user_id, team, litellm_role, [models, scope_models])

    # ── the key a token may stand for ──

    def _named_key(self) -> Principal | None:
        name = self._rules.key_claim
        value = string(claim(self._claims, name))
        if name is None or value is None:
            return None
        mapping = self._mapping(name, value)
        if mapping is None and self._rules.unregistered_jwt_client_behavior == "reject":
            raise _No(errors.token_client_unknown(value))
        if mapping is None:
            return None
        key, tokens = self._known.stands_for(mapping.token)
        self.depends_on += [subjects.control("key", token) for token in tokens]
        if key is None:  # it was deleted: whoever stood for it has no more than it had
            raise _No(errors.token_client_unknown(value))
        ends = _ends_at_ms(self._claims)
        if key.expires_at_ms is None or ends < key.expires_at_ms:
            key = msgspec.structs.replace(key, expires_at_ms=ends)
        team = None if key.team_id is None else self._find_team(key.team_id)
        return Principal(key, "internal_user", self.depends_on, team, self._customer_id())

    def _mapping(self, name: str, value: str) -> JwtMapping | None:
        """That of the token's issuer, else that of any issuer; only one that is in force."""
        for issuer in dict.fromkeys((string(self._claims.get("iss")), None)):
            found = mapping_id(issuer, name, value)
            self.depends_on.append(subjects.control("jwt_mapping", found))
            mapping: JwtMapping | None = self._known.find("jwt_mapping", found)
            if mapping is not None and mapping.is_active:
                return mapping
        return None

    # ── roles and scopes ──

    def _scopes(self) -> list[str]:
        return strings(self._claims.get("scope") or self._claims.get("scp"))

    def _mapped_role(self, roles: list[str]) -> str | None:
        named = {each.role: each.internal_role for each in self._rules.role_mappings or []}
        found = [named[role] for role in roles if role in named]
        return next((role for role in ("proxy_admin", "team", "internal_user") if role in found), None)

    def _role_limits(self, role: str | None) -> list[str] | None:
        allowed = next((each for each in self._auth.role_permissions if each.role == role), None)
        if allowed is None:
            return None
        if allowed.routes is not None and not _covered(allowed.routes, self._question.route):
            raise _No(errors.role_route_not_allowed(str(role), self._question.route))
        return allowed.models

    def _scope_limits(self) -> list[str] | None:
        """The union of what the token's scopes may use."""
        rules = self._rules
        if not rules.enforce_scope_based_access:
            return None
        scopes = self._scopes()
        found = [each for each in rules.scope_mappings or [] if each.scope in scopes]
        if not found:
            raise _No(errors.scope_not_allowed(self._question.route))
        limited = [each.routes for each in found]
        if None not in limited and not any(_covered(each or [], self._question.route) for each in limited):
            raise _No(errors.scope_not_allowed(self._question.route))
        if any(each.models is None for each in found):
            return None
        return list(dict.fromkeys(model for each in found for model in each.models or []))

    def _need_route(self, who: str, allowed: tuple[str, ...]) -> None:
        if not _covered((*allowed, *self._rules.public_allowed_routes), self._question.route):
            raise _No(errors.token_route_not_allowed(who, self._question.route, list(allowed)))

    def _check_user_roles(self) -> None:
        allowed = self._rules.user_allowed_roles
        if allowed is not None:
            roles = strings(claim(self._claims, self._rules.user_roles_jwt_field))
            if set(roles).isdisjoint(allowed):
                raise _No(errors.token_without_role())

    def _litellm_role(self, roles: list[str], user: User | None) -> str:
        """By the token's own roles where they are mapped, else the user's."""
        listed = self._rules.jwt_litellm_role_map or []
        found = {each.litellm_role for each in listed if each.jwt_role in roles}
        mapped = next((role for role in _ROLE_ORDER if role in found), None)
        return mapped or (user.user_role if user is not None else "internal_user")

    # ── team and user ──

    def _team_ids(self) -> list[str]:
        rules, claims = self._rules, self._claims
        ids = strings_or_one(claim(claims, rules.team_id_jwt_field)) + strings_or_one(
            claim(claims, rules.team_ids_jwt_field)
        )
        alias = string(claim(claims, rules.team_alias_jwt_field))
        if alias is not None:
            ids += [team.team_id for team in self._known.teams_by_alias(alias)]
            self.depends_on.append("control.team.>")
        if (
            rules.object_id_jwt_field is not None
            and self._mapped_role(strings(claim(claims, rules.roles_jwt_field))) == "team"
        ):
            ids += strings_or_one(claim(claims, rules.object_id_jwt_field))
        return [each for each in dict.fromkeys(ids) if len(each) <= ID_CHARACTERS_MAX][:TEAMS_MAX]

    def _team(self, ids: list[str], user_id: str | None) -> Team | None:
        """The one the caller asks for, which must be the token's; else the first that may use the
        model.
        """
        rules, question = self._rules, self._question
        if not ids and rules.fallback_to_db_teams and user_id is not None:
            self.depends_on.append("control.team.>")
            ids = [team.team_id for team in self._known.teams_of_user(user_id)]
        if not ids and rules.team_id_default is not None:
            ids = [rules.team_id_default]
        if question.team_id is not None:
            if question.team_id not in ids:
                raise _No(errors.not_a_team_of_the_token(question.team_id))
            ids = [question.team_id]
        teams = [team for team in map(self._find_team, ids) if team is not None]
        if not teams and ids and rules.team_claim_fallback and rules.team_id_default is not None:
            default = self._find_team(rules.team_id_default)
            teams = [] if default is None else [default]
        if ids and not teams:
            if not rules.team_id_upsert:
                raise _No(errors.unknown_team(ids[0]))
            teams = [Team(team_id=ids[0], created_at_ms=self._now_ms, updated_at_ms=self._now_ms)]
            self._upserts.append(Upsert(None, teams[0]))
        if not teams:
            if question.model and rules.enforce_team_based_model_access:
                raise _No(errors.no_team_for_model(question.model))
            return None
        if not question.model:
            return teams[0]
        team = next((team for team in teams if not team.blocked and self._known.may_use(team, question.model)), None)
        if team is not None:
            return team
        if len(teams) == 1:
            return teams[0]  # the decision says what is wrong with it
        raise _No(errors.no_team_for_model(question.model))

    def _find_team(self, team_id: str) -> Team | None:
        self.depends_on.append(subjects.control("team", team_id))
        found: Team | None = self._known.find("team", team_id)
        return found

    def _user_id(self) -> str | None:
        found = string(claim(self._claims, self._rules.user_id_jwt_field))
        if found is None and self._rules.object_id_jwt_field is not None:
            roles = strings(claim(self._claims, self._rules.roles_jwt_field))
            if self._mapped_role(roles) == "internal_user":
                found = string(claim(self._claims, self._rules.object_id_jwt_field))
        return found if found is not None and len(found) <= ID_CHARACTERS_MAX else None

    def _user(self, user_id: str | None) -> User | None:
        if user_id is None:
            return None
        self.depends_on.append(subjects.control("user", user_id))
        user: User | None = self._known.find("user", user_id)
        if user is None and self._rules.user_id_upsert:
            email = string(claim(self._claims, self._rules.user_email_jwt_field))
            domain = self._rules.user_allowed_email_domain
            if domain is None or (email or "").lower().endswith("@" + domain.lower().lstrip("@")):
                user = self._new(User(user_id=user_id, user_email=email))
        return user

    def _new(self, user: User) -> User:
        now_ms = self._now_ms
        user = msgspec.structs.replace(self._known.completed(user), created_at_ms=now_ms, updated_at_ms=now_ms)
        user, pairs = follow(user, self._known.new_user_teams, self._find_team, [], now_ms)
        self._upserts += [Upsert(None, user), *(Upsert(*pair) for pair in pairs)]
        return user

    def _sync(self, user: User, role: str, team_ids: list[str]) -> None:
        """What is kept of the user follows the token, where that is configured."""
        rules = self._rules
        if not (rules.sync_user_role_and_teams or rules.upsert_sso_user_to_team):
            return
        self.depends_on.append("control.team.>")
        teams = {each.after.team_id: each.after for each in self._upserts if isinstance(each.after, Team)}
        after, pairs = follow(
            user,
            team_ids,
            lambda team_id: teams.get(team_id) or self._find_team(team_id),
            self._known.teams_of_user(user.user_id),
            self._now_ms,
            leave=rules.sync_user_role_and_teams,
        )
        if rules.sync_user_role_and_teams and rules.jwt_litellm_role_map:
            after = msgspec.structs.replace(after, user_role=role)
        self._put(user, after)
        for before, team in pairs:
            self._put(before, team)

    def _put(self, before: Team | User | None, after: Team | User) -> None:
        """One upsert an entity: what is only being made is made as it is in the end."""
        if before == after:
            return
        made = [each for each in self._upserts if each.after is before]
        self._upserts = [each for each in self._upserts if each.after is not before]
        self._upserts.append(Upsert(None if made else before, after))

    def _organization_id(self) -> str | None:
        found = string(claim(self._claims, self._rules.org_id_jwt_field))
        alias = string(claim(self._claims, self._rules.org_alias_jwt_field))
        if found is not None or alias is None:
            return found
        self.depends_on.append("control.organization.>")
        found = self._known.organization_by_alias(alias)
        if found is None:
            raise _No(errors.unknown_organization(alias))
        return found

    def _customer_id(self) -> str | None:
        found = string(claim(self._claims, self._rules.end_user_id_jwt_field))
        return None if found is None else found[:ID_CHARACTERS_MAX]

    def _made(self, user_id: str | None, team: Team | None, role: str, limits: list[list[str] | None]) -> Principal:
        user = None if user_id is None or team is not None else self._known.find("user", user_id)
        own = entries_of(user) or None if user is not None else None
        key = Key(
            token=label(self._claims),
            key_name="",
            user_id=user_id,
            team_id=None if team is None else team.team_id,
            organization_id=self._organization_id(),
            expires_at_ms=_ends_at_ms(self._claims),
        )
        lists = [each for each in (own, *limits) if each is not None]
        return Principal(key, role, self.depends_on, team, self._customer_id(), lists, self._upserts)


def label(claims: dict[str, Any]) -> KeyDigest:
    """Stands for whoever the token is about, whichever token it is: issuer and subject,
    digested.
    """
    about = f"{claims.get('iss')}\n{claims.get('sub') or claims.get('client_id') or claims.get('azp')}"
    return KeyDigest(LABEL + hashlib.sha256(about.encode("utf-8", "replace")).hexdigest())


def strings_or_one(value: Any) -> list[str]:
    """Ids: a list of strings, or one (which may have spaces in it)."""
    one = string(value)
    return [one] if one is not None else strings(value)


def _ends_at_ms(claims: dict[str, Any]) -> int:
    return int(ends_at_s(claims) * 1000)


def _of_issuer(rules: ClaimRules, claims: dict[str, Any]) -> ClaimRules:
    """An issuer may have names of its own for the claims."""
    issuer = next((each for each in rules.issuers or [] if each.issuer == claims.get("iss")), None)
    if issuer is None:
        return rules
    own = {
        field.name: value
        for field in msgspec.structs.fields(Issuer)
        if field.name.endswith("_jwt_field") and (value := getattr(issuer, field.name)) is not None
    }
    return msgspec.structs.replace(rules, **own)


def _covered(entries: "list[str] | tuple[str, ...]", route: str) -> bool:
    found = routes.named(route)
    return found is not None and any(covers(entry, found, below=True) for entry in entries)

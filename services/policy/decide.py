"""The decision: a credential, a route and a model become a grant or a denial. Pure and without I/O: microseconds.

Order (contract §0.1): who are you (no credential, master key, virtual key) → is the key alive (blocked, expired) → is its team
(missing, blocked) → may you call this route (the key's allowed_routes, the role) → may you use this model (key, then
team) → does anybody serve it. Every subject that was looked at is in `depends_on`, also of a denial: a key that doesn't
exist yet ends its own "unknown key" by being created.
"""

import secrets
from typing import Any

import msgspec

from services.policy import routes
from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.model_access import allows, key_allows
from shared import errors, subjects
from shared.entities import Key, Team
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Denial, Grant, merge_tags
from shared.ids import KeyDigest
from shared.requests import DecideRequest

MODEL_CHARACTERS_MAX = 512

MASTER_KEY_LABEL = KeyDigest("litellm_proxy_master_key")
"""Stands for the master key in facts and logs; its real digest is never shown. No key can have it: it is no digest."""

MASTER = Caller(key_sha256=MASTER_KEY_LABEL, user_id="default_user_id", role="proxy_admin")
ANONYMOUS = Caller()


class _Identity(msgspec.Struct, frozen=True):
    caller: Caller
    depends_on: list[str]
    key: Key | None = None
    team: Team | None = None
    refusal: Refusal | None = None


def decide(directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int, seq: int) -> Grant | Denial:
    """
    Args:
        now_ms: Unix milliseconds; decides whether a key has expired.
        seq: the CONTROL sequence the directory is at.
    """
    who = _identify(directory, catalog, request, now_ms)
    refusal = who.refusal
    if refusal is None:
        anonymous = who.caller is ANONYMOUS
        refusal = routes.refusal(request.route, who.caller.role, who.key, anonymous=anonymous)
    if refusal is not None:
        return Denial(refusal, seq, who.depends_on, who.caller)
    if routes.needs_model(request.route):
        return _model_decision(who, catalog, request, seq)
    models = _models(who, catalog) if request.route == routes.MODELS else []
    return Grant(
        caller=who.caller,
        route=request.route,
        model=request.model,
        control_seq=seq,
        depends_on=who.depends_on,
        expires_at_ms=None if who.key is None else who.key.expires_at_ms,
        models=models,
    )


def _identify(directory: Directory, catalog: Catalog, request: DecideRequest, now_ms: int) -> _Identity:
    digest, master = request.key_sha256, catalog.master_key_sha256
    if digest is None:
        return _Identity(ANONYMOUS, [], refusal=None if master is None else errors.no_key())
    if master is not None and secrets.compare_digest(digest.encode(), master.encode()):
        return _Identity(MASTER, [])
    depends_on = [subjects.control("key", digest)]
    key = directory.keys.get(digest)
    if key is None:
        if master is None:
            return _Identity(ANONYMOUS, depends_on)
        known_shape = request.credential_shape == "sk"
        return _Identity(
            ANONYMOUS,
            depends_on,
            refusal=errors.unknown_key(digest) if known_shape else errors.not_a_virtual_key(),
        )
    team = None
    if key.team_id is not None:
        depends_on.append(subjects.control("team", key.team_id))
        team = directory.teams.get(key.team_id)
    return _Identity(_caller(key, team), depends_on, key, team, _ended(key, team, now_ms))


def _caller(key: Key, team: Team | None) -> Caller:
    organization = key.organization_id or (team.organization_id if team is not None else None)
    return Caller(
        key.token, key.key_alias, key.team_id, None if team is None else team.team_alias, key.user_id, organization
    )


def _ended(key: Key, team: Team | None, now_ms: int) -> Refusal | None:
    if key.blocked:
        return errors.blocked_key()
    if key.expires_at_ms is not None and now_ms >= key.expires_at_ms:
        return errors.expired_key(key.expires_at_ms, now_ms)
    if key.team_id is not None and team is None:
        return errors.unknown_team(key.team_id)
    if team is not None and team.blocked:
        return errors.blocked_team(team.team_id)
    return None


def _model_decision(who: _Identity, catalog: Catalog, request: DecideRequest, seq: int) -> Grant | Denial:
    key, team, asked = who.key, who.team, request.model
    model = asked if key is None else key.aliases.get(asked, asked)
    candidates = catalog.candidates(model)
    refusal = _model_refusal(who, catalog, request, model)
    if refusal is None and not candidates:
        refusal = errors.unknown_model(request.route, asked)
    if refusal is not None:
        return Denial(refusal, seq, who.depends_on, who.caller)
    tags: list[str] = []
    spend_logs_metadata: dict[str, Any] = {}
    if team is not None and team.metadata:
        tags, spend_logs_metadata = _tags(team.metadata), _spend_logs_metadata(team.metadata)
    if key is not None and key.metadata:
        tags = merge_tags(_tags(key.metadata), tags)
        spend_logs_metadata = {**spend_logs_metadata, **_spend_logs_metadata(key.metadata)}
    return Grant(
        caller=who.caller,
        route=request.route,
        model=asked,
        control_seq=seq,
        depends_on=who.depends_on,
        candidates=candidates,
        expires_at_ms=None if key is None else key.expires_at_ms,
        tags=tags,
        spend_logs_metadata=spend_logs_metadata,
        guardrails=catalog.guardrails,
        reject_clientside_tags=catalog.reject_clientside_tags,
    )


def _model_refusal(who: _Identity, catalog: Catalog, request: DecideRequest, model: str) -> Refusal | None:
    """The key's list, then the team's. Who is limited learns "not allowed" also of a name nobody serves."""
    if len(request.model) > MODEL_CHARACTERS_MAX:
        return errors.bad_request(f"model is longer than {MODEL_CHARACTERS_MAX} characters", "model")
    if who.key is not None and not key_allows(who.key, who.team, model, catalog):
        return errors.model_not_allowed(request.model)
    if who.team is not None and not allows(who.team.models, model, catalog):
        return errors.model_not_allowed(request.model, "team")
    return None


def _models(who: _Identity, catalog: Catalog) -> list[str]:
    names = list(catalog.models)
    if who.key is not None:
        names = [name for name in names if key_allows(who.key, who.team, name, catalog)]
    if who.team is not None:
        names = [name for name in names if allows(who.team.models, name, catalog)]
    return names


def _tags(metadata: dict[str, Any]) -> list[str]:
    """What isn't a list of texts was refused when it was written; should it be there all the same, it counts for nothing."""
    tags = metadata.get("tags")
    return [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []


def _spend_logs_metadata(metadata: dict[str, Any]) -> dict[str, Any]:
    value = metadata.get("spend_logs_metadata")
    return value if isinstance(value, dict) else {}

"""What a grant holds, folded from the gateway's settings, the team and the key. Pure."""

from typing import Any

import msgspec

from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.weakening import in_effect
from shared import payloads, subjects
from shared.admission.predicates import CONFIG
from shared.entities import KEY, PROJECT, TEAM, EntityKind, Key, Project, Team, callbacks
from shared.entities.readers import texts_in
from shared.grant import NO_RULES, Candidate, GuardrailRef, Rules, merge_tags
from shared.guardrails import BY_PERMISSION, Enabled

NONE = NO_RULES

ALLOWED_IPS = "allowed_ips"
"""The setting that /add/allowed_ip and /delete/allowed_ip keep."""

Holder = Key | Team | Project


def rules(
    directory: Directory, catalog: Catalog, key: Key | None, team: Team | None, project: Project | None = None
) -> Rules:
    """What every request of this caller is held to. Lists of different sources never leak into each
    other.
    """
    access = catalog.access
    holders = _holders(key, team, project)
    setting = directory.settings.get(ALLOWED_IPS)
    gateway = access.allowed_ips if setting is None else texts_in(setting.value)
    ips = [(gateway, CONFIG if setting is None else subjects.control("setting", ALLOWED_IPS))] if gateway else []
    ips += [(found, _subject(holder)) for holder in holders if (found := texts_in(in_effect(holder, "allowed_ips")))]
    demanded = dict.fromkeys(access.enforced_params, access.of("enforced_params"))
    if key is not None and key.metadata.get("service_account_id") is not None:
        of_accounts = access.of("service_account_settings")
        demanded |= {each: of_accounts for each in access.service_account_params if each not in demanded}
    for holder in holders:
        for each in texts_in(in_effect(holder, "enforced_params")):
            demanded.setdefault(each, _subject(holder))
    known, by_permission = _optional(catalog)
    fixed_by = next((_subject(holder) for holder in holders if not _may_modify(holder)), "")
    return Rules(
        allowed_ips=[allowed for allowed, _ in ips],
        allowed_ips_of=[of for _, of in ips],
        enforced_params=list(demanded),
        enforced_params_of=list(demanded.values()),
        reject_clientside_tags=access.reject_clientside_tags,
        may_modify_guardrails=not fixed_by,
        guardrails_fixed_by=fixed_by,
        known_guardrails=known,
        by_permission=by_permission,
    )


def _subject(holder: Holder) -> str:
    kinds: tuple[EntityKind[Any], ...] = (KEY, TEAM, PROJECT)
    kind = next(kind for kind in kinds if kind.struct is type(holder))
    return subjects.control(kind.name, kind.id_of(holder))


def _holders(*holders: Holder | None) -> list[Holder]:
    return [holder for holder in holders if holder is not None]


def _optional(catalog: Catalog) -> tuple[dict[str, GuardrailRef], dict[str, GuardrailRef]]:
    """(what a request may name, permission in the request → what it turns on)."""
    known = {each.name: each.ref() for each in catalog.guardrails}
    asked = [each for each in catalog.guardrails if each.permission and each.permission_of == "request"]
    return known, {each.permission: each.ref() for each in asked}


def guardrails(
    catalog: Catalog, key: Key | None, team: Team | None, project: Project | None = None
) -> list[GuardrailRef]:
    """Those of this caller's every request: the default ones, unless turned off for key or team,
    and what somebody counts on, by name or (a key) by permission."""
    holders = _holders(key, team, project)
    named = {name for holder in holders for name in texts_in(in_effect(holder, "guardrails"))}
    no_defaults = any(in_effect(holder, "disable_global_guardrails") is True for holder in holders)
    return [
        each.ref()
        for each in catalog.guardrails
        if each.name in named or _permitted(each, key) or (not no_defaults and _by_default(each, key))
    ]


def unserved_guardrails(catalog: Catalog, holder: Holder) -> list[str]:
    """Those that it counts on, by name or (a key) by permission, and that nobody runs here. What
    the operator said may be left undone (`allow_unenforced`) isn't missed."""
    there = {each.name for each in catalog.guardrails} | catalog.allow_unenforced
    found = [name for name in texts_in(in_effect(holder, "guardrails")) if name not in there]
    if isinstance(holder, Key) and holder.permissions:
        there.update(name for each in catalog.guardrails for name in each.spec.names)
        found += [
            name for each, name in BY_PERMISSION.items() if holder.permissions.get(each) is True and name not in there
        ]
    return found


def first_unserved(catalog: Catalog, *holders: Holder | None) -> tuple[str, str] | None:
    """(name, whose) of the first of them; None: each is here."""
    return next(
        ((name, _subject(holder)) for holder in _holders(*holders) for name in unserved_guardrails(catalog, holder)),
        None,
    )


def _permitted(each: Enabled, key: Key | None) -> bool:
    """Whether the key's permissions turn it on, whatever its mode is, and however it is configured:
    as callback, or in the list.
    """
    return key is not None and any(
        name in each.spec.names and key.permissions.get(permission) is True
        for permission, name in BY_PERMISSION.items()
    )


def _by_default(each: Enabled, key: Key | None) -> bool:
    permissions = {} if key is None else key.permissions
    if each.permission or not each.default_on:
        return False
    return permissions.get(each.spec.callback or each.spec.integration) is not False


def tags_and_metadata(
    key: Key | None, team: Team | None, project: Project | None = None
) -> tuple[list[str], dict[str, Any]]:
    """Key tags, then team tags, then the project's, without repeats; key's spend_logs_metadata over
    the team's.
    """
    tags: list[str] = []
    logged: dict[str, Any] = {}
    if team is not None and team.metadata:
        tags, logged = texts_in(team.metadata.get("tags")), _mapping(team.metadata.get("spend_logs_metadata"))
    if key is not None and key.metadata:
        tags = merge_tags(texts_in(key.metadata.get("tags")), tags)
        logged = {**logged, **_mapping(key.metadata.get("spend_logs_metadata"))}
    if project is not None and project.metadata:
        tags = merge_tags(tags, texts_in(project.metadata.get("tags")))
        logged = {**_mapping(project.metadata.get("spend_logs_metadata")), **logged}
    return tags, logged


def _may_modify(holder: Holder) -> bool:
    if in_effect(holder, "modify_guardrails") is False:
        return False
    guardrails = holder.metadata.get("guardrails")
    return not (isinstance(guardrails, dict) and guardrails.get("modify_guardrails") is False)


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def smallest(name: str, *holders: Key | Team | None) -> float | None:
    """Of the numbers above 0 that key and team have in their metadata. What is no such number
    counts for nothing.
    """
    found = [holder.metadata.get(name) for holder in holders if holder is not None and holder.metadata]
    numbers = [each for each in found if isinstance(each, int | float) and not isinstance(each, bool) and each > 0]
    return min(numbers, default=None)


def passthrough(key: Key | None, team: Team | None) -> dict[str, Any]:
    """Which pass-through endpoints key and team may call: the key's list, else the team's; what
    either denies is denied.
    """
    found = _holders(key, team)
    lists = (in_effect(holder, "allowed_passthrough_routes") for holder in found)
    allowed = next((each for each in lists if each is not None), None)
    denied = [path for holder in found for path in texts_in(in_effect(holder, "denied_passthrough_routes"))]
    return {"passthrough_routes": None if allowed is None else texts_in(allowed), "passthrough_denied": denied}


def content(catalog: Catalog, key: Key | None, team: Team | None) -> str:
    """What becomes of prompts and answers (shared.payloads). The key's word goes before the team's,
    and that before the configuration's: on keeping them, and on which sinks there are, each by
    itself."""
    found = catalog.content
    holders = [holder.metadata for holder in (key, team) if holder is not None and holder.metadata]
    kept = next(
        (each["store_prompts_in_spend_logs"] for each in holders if "store_prompts_in_spend_logs" in each), found.kept
    )
    if kept is True:
        return payloads.KEPT
    for each in holders:
        entries = callbacks.entries(each)
        if entries is not None:
            shown = any(callbacks.shows_content(entry, turned_off=found.turned_off) for entry in entries)
            break
    else:
        shown = found.shown if team is None else found.teams.get(team.team_id, found.shown)
    return payloads.SENT if shown else ""


def tagged(directory: Directory, model: str, candidates: list[Candidate]) -> list[Candidate]:
    """With the tags whose `models` name a deployment by its id, or all of a model's by the
    model.
    """
    if not directory.tables["tag"]:
        return candidates

    def named(name: str) -> list[str]:
        return [tag.name for tag in directory.find("tag", "models", name)]

    of_model, found = named(model), []
    for each in candidates:
        tags = [*of_model, *named(each.deployment_id)]
        found.append(msgspec.structs.replace(each, tags=tags) if tags else each)
    return found


def cache(key: Key | None, team: Team | None) -> dict[str, Any]:
    """How key or team have their calls cached: the key's word, else the team's."""
    found = [holder.metadata.get("cache") for holder in (key, team) if holder is not None and holder.metadata]
    controls = None if key is None else texts_in(in_effect(key, "allowed_cache_controls")) or None
    return {"cache": next((each for each in found if isinstance(each, dict)), {}), "cache_controls": controls}

"""The rules that need the request itself: each is a pure function of (decision, request, now) with
a name in `ORDER`.

What can't be decoded here was refused, or is refused, by whoever reads the body: it counts as not
there.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from shared import addresses, errors, subjects
from shared.decoding import UNREADABLE
from shared.errors import Refusal
from shared.grant import Ask, Denial, Grant, GuardrailRef

Predicate = Callable[[Grant | Denial, Ask, int], Refusal | None]

_METADATA = ("metadata", "litellm_metadata")
GUARDRAIL_FIELDS = ("guardrails", "disable_global_guardrails", "disable_global_guardrail", "guardrail_config")
"""Of a request's body or its metadata: whoever may not modify guardrails may not send them."""
NAMED_MAX = 64
"""Guardrails that one request may name."""

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_names = msgspec.json.Decoder(list[Any]).decode


def ip(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """Every list must let the address in: the gateway's, the key's, the team's."""
    for allowed in decision.rules.allowed_ips:
        if not addresses.allowed(allowed, ask.ip):
            return errors.ip_not_allowed(ask.ip)
    return None


def key_expired(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """A kept grant outlives its credential otherwise."""
    if isinstance(decision, Grant) and decision.expires_at_ms is not None and now_ms >= decision.expires_at_ms:
        return errors.expired_key(decision.expires_at_ms, now_ms)
    return None


def customer(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    found = ask.customer
    if found is None:
        return None
    if isinstance(found, Denial):
        return found.refusal
    if found.models and ask.model and not any(matches(entry, ask.model) for entry in found.models):
        return errors.model_not_allowed(ask.model, "customer")
    return None


def client_tags(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    return errors.clientside_tags_rejected() if decision.rules.reject_clientside_tags and ask.tags else None


def modify_guardrails(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    if decision.rules.may_modify_guardrails or not ask.fields:
        return None
    places = [ask.fields, *(_object(ask.fields[name]) for name in _METADATA if name in ask.fields)]
    if any(name in place for place in places for name in GUARDRAIL_FIELDS):
        return errors.may_not_modify_guardrails()
    return None


def guardrail_names(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """A name that is none would be a check that somebody counts on and nobody makes."""
    if not ask.fields:
        return None
    for name in named_guardrails(ask.fields):
        if not isinstance(name, str) or name not in decision.rules.known_guardrails:
            return errors.unknown_guardrail(name)
    return None


def named_guardrails(fields: dict[str, msgspec.Raw]) -> list[Any]:
    """What the request asks to be checked by: `guardrails`, in the body or its metadata. Names, or
    objects with one name.
    """
    found: list[Any] = []
    if "guardrails" in fields:
        found += _list(fields["guardrails"])
    for place in _METADATA:
        if place in fields:
            inside = _object(fields[place])
            if "guardrails" in inside:
                found += _list(inside["guardrails"])
    names = [next(iter(item)) if isinstance(item, dict) and len(item) == 1 else item for item in found[:NAMED_MAX]]
    return list(dict.fromkeys(name if isinstance(name, str) else repr(name)[:64] for name in names))


def with_named(grant: Grant, fields: dict[str, msgspec.Raw] | None) -> list[GuardrailRef]:
    """The guardrails of a request: the grant's, and those it names itself. A request only ever
    adds.
    """
    rules = grant.rules
    if not fields or not (rules.known_guardrails or rules.by_permission):
        return grant.guardrails
    wanted = [rules.known_guardrails[n] for n in named_guardrails(fields) if n in rules.known_guardrails]
    if rules.by_permission:
        permitted = _permissions(fields)
        wanted += [ref for name, ref in rules.by_permission.items() if permitted.get(name) == b"true"]
    more = {ref.name: ref for ref in wanted}
    for ref in grant.guardrails:
        more.pop(ref.name, None)
    return [*grant.guardrails, *more.values()] if more else grant.guardrails


def _permissions(fields: dict[str, msgspec.Raw]) -> dict[str, bytes]:
    """`metadata.permissions`, each value as it was written."""
    found: dict[str, bytes] = {}
    for place in _METADATA:
        if place in fields:
            inside = _object(fields[place])
            if "permissions" in inside:
                found |= {name: bytes(raw) for name, raw in _object(inside["permissions"]).items()}
    return found


def enforced_params(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """Each entry is a path of names: `user`, `metadata.generation_name`. Null counts as there, as
    in LiteLLM.
    """
    if ask.fields is None:
        return None
    for entry in decision.rules.enforced_params:
        path = _missing(entry, ask)
        if path is not None:
            return errors.missing_param(path)
    return None


def cache_controls(decision: Grant | Denial, ask: Ask, now_ms: int) -> Refusal | None:
    """A key's `allowed_cache_controls`, whether there is a cache or not."""
    allowed = decision.cache_controls if isinstance(decision, Grant) else None
    if allowed is None or not ask.fields or "cache" not in ask.fields:
        return None
    for name in _object(ask.fields["cache"]):
        if name not in allowed:
            return errors.cache_control_not_allowed(name)
    return None


def _missing(entry: str, ask: Ask) -> list[str] | None:
    """The entry as a path, where the request doesn't have it."""
    path = entry.split(".")
    if ask.fields is None or (path == ["user"] and ask.customer_id is not None):  # a header may name them
        return None
    place: dict[str, msgspec.Raw] = ask.fields
    for depth, name in enumerate(path):
        if name not in place:
            return path
        if depth + 1 < len(path):
            place = _object(place[name])
    return None


def matches(entry: str, model: str) -> bool:
    """`*` at the end or the beginning of an entry stands for anything; alone for all."""
    if entry == model or entry == "*":
        return True
    if entry.endswith("*"):
        return model.startswith(entry[:-1])
    return entry.startswith("*") and model.endswith(entry[1:])


def _object(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    try:
        return _split(raw)
    except UNREADABLE:
        return {}


def _list(raw: msgspec.Raw) -> list[Any]:
    try:
        return _names(raw)
    except UNREADABLE:
        return []


# Whose rule refused. Asked only once it has.


def _of_ip(decision: Grant | Denial, ask: Ask) -> str:
    rules = decision.rules
    return next(
        (
            of
            for allowed, of in zip(rules.allowed_ips, rules.allowed_ips_of, strict=False)
            if not addresses.allowed(allowed, ask.ip)
        ),
        CONFIG,
    )


def _of_key(decision: Grant | Denial, ask: Ask) -> str:
    return subjects.control("key", decision.caller.key_sha256 or "")


def _of_customer(decision: Grant | Denial, ask: Ask) -> str:
    return subjects.control("customer", ask.customer_id or "")


def _of_params(decision: Grant | Denial, ask: Ask) -> str:
    rules = decision.rules
    return next(
        (
            of
            for entry, of in zip(rules.enforced_params, rules.enforced_params_of, strict=False)
            if _missing(entry, ask) is not None
        ),
        CONFIG,
    )


CONFIG, REQUEST = "config", "request"
"""Instead of a control subject: the configuration says so; the request itself is wrong."""

OF: dict[str, Callable[[Grant | Denial, Ask], str]] = {
    "ip": _of_ip,
    "key_expired": _of_key,
    "customer": _of_customer,
    "client_tags": lambda decision, ask: CONFIG,
    "modify_guardrails": lambda decision, ask: decision.rules.guardrails_fixed_by or CONFIG,
    "guardrail_names": lambda decision, ask: REQUEST,
    "enforced_params": _of_params,
    "cache_controls": _of_key,
}

PREDICATES: dict[str, Predicate] = {
    "ip": ip,
    "key_expired": key_expired,
    "customer": customer,
    "client_tags": client_tags,
    "modify_guardrails": modify_guardrails,
    "guardrail_names": guardrail_names,
    "enforced_params": enforced_params,
    "cache_controls": cache_controls,
}

BINDS: dict[str, Callable[[Grant], bool]] = {
    "ip": lambda grant: bool(grant.rules.allowed_ips),
    "key_expired": lambda grant: False,
    "customer": lambda grant: False,
    "client_tags": lambda grant: False,
    "modify_guardrails": lambda grant: not grant.rules.may_modify_guardrails,
    "guardrail_names": lambda grant: False,
    "enforced_params": lambda grant: bool(grant.rules.enforced_params),
    "cache_controls": lambda grant: False,
}
"""Whether a rule could refuse a request that says nothing of its own, while the credential holds.
One that isn't here always could.
"""

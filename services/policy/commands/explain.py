"""POST /policy/explain: may this credential make this request, by which rule, and out of what was
that folded? A dry run.

Admins may ask about anybody, everybody else about themselves. The rules are those of admission, in
their order; the answer says of each whether it was looked at and what it said, up to the one that
refused.
"""

import json
from typing import Any

import msgspec

from services.policy.decide import decide, identify
from services.policy.plan import Call, Plan
from services.policy.rules import OF, RULES
from shared import admission, errors, subjects
from shared import routes as table
from shared.admission.predicates import OF as PREDICATES_OF
from shared.admission.predicates import PREDICATES, with_named
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.grant import Ask, Denial, Grant
from shared.ids import KeyDigest
from shared.requests import DecideRequest
from shared.routes import Match

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def explain(call: Call) -> Plan:
    """Body: `key` (raw or digest; absent: the caller's own), `route` (a path), `method`, `model`,
    `body`, `ip`, `user`.
    """
    digest = _whose(call)
    match = _route(call)
    sent = fields.mapping("body", call.body.get("body")) or {}
    named = call.body.get("model")
    if named is not None and not isinstance(named, str):
        fields.refuse("model", "must be a string")
    model = named or _text(sent.get("model"))
    customer_id = fields.text("user", call.body.get("user")) or _text(sent.get("user")) or None
    ip = fields.text("ip", call.body.get("ip"))
    directory, catalog = call.directory, call.catalog
    came = call.credential
    if came is not None and call.body.get("key") is None:  # a token's claims say who it is, not its digest
        question = msgspec.structs.replace(came, route=match.route.name, model=model)
    else:
        question = DecideRequest(digest, match.route.name, model)
    decision = decide(directory, catalog, question, call.now_ms, 0)
    customer = None
    if customer_id is not None and match.route.model_from and not admission.is_stranger(decision):
        customer = decide(directory, catalog, DecideRequest(None, "", customer_id=customer_id), call.now_ms, 0)
    body = _split(msgspec.json.encode(sent)) if match.route.model_from else None
    tags = fields.tags("body.tags", sent.get("tags")) or []
    ask = Ask(tags, {}, ip, body, model, customer_id, customer)
    refusal = admission.admit(decision, ask, call.now_ms)
    rules = _rules(call, question, decision, ask, match)
    last = rules[-1] if rules else None
    depends_on = list(dict.fromkeys((*decision.depends_on, *(customer.depends_on if customer is not None else []))))
    return Plan(
        {
            "allowed": refusal is None,
            "rule": last["rule"] if refusal is not None and last is not None else None,
            "refusal": None if refusal is None else json.loads(errors.render(refusal))["error"],
            "status": 200 if refusal is None else refusal.status,
            "decision": None if refusal is None else refusal.decision,
            "rules": rules,
            "caller": msgspec.structs.asdict(decision.caller),
            "grant": _grant(decision, body) if isinstance(decision, Grant) else None,
            "folded_from": _sources(call, depends_on),
            "settings": _settings(call) if call.sees_all else {},
        }
    )


def _whose(call: Call) -> KeyDigest | None:
    sent = fields.text("key", call.body.get("key"))
    own = call.actor.key_sha256
    if sent is None:
        return own
    if sent != own and not call.sees_all:
        raise RefusedError(errors.not_yours("You may only ask about yourself."))
    return KeyDigest(sent)


def _route(call: Call) -> Match:
    path = fields.text("route", call.body.get("route")) or "/chat/completions"
    method = (fields.text("method", call.body.get("method")) or "").upper()
    methods = [method] if method else ["POST", "GET", "PATCH", "PUT", "DELETE"]
    for each in methods:
        found = table.find(each, path)
        if isinstance(found, Match):
            return found
    return fields.refuse("route", f"{path[:128]} is no path of ours" + (f" for {method}" if method else ""))


def _rules(
    call: Call, question: DecideRequest, decision: Grant | Denial, ask: Ask, match: Match
) -> list[dict[str, Any]]:
    """In order, each with what it said; the last is the one that refused, where one did."""
    who = identify(call.directory, call.catalog, question, match.route, call.now_ms)
    said = []
    for name in admission.ORDER:
        refusal, of = None, ""
        if name in RULES:
            refusal = RULES[name](who)
            of = OF[name](who) if refusal is not None else ""
        if refusal is None and name in PREDICATES:
            refusal = PREDICATES[name](decision, ask, call.now_ms)
            of = PREDICATES_OF[name](decision, ask) if refusal is not None else ""
        if name not in RULES and name not in PREDICATES:
            continue
        why = None if refusal is None else refusal.message
        said.append({"rule": name, "allows": refusal is None, "why": why, "of": of or None})
        if refusal is not None:
            break
    return said


def _grant(grant: Grant, body: dict[str, msgspec.Raw] | None) -> dict[str, Any]:
    """What the caller has; addresses and secrets of deployments aren't in a grant."""
    return {
        "models": grant.models,
        "candidates": [
            {"deployment_id": c.deployment_id, "provider": c.provider, "model": c.upstream_model, "order": c.order}
            for c in grant.candidates
        ],
        "tags": grant.tags,
        "spend_logs_metadata": grant.spend_logs_metadata,
        "guardrails": [ref.name for ref in with_named(grant, body)],
        "enforced_params": grant.rules.enforced_params,
        "allowed_ips": grant.rules.allowed_ips,
        "may_modify_guardrails": grant.rules.may_modify_guardrails,
        "expires_at_ms": grant.expires_at_ms,
    }


def _sources(call: Call, depends_on: list[str]) -> list[dict[str, Any]]:
    """The control facts: subject and sequence, and whether the last of them could be read. What
    there is of a whole kind (every organisation, every model that was added) is named to those who
    see everything."""
    directory, found = call.directory, []
    for subject in depends_on:
        if subject.endswith(".>") and call.sees_all:
            kind = subject.split(".")[1]
            names = [subjects.control(kind, entity_id) for entity_id in directory.tables.get(kind, {})]
        else:
            names = [subject]
        for name in names[:100]:
            seq = directory.expected_seq(name)
            found.append({"subject": name, "seq": seq or None, "readable": name not in directory.unread})
    return found


def _settings(call: Call) -> dict[str, Any]:
    """What of the configuration takes part in every decision."""
    access, catalog = call.catalog.access, call.catalog
    return {
        "general_settings.allowed_routes": None if access.allowed is None else sorted(access.allowed),
        "general_settings.public_routes": sorted(access.public),
        "general_settings.admin_only_routes": sorted(access.admin_only),
        "general_settings.allowed_ips": access.allowed_ips,
        "general_settings.enforced_params": access.enforced_params,
        "general_settings.service_account_settings.enforced_params": access.service_account_params,
        "general_settings.reject_clientside_metadata_tags": access.reject_clientside_tags,
        "DISABLE_LLM_API_ENDPOINTS": access.no_llm,
        "DISABLE_ADMIN_ENDPOINTS": access.no_admin,
        "guardrails": [each.name for each in catalog.guardrails],
        "blocked_user_list": {"sha256": catalog.blocked_users.sha256(), "customers": len(catalog.blocked_users)},
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

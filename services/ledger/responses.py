"""Rows of the book in LiteLLM's shapes. Pure.

Spend is a float of USD, as clients of LiteLLM expect; the exact number is beside it as text
(`metadata.spend_picousd`).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec

from services.ledger.rows import SUCCESS
from shared.entities import KINDS, TABLE_NAMES, callbacks
from shared.money import PICOUSD_PER_USD, usd_from_picousd

Record = Mapping[str, Any]

MASKED = "***"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else (_EPOCH + timedelta(milliseconds=unix_ms)).isoformat()


def usd(picousd: Any) -> float:
    return usd_from_picousd(int(picousd or 0))


def tag(row: Record) -> dict[str, Any]:
    return {
        "individual_request_tag": row["value"],
        "log_count": row["requests"],
        "total_spend": usd(row["spend_picousd"]),
    }


def spend_log(row: Record) -> dict[str, Any]:
    """A row of /spend/logs. `request_id` is the provider's id where there is one, as LiteLLM's is;
    ours is in the metadata.
    """
    own_id, cost = str(row["id"]), row["cost_picousd"]
    success = row["outcome"] == SUCCESS
    cached = _cached(row["spend_logs_metadata"])
    return {
        "request_id": row["response_id"] or own_id,
        "call_type": row["call_type"],
        "api_key": row["key_sha256"] or "",
        "spend": usd(cost),
        "total_tokens": row["input_tokens"] + row["output_tokens"],
        "prompt_tokens": row["input_tokens"],
        "completion_tokens": row["output_tokens"],
        "startTime": iso(row["at_ms"]),
        "endTime": iso(row["ended_at_ms"]),
        "completionStartTime": iso(row["first_byte_at_ms"]),
        "request_duration_ms": max(0, row["ended_at_ms"] - row["at_ms"]),
        "model": row["upstream_model"] or row["model"],
        "model_id": row["deployment_id"],
        "model_group": row["model"],
        "custom_llm_provider": row["provider"],
        "api_base": "",
        "user": row["user_id"] or "",
        "metadata": _metadata(row, own_id),
        "cache_hit": "True" if cached else "False",
        "cache_key": cached or "Cache OFF",
        "request_tags": row["tags"],
        "team_id": row["team_id"],
        "organization_id": row["organization_id"],
        "end_user": row["customer_id"] or "",
        "requester_ip_address": row["requester_ip"],
        "messages": {},
        "response": {},
        "proxy_server_request": {},
        "session_id": row["session_id"],
        "status": "success" if success else "failure",
        "litellm_call_id": row["litellm_call_id"] or own_id,
    }


def _cached(spend_logs_metadata: str) -> str | None:
    """The key of the cache that answered; None: none did. The edge says so in the call's own
    metadata.
    """
    if '"cache_hit":true' not in spend_logs_metadata:
        return None
    said = msgspec.json.decode(spend_logs_metadata)
    return str(said.get("cache_key") or "") or None if isinstance(said, dict) else None


def _metadata(row: Record, own_id: str) -> dict[str, Any]:
    cost = row["cost_picousd"]
    return {
        "user_api_key": row["key_sha256"],
        "user_api_key_alias": row["key_alias"],
        "user_api_key_team_id": row["team_id"],
        "user_api_key_team_alias": row["team_alias"],
        "user_api_key_org_id": row["organization_id"],
        "user_api_key_user_id": row["user_id"],
        "spend_logs_metadata": msgspec.Raw(row["spend_logs_metadata"].encode()),
        "provider_request_id": row["provider_request_id"],
        "requester_ip_address": row["requester_ip"],
        "user_agent": row["user_agent"],
        "applied_guardrails": msgspec.Raw(row["guardrails"].encode()),
        "guardrail_information": msgspec.Raw(row["guardrail_outcomes"].encode()),
        "status": "success" if row["outcome"] == SUCCESS else "failure",
        "error_information": None if row["error_code"] is None else {"error_code": row["error_code"]},
        "usage_object": {
            "prompt_tokens": row["input_tokens"],
            "completion_tokens": row["output_tokens"],
            "total_tokens": row["input_tokens"] + row["output_tokens"],
            "cached_tokens": row["cached_tokens"],
            "cache_write_tokens": row["cache_write_tokens"],
            "reasoning_tokens": row["reasoning_tokens"],
            "source": row["usage_source"],
        },
        "litellm_call_id": row["litellm_call_id"] or own_id,
        # Ours: what LiteLLM's row has no place for.
        "id": own_id,
        "outcome": row["outcome"],
        "http_status": row["status"],
        "route": row["route"],
        "attempts": row["attempts"],
        "response_model": row["response_model"],
        "spend_picousd": None if cost is None else str(cost),
        "unpriced": cost is None or any(flag.startswith("unpriced:") for flag in row["flags"] or ()),
        "service_tier": row["service"],
        "disabled_callbacks": row["log_off"] or [],
        "flags": list(row["flags"] or ()),
        "price": None if row["price"] is None else msgspec.Raw(row["price"].encode()),
    }


def days(first: date, last: date, entries: Iterable[tuple[date, str, str, int]]) -> list[dict[str, Any]]:
    """Spend a day, both ends and days without spend included.

    Args:
        entries: (day, dimension, value, pico-USD); the dimensions are total, key, user, model.
            Equal ones are added up.
    """
    found: dict[date, dict[str, Any]] = {}
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        found[day] = {"startTime": day.isoformat(), "spend": 0, "users": {}, "models": {}}
    for day, dimension, value, picousd in entries:
        entry = found[day]
        if dimension == "total":
            entry["spend"] += picousd
        else:
            # A key's spend stands in the entry itself, under its digest: LiteLLM's shape.
            place = {"user": entry["users"], "model": entry["models"]}.get(dimension, entry)
            place[value] = place.get(value, 0) + picousd
    return [_in_usd(entry) for entry in found.values()]


def _in_usd(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value / PICOUSD_PER_USD
        if isinstance(value, int)
        else _in_usd(value)
        if isinstance(value, dict)
        else value
        for name, value in entry.items()
    }


def audit_entry(row: Record) -> dict[str, Any]:
    """A row of /audit. `changed_by` is the authenticated actor; whom the actor claimed to act for
    is beside it.

    A message that can't be read as a fact has a row too: where it was found, and nothing it may
    claim.
    """
    if row["fact_id"] is None:
        return {
            "id": f"unreadable-{row['n']}",
            "updated_at": None,
            "changed_by": "",
            "changed_by_api_key": "",
            "action": "unreadable",
            "table_name": table_name("unreadable"),
            "object_id": row["subject"],
            "before_value": None,
            "updated_values": {},
            "on_behalf_of": None,
            "requester_ip": None,
            "audit_number": row["n"],
            "sha256": row["sha256"].hex(),
        }
    return {
        "id": row["fact_id"],
        "updated_at": iso(row["at_ms"]),
        "changed_by": row["actor_user_id"] or "default_user_id",
        "changed_by_api_key": row["actor_key_sha256"] or "",
        "action": row["action"],
        "table_name": table_name(row["kind"]),
        "object_id": row["entity_id"],
        "before_value": _entity(row["kind"], row["before"]),
        "updated_values": _entity(row["kind"], row["after"]) or {},
        "on_behalf_of": row["on_behalf_of"],
        "requester_ip": row["requester_ip"],
        "audit_number": row["n"],
        "sha256": row["sha256"].hex(),
    }


def table_name(kind: str) -> str:
    return TABLE_NAMES.get(kind) or f"Tollgate_{kind}"


def kinds_of(name: str) -> list[str]:
    """What a table's name stands for, which may be several kinds; for one that nobody has, a kind
    nobody has.
    """
    found = [kind for kind, table in TABLE_NAMES.items() if table == name]
    return found or [name.removeprefix("Tollgate_") if name.startswith("Tollgate_") else f"?{name}"]


def _entity(kind: str, text: str | None) -> Any:
    """An entity as the reader may see it: no credential, money in LiteLLM's unit.

    What its kind has a field for is shown or not by what that field is; in what callers store
    freely (metadata, unknown fields), by what a value looks like, and by names that only
    credentials have.
    """
    if text is None:
        return None
    entity = msgspec.json.decode(text)
    if not isinstance(entity, dict):
        return _free("", entity)
    known = KINDS[kind].struct.__struct_fields__ if kind in KINDS else ()
    return dict(_field(name, value, name in known) for name, value in entity.items())


def _field(name: str, value: Any, known: bool) -> tuple[str, Any]:
    if name == "max_budget_picousd":
        return "max_budget", usd(value) if isinstance(value, int) else None
    if name == "sealed":
        return name, dict.fromkeys(value, MASKED) if isinstance(value, dict) else MASKED
    if name == "metadata" and isinstance(value, dict):
        value = callbacks.rewritten(value, lambda _name, _variable, _value: MASKED)
        return name, {key: item if key in _CALLBACKS else _free(key, item) for key, item in value.items()}
    if known and isinstance(value, str):
        return name, MASKED if _CREDENTIAL.match(value) and name not in _SHORT else value
    return name, _free("" if known else name, value)


_CALLBACKS = ("logging", callbacks.OLD)
"""In metadata: what a value is, its variable's name says."""
_SHORT = ("key_name",)
"""`sk-...` and the last characters."""
_CREDENTIAL = re.compile(
    r"sk-[A-Za-z0-9_-]{8}|pk-lf-|AKIA[0-9A-Z]{12}|Bearer |litellm_enc::|tollgate_sealed:|-----BEGIN "
)
"""How values begin that are credentials whatever they are called."""
_NAMED = re.compile(r"(^|[_-])(key|keys|token|secret|password|passwd|credentials?|authorization)$", re.IGNORECASE)


def _free(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return MASKED if value and _NAMED.search(name) else [_free("", item) for item in value]
    if isinstance(value, dict):
        return {key: _free(key, item) for key, item in value.items()}
    if isinstance(value, str) and (_NAMED.search(name) or _CREDENTIAL.match(value)):
        return MASKED
    return value

"""Groups of the book's rows → what people are told of them. Pure.

An alert's id is its type, what it is about, and the span of time it falls into: the same fault,
found again, has the same id.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.ledger.alerts.settings import AlertSettings
from shared.config.budgets import UsedUp, used_up
from shared.decoding import UNREADABLE
from shared.money import format_usd

SPAN_MS = 600_000
"""A fault that lasts is told once in this time."""
SPAN_UNPRICED_MS = 3_600_000
SHOWN_CHARACTERS_MAX = 120

Row = Mapping[str, Any]


class Alert(msgspec.Struct, frozen=True):
    id: str
    type: str
    level: str
    """Low, Medium, High: LiteLLM's words."""
    message: str
    at_ms: int
    found: int = 1


def failures(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """
    Args:
        rows: model, deployment_id, provider, error_code, status, n, at_ms (of the first): calls
            that a provider failed.
    """
    if not settings.wants("llm_exceptions"):
        return []
    return [
        alert(
            "llm_exceptions",
            "High",
            row["at_ms"],
            f"LLM API call failed: `{shown(row['error_code'] or row['status'])}`\nModel: `{shown(row['model'])}`\n"
            f"Deployment: `{shown(row['deployment_id'])}`\nProvider: `{shown(row['provider'])}`",
            row["model"],
            row["deployment_id"],
            row["error_code"] or row["status"],
            found=row["n"],
        )
        for row in rows
    ]


def slow(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """
    Args:
        rows: model, deployment_id, n, at_ms, worst_ms: calls that took longer than the threshold.
    """
    if not settings.wants("llm_too_slow"):
        return []
    return [
        alert(
            "llm_too_slow",
            "Low",
            row["at_ms"],
            f"Responses are slow: {row['worst_ms'] / 1000:.1f} s, over {settings.threshold_s:g} s\nModel: `{shown(row['model'])}`\n"
            f"Deployment: `{shown(row['deployment_id'])}`",
            row["model"],
            row["deployment_id"],
            found=row["n"],
        )
        for row in rows
    ]


def unpriced(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """
    Args:
        rows: model, upstream_model, provider, n, at_ms: calls that succeeded, and whose cost nobody
            knows.
    """
    if not settings.wants("failed_tracking_spend"):
        return []
    return [
        alert(
            "failed_tracking_spend",
            "High",
            row["at_ms"],
            f"Calls are in the book without a cost: no price is known\nModel: `{shown(row['model'])}`\n"
            f"Upstream model: `{shown(row['upstream_model'])}`\nProvider: `{shown(row['provider'])}`",
            row["model"],
            row["upstream_model"],
            found=row["n"],
            span_ms=SPAN_UNPRICED_MS,
        )
        for row in rows
    ]


def outages(settings: AlertSettings, rows: list[Row], now_ms: int) -> list[Alert]:
    """
    Args:
        rows: deployment_id, model, provider, failed, asked: of the last minute.
    """
    if not settings.wants("outage_alerts"):
        return []
    found = []
    for row in rows:
        if row["failed"] < settings.minor_outage or row["failed"] * 2 < row["asked"]:
            continue
        major = row["failed"] >= settings.major_outage
        found.append(
            alert(
                "outage_alerts",
                "High" if major else "Medium",
                now_ms,
                f"{'Major' if major else 'Minor'} outage: {row['failed']} of {row['asked']} calls failed in a minute\n"
                f"Model: `{shown(row['model'])}`\nDeployment: `{shown(row['deployment_id'])}`\nProvider: `{shown(row['provider'])}`",
                row["deployment_id"],
                "major" if major else "minor",
            )
        )
    return found


def hanging(settings: AlertSettings, count: int, now_ms: int) -> list[Alert]:
    if not count or not settings.wants("llm_requests_hanging"):
        return []
    text = f"Requests are hanging: {count} have run for more than {settings.threshold_s:g} s"
    return [alert("llm_requests_hanging", "Medium", now_ms, text)]


def behind(settings: AlertSettings, seconds: float, messages: int, now_ms: int) -> list[Alert]:
    if seconds < settings.behind_s:
        return []
    text = (
        f"The book is behind: {messages} messages wait, for {seconds:.0f} s. Spend shown now lacks them; none is lost"
    )
    return [alert("book_behind", "High", now_ms, text)]


def chain(settings: AlertSettings, where: str, n: int, now_ms: int) -> Alert:
    text = f"The evidence is broken: {where}, row {n}, doesn't follow from the one before. Run `python -m services.ledger verify`"
    return alert("chain_broken", "High", now_ms, text, where, n)


def anomalies(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """
    Args:
        rows: kind, n, at_ms, detail: what should not have happened, from the book's own table.
    """
    return [
        alert(
            "anomaly",
            "High",
            row["at_ms"],
            f"Facts the book could not take as they were: `{shown(row['kind'])}`\n{shown(row['detail'])}",
            row["kind"],
            found=row["n"],
        )
        for row in rows
    ]


def spend_anomaly(settings: AlertSettings, hour: str, spent_usd: float, mean_usd: float, now_ms: int) -> list[Alert]:
    """
    Args:
        hour: the last whole one (`2026-11-26 14:00`).
        mean_usd: of the 24 hours before.
    """
    if not settings.wants("user_spend_anomalies") or spent_usd < settings.anomaly_usd_min:
        return []
    if spent_usd < settings.anomaly_factor * mean_usd:
        return []
    text = (
        f"Spend is unusual: {spent_usd:.2f} USD in the hour of {hour} UTC; the mean of the day before is {mean_usd:.2f}"
    )
    return [Alert(f"user_spend_anomalies:{hour}", "user_spend_anomalies", "High", text, now_ms)]


_EVENTS = {
    ("key", "created"): "new_virtual_key_created",
    ("key", "deleted"): "virtual_key_deleted",
    ("key", "*"): "virtual_key_updated",
    ("team", "created"): "new_team_created",
    ("team", "deleted"): "team_deleted",
    ("team", "*"): "team_updated",
    ("user", "created"): "new_internal_user_created",
    ("user", "deleted"): "internal_user_deleted",
    ("user", "*"): "internal_user_updated",
    ("model", "created"): "new_model_added",
    ("budget", "*"): "budget_alerts",
}


def events(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """
    Args:
        rows: n, kind, entity_id, action, actor (their user id or key), alias, at_ms: of the audit
            log.
    """
    found = []
    for row in rows:
        type = _EVENTS.get((row["kind"], row["action"])) or _EVENTS.get((row["kind"], "*"))
        if type is None or not settings.wants(type):
            continue
        what = row["alias"] or (row["entity_id"][:12] + "..." if row["kind"] == "key" else row["entity_id"])
        text = f"{row['kind'].capitalize()} `{shown(what)}` was {shown(row['action'])} by `{shown(row['actor'])}`"
        level = "Medium" if type == "budget_alerts" else "Low"
        found.append(Alert(f"audit:{row['n']}", type, level, text, row["at_ms"] or 0))
    return found


def budgets(settings: AlertSettings, rows: list[Row]) -> list[Alert]:
    """Budgets of the gateway, of providers and of deployments that are used up since.

    Args:
        rows: n, at_ms, used_up, used_up_before (JSON: what policy's setting says, `OVER_SETTING`):
            of the audit log.
    """
    if not settings.wants("budget_alerts"):
        return []
    found = []
    for row in rows:
        before = _used_up(row["used_up_before"])
        for (name, first), spent_picousd in _used_up(row["used_up"]).items():
            if (name, first) in before:
                continue
            dimension, _, value = name.partition(":")
            whose = f"{dimension} `{shown(value)}`" if value else "the gateway"
            since = f" since {first}" if first else ""
            text = (
                f"Budget reached: {whose} has spent {format_usd(spent_picousd)} USD{since}. Calls are refused, or go to others,"
                f" until {'its next window begins' if first else 'it is raised'}"
            )
            found.append(
                Alert(f"audit:{row['n']}:{first}:{name}"[:320], "budget_alerts", "High", text, row["at_ms"] or 0)
            )
    return found


def _used_up(said: str | None) -> UsedUp:
    """What can't be read is nobody's."""
    try:
        return used_up(msgspec.json.decode(said or "{}", type=dict[str, dict[str, str]]))
    except (*UNREADABLE, KeyError, ValueError):
        return {}


def alert(
    type: str, level: str, at_ms: int, message: str, *about: object, found: int = 1, span_ms: int = SPAN_MS
) -> Alert:
    return Alert(f"{type}:{'|'.join(map(str, about))[:300]}:{at_ms // span_ms}", type, level, message, at_ms, found)


def shown(value: object) -> str:
    """In one line, and without what would end the code marks around it."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() and c != "`" else " " for c in text[:SHOWN_CHARACTERS_MAX])

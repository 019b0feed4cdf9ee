"""Deployments → what people are told of them: regions that are out, who rests, models that end,
calls that fell back. Pure.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import date, timedelta

from services.ledger.alerts.detect import Alert, Row, alert, shown
from services.ledger.alerts.reports import SHOWN_MAX
from services.ledger.alerts.served import Served
from services.ledger.alerts.settings import AlertSettings

ENDS_WITHIN = timedelta(days=30)


def regions(settings: AlertSettings, rows: list[Row], served: Mapping[str, Served], now_ms: int) -> list[Alert]:
    """At least two deployments of a provider's region fail, and half of its calls.

    Args:
        rows: as `detect.outages`.
    """
    if not settings.wants("region_outage_alerts"):
        return []
    of_region: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        entry = served.get(row["deployment_id"])
        if entry is not None and entry.region:
            of_region[entry.provider, entry.region].append(row)
    found = []
    for (provider, region), those in of_region.items():
        failed, asked = sum(row["failed"] for row in those), sum(row["asked"] for row in those)
        failing = sum(row["failed"] * 2 >= row["asked"] for row in those)
        if failing < 2 or failed < settings.minor_outage or failed * 2 < asked:
            continue
        major = failed >= settings.major_outage
        found.append(
            alert(
                "region_outage_alerts",
                "High" if major else "Medium",
                now_ms,
                f"{'Major' if major else 'Minor'} outage of a region: {failed} of {asked} calls failed in a minute\n"
                f"Region: `{shown(region)}`\nProvider: `{shown(provider)}`\nDeployments: {failing}",
                provider,
                region,
                "major" if major else "minor",
            )
        )
    return found


def resting(
    settings: AlertSettings, times: Mapping[str, int], served: Mapping[str, Served], now_ms: int
) -> list[Alert]:
    """
    Args:
        times: deployment → how often it began to rest since the last look.
    """
    if not settings.wants("cooldown_deployment"):
        return []
    found = []
    for id, often in times.items():
        entry = served.get(id)
        what = f"\nModel: `{shown(entry.model)}`\nProvider: `{shown(entry.provider)}`" if entry is not None else ""
        text = f"A deployment failed and isn't called for a while\nDeployment: `{shown(id)}`{what}"
        found.append(alert("cooldown_deployment", "Medium", now_ms, text, id, found=often))
    return found


def ending(settings: AlertSettings, served: Mapping[str, Served], today: date, now_ms: int) -> list[Alert]:
    """Models whose provider ends them: told once when that is near, and once when it is so."""
    if not settings.wants("model_deprecation_warnings"):
        return []
    found = []
    for id, entry in served.items():
        if entry.ends is None or today < entry.ends - ENDS_WITHIN:
            continue
        over = today >= entry.ends
        when = f"ended on {entry.ends}" if over else f"ends on {entry.ends}"
        text = (
            f"A model {when}: `{shown(entry.provider)}/{shown(entry.upstream_model)}`\n"
            f"Model: `{shown(entry.model)}`\nDeployment: `{shown(id)}`"
        )
        name = f"model_deprecation_warnings:{id}:{entry.ends}:{'over' if over else 'near'}"
        found.append(Alert(name, "model_deprecation_warnings", "High" if over else "Medium", text, now_ms))
    return found


def fallbacks(settings: AlertSettings, day: date, rows: list[Row], now_ms: int) -> list[Alert]:
    """A day's calls that another model answered, or was asked to.

    Args:
        rows: model, fallback, calls, good: the most frequent first.
    """
    if not rows or not settings.wants("fallback_reports"):
        return []
    lines = [f"Fallbacks: {day} (UTC): {sum(row['calls'] for row in rows)} calls"]
    lines += [
        f"  `{shown(row['model'])}` to `{shown(row['fallback'])}`: {row['calls']} calls, {row['good']} answered"
        for row in rows[:SHOWN_MAX]
    ]
    return [Alert(f"fallbacks:{day}", "fallback_reports", "Low", "\n".join(lines), now_ms)]

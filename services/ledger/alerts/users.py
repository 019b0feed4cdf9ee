"""What users spend → what people are told of it: over a line that the operator drew, or far over
what is usual for them. Pure.
"""

from datetime import date, timedelta

from services.ledger.alerts.detect import Alert, Row, shown
from services.ledger.alerts.settings import AlertSettings
from shared.money import PICOUSD_PER_USD


def wanted(settings: AlertSettings) -> bool:
    drawn = settings.user_day_usd is not None or settings.user_month_usd is not None
    return (drawn and settings.wants("user_spend_thresholds")) or settings.wants("user_spend_anomalies")


def span(settings: AlertSettings, today: date) -> tuple[date, date, date]:
    """(today, first of the month, first day that counts for the mean)."""
    return today, today.replace(day=1), today - timedelta(days=settings.user_days)


def least_picousd(settings: AlertSettings) -> int:
    """Who has spent less in the month and today isn't worth a look."""
    lines = [settings.user_usd_min if settings.wants("user_spend_anomalies") else None]
    if settings.wants("user_spend_thresholds"):
        lines += [settings.user_day_usd, settings.user_month_usd]
    return int(min(line for line in lines if line is not None) * PICOUSD_PER_USD)


def over(settings: AlertSettings, rows: list[Row], today: date, now_ms: int) -> list[Alert]:
    """
    Args:
        rows: user_id, day, month, before: pico-USD spent today, this month, and in `user_days` days
            before today.
    """
    found = []
    for row in rows:
        user, day, month = shown(row["user_id"]), _usd(row["day"]), _usd(row["month"])
        for line, spent, when, of in (
            (settings.user_day_usd, day, "today", str(today)),
            (settings.user_month_usd, month, "this month", f"{today:%Y-%m}"),
        ):
            if line is not None and spent >= line and settings.wants("user_spend_thresholds"):
                text = f"A user spent more than {line:.2f} USD {when}: {spent:.2f}\nUser: `{user}`"
                found.append(_alert("user_spend_thresholds", of, row, text, now_ms))
        mean = _usd(row["before"]) / settings.user_days
        if (
            settings.wants("user_spend_anomalies")
            and day >= settings.user_usd_min
            and day > settings.user_factor * mean
        ):
            text = f"A user's spend is unusual: {day:.2f} USD today; the mean of {settings.user_days} days before is {mean:.2f}\nUser: `{user}`"
            found.append(_alert("user_spend_anomalies", str(today), row, text, now_ms))
    return found


def _alert(type: str, of: str, row: Row, text: str, now_ms: int) -> Alert:
    return Alert(f"{type}:{str(row['user_id'])[:300]}:{of}", type, "High", text, now_ms)


def _usd(picousd: int) -> float:
    return float(picousd) / PICOUSD_PER_USD

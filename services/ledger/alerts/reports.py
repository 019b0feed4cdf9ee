"""Sums of the book as messages: yesterday's report, and what teams and tags spent in a week or a
month. Pure.
"""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

from services.ledger.alerts.detect import Alert, shown
from shared.money import format_usd

SHOWN_MAX = 10

Row = Mapping[str, Any]


def due(today: date) -> list[tuple[str, str, date, date]]:
    """(id, type, first day, day after the last) of every report that is due at a day's
    beginning.
    """
    found = [(f"daily:{today}", "daily_reports", today - timedelta(days=1), today)]
    if today.weekday() == 0:
        found.append((f"weekly:{today}", "spend_reports", today - timedelta(days=7), today))
    if today.day == 1:
        month = (today - timedelta(days=1)).replace(day=1)
        found.append((f"monthly:{month:%Y-%m}", "spend_reports", month, today))
    return found


def report(id: str, type: str, first: date, after: date, rows: list[Row], at_ms: int) -> Alert:
    """
    Args:
        rows: of the rollups, summed over the days: dimension, value, requests, failures,
            input_tokens, output_tokens, spend_picousd, unpriced.
    """
    total = next((row for row in rows if row["dimension"] == "total"), None)
    span = f"{first}" if after - first == timedelta(days=1) else f"{first} to {after - timedelta(days=1)}"
    lines = [f"{'Daily report' if type == 'daily_reports' else 'Spend report'}: {span} (UTC)"]
    if total is None:
        lines.append("No calls.")
        return Alert(id, type, "Low", "\n".join(lines), at_ms)
    lines.append(
        f"Calls: {total['requests']}, failed: {total['failures']}\nTokens: {total['input_tokens']} in, {total['output_tokens']} out\n"
        f"Spend: {format_usd(int(total['spend_picousd']))} USD"
    )
    if total["unpriced"]:
        lines.append(f"Without a known cost: {total['unpriced']} calls")
    wanted = ("model", "team", "key") if type == "daily_reports" else ("team", "tag")
    for dimension in wanted:
        found = [row for row in rows if row["dimension"] == dimension and row["spend_picousd"]]
        if found:
            lines.append(f"By {dimension}:")
            found.sort(key=lambda row: (-row["spend_picousd"], row["value"]))
            lines += [
                f"  `{_name(dimension, row['value'])}`: {format_usd(int(row['spend_picousd']))} USD, {row['requests']} calls"
                for row in found[:SHOWN_MAX]
            ]
            if len(found) > SHOWN_MAX:
                rest = sum(int(row["spend_picousd"]) for row in found[SHOWN_MAX:])
                lines.append(f"  and {len(found) - SHOWN_MAX} more: {format_usd(rest)} USD")
    if type == "daily_reports":
        failing = sorted(
            (row for row in rows if row["dimension"] == "deployment" and row["failures"]),
            key=lambda row: (-row["failures"], row["value"]),
        )
        if failing:
            lines.append("Failures by deployment:")
            lines += [
                f"  `{shown(row['value'])}`: {row['failures']} of {row['requests']}" for row in failing[:SHOWN_MAX]
            ]
    return Alert(id, type, "Low", "\n".join(lines), at_ms)


def _name(dimension: str, value: str) -> str:
    return shown(value[:12] + "..." if dimension == "key" and len(value) == 64 else value or "none")

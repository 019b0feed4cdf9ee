"""What was spent and how calls went: the overview, and the explorer by tag, team, key, model and
time.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.edge.pages import charts
from services.edge.pages.api import AskError
from services.edge.pages.view import (
    Input,
    Look,
    Shown,
    Table,
    address,
    axis_money,
    count,
    duration,
    go,
    link,
    listing,
    marked,
    money,
    moneys,
    share,
    short,
)
from services.edge.pages.views import audit

DIMENSIONS = ("tag", "team", "key", "user", "model", "provider", "customer", "organization", "call_type", "status")
BUCKETS = ("day", "hour", "week", "month", "none")
DAY = timedelta(days=1)
OF_THE_ADMITTED = frozenset({"tag", "model", "provider", "customer"})
"""By these the ledger counts no call that was refused: a stranger can send any name."""
CHANGES = 8
"""That the overview shows."""
PERIODS = ("24h", "7d", "30d", "90d", "365d")


async def overview(look: Look) -> Shown:
    say = look.say
    days, by_model, by_tag, latency, changes = await asyncio.gather(
        look.api.ledger("/spend/query", {"since": "30d", "bucket": "day", "previous": "true"}),
        *(look.api.ledger("/spend/query", {"since": "30d", "group_by": each, "top": "8"}) for each in ("model", "tag")),
        _latency(look),
        audit.newest(look, CHANGES) if look.visitor.sees_all else _none(),
    )
    total, before = days["total"], days.get("previous", {}).get("total", {})
    failed, asked = total["failures"], total["requests"]
    cards = [
        (say("spend.last30"), money(total["spend_usd"]), ""),
        (say("spend.before30"), money(before.get("spend_usd")), ""),
        (say("spend.requests"), count(asked), ""),
        (
            say("spend.failures"),
            f"{count(failed)} ({_percent(failed, asked)})" if failed else "0",
            "bad" if failed else "",
        ),
        (say("latency.p95"), duration(latency["total"]["p95_ms"]), ""),
        (say("spend.tokens"), count(total["input_tokens"] + total["output_tokens"]), ""),
    ]
    if total["unpriced"]:
        cards.append((say("spend.unpriced"), count(total["unpriced"]), "warn"))
    by_day = _every_day(days["data"], "30d")
    drawn = [
        _chart(say("spend.by_day"), by_day, "spend_usd", money, axis_money),
        _calls_chart(look, say("spend.calls_by_day"), by_day),
        _latency_chart(look, by_day, latency["data"]),
    ]
    slow = {each["model"]: duration(each["p95_ms"]) for each in latency["models"]}
    models = _grouped(look, say("spend.top_model"), ["model"], by_model["data"], {"since": "30d"}, half=True)
    if slow:
        models.columns.append((say("latency.high"), "n"))
        for row, found in zip(models.rows, by_model["data"], strict=True):
            row.append("–" if found.get("other") else slow.get(found.get("model"), "–"))
    tags = _grouped(look, say("spend.top_tag"), ["tag"], by_tag["data"], {"since": "30d"}, half=True)
    tables = [models, tags, *([changes] if changes is not None else [])]
    return Shown(say("nav.overview"), listing(cards=cards, charts=drawn, tables=tables, live=10))


def _calls_chart(look: Look, title: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    chart = _chart(title, rows, "requests", count, count)
    return {**chart, "legend": [("failed", look.say("spend.failed"))]}


def _latency_chart(look: Look, days: list[dict[str, Any]], latency: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the same days: how long nearly all took, and within it half of them."""
    say, found = look.say, {each["date"]: each for each in latency}
    points = []
    for day in days:
        name = str(day["bucket"])[:10]
        told = found.get(name, {})
        high, half = told.get("p95_ms"), told.get("p50_ms")
        shown = f"{say('latency.high')} {duration(high)}, {say('latency.median')} {duration(half)}"
        if told.get("first_byte_mean_ms") is not None:
            shown += f", {say('latency.first')} {duration(told['first_byte_mean_ms'])}"
        points.append(charts.Point(name[5:], high or 0.0, shown if told else "–", half or 0.0))
    title = say("latency.by_day")
    drawn = charts.bars(points, title, duration, whole="bar soft", part="bar")
    legend = [("soft", say("latency.nearly_all")), ("half", say("latency.half"))]
    return {"title": title, "svg": drawn, "legend": legend}


async def _latency(look: Look) -> dict[str, Any]:
    """A ledger of the release before has none."""
    try:
        found: dict[str, Any] = await look.api.ledger("/latency/report")
    except AskError as error:
        if error.status != 404:
            raise
        return {"total": {"p95_ms": None}, "data": [], "models": []}
    return found


async def _none() -> None:
    return None


async def explorer(look: Look) -> Shown:
    say, asked = look.say, look.query
    since = asked["since"] if asked["since"] in PERIODS else ""
    by = asked["by"] if asked["by"] in DIMENSIONS else "tag"
    also = asked["also"] if asked["also"] in DIMENSIONS and asked["also"] != by else ""
    bucket = asked["bucket"] if asked["bucket"] in BUCKETS else "day"
    narrowed = asked.given(*DIMENSIONS)
    period = asked.given("from", "to") or {"since": since or "30d"}
    question = {**period, **narrowed, **asked.given("time_zone")}
    groups = [each for each in (by, also) if each]
    over_time, found = await asyncio.gather(
        look.api.ledger("/spend/query", {**question, "bucket": bucket}) if bucket != "none" else _none(),
        look.api.ledger("/spend/query", {**question, "group_by": ",".join(groups), "top": "100"}),
    )
    options = [(each, say("by." + each)) for each in DIMENSIONS]
    filters = [
        Input(
            name="since",
            label=say("spend.period"),
            value=period.get("since", ""),
            options=[("", say("spend.dates")), *((p, p) for p in PERIODS)],
        ),
        Input(name="from", label=say("spend.from"), value=asked["from"], type="date"),
        Input(name="to", label=say("spend.to"), value=asked["to"], type="date"),
        Input(name="by", label=say("spend.by"), value=by, options=options),
        Input(name="also", label=say("spend.also"), value=also, options=[("", "–"), *options]),
        Input(
            name="bucket", label=say("spend.bucket"), value=bucket, options=[(b, say("bucket." + b)) for b in BUCKETS]
        ),
        *(Input(name=name, label=say("by." + name), value=asked[name]) for name in ("tag", "team", "model", "key")),
        Input(name="time_zone", label=say("spend.zone"), value=asked["time_zone"]),
    ]
    export = address("/ui/spend.csv", {**question, "group_by": ",".join(groups)})
    total = found["total"]
    cards = [
        (say("spend.total"), money(total["spend_usd"]), ""),
        (say("spend.requests"), count(total["requests"]), ""),
        (say("spend.failures"), count(total["failures"]), ""),
    ]
    drawn = []
    if over_time is not None:
        moments = over_time["data"]
        if bucket == "day":
            moments = _every_day(moments, period.get("since", ""))
        drawn = [
            _chart(say("spend.over_time"), moments, "spend_usd", money, axis_money),
            _calls_chart(look, say("spend.calls_over_time"), moments),
        ]
    table = _grouped(look, say("spend.rows"), groups, found["data"], {**period, "bucket": bucket})
    return Shown(
        say("nav.spend"),
        listing(filters=filters, actions=[go(say("spend.csv"), export)], cards=cards, charts=drawn, tables=[table]),
    )


async def csv(look: Look) -> bytes:
    """The explorer's table as CSV, for a download."""
    asked = dict(look.query.pairs)
    return await look.api.ledger_raw("/spend/query", {**asked, "format": "csv"})


def _chart(title: str, rows: list[dict[str, Any]], name: str, shown: Any, scale: Any) -> dict[str, str]:
    """Of calls, those that failed are marked."""
    bad = "failures" if name == "requests" else ""
    points = [
        charts.Point(
            str(row.get("bucket", ""))[5:16].replace("T", " "),
            float(row[name]),
            shown(row[name]),
            float(row.get(bad) or 0),
        )
        for row in rows
    ]
    return {"title": title, "svg": charts.bars(points, title, scale)}


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "–"


def _every_day(rows: list[dict[str, Any]], since: str) -> list[dict[str, Any]]:
    """With the days on which nothing was: of the period, else between the first and the last."""
    days = {str(row.get("bucket", ""))[:10]: row for row in rows}
    today = datetime.now(UTC).date()
    first, last = min(days, default=str(today)), max(days, default=str(today))
    if since.endswith("d"):
        first, last = min(first, str(today - (int(since[:-1]) - 1) * DAY)), max(last, str(today))
    try:
        day, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        return rows
    nothing = {"spend_usd": 0, "requests": 0}
    return [
        days.get(name) or {"bucket": name, **nothing}
        for name in (str(day + n * DAY) for n in range(min((end - day).days + 1, charts.POINTS_MAX)))
    ]


def _grouped(
    look: Look, title: str, groups: list[str], rows: list[dict[str, Any]], period: dict[str, str], *, half: bool = False
) -> Table:
    """Each group leads on to itself.

    Args:
        half: beside another table, without the share each has.
    """
    say = look.say
    columns = [
        *((say("by." + g), "") for g in groups),
        (say("spend.cost"), "n"),
        *([] if half else [(say("spend.share"), "")]),
        (say("spend.requests"), "n"),
        (say("spend.failures"), "n"),
        (say("spend.tokens"), "n"),
    ]
    usd = moneys(row["spend_usd"] for row in rows)
    most = max((float(row["spend_usd"]) for row in rows if not row.get("other")), default=0.0)
    listed = []
    for row in rows:
        failures = row["failures"]
        listed.append(
            [
                *(_group(look, row, group, period) for group in groups),
                usd(row["spend_usd"]),
                *([] if half else ["" if row.get("other") else share(float(row["spend_usd"]), most)]),
                count(row["requests"]),
                marked(count(failures), "bad") if failures else "0",
                count(row["input_tokens"] + row["output_tokens"]),
            ]
        )
    note = say("spend.admitted") if not half and {*groups, *period} & OF_THE_ADMITTED else ""
    return Table(title=title, note=note, columns=columns, rows=listed, half=half)


def _group(look: Look, row: dict[str, Any], group: str, period: dict[str, str]) -> Any:
    value = row.get(group)
    if row.get("other"):
        return look.say("spend.other")
    if value in (None, ""):
        return "–"
    following = {**period, "by": "model" if group != "model" else "tag", group: str(value)}
    return link(short(value) if group == "key" else value, address("/ui/spend", following))

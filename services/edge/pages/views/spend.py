"""What was spent: the overview, the explorer by tag, team, key, model and time, and one request's
life.
"""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

from services.edge.account import FALLBACK_TO
from services.edge.pages import charts
from services.edge.pages.api import AskError
from services.edge.pages.view import (
    Input,
    Look,
    Shown,
    Table,
    address,
    at,
    axis_money,
    count,
    cursor_pages,
    go,
    indented,
    link,
    listing,
    marked,
    money,
    moneys,
    share,
    short,
    text_of,
    when,
)
from services.edge.pages.views import audit

DIMENSIONS = ("tag", "team", "key", "user", "model", "provider", "customer", "organization", "call_type", "status")
BUCKETS = ("day", "hour", "week", "month", "none")
DAY = timedelta(days=1)
OF_THE_ADMITTED = frozenset({"tag", "model", "provider", "customer"})
"""By these the ledger counts no call that was refused: a stranger can send any name."""
KEY_DIGITS = 64
"""Of a key's digest; what stands for the master key has fewer."""
PERIODS = ("24h", "7d", "30d", "90d", "365d")


async def overview(look: Look) -> Shown:
    say = look.say
    days, by_model, by_tag, changes = await asyncio.gather(
        look.api.ledger("/spend/query", {"since": "30d", "bucket": "day", "previous": "true"}),
        *(look.api.ledger("/spend/query", {"since": "30d", "group_by": each, "top": "8"}) for each in ("model", "tag")),
        _changes(look) if look.visitor.sees_all else _none(),
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
        (say("spend.tokens"), count(total["input_tokens"] + total["output_tokens"]), ""),
    ]
    if total["unpriced"]:
        cards.append((say("spend.unpriced"), count(total["unpriced"]), "warn"))
    by_day = _every_day(days["data"], "30d")
    drawn = [
        _chart(say("spend.by_day"), by_day, "spend_usd", money, axis_money),
        {**_chart(say("spend.calls_by_day"), by_day, "requests", count, count), "failed": say("spend.failed")},
    ]
    tables = [
        _grouped(look, say("spend.top_" + dimension), [dimension], found["data"], {"since": "30d"}, half=True)
        for dimension, found in (("model", by_model), ("tag", by_tag))
    ]
    tables += [changes] if changes is not None else []
    return Shown(say("nav.overview"), listing(cards=cards, charts=drawn, tables=tables, live=10))


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
            {**_chart(say("spend.calls_over_time"), moments, "requests", count, count), "failed": say("spend.failed")},
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


async def requests(look: Look) -> Shown:
    """The newest requests, in pages; or those of a key, a user, an outcome, some days."""
    say, asked = look.say, look.query
    pages = None
    if asked["request_id"]:
        rows = await look.api.ledger("/spend/logs", asked.given("request_id"))
    else:
        today = datetime.now(UTC).date()
        period = {"start_date": asked["start_date"] or str(today - DAY), "end_date": asked["end_date"] or str(today)}
        question = {**period, **asked.given("api_key", "user_id", "status_filter")}
        question |= {"page_size": "50", "count": "false", **asked.given("cursor")}
        found = await look.api.ledger("/spend/logs/ui", question)
        rows = found["data"]
        pages = cursor_pages(look, found["next_cursor"])
    rows, usd = rows[:50], moneys(row["spend"] for row in rows)
    listed = [
        [
            link(when(row["startTime"]), at("requests", row["request_id"])),
            row["model_group"],
            _outcome(look, row),
            f"{row.get('request_duration_ms', 0):,} ms",
            count(row["total_tokens"]),
            usd(row["spend"]),
            _key_name(row),
            row.get("metadata", {}).get("user_api_key_team_alias") or row.get("team_id"),
            row["user"],
            row.get("request_tags") or [],
        ]
        for row in rows
    ]
    columns = [
        (say("req.at"), ""), (say("by.model"), ""), (say("req.status"), ""), (say("req.duration"), "n"), (say("spend.tokens"), "n"),
        (say("spend.cost"), "n"), (say("by.key"), ""), (say("by.team"), ""), (say("by.user"), ""), (say("req.tags"), ""),
    ]  # fmt: skip
    outcomes = [("", say("all")), ("success", say("outcome.success")), ("failure", say("outcome.failure"))]
    filters = [
        Input(name="request_id", label=say("req.id"), value=look.query["request_id"]),
        Input(name="user_id", label=say("by.user"), value=look.query["user_id"]),
        Input(name="status_filter", label=say("by.status"), value=look.query["status_filter"], options=outcomes),
        Input(name="start_date", label=say("spend.from"), value=look.query["start_date"], type="date"),
        Input(name="end_date", label=say("spend.to"), value=look.query["end_date"], type="date"),
    ]
    table = Table(columns=columns, rows=listed, pages=pages)
    live = 0 if asked["cursor"] or asked["request_id"] else 10
    return Shown(say("nav.requests"), listing(filters=filters, tables=[table], live=live))


def _outcome(look: Look, row: dict[str, Any]) -> Any:
    if row.get("status") != "failure":
        return marked(look.say("outcome.success"), "good")
    code = row.get("metadata", {}).get("http_status")
    return marked(f"{look.say('outcome.failure')} {code or ''}".strip(), "bad")


def _key_name(row: dict[str, Any]) -> str:
    return str(row.get("metadata", {}).get("user_api_key_alias") or short(row["api_key"]))


async def request(look: Look) -> Shown:
    """One request's life: who, where to, what it cost and with which price, which guardrails said
    what.
    """
    say = look.say
    rows = await look.api.ledger("/spend/logs", {"request_id": look.id})
    if not rows and look.query["wait"]:  # the playground asks again: the book follows by milliseconds
        return Shown(say("req.one"), listing(lead=say("req.none")))
    if not rows:
        raise AskError(404, say("req.none"))
    row = rows[0]
    metadata = row.get("metadata") or {}
    good = row.get("status") != "failure"
    cards = [
        (say("req.status"), say("outcome.success" if good else "outcome.failure"), "good" if good else "bad"),
        (say("spend.cost"), money(row["spend"]), ""),
        (say("req.duration"), f"{row.get('request_duration_ms', 0):,} ms", ""),
        (say("spend.tokens"), f"{count(row['prompt_tokens'])} + {count(row['completion_tokens'])}", ""),
    ]
    groups = [(say("req.who"), _who(look, row, metadata)), (say("req.what"), _answered(look, row, metadata))]
    blocks = [{"title": say("req.metadata"), "text": indented(metadata)}]
    tables = [*_guardrails(look, metadata), *_priced(look, metadata)]
    return Shown(say("req.one"), listing(cards=cards, groups=groups, tables=tables, blocks=blocks))


def _who(look: Look, row: dict[str, Any], metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    say, key, team = look.say, row["api_key"], row.get("team_id")
    named = _key_name(row)
    return [
        (say("req.id"), row["request_id"]),
        (say("by.key"), link(named, at("keys", key)) if len(key) == KEY_DIGITS else named),
        (say("by.team"), link(metadata.get("user_api_key_team_alias") or team, at("teams", team)) if team else None),
        (say("by.user"), link(row["user"], at("users", row['user'])) if row.get("user") and look.visitor.sees_all else row.get("user")),
        (say("by.customer"), row.get("end_user")),
        (say("req.tags"), row.get("request_tags") or []),
        (say("req.address"), row.get("requester_ip_address")),
    ]  # fmt: skip


def _answered(look: Look, row: dict[str, Any], metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    say = look.say
    return [
        (say("req.at"), when(row["startTime"])),
        (say("req.end"), when(row["endTime"])),
        (say("by.model"), row["model_group"]),
        (say("req.upstream"), f"{row.get('custom_llm_provider') or ''} {row.get('model') or ''}".strip()),
        (say("req.ended"), " · ".join(map(text_of, _ended(row, metadata)))),
        (say("req.attempts"), count(metadata.get("attempts"))),
        *_fallback(look, metadata),
        (say("req.provider_id"), metadata.get("provider_request_id")),
    ]


def _ended(row: dict[str, Any], metadata: dict[str, Any]) -> list[Any]:
    """How: in a word, by its HTTP status, and what went wrong."""
    wrong = metadata.get("error_information")
    code = wrong.get("error_code") if isinstance(wrong, dict) else None
    parts = (metadata.get("outcome") or row.get("status"), metadata.get("http_status"), code)
    return [each for each in parts if each]


def _guardrails(look: Look, metadata: dict[str, Any]) -> list[Table]:
    """What each came to, in the order they ran."""
    say, outcomes = look.say, metadata.get("guardrail_information")
    rows: list[list[Any]] = [
        [
            each.get("name"),
            each.get("stage"),
            marked(each.get("action"), "good" if each.get("action") == "allow" else "warn"),
            f"{float(each.get('duration_ms') or 0):.2f} ms",
        ]
        for each in (outcomes if isinstance(outcomes, list) else [])
        if isinstance(each, dict)
    ]
    columns = [
        (say("teams.name"), ""),
        (say("guardrails.stages"), ""),
        (say("guardrails.came_to"), ""),
        (say("req.duration"), "n"),
    ]
    return [Table(title=say("nav.guardrails"), columns=columns, rows=rows, half=True)] if rows else []  # fmt: skip


def _priced(look: Look, metadata: dict[str, Any]) -> list[Table]:
    """The price that was used, as it was then."""
    say, price = look.say, metadata.get("price")
    if not isinstance(price, dict):
        return []
    rows: list[list[Any]] = [
        [str(name).replace("_", " "), text_of(value)] for name, value in price.items() if value is not None
    ]
    columns = [(say("req.unit"), ""), (say("req.price"), "t")]
    return [Table(title=say("req.price_used"), columns=columns, rows=rows, half=True)]


def _fallback(look: Look, metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    own = metadata.get("spend_logs_metadata")
    other = own.get(FALLBACK_TO) if isinstance(own, dict) else None
    return [] if other is None else [(look.say("req.fallback"), text_of(other))]


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


async def _changes(look: Look) -> Table:
    """The newest of the audit log."""
    found = await look.api.ledger("/audit", {"page_size": "8"})
    return audit.entries(look, found["audit_logs"], look.say("audit.newest"))

"""Requests, one by one: the newest of them, and one's life from who asked to what it cost."""

from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from services.edge.account import FALLBACK_TO
from services.edge.pages.api import AskError
from services.edge.pages.view import (
    PRICED_TOKENS,
    Input,
    Look,
    Shown,
    Table,
    at,
    count,
    cursor_pages,
    indented,
    link,
    listing,
    marked,
    money,
    moneys,
    short,
    text_of,
    when,
)
from shared.money import PICOUSD_PER_USD

DAY = timedelta(days=1)
PICOUSD = "_picousd"
KEY_DIGITS = 64
"""Of a key's digest; what stands for the master key has fewer."""


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
    rows: list[list[Any]] = [_rate(look, str(name), value) for name, value in price.items() if value not in (None, "")]
    columns = [(say("req.unit"), ""), (say("req.price"), "t")]
    return [Table(title=say("req.price_used"), columns=columns, rows=rows, half=True)]


def _rate(look: Look, name: str, value: Any) -> list[Any]:
    """What a million tokens cost, or a call; anything else as it was recorded."""
    unit, is_rate = name.removesuffix(PICOUSD), name.endswith(PICOUSD)
    try:
        picousd = Fraction(str(value)) if is_rate else None
    except (ValueError, ZeroDivisionError):
        picousd = None
    label = unit.replace("_", " ")
    if picousd is None:
        return [label, text_of(value)]
    a_call = unit == "request"
    usd = picousd / PICOUSD_PER_USD * (1 if a_call else PRICED_TOKENS)
    return [label, look.say("req.per_call" if a_call else "req.per_million", price=money(float(usd)))]


def _fallback(look: Look, metadata: dict[str, Any]) -> list[tuple[str, Any]]:
    own = metadata.get("spend_logs_metadata")
    other = own.get(FALLBACK_TO) if isinstance(own, dict) else None
    return [] if other is None else [(look.say("req.fallback"), text_of(other))]

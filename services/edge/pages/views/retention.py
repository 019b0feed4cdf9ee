"""How long what is kept: terms, legal holds, and what went."""

from typing import Any

from services.edge.pages.forms import Form
from services.edge.pages.view import (
    Cell,
    Done,
    Input,
    Look,
    Sending,
    Shown,
    Table,
    count,
    instant,
    listing,
    marked,
    press,
    when,
)

HOLD_BY = ("tag", "team", "key", "day")
FORMATS = ("parquet", "csv", "jsonl")
WRITTEN_SHOWN = 50
KINDS = {
    "spend": "spend", "audit": "audit", "rollup": "rollup", "payload": "payload",
    "request_log": "spend", "audit_log": "audit",
}  # fmt: skip
"""What the ledger calls it → the catalogue's name."""


def _kind(look: Look, name: str) -> str:
    return look.say("retention.of." + KINDS[name]) if name in KINDS else name


async def show(look: Look) -> Shown:
    say = look.say
    found = await look.api.ledger("/retention")
    terms = [
        [_kind(look, name), say("retention.forever") if days is None else count(days)]
        for name, days in found["terms_days"].items()
    ]
    holds = [
        [
            each["id"],
            each["by"],
            each["value"],
            each.get("reason"),
            *([_lifting(look, each["id"])] if look.visitor.is_admin else []),
        ]
        for each in found["holds"]
    ]
    drops = [
        [each["day"], _kind(look, each["source"]), count(each["rows"]), instant(each["at_ms"]),
         marked(each["unsound"], "bad") if each["unsound"] else marked(say("retention.sound"), "good"), (each["sha256"] or "")[:16]]
        for each in found["drops"]
    ]  # fmt: skip
    tables = [
        Table(
            title=say("retention.terms"), columns=[(say("retention.what"), ""), (say("retention.days"), "n")], rows=terms, half=True
        ),
        Table(
            title=say("retention.holds"),
            columns=[
                ("ID", ""), (say("spend.by"), ""), (say("settings.value"), ""), (say("retention.reason"), "t"),
                *([(say("do"), "")] if look.visitor.is_admin else []),
            ],
            rows=holds,
            empty=say("retention.no_holds"),
            half=True,
        ),
        Table(
            title=say("retention.drops"),
            columns=[
                (say("retention.day"), ""), (say("retention.what"), ""), (say("retention.rows"), "n"), (say("audit.at"), ""),
                (say("retention.chain"), ""), ("SHA-256", ""),
            ],
            rows=drops,
            empty=say("retention.no_drops"),
        ),
    ]  # fmt: skip
    forms = []
    if look.visitor.is_admin:
        by = [(each, say("by." + each) if each != "day" else say("retention.day")) for each in HOLD_BY]
        fields = [
            Input(name="by", label=say("spend.by"), value="tag", options=by),
            Input(name="value", label=say("settings.value"), required=True),
            Input(name="reason", label=say("retention.reason")),
        ]
        forms = [
            Sending(
                action="/ui/retention/hold", fields=fields, submit=say("retention.hold"), title=say("retention.hold")
            )
        ]
    return Shown(say("nav.retention"), listing(lead=say("retention.lead"), tables=tables, forms=forms))


def _lifting(look: Look, id: str) -> Cell:
    return press(
        look.say("retention.lift"), "/ui/retention/lift", ask=look.say("retention.lift_ask"), kind="bad", id=id
    )


async def exports(look: Look) -> Shown:
    """How the last export went, or goes, and a form for the next."""
    say = look.say
    found = await look.api.ledger("/export")
    if not found["configured"]:
        return Shown(say("nav.exports"), listing(lead=say("exports.nowhere")))
    state = str(found["state"])
    kind = {"failed": "bad", "done": "good"}.get(state, "warn")
    cards = [(say("exports.state"), say("exports." + state), kind if state != "none" else "")]
    cards += [
        (say("exports." + name), count(found[name]) if isinstance(found[name], int) else str(found[name]), "")
        for name in ("day", "rows", "kept")
        if found.get(name) is not None
    ]
    facts = [
        (say("exports." + name), shown)
        for name, shown in (("since", when(found.get("since"))), ("reason", found.get("reason")))
        if shown
    ]
    written = [[each] for each in found.get("written") or []][-WRITTEN_SHOWN:]
    tables = (
        [Table(title=say("exports.written"), columns=[(say("exports.file"), "t")], rows=written)] if written else []
    )
    forms = []
    if look.visitor.is_admin and state != "running":
        fields = [
            Input(name="from", label=say("spend.from"), type="date"),
            Input(name="until", label=say("spend.to"), type="date", hint=say("exports.until")),
            Input(
                name="format",
                label=say("exports.format"),
                options=[("", say("exports.usual")), *((each, each) for each in FORMATS)],
            ),
        ]
        forms = [
            Sending(action="/ui/exports/start", fields=fields, submit=say("exports.start"), title=say("exports.next"))
        ]
    live = 2 if state == "running" else 10
    values = listing(lead=say("exports.lead"), cards=cards, facts=facts, tables=tables, forms=forms, live=live)
    return Shown(say("nav.exports"), values)


async def start_export(look: Look, form: Form) -> Done:
    await look.api.ledger("/export", method="POST", body=dict(form.given("from", "until", "format")))
    return Done("/ui/exports", "done.started")


async def hold(look: Look, form: Form) -> Done:
    body: dict[str, Any] = {"by": form["by"], "value": form["value"], "reason": form["reason"]}
    await look.api.ledger("/retention/hold", method="POST", body=body)
    return Done("/ui/retention", "done.made")


async def lift(look: Look, form: Form) -> Done:
    await look.api.ledger(f"/retention/hold/{form['id']}", method="DELETE")
    return Done("/ui/retention", "done.deleted")

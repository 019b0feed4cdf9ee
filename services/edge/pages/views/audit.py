"""The audit log: who changed what, from what to what."""

from typing import Any

from services.edge.pages.view import (
    Cell,
    Input,
    Look,
    Pages,
    Shown,
    Table,
    at,
    cursor_pages,
    instant,
    link,
    listing,
    short,
    text_of,
    when,
)

SIGNING_IN = frozenset({"login", "logout", "login_failed"})
"""Actions that change nothing but who is there."""
PLACES = {
    "LiteLLM_VerificationToken": ("keys", "key_alias"),
    "LiteLLM_TeamTable": ("teams", "team_alias"),
    "LiteLLM_UserTable": ("users", "user_email"),
}
"""Where a thing has a page of its own, and what it is called in it."""
EMPTY: tuple[Any, ...] = ([], {}, "", None, False)
"""Of what was just made, these say nothing."""


def entries(look: Look, found: list[dict[str, Any]], title: str = "", pages: Pages | None = None) -> Table:
    say = look.say
    rows = [
        [
            link(when(each["updated_at"]), at("audit", each["id"])),
            say("action." + str(each["action"])),
            _kind(look, each["table_name"]),
            _thing(look, each),
            each.get("changed_by"),
        ]
        for each in found
    ]
    names = ("at", "action", "kind", "object", "by")
    return Table(title=title, columns=[(say("audit." + name), "") for name in names], rows=rows, pages=pages)


def _thing(look: Look, each: dict[str, Any]) -> Cell:
    """By its name, where it has one."""
    kind, alias = PLACES.get(each["table_name"], ("", ""))
    known = {**_object(each.get("before_value")), **_object(each.get("updated_values"))}
    name = str(known.get(alias) or short(each["object_id"]))
    is_there = kind and each["action"] not in ("deleted", *SIGNING_IN)
    return link(name, at(kind, each["object_id"])) if is_there else name


async def newest(look: Look, count: int) -> Table:
    """What changed last, signing in aside."""
    found = await look.api.ledger("/audit", {"page_size": str(8 * count)})
    changes = [each for each in found["audit_logs"] if each["action"] not in SIGNING_IN]
    return entries(look, changes[:count], look.say("audit.newest"))


async def show(look: Look) -> Shown:
    say, asked = look.say, look.query
    query = {"page_size": "50"}
    query |= asked.given("cursor", "changed_by", "action", "table_name", "object_id", "start_date", "end_date")
    found = await look.api.ledger("/audit", query)
    filters = [
        Input(name="changed_by", label=say("audit.by"), value=asked["changed_by"]),
        Input(name="action", label=say("audit.action"), value=asked["action"]),
        Input(name="object_id", label=say("audit.object"), value=asked["object_id"]),
        Input(name="start_date", label=say("spend.from"), value=asked["start_date"], type="date"),
        Input(name="end_date", label=say("spend.to"), value=asked["end_date"], type="date"),
    ]
    pages = cursor_pages(look, found.get("next_cursor"), found["total"])
    return Shown(say("nav.audit"), listing(filters=filters, tables=[entries(look, found["audit_logs"], pages=pages)]))


async def one(look: Look) -> Shown:
    say = look.say
    entry = await look.api.ledger(f"/audit/{look.id}")
    before, after = _object(entry.get("before_value")), _object(entry.get("updated_values"))
    rows = [
        [
            name,
            _value(name, before),
            _value(name, after),
        ]
        for name in dict.fromkeys((*before, *after))
        if before.get(name) != after.get(name) and (before or after.get(name) not in EMPTY)
    ]
    facts = [
        ("ID", entry["id"]),
        (say("audit.at"), when(entry["updated_at"])),
        (say("audit.action"), say("action." + str(entry["action"]))),
        (say("audit.kind"), _kind(look, entry["table_name"])),
        (say("audit.object"), entry["object_id"]),
        (say("audit.by"), entry.get("changed_by")),
        (say("by.key"), entry.get("changed_by_api_key")),
    ]
    columns = [(say("audit.field"), ""), (say("audit.before"), "t"), (say("audit.after"), "t")]
    return Shown(
        say("audit.one"), listing(facts=facts, tables=[Table(title=say("audit.diff"), columns=columns, rows=rows)])
    )


def _value(name: str, of: dict[str, Any]) -> str | None:
    """An instant is told as one."""
    if name not in of:
        return None
    return instant(of[name]) if name.endswith("_at_ms") else text_of(of[name])


_KINDS = {
    "LiteLLM_VerificationToken": "by.key",
    "LiteLLM_TeamTable": "by.team",
    "LiteLLM_UserTable": "by.user",
    "LiteLLM_EndUserTable": "by.customer",
    "LiteLLM_TagTable": "by.tag",
    "LiteLLM_ProxyModelTable": "by.model",
    "LiteLLM_OrganizationTable": "by.organization",
    "LiteLLM_BudgetTable": "keys.budget",
    "LiteLLM_Config": "nav.settings",
    "Tollgate_retention": "nav.retention",
    "Tollgate_hold": "retention.holds",
    "Tollgate_export": "nav.exports",
}


def _kind(look: Look, table: object) -> str:
    """LiteLLM's name of a table, as people say it."""
    said = _KINDS.get(str(table))
    return look.say(said) if said is not None else str(table).removeprefix("LiteLLM_").removesuffix("Table")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}

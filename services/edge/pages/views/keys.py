"""Virtual keys: find, make, look at, rotate, block, delete."""

from collections.abc import Callable
from typing import Any

from services.edge.pages.forms import Form
from services.edge.pages.view import (
    Cell,
    Input,
    Look,
    Sending,
    Shown,
    Table,
    at,
    cursor_pages,
    go,
    link,
    listing,
    marked,
    money,
    moneys,
    press,
    short,
    team_link,
    text_of,
    when,
)
from services.edge.pages.views import acts, limits
from services.edge.sso.cookies import SESSION


async def show(look: Look) -> Shown:
    say, asked = look.say, look.query
    query = {
        "return_full_object": "true",
        "size": "50",
        "sort_by": "created_at",
        "sort_order": "desc",
    }
    query |= asked.given("cursor", "user_id", "team_id", "tag", "search", "status")
    if query.get("status") == "session":
        query |= {"status": "", "sessions": "true"}
    if not look.visitor.sees_all:
        query["include_team_keys"] = "true"
    found = await look.api.policy("/key/list", query)
    usd = moneys(row.get("spend") for row in found["keys"])
    rows = [
        [
            link(_name(look, row), at("keys", row["token"])),
            _state(look, row),
            _spent(row, usd),
            _limit(row),
            row.get("user_id"),
            team_link(row),
            limits.models_of(row) or [say("all")],
            when(row.get("expires"))[:10] or say("never"),
            marked(row.get("key_name") or "–", "mono"),
        ]
        for row in found["keys"]
    ]
    columns = [
        (say("keys.alias"), ""), (say("keys.state"), ""), (say("spend.total"), "n"), (say("keys.budget"), "n"), (say("keys.owner"), ""),
        (say("by.team"), ""), (say("nav.models"), ""), (say("keys.expires"), ""), (say("keys.name"), ""),
    ]  # fmt: skip
    statuses = [("", say("all")), *((s, say("state." + s)) for s in ("active", "expired", "revoked"))]
    statuses.append(("session", say("keys.session")))
    filters = [
        Input(name="search", label=say("keys.alias"), value=asked["search"]),
        Input(name="user_id", label=say("keys.owner"), value=asked["user_id"]),
        Input(name="team_id", label=say("by.team"), value=asked["team_id"]),
        Input(name="tag", label=say("by.tag"), value=asked["tag"]),
        Input(name="status", label=say("keys.state"), value=asked["status"], options=statuses),
    ]
    pages = cursor_pages(look, found.get("next_cursor"), found["total_count"])
    actions = [go(say("keys.new"), "/ui/keys/new", "main")] if look.visitor.may_make_keys else []
    return Shown(
        say("nav.keys"),
        listing(actions=actions, filters=filters, tables=[Table(columns=columns, rows=rows, pages=pages)]),
    )


def _name(look: Look, row: dict[str, Any]) -> str:
    """A key that somebody's sign-in made has no other name."""
    metadata = row.get("metadata") or {}
    alias = row.get("key_alias") or (look.say("keys.session") if SESSION in metadata else row.get("key_name"))
    return str(alias or short(row["token"]))


async def new(look: Look) -> Shown:
    say = look.say
    fields = [
        Input(name="key_alias", label=say("keys.alias"), hint=say("keys.alias_hint")),
        Input(name="models", label=say("nav.models"), type="area", hint=say("keys.models_hint")),
        Input(name="team_id", label=say("by.team")),
        Input(name="user_id", label=say("keys.owner"), value="" if look.visitor.is_admin else look.visitor.user_id),
        Input(name="duration", label=say("keys.duration"), hint="30d, 12h"),
        Input(name="max_budget", label=say("keys.budget"), type="number"),
        Input(name="tags", label=say("req.tags"), hint=say("comma")),
    ]
    return Shown(
        say("keys.new"), listing(forms=[Sending(action="/ui/keys/create", fields=fields, submit=say("keys.make"))])
    )


async def create(look: Look, form: Form) -> Shown:
    body: dict[str, Any] = dict(form.given("key_alias", "team_id", "user_id", "duration"))
    if form.lines("models"):
        body["models"] = form.lines("models")
    if form.lines("tags"):
        body["tags"] = form.lines("tags")
    if form["max_budget"]:
        body["max_budget"] = float(form["max_budget"])
    plaintext, row = await look.api.minted("/key/generate", body)
    return secret(look, plaintext, at("keys", row["token"]), (row.get("models") or ["gpt-4o"])[0])


def secret(look: Look, plaintext: str, back: str, model: str) -> Shown:
    base, once = look.visitor.origin.base, look.say("keys.once")
    values = {"secret": plaintext, "back": back, "model": model, "base": base, "once": once}
    return Shown(look.say("keys.made"), values, "secret.html")


async def one(look: Look) -> Shown:
    say = look.say
    row = (await look.api.policy("/key/info", {"key": look.id}))["info"]
    metadata = row.get("metadata") or {}
    cards = [
        (say("keys.state"), say("state." + row["status"]), "good" if row["status"] == "active" else "bad"),
        (say("spend.total"), money(row.get("spend")), "bad" if _over(row) else ""),
        (say("keys.budget"), _limit(row), ""),
        (say("keys.expires"), when(row.get("expires"))[:16] or say("never"), ""),
    ]
    facts = [
        (say("keys.name"), marked(row.get("key_name") or "–", "mono")),
        ("SHA-256", marked(look.id, "mono")),
        (say("keys.owner"), row.get("user_id")),
        (say("by.team"), team_link(row)),
        (say("keys.routes"), row.get("allowed_routes") or [say("all")]),
        (say("req.tags"), metadata.get("tags") or []),
        (say("keys.created"), f"{when(row.get('created_at'))} {row.get('created_by') or ''}"),
        (say("keys.metadata"), text_of(metadata) if metadata else None),
    ]
    blocked = bool(row.get("blocked"))
    actions: list[dict[str, Any]] = [go(say("spend.explore"), f"/ui/spend?by=model&key={look.id}")]
    if look.visitor.may_make_keys:
        actions.append(press(say("keys.rotate"), at("keys", look.id, "rotate"), ask=say("keys.rotate_ask")))
        if look.visitor.is_admin:
            name = "unblock" if blocked else "block"
            actions.append(press(say("do." + name), at("keys", look.id, name)))
        actions.append(press(say("do.delete"), at("keys", look.id, "delete"), ask=say("keys.delete_ask"), kind="bad"))
    tables = [await limits.of_key(look, row)]
    return Shown(_name(look, row), listing(actions=actions, cards=cards, facts=facts, tables=tables))


async def rotate(look: Look, form: Form) -> Shown:
    plaintext, row = await look.api.minted("/key/regenerate", dict(form.given("grace_period")), {"key": look.id})
    return secret(look, plaintext, at("keys", row["token_id"]), (row.get("models") or ["gpt-4o"])[0])


block = acts.call("/key/block", acts.own("key"), "/ui/keys/{id}", "done.blocked")
unblock = acts.call("/key/unblock", acts.own("key"), "/ui/keys/{id}", "done.unblocked")
delete = acts.call("/key/delete", acts.in_list("keys"), "/ui/keys", "done.deleted")


def _state(look: Look, row: dict[str, Any]) -> dict[str, str]:
    status = row.get("status") or ("revoked" if row.get("blocked") else "active")
    return marked(look.say("state." + status), "good" if status == "active" else "bad")


def _limit(row: dict[str, Any]) -> str:
    return "–" if row.get("max_budget") is None else money(row["max_budget"])


def _over(row: dict[str, Any]) -> bool:
    """Whether it has spent its budget."""
    spent, most = row.get("spend"), row.get("max_budget")
    return spent is not None and most is not None and float(spent) >= float(most)


def _spent(row: dict[str, Any], usd: Callable[[object], str]) -> Cell:
    return marked(usd(row.get("spend")), "bad") if _over(row) else usd(row.get("spend"))

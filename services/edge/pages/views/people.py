"""Internal users, and customers (end users)."""

from typing import Any
from urllib.parse import urlencode

from services.edge.pages.forms import Form
from services.edge.pages.view import (
    Cell,
    Done,
    Input,
    Look,
    Sending,
    Shown,
    Table,
    at,
    cursor_pages,
    link,
    listing,
    money,
    moneys,
    press,
    state_of,
    team_link,
    when,
)
from services.edge.pages.views import acts
from services.edge.pages.visitor import ROLES

CUSTOMERS = 50
"""On a page."""


async def users(look: Look) -> Shown:
    say, asked = look.say, look.query
    query = {"page_size": "50", **asked.given("cursor", "role", "user_email")}
    found = await look.api.policy("/user/list", query)
    usd = moneys(row.get("spend") for row in found["users"])
    rows = [
        [
            link(row["user_id"], at("users", row["user_id"])),
            row.get("user_email"),
            say("role." + str(row.get("user_role"))),
            row.get("teams") or [],
            str(row.get("key_count", 0)),
            usd(row.get("spend")),
            when(row.get("created_at"))[:16],
        ]
        for row in found["users"]
    ]
    columns = [
        ("ID", ""),
        (say("users.email"), ""),
        (say("teams.role"), ""),
        (say("nav.teams"), ""),
        (say("nav.keys"), "n"),
        (say("spend.total"), "n"),
        (say("keys.created"), ""),
    ]
    roles = [(role, say("role." + role)) for role in ROLES]
    filters = [
        Input(name="user_email", label=say("users.email"), value=asked["user_email"]),
        Input(name="role", label=say("teams.role"), value=asked["role"], options=[("", say("all")), *roles]),
    ]
    forms = []
    if look.visitor.is_admin:
        fields = [
            Input(name="user_id", label="ID"),
            Input(name="user_email", label=say("users.email"), type="email"),
            Input(name="user_role", label=say("teams.role"), value="internal_user", options=roles),
        ]
        forms = [Sending(action="/ui/users/create", fields=fields, submit=say("users.make"), title=say("users.new"))]
    pages = cursor_pages(look, found.get("next_cursor"), found["total"])
    return Shown(
        say("nav.users"), listing(filters=filters, tables=[Table(columns=columns, rows=rows, pages=pages)], forms=forms)
    )


async def create_user(look: Look, form: Form) -> Done:
    body: dict[str, Any] = {**form.given("user_id", "user_email", "user_role"), "auto_create_key": False}
    row = await look.api.policy("/user/new", body=body)
    return Done(at("users", row["user_id"]), "done.made")


async def user(look: Look) -> Shown:
    say = look.say
    found = await look.api.policy("/user/info", {"user_id": look.id})
    row = found["user_info"]
    facts = [
        ("ID", look.id),
        (say("users.email"), row.get("user_email")),
        (say("teams.role"), say("role." + str(row.get("user_role")))),
        (say("nav.teams"), [team.get("team_alias") or team["team_id"] for team in found["teams"]]),
        (say("spend.total"), money(row.get("spend"))),
        (say("keys.created"), when(row.get("created_at"))),
    ]
    usd = moneys(k.get("spend") for k in found["keys"])
    keys = [
        [
            link(k.get("key_alias") or k.get("key_name"), at("keys", k["token"])),
            team_link(k),
            usd(k.get("spend")),
        ]
        for k in found["keys"]
    ]
    tables = [
        Table(
            title=say("nav.keys"),
            columns=[(say("keys.alias"), ""), (say("by.team"), ""), (say("spend.total"), "n")],
            rows=keys,
        )
    ]
    actions, forms = [], []
    if look.visitor.is_admin:
        actions = [press(say("users.invite"), at("users", look.id, "invite"))]
        actions += [press(say("do.delete"), at("users", look.id, "delete"), ask=say("users.delete_ask"), kind="bad")]
        roles = [(role, say("role." + role)) for role in ROLES]
        fields = [Input(name="user_role", label=say("teams.role"), value=str(row.get("user_role")), options=roles)]
        forms = [
            Sending(action=at("users", look.id, "role"), fields=fields, submit=say("save"), title=say("users.role"))
        ]
    return Shown(row.get("user_email") or look.id, listing(actions=actions, facts=facts, tables=tables, forms=forms))


async def set_role(look: Look, form: Form) -> Done:
    await look.api.policy("/user/update", body={"user_id": look.id, "user_role": form["user_role"]})
    return Done(at("users", look.id), "done.saved")


async def invite(look: Look, form: Form) -> Shown:
    """The link is shown once: it is good for whoever has it."""
    plaintext, _ = await look.api.minted("/invitation/new", {"user_id": look.id})
    link_ = f"{look.visitor.origin.base}/ui/invitation?{urlencode({'invitation_id': plaintext})}"
    once, back = look.say("invitation.made"), at("users", look.id)
    values = {"secret": link_, "back": back, "model": "", "base": "", "once": once}
    return Shown(look.say("users.invite"), values, "secret.html")


delete_user = acts.call("/user/delete", acts.in_list("user_ids"), "/ui/users", "done.deleted")


async def customers(look: Look) -> Shown:
    say, asked = look.say, look.query
    query = {"size": str(CUSTOMERS + 1), **asked.given("search")}
    if asked["cursor"]:
        query["after"] = asked["cursor"]
    found = await look.api.policy("/customer/list", query)
    following = found[CUSTOMERS - 1]["user_id"] if len(found) > CUSTOMERS else None
    found = found[:CUSTOMERS]
    usd = moneys(row.get("spend") for row in found)
    rows = [
        [
            row["user_id"],
            row.get("alias"),
            usd(row.get("spend")),
            state_of(look, row),
            *([_turn(look, row)] if look.visitor.is_admin else []),
        ]
        for row in found
    ]
    columns = [("ID", ""), (say("keys.alias"), ""), (say("spend.total"), "n"), (say("keys.state"), "")]
    forms = []
    if look.visitor.is_admin:
        columns.append((say("do"), ""))
        named = [Input(name="user_id", label="ID", required=True, hint=say("customers.unseen"))]
        forms = [
            Sending(
                action="/ui/customers/block",
                fields=named,
                submit=say("do.block"),
                title=say("customers.block"),
                kind="bad",
            )
        ]
    return Shown(
        say("nav.customers"),
        listing(
            lead=say("customers.lead"),
            filters=[Input(name="search", label=say("customers.search"), value=asked["search"])],
            tables=[Table(columns=columns, rows=rows, pages=cursor_pages(look, following))],
            forms=forms,
        ),
    )


def _turn(look: Look, row: dict[str, Any]) -> Cell:
    name = "unblock" if row.get("blocked") else "block"
    return press(look.say("do." + name), f"/ui/customers/{name}", user_id=row["user_id"])


block_customer = acts.call("/customer/block", acts.sent("user_ids", "user_id"), "/ui/customers", "done.blocked")
unblock_customer = acts.call("/customer/unblock", acts.sent("user_ids", "user_id"), "/ui/customers", "done.unblocked")

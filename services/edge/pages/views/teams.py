"""Teams and who is in them."""

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
    at,
    cursor_pages,
    go,
    link,
    listing,
    money,
    moneys,
    press,
    short,
    state_of,
    text_of,
    when,
)
from services.edge.pages.views import acts, limits


async def show(look: Look) -> Shown:
    say, asked = look.say, look.query
    query = {"page_size": "50", "sort_by": "created_at", "sort_order": "desc", **asked.given("cursor", "search")}
    found = await look.api.policy("/v2/team/list", query)
    usd = moneys(row.get("spend") for row in found["teams"])
    rows = [
        [
            link(row.get("team_alias") or row["team_id"], at("teams", row["team_id"])),
            row["team_id"],
            str(len(row.get("members_with_roles") or [])),
            limits.models_of(row) or [say("all")],
            usd(row.get("spend")),
            "–" if row.get("max_budget") is None else money(row["max_budget"]),
            state_of(look, row),
        ]
        for row in found["teams"]
    ]
    columns = [
        (say("teams.name"), ""),
        ("ID", ""),
        (say("teams.members"), "n"),
        (say("nav.models"), ""),
        (say("spend.total"), "n"),
        (say("keys.budget"), "n"),
        (say("keys.state"), ""),
    ]
    forms = []
    if look.visitor.is_admin:
        fields = [
            Input(name="team_alias", label=say("teams.name"), required=True),
            Input(name="models", label=say("nav.models"), type="area", hint=say("keys.models_hint")),
            Input(name="max_budget", label=say("keys.budget"), type="number"),
        ]
        forms = [Sending(action="/ui/teams/create", fields=fields, submit=say("teams.make"), title=say("teams.new"))]
    filters = [Input(name="search", label=say("keys.search"), value=asked["search"])]
    pages = cursor_pages(look, found["next_cursor"], found["total"])
    return Shown(
        say("nav.teams"), listing(filters=filters, tables=[Table(columns=columns, rows=rows, pages=pages)], forms=forms)
    )


async def create(look: Look, form: Form) -> Done:
    body: dict[str, Any] = {"team_alias": form["team_alias"], "models": form.lines("models")}
    if form["max_budget"]:
        body["max_budget"] = float(form["max_budget"])
    row = await look.api.policy("/team/new", body=body)
    return Done(at("teams", row["team_id"]), "done.made")


async def one(look: Look) -> Shown:
    say = look.say
    found = await look.api.policy("/team/info", {"team_id": look.id})
    row = found["team_info"]
    members = row.get("members_with_roles") or []
    leads = look.visitor.is_admin or any(
        m.get("user_id") == look.visitor.user_id and m.get("role") == "admin" for m in members
    )
    state = state_of(look, row)
    cards = [
        (say("keys.state"), state["text"], state["kind"]),
        (say("spend.total"), money(row.get("spend")), ""),
        (say("keys.budget"), money(row["max_budget"]) if row.get("max_budget") is not None else "–", ""),
        (say("teams.members"), str(len(members)), ""),
    ]
    facts = [
        ("ID", look.id),
        (say("nav.models"), limits.models_of(row) or [say("all")]),
        (say("keys.created"), when(row.get("created_at"))),
        (say("keys.metadata"), text_of(row["metadata"]) if row.get("metadata") else None),
    ]
    people: list[list[Cell]] = [
        [
            m.get("user_id") or m.get("user_email"),
            say("teams." + str(m.get("role"))),
            *([_out(look, m["user_id"])] if leads and m.get("user_id") else [None] if leads else []),
        ]
        for m in members
    ]
    keys = [
        [
            link(k.get("key_alias") or k.get("key_name") or short(k["token"]), at("keys", k["token"])),
            k.get("user_id"),
        ]
        for k in found["keys"]
    ]
    tables = [
        Table(
            title=say("teams.members"),
            columns=[(say("by.user"), ""), (say("teams.role"), ""), *([(say("do"), "")] if leads else [])],
            rows=people,
            half=True,
        ),
        Table(title=say("nav.keys"), columns=[(say("keys.alias"), ""), (say("keys.owner"), "")], rows=keys, half=True),
    ]
    actions: list[dict[str, Any]] = [go(say("spend.explore"), f"/ui/spend?by=tag&team={look.id}")]
    forms = []
    if leads:
        name = "unblock" if row.get("blocked") else "block"
        actions.append(press(say("do." + name), at("teams", look.id, name)))
        roles = [("user", say("teams.user")), ("admin", say("teams.admin"))]
        fields = [
            Input(name="user_id", label=say("by.user"), required=True),
            Input(name="role", label=say("teams.role"), value="user", options=roles),
        ]
        add = say("teams.add_title")
        forms = [Sending(action=at("teams", look.id, "add"), fields=fields, submit=say("teams.add"), title=add)]
    if look.visitor.is_admin:
        actions.append(press(say("do.delete"), at("teams", look.id, "delete"), ask=say("teams.delete_ask"), kind="bad"))
    values = listing(actions=actions, cards=cards, facts=facts, tables=tables, forms=forms)
    return Shown(row.get("team_alias") or look.id, values)


def _out(look: Look, user_id: str) -> Cell:
    return press(
        look.say("teams.remove"), at("teams", look.id, "remove"), ask=look.say("teams.remove_ask"), user_id=user_id
    )


async def add(look: Look, form: Form) -> Done:
    member = {"role": "admin" if form["role"] == "admin" else "user", "user_id": form["user_id"]}
    await look.api.policy("/team/member_add", body={"team_id": look.id, "member": member})
    return Done(at("teams", look.id), "done.saved")


async def remove(look: Look, form: Form) -> Done:
    await look.api.policy("/team/member_delete", body={"team_id": look.id, "user_id": form["user_id"]})
    return Done(at("teams", look.id), "done.saved")


block = acts.call("/team/block", acts.own("team_id"), "/ui/teams/{id}", "done.blocked")
unblock = acts.call("/team/unblock", acts.own("team_id"), "/ui/teams/{id}", "done.unblocked")
delete = acts.call("/team/delete", acts.in_list("team_ids"), "/ui/teams", "done.deleted")

"""What a view takes and gives; and the shape that most of them share: filters, cards, charts,
tables, forms.
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from services.edge.pages.api import Api
from services.edge.pages.forms import Form
from services.edge.pages.visitor import Visitor

_DIGEST = re.compile("[0-9a-f-]{32,}")
PRICED_TOKENS = 1_000_000
"""Prices are shown for so many."""
Cell = Any
"""A string, None, a list of tags, or what `link`, `marked`, `press` and `share` make."""


class Look(msgspec.Struct, frozen=True):
    """One visitor looking at one page."""

    api: Api
    visitor: Visitor
    say: Callable[..., str]
    """Key → text in the visitor's language."""
    query: Form
    path: str
    id: str = ""
    """The last part of an address like `/ui/keys/<id>`."""


class Shown(msgspec.Struct, frozen=True):
    """A page to be rendered."""

    heading: str
    values: dict[str, Any]
    template: str = "list.html"
    message: str = ""
    error: str = ""


class Done(msgspec.Struct, frozen=True):
    """A change was made: the browser goes on to an address, with a word about it."""

    to: str
    message: str = ""
    """A key of the catalogue."""


class Input(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    label: str
    value: str = ""
    type: str = "text"
    hint: str = ""
    required: bool = False
    options: list[tuple[str, str]] | None = None


class Pages(msgspec.Struct, frozen=True, kw_only=True):
    """Where a list goes on: addresses, or empty."""

    first: str = ""
    next: str = ""
    text: str = ""
    """How many there are on all of them."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    columns: list[tuple[str, str]]
    """(title, kind): "n" for numbers, "t" for text that is read whole; others are cut short where
    they are long."""
    rows: list[list[Cell]]
    title: str = ""
    note: str = ""
    empty: str = ""
    pages: Pages | None = None
    half: bool = False
    """Beside another one, where there is room."""


class Sending(msgspec.Struct, frozen=True, kw_only=True):
    """A form."""

    action: str
    fields: list[Input]
    submit: str
    title: str = ""
    method: str = "post"
    ask: str = ""
    kind: str = ""


Show = Callable[[Look], Awaitable[Shown]]
Act = Callable[[Look, Form], Awaitable[Shown | Done]]


def listing(
    *,
    lead: str = "",
    actions: Sequence[dict[str, Any]] = (),
    filters: Sequence[Input] = (),
    cards: Sequence[tuple[str, str, str]] = (),
    charts: Sequence[dict[str, Any]] = (),
    tables: Sequence[Table] = (),
    facts: Sequence[tuple[str, Cell]] = (),
    groups: Sequence[tuple[str, Sequence[tuple[str, Cell]]]] = (),
    blocks: Sequence[dict[str, str]] = (),
    forms: Sequence[Sending] = (),
    live: int = 0,
) -> dict[str, Any]:
    """Of `list.html`.

    Args:
        groups: facts under a title each, beside one another where there is room.
        blocks: texts as they are, each with its title; closed until they are asked for.
        live: the browser looks again after so many seconds, as long as the page is seen; 0: never.
    """
    return {
        "live": live,
        "lead": lead,
        "actions": list(actions),
        "filters": list(filters),
        "cards": list(cards),
        "charts": list(charts),
        "tables": list(tables),
        "facts": list(facts),
        "groups": list(groups),
        "blocks": list(blocks),
        "forms": list(forms),
    }


def at(kind: str, id: object, act: str = "") -> str:
    """The address of a thing, whose id may hold anything, or of an act on it."""
    return f"/ui/{kind}/{quote(str(id), safe='@:')}" + (f"/{act}" if act else "")


def link(text: object, href: str) -> dict[str, str]:
    return {"text": str(text), "href": href}


def marked(text: object, kind: str) -> dict[str, str]:
    """`kind`: good, bad, warn, mono."""
    return {"text": str(text), "kind": kind, "href": ""}


def press(text: str, action: str, *, ask: str = "", kind: str = "", **fields: str) -> dict[str, Any]:
    """A button that sends a form."""
    return {"text": text, "action": action, "ask": ask, "kind": kind, "fields": fields, "href": ""}


def share(part: float, whole: float) -> dict[str, str]:
    """A bar: how much of the largest this row is."""
    return {"share": f"{100 * part / whole:.1f}" if whole > 0 else "0", "href": "", "kind": ""}


def go(text: str, href: str, kind: str = "") -> dict[str, Any]:
    """A link that looks like a button."""
    return {"text": text, "href": href, "kind": kind}


def address(path: str, query: dict[str, str], **changed: str) -> str:
    """With those of the fields that aren't empty."""
    merged = {name: value for name, value in {**query, **changed}.items() if value}
    return path + ("?" + urlencode(merged) if merged else "")


def cursor_pages(look: Look, following: str | None, total: int | None = None) -> Pages | None:
    """Of a list that goes on where the page before ended: on to the next page, and back to the
    first.

    Args:
        total: how many there are on all pages; None: nobody counts them.
    """
    if not following and not look.query["cursor"]:
        return None
    query = {name: value for name, value in look.query.pairs if name not in ("cursor", "message")}
    return Pages(
        first=address(look.path, query) if look.query["cursor"] else "",
        next=address(look.path, query, cursor=following) if following else "",
        text="" if total is None else look.say("in_all", total=total),
    )


def places_of(most: float) -> int:
    """Decimals that money beside each other is shown with: few where there is much of it."""
    return 2 if most >= 1 or most == 0 else 4 if most >= 0.01 else 6


def money(usd: object, places: int | None = None) -> str:
    """As people read it; the exact amount is in the ledger's answers.

    Args:
        places: decimals; None: as many as it needs. What is too little for them is told as less.
    """
    if usd is None:
        return "–"
    amount = float(str(usd))
    places = places_of(abs(amount)) if places is None else places
    if amount == 0 and places > 2:
        return "$0"
    if 0 < amount < 0.5 * 10**-places:
        return f"<${10**-places:.{places}f}"
    return f"${amount:,.{places}f}"


SPREAD = 100
"""Amounts that stand below one another are as different: the least still says something."""


def moneys(amounts: Iterable[object]) -> Callable[[object], str]:
    """`money` for amounts that stand below one another: their points are in one line."""
    most = max((abs(float(str(each))) for each in amounts if each is not None), default=0.0)
    places = places_of(most / SPREAD)
    return lambda usd: money(usd, places)


def axis_money(usd: float) -> str:
    """As the scale of a chart has it: no more decimals than the round number has."""
    whole, _, cents = f"{usd:,.6f}".rstrip("0").partition(".")
    return f"${whole}.{cents.ljust(2, '0')}" if cents else f"${whole}"


def count(number: object) -> str:
    return "–" if number is None else f"{int(float(str(number))):,}"


def duration(ms: float | None) -> str:
    """A time that something took, as people read it."""
    if ms is None:
        return "–"
    if ms < 999.5:
        return f"{ms:.0f} ms"
    if ms < 100_000:
        return f"{ms / 1000:.1f} s"
    return f"{ms / 60_000:.1f} min"


def when(text: object) -> str:
    """An instant without its fractions."""
    return "" if not text else str(text)[:19].replace("T", " ")


def instant(ms: object) -> str:
    """Of milliseconds since 1970. What is no instant is shown as it is: a caller may have written
    anything where one is expected.
    """
    try:
        return f"{datetime.fromtimestamp(float(str(ms)) / 1000, UTC):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return text_of(ms)


def team_link(row: dict[str, Any]) -> Cell:
    team = row.get("team_id")
    return link(team, at("teams", team)) if team else None


def state_of(look: Look, row: dict[str, Any]) -> dict[str, str]:
    """Whether a team or customer is blocked."""
    return marked(look.say("state.revoked"), "bad") if row.get("blocked") else marked(look.say("state.active"), "good")


def short(id: object) -> str:
    """A digest's beginning; what people chose themselves, whole."""
    text = str(id or "")
    return text[:10] + "…" if _DIGEST.fullmatch(text) else text


def text_of(value: object) -> str:
    """Any JSON value as people read it."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def indented(value: Any) -> str:
    """JSON for people."""
    return json.dumps(value, indent=2, ensure_ascii=False, default=str)

"""The table of the page's views, and how one is served: who looks → may they → load → render."""

from typing import Any

import msgspec

from services.edge.http import Request, WholeAnswer
from services.edge.pages import forms, render, words
from services.edge.pages.api import Api, AskError
from services.edge.pages.view import Act, Done, Look, Show, Shown
from services.edge.pages.views import audit, gateway, keys, people, requests, retention, settings, spend, teams
from services.edge.pages.visitor import LANGUAGE, Visitor, login_address
from services.edge.parts import Parts
from services.edge.site import TITLE
from services.edge.sso.cookies import csrf_holds, csrf_token, same_origin
from shared import errors
from shared.errors import RefusedError

ADMINS = frozenset({"proxy_admin", "proxy_admin_viewer"})
MAKERS = frozenset({"proxy_admin", "internal_user"})
ADMIN = frozenset({"proxy_admin"})
EVERYBODY = frozenset({*ADMINS, "internal_user", "internal_user_viewer"})


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One address, or `/ui/<name>/{id}` for one thing of a kind."""

    show: Show | None = None
    roles: frozenset[str] = EVERYBODY
    nav: str = ""
    """The catalogue's key of its place in the navigation; empty: it has none."""
    acts: dict[str, tuple[Act, frozenset[str]]] = {}
    """POST to `<address>/<name>`: (what it does, who may)."""


HUB = "/ui/model_hub"
"""The one view for anybody."""

NAV = (
    ("group.usage", ("/ui", "/ui/spend", "/ui/requests")),
    ("group.access", ("/ui/keys", "/ui/teams", "/ui/users", "/ui/customers")),
    ("group.gateway", ("/ui/models", "/ui/guardrails", "/ui/playground", "/ui/explain")),
    ("group.records", ("/ui/audit", "/ui/exports", "/ui/retention", "/ui/settings")),
)
"""The navigation: (the catalogue's key of a heading, addresses of VIEWS)."""

VIEWS: dict[str, View] = {
    "/ui": View(show=spend.overview, nav="nav.overview"),
    "/ui/spend": View(show=spend.explorer, nav="nav.spend"),
    "/ui/requests": View(show=requests.requests, nav="nav.requests"),
    "/ui/requests/{id}": View(show=requests.request),
    "/ui/keys": View(show=keys.show, nav="nav.keys", acts={"create": (keys.create, MAKERS)}),
    "/ui/keys/new": View(show=keys.new, roles=MAKERS),
    "/ui/keys/{id}": View(
        show=keys.one,
        acts={
            "rotate": (keys.rotate, MAKERS),
            "block": (keys.block, ADMIN),
            "unblock": (keys.unblock, ADMIN),
            "delete": (keys.delete, MAKERS),
        },
    ),
    "/ui/teams": View(show=teams.show, nav="nav.teams", acts={"create": (teams.create, ADMIN)}),
    "/ui/teams/{id}": View(
        show=teams.one,
        acts={
            "add": (teams.add, MAKERS),
            "remove": (teams.remove, MAKERS),
            "block": (teams.block, MAKERS),
            "unblock": (teams.unblock, MAKERS),
            "delete": (teams.delete, ADMIN),
        },
    ),
    "/ui/users": View(show=people.users, roles=ADMINS, nav="nav.users", acts={"create": (people.create_user, ADMIN)}),
    "/ui/users/{id}": View(
        show=people.user,
        acts={
            "invite": (people.invite, ADMIN),
            "role": (people.set_role, ADMIN),
            "delete": (people.delete_user, ADMIN),
        },
    ),
    "/ui/customers": View(
        show=people.customers,
        roles=ADMINS,
        nav="nav.customers",
        acts={"block": (people.block_customer, ADMIN), "unblock": (people.unblock_customer, ADMIN)},
    ),
    "/ui/models": View(show=gateway.models, roles=ADMINS, nav="nav.models"),
    "/ui/explain": View(show=gateway.explain, nav="nav.explain"),
    "/ui/settings": View(show=settings.show, roles=ADMINS, nav="nav.settings"),
    "/ui/retention": View(
        show=retention.show,
        roles=ADMINS,
        nav="nav.retention",
        acts={"hold": (retention.hold, ADMIN), "lift": (retention.lift, ADMIN)},
    ),
    "/ui/exports": View(
        show=retention.exports, roles=ADMINS, nav="nav.exports", acts={"start": (retention.start_export, ADMIN)}
    ),
    "/ui/guardrails": View(
        show=gateway.guardrails,
        roles=ADMINS,
        nav="nav.guardrails",
        acts={"try": (gateway.try_guardrail, ADMINS)},
    ),
    "/ui/playground": View(
        show=gateway.playground,
        roles=MAKERS,
        nav="nav.playground",
        acts={"key": (gateway.playground_key, MAKERS)},
    ),
    "/ui/audit": View(show=audit.show, roles=ADMINS, nav="nav.audit"),
    "/ui/audit/{id}": View(show=audit.one, roles=ADMINS),
    HUB: View(show=gateway.hub, roles=frozenset({"", *EVERYBODY})),
}


class Found(msgspec.Struct, frozen=True):
    view: View
    path: str
    """Of the table."""
    id: str = ""
    act: str = ""


def find(path: str, method: str) -> Found | None:
    """The view of a path; with POST, the act that its last part names."""
    path = path.rstrip("/") or "/ui"
    act = ""
    if method == "POST":
        path, _, act = path.rpartition("/")
    view = VIEWS.get(path)
    if view is not None:
        return Found(view, path, "", act)
    kind, slash, name = path.removeprefix("/ui/").partition("/")
    name = name.replace("%2F", "/")  # a thing's id may have slashes of its own
    view = VIEWS.get(f"/ui/{kind}/{{id}}") if slash and path.startswith("/ui/") else None
    return None if view is None or not name else Found(view, f"/ui/{kind}/{{id}}", name, act)


def brand(parts: Parts) -> dict[str, str]:
    """Name, logo and favicon, as the edge serves them."""
    site = parts.site
    named = site.title if site.title != TITLE else "Tollgate"
    return {
        "name": named,
        "logo": "/get_image" if site.logo else "",
        "favicon": "/get_favicon" if site.favicon else "",
    }


async def serve(parts: Parts, request: Request, visitor: Visitor) -> WholeAnswer:
    """A view, or a change by its form. Never raises for what was asked."""
    found = find(request.path, request.method)
    if found is None or (request.method == "POST" and found.act not in found.view.acts):
        missing = words.say(visitor.language, "not_found")
        if not visitor.role:
            return message(parts, request, visitor, 404, missing)
        return page(parts, request, visitor, Shown(missing, {}, "base.html"), "/ui/", status=404)
    if not visitor.role and found.path != HUB:
        return render.redirect(login_address(parts.site.within(request.raw_path) if request.method == "GET" else "/ui"))
    query = forms.of_query(request.query)
    chosen = query["lang"] if query["lang"] in words.LANGUAGES else ""
    look = Look(
        Api(parts, visitor, request.remote),
        visitor,
        lambda key, **values: words.say(visitor.language, key, **values),
        query,
        request.raw_path,
        found.id,
    )
    try:
        if request.method == "POST":
            shown = await _act(parts, request, found, look)
            if isinstance(shown, Done):
                return render.redirect(shown.to + (f"?message={shown.message}" if shown.message else ""))
        else:
            shown = await _show(found, look)
    except AskError as error:
        shown = Shown(words.say(visitor.language, "failed"), {}, "base.html", error=str(error))
        return page(parts, request, visitor, shown, found.path, status=error.status)
    except (ValueError, KeyError, TypeError):  # a number that is none, an answer that lacks what a page needs
        shown = Shown(words.say(visitor.language, "failed"), {}, "base.html", error=words.say(visitor.language, "odd"))
        return page(parts, request, visitor, shown, found.path, status=400)
    more = f"Set-Cookie: {LANGUAGE}={chosen}; Path=/ui; SameSite=Lax; Max-Age=31536000\r\n" if chosen else ""
    return page(parts, request, visitor, shown, found.path, more=more)


async def download(parts: Parts, request: Request, visitor: Visitor) -> bytes:
    """The explorer's table. Raises RefusedError."""
    look = Look(
        Api(parts, visitor, request.remote), visitor, lambda key, **_: key, forms.of_query(request.query), request.path
    )
    try:
        return await spend.csv(look)
    except AskError as error:
        raise RefusedError(errors.bad_request(str(error))) from None


async def _show(found: Found, look: Look) -> Shown:
    view = found.view
    if view.show is None or look.visitor.role not in view.roles:
        raise AskError(403, look.say("forbidden"))
    return await view.show(look)


async def _act(parts: Parts, request: Request, found: Found, look: Look) -> Shown | Done:
    """A change needs a form of ours: from our own page, with the token that only it holds."""
    visitor = look.visitor
    act, roles = found.view.acts[found.act]
    form = await forms.read(request, parts.settings.edge_body_timeout_ms)
    ours = same_origin(visitor.origin, request.header("origin"), request.header("sec-fetch-site"))
    if not ours or not csrf_holds(visitor.session, form["csrf"]):
        raise AskError(403, look.say("csrf"))
    if visitor.role not in roles:
        raise AskError(403, look.say("forbidden"))
    return await act(look, form)


def page(
    parts: Parts, request: Request, visitor: Visitor, shown: Shown, path: str, *, status: int = 200, more: str = ""
) -> WholeAnswer:
    section = "/".join(path.split("/")[:3])
    nav = [(title, items) for title, paths in NAV if (items := _entries(paths, visitor, section))]
    within = VIEWS.get(section) if section != path else None
    asked_for = forms.of_query(request.query)
    asked = asked_for["message"] if request.method == "GET" else ""
    message = shown.message or (words.say(visitor.language, asked) if asked.startswith("done.") else "")
    narrowed = any(asked_for[each.name] for each in shown.values.get("filters", ()))
    values: dict[str, Any] = {
        "cleared": request.raw_path if narrowed else "",
        "brand": brand(parts),
        "heading": shown.heading,
        "visitor": visitor,
        "csrf": csrf_token(visitor.session),
        "nav": nav,
        "crumb": {"path": section, "key": within.nav} if within is not None and within.nav else None,
        "message": message,
        "error": shown.error,
        **shown.values,
    }
    return render.page(
        shown.template, values, language=visitor.language, status=status, gzipped=takes_gzip(request), more=more
    )


def _entries(paths: tuple[str, ...], visitor: Visitor, section: str) -> list[dict[str, Any]]:
    """Those of the navigation that the visitor may see."""
    return [
        {"path": path, "key": VIEWS[path].nav, "current": path == section}
        for path in paths
        if visitor.role in VIEWS[path].roles
    ]


def message(parts: Parts, request: Request, visitor: Visitor, status: int, text: str, more: str = "") -> WholeAnswer:
    """A sentence, for who has no page to be shown it on."""
    values = {"brand": brand(parts), "error": text}
    return render.page("message.html", values, language=visitor.language, status=status, more=more)


def takes_gzip(request: Request) -> bool:
    return "gzip" in (request.header("accept-encoding") or "")

"""The admin page and the model hub. Only here does a cookie count."""

from urllib.parse import urlencode

from services.edge.http import Answer, Request, WholeAnswer
from services.edge.pages import forms, render, site
from services.edge.pages.placed import below
from services.edge.pages.visitor import Visitor, language_of, session_of
from services.edge.parts import Parts
from services.edge.sso import cookies
from services.edge.sso.cookies import Origin
from shared import errors
from shared.credential import digest
from shared.errors import RefusedError
from shared.grant import Denial
from shared.routes import Match

NOWHERE = Origin("", False)
PLAIN_HTTP = (
    "This page is served over plain http from another machine, where no session would be safe. Serve it over https, and set"
    " PROXY_BASE_URL to its https address."
)


async def serve(parts: Parts, request: Request, match: Match) -> Answer:
    return below(await _serve(parts, request, match), parts.site.root_path)


async def _serve(parts: Parts, request: Request, match: Match) -> Answer:
    if match.route.name == "/ui/static":
        try:
            return render.file(match.params["file"], gzipped=site.takes_gzip(request))
        except KeyError:
            raise RefusedError(errors.not_found(request.method, request.path)) from None
    if parts.sso.settings.disabled:
        raise RefusedError(errors.not_found(request.method, request.path))
    seen_from = origin_of(parts, request)
    if seen_from is None:
        return site.message(parts, request, Visitor(NOWHERE, language_of(request, "")), 403, PLAIN_HTTP)
    invitation = forms.of_query(request.query)["invitation_id"]
    if invitation and request.path in ("/ui", "/ui/"):
        return render.redirect("/ui/invitation?" + urlencode({"invitation_id": invitation}))
    visitor = await visitor_of(parts, request, seen_from)
    request.recognised()
    if match.route.name == "/ui/spend.csv" and visitor.role:
        return await _csv(parts, request, visitor)
    return await site.serve(parts, request, visitor)


def origin_of(parts: Parts, request: Request) -> Origin | None:
    return cookies.origin(parts.sso.settings.base_url, request.header("host"), request.remote)


async def visitor_of(parts: Parts, request: Request, seen_from: Origin) -> Visitor:
    """Whose session it is; without a good one, nobody."""
    language = language_of(request, forms.of_query(request.query)["lang"])
    session = session_of(request, seen_from)
    if not session:
        return Visitor(seen_from, language)
    decision = await parts.grants.decide(*digest(session), "/ui/me", "")
    if isinstance(decision, Denial):
        return Visitor(seen_from, language)
    expires = decision.expires_at_ms
    if expires is not None and parts.clock.unix_ms() >= expires:
        return Visitor(seen_from, language)
    return Visitor(seen_from, language, session, decision.caller.user_id or "", decision.caller.role)


async def _csv(parts: Parts, request: Request, visitor: Visitor) -> WholeAnswer:
    found = await site.download(parts, request, visitor)
    headers = f"{render.HEADERS}Content-Type: text/csv; charset=utf-8\r\nContent-Disposition: attachment; filename=spend.csv\r\n"
    return WholeAnswer(200, headers + "Cache-Control: no-store\r\n", found)

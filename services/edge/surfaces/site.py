"""Documentation, robots.txt, logo and icon. Everything is local, with a content security policy of
its own.
"""

import functools
import html
from importlib import resources

import msgspec

from services.edge.answers import VERSION, own_json
from services.edge.http import Request, WholeAnswer
from services.edge.images import SVG
from services.edge.parts import Parts
from services.edge.site import Site
from shared import errors, routes
from shared.errors import RefusedError
from shared.routes import Match, openapi

ROBOTS = b"User-agent: *\nDisallow: /"
_HEADERS = "server: tollgate\r\nx-content-type-options: nosniff\r\nx-frame-options: DENY\r\n"
_SEALED = "content-security-policy: default-src 'none'; frame-ancestors 'none'; sandbox\r\n"
_CSP = (
    "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; font-src 'self' data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'\r\nreferrer-policy: no-referrer\r\n"
)
_ASSETS = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "redoc.standalone.js": "text/javascript",
}
_STARTS = {
    "swagger-start.js": "window.ui = SwaggerUIBundle({url: %s, dom_id: '#docs', deepLinking: true, persistAuthorization: false, "
    "validatorUrl: null});",
    "redoc-start.js": "Redoc.init(%s, {disableSearch: false}, document.getElementById('docs'));",
}
_HIDDEN = frozenset({"site", "pages", "passthrough", "scrape"})
"""Surfaces that are no API."""


async def serve(parts: Parts, request: Request, match: Match) -> WholeAnswer:
    site, name = parts.site, match.route.name
    if name == "/docs/assets/{name}":
        return _asset(site, match.params["name"], request)
    if name == "/get_image":
        return _image(*await parts.images.logo())
    if name == "/get_favicon":
        return _image(*await parts.images.icon())
    if name == "/" and site.root_redirect is not None:
        return WholeAnswer(307, f"{_HEADERS}{_SEALED}Location: {site.root_redirect}\r\n", b"")
    if name in ("/", "/docs") and site.docs and site.openapi:
        return _page(site, "swagger-ui-bundle.js", "swagger-start.js", "swagger-ui.css")
    if name == "/redoc" and site.redoc and site.openapi:
        return _page(site, "redoc.standalone.js", "redoc-start.js", None)
    if name == "/openapi.json" and site.openapi:
        return _answer(_document(site), "application/json")
    if name == "/robots.txt":
        return _answer(ROBOTS, "text/plain; charset=utf-8") if site.block_robots else _answer(b"", "text/plain", 404)
    if name == "/get_logo_url":
        return own_json({"logo_url": _address(site.logo) or ""})
    if name == "/get/ui_theme_settings":
        return own_json(
            {"values": {"logo_url": _address(site.logo), "favicon_url": _address(site.favicon)}, "field_schema": {}}
        )
    if name == "/public/model_hub/info":
        return own_json(
            {
                "docs_title": site.title,
                "custom_docs_description": site.description or None,
                "litellm_version": VERSION,
                "useful_links": {},
            }
        )
    raise RefusedError(errors.not_found(request.method, request.path))


def _address(place: str | None) -> str | None:
    """Only what is an address anyway: where a file lies is nobody's business."""
    return place if place is not None and place.lower().startswith(("http://", "https://")) else None


def _answer(body: bytes, kind: str, status: int = 200, more: str = _SEALED) -> WholeAnswer:
    return WholeAnswer(status, f"{_HEADERS}{more}Content-Type: {kind}\r\n", body)


def _image(data: bytes, kind: str) -> WholeAnswer:
    more = _SEALED if kind != SVG else _SEALED.replace("sandbox", "style-src 'unsafe-inline'; sandbox")
    return _answer(data, kind, more=f"{more}Cache-Control: max-age=300\r\n")


def _page(site: Site, script: str, start: str, style: str | None) -> WholeAnswer:
    root = site.root_path
    link = f'<link rel="stylesheet" href="{root}/docs/assets/{style}">' if style else ""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(site.title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="{root}/get_favicon">'
        f'{link}</head><body><div id="docs"></div><script src="{root}/docs/assets/{script}"></script>'
        f'<script src="{root}/docs/assets/{start}"></script></body></html>'
    )
    return _answer(page.encode(), "text/html; charset=utf-8", more=_CSP)


def _asset(site: Site, name: str, request: Request) -> WholeAnswer:
    if name in _STARTS:
        url = msgspec.json.encode(f"{site.root_path}/openapi.json").decode()
        return _answer((_STARTS[name] % url).encode(), "text/javascript")
    kind = _ASSETS.get(name)
    if kind is None:
        raise RefusedError(errors.not_found(request.method, request.path))
    more = f"{_SEALED}Content-Encoding: gzip\r\nCache-Control: max-age=3600\r\n"
    return _answer(_file(f"{name}.gz"), kind, more=more)


@functools.cache
def _file(name: str) -> bytes:
    """Every browser takes gzip, so there is no other copy."""
    return resources.files("services.edge").joinpath("assets", name).read_bytes()


@functools.lru_cache(maxsize=4)
def _rendered(title: str, description: str, root_path: str, filtered: bool) -> bytes:
    rows = routes.of_group("openai_routes") if filtered else [r for r in routes.TABLE.rows if r.surface not in _HIDDEN]
    document = openapi.document(rows, title=title, version=VERSION, description=description)
    if root_path:
        document["servers"] = [{"url": root_path}]
    return msgspec.json.encode(document)


def _document(site: Site) -> bytes:
    return _rendered(site.title, site.description, site.root_path, site.filtered)

"""Templates to answers, with the headers that keep a page to itself."""

import gzip
import hashlib
from functools import cache
from importlib import resources
from typing import Any

import jinja2

from services.edge.http import WholeAnswer
from services.edge.pages import words

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = (
    f"server: tollgate\r\nContent-Security-Policy: {POLICY}\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n"
    "Referrer-Policy: same-origin\r\nCross-Origin-Opener-Policy: same-origin\r\nCross-Origin-Resource-Policy: same-origin\r\n"
    "Permissions-Policy: camera=(), geolocation=(), microphone=()\r\n"
)
GZIP_BYTES_MIN = 1_400

STATIC_TYPES = {
    "app.css": "text/css; charset=utf-8",
    "app.js": "text/javascript; charset=utf-8",
    "play.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}

_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("services.edge.pages"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


@cache
def static(name: str) -> bytes:
    """A file of `static/`. Raises KeyError for one that isn't in the table."""
    if name not in STATIC_TYPES:
        raise KeyError(name)
    return resources.files("services.edge.pages").joinpath("static", name).read_bytes()


@cache
def asset(name: str) -> str:
    """Its address, which changes with its content, so that browsers may keep it for ever."""
    return f"/ui/static/{hashlib.sha256(static(name)).hexdigest()[:12]}/{name}"


_environment.globals["asset"] = asset


def page(
    template: str, values: dict[str, Any], *, language: str, status: int = 200, gzipped: bool = False, more: str = ""
) -> WholeAnswer:
    """`more`: rendered header lines. `gzipped`: the browser takes it."""

    def say(key: str, **given: object) -> str:
        return words.say(language, key, **given)

    text = _environment.get_template(template).render(**values, t=say, language=language, languages=words.LANGUAGES)
    return _answer(text.encode(), "text/html; charset=utf-8", status, gzipped, f"Cache-Control: no-store\r\n{more}")


def file(name: str, *, gzipped: bool) -> WholeAnswer:
    """Raises KeyError."""
    return _answer(
        static(name), STATIC_TYPES[name], 200, gzipped, "Cache-Control: public, max-age=31536000, immutable\r\n"
    )


def redirect(to: str, more: str = "") -> WholeAnswer:
    """303: the browser asks for `to` with GET. `to` is ours, or checked: no line break gets into a
    header.
    """
    safe = "".join(c for c in to if "!" <= c <= "~")
    return WholeAnswer(303, f"{HEADERS}Location: {safe}\r\nCache-Control: no-store\r\n{more}", b"")


def _answer(body: bytes, kind: str, status: int, gzipped: bool, more: str) -> WholeAnswer:
    encoding = ""
    if gzipped and len(body) >= GZIP_BYTES_MIN:
        body, encoding = gzip.compress(body, 5), "Content-Encoding: gzip\r\nVary: Accept-Encoding\r\n"
    return WholeAnswer(status, f"{HEADERS}Content-Type: {kind}\r\n{encoding}{more}", body)

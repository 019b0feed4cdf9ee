"""Who is looking at a page."""

from urllib.parse import quote

import msgspec

from services.edge.http import Request
from services.edge.pages import words
from services.edge.sso.cookies import SESSION, Origin
from shared.ids import KeyDigest, digest_key

LANGUAGE = "tollgate_lang"
ADMIN = "proxy_admin"
VIEWER = "proxy_admin_viewer"
ROLES = (ADMIN, VIEWER, "internal_user", "internal_user_viewer")


class Visitor(msgspec.Struct, frozen=True):
    """Somebody with a session; or nobody, who sees what is public."""

    origin: Origin
    language: str
    session: str = ""
    """The session's key; "": nobody."""
    user_id: str = ""
    role: str = ""

    @property
    def digest(self) -> KeyDigest | None:
        return digest_key(self.session) if self.session else None

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    @property
    def sees_all(self) -> bool:
        return self.role in (ADMIN, VIEWER)

    @property
    def may_make_keys(self) -> bool:
        return self.role in (ADMIN, "internal_user")


def session_of(request: Request, origin: Origin) -> str:
    """The key in the cookie. It counts on the page's own routes only: nothing else reads
    cookies.
    """
    found = origin.read(request.header("cookie"), SESSION)
    return found if found is not None and found.startswith("sk-") and len(found) <= 128 else ""


def language_of(request: Request, asked: str) -> str:
    """By the query, the cookie, or the browser."""
    if asked in words.LANGUAGES:
        return asked
    for each in (request.header("cookie") or "")[:8192].split(";"):
        name, _, value = each.strip().partition("=")
        if name == LANGUAGE and value in words.LANGUAGES:
            return value
    return words.preferred(request.header("accept-language"))


def login_address(path: str) -> str:
    """Where somebody without a session goes, and comes back from."""
    return "/ui/login" + (f"?next={quote(path, safe='/')}" if path not in ("/ui", "/ui/") else "")

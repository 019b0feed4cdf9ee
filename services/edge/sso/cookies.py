"""The page's cookies: one with the session's key, one with a login on its way. Pure.

Over https they are bound to the host and never sent without TLS. Over plain http they exist on
loopback alone.
"""

import hashlib
import hmac
import ipaddress
from urllib.parse import urlsplit

import msgspec

COOKIE_CHARACTERS_MAX = 8_192
SESSION = "tollgate_session"
LOGIN = "tollgate_login"


class Origin(msgspec.Struct, frozen=True):
    """Where the browser thinks it is."""

    base: str
    """`https://gateway.example`, without a slash at the end."""
    secure: bool

    def name(self, cookie: str) -> str:
        return f"__Host-{cookie}" if self.secure else cookie

    def set_line(self, cookie: str, value: str, seconds: int) -> str:
        """The header's line; `value` "" and 0 seconds: forget it."""
        secure = "; Secure" if self.secure else ""
        return f"Set-Cookie: {self.name(cookie)}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={seconds}{secure}\r\n"

    def read(self, header: str | None, cookie: str) -> str | None:
        """The value of the cookie in a Cookie header. Of two with one name nobody knows whose is
        ours: then none is.
        """
        if header is None or len(header) > COOKIE_CHARACTERS_MAX:
            return None
        wanted = self.name(cookie) + "="
        found = [each.strip()[len(wanted) :] for each in header.split(";") if each.strip().startswith(wanted)]
        return found[0] if len(found) == 1 and found[0] else None


def origin(base_url: str | None, host: str | None, remote: str | None) -> Origin | None:
    """None: plain http from elsewhere, where no cookie would be safe.

    Args:
        base_url: PROXY_BASE_URL, which decides where it is set.
        host: the request's Host header.
        remote: the client's address.
    """
    if base_url is not None:
        parsed = urlsplit(base_url)
        if parsed.scheme == "https":
            return Origin(base_url.rstrip("/"), True)
        return Origin(base_url.rstrip("/"), False) if _is_loopback(parsed.hostname) else None
    if host is None or len(host) > 255 or not host.isprintable() or set(host) & set("/\\@?# "):
        return None
    name = urlsplit("//" + host).hostname
    return Origin(f"http://{host}", False) if _is_loopback(name) and _is_loopback(remote) else None


def same_origin(origin: Origin, sent_origin: str | None, fetch_site: str | None) -> bool:
    """Whether a form came from our own page: browsers say so, and what says nothing is no
    browser.
    """
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return False
    return sent_origin is None or sent_origin == origin.base


def csrf_token(session_key: str) -> str:
    """Goes into every form, and only who may read the page can know it."""
    return hmac.new(session_key.encode(), b"tollgate csrf", hashlib.sha256).hexdigest()


def csrf_holds(session_key: str, sent: str) -> bool:
    return hmac.compare_digest(csrf_token(session_key).encode(), sent.encode("utf-8", "replace"))


def _is_loopback(host: str | None) -> bool:
    if host is None:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

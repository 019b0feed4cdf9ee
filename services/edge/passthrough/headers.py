"""Which headers of a request go on to the target, and which of its answer come back. Pure.

What carried the caller's credential never goes on, nor does anything that holds it, whatever the
endpoint's settings say. Another `Authorization` (the caller's own, for the target) does, where
headers are forwarded.
"""

import base64
from collections.abc import Iterable, Mapping
from urllib.parse import unquote_plus

from shared import credential
from shared.passthrough import Entry

HOP_BY_HOP = frozenset(
    {
        "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "trailers",
        "transfer-encoding", "upgrade", "expect",
    }
)  # fmt: skip
_OURS = frozenset(
    {"host", "content-length", "accept-encoding", "cookie", "forwarded", "x-real-ip", "litellm-changed-by"}
)
"""Of this hop, of our pages (a session's cookie), or rewritten."""
_OURS_BEFORE = ("x-litellm-", "x-tollgate-", "x-forwarded-", "x-pass-")
_ALWAYS = frozenset({"content-type", "content-encoding", "accept"})
"""Say what the body is, and what may come back."""
_NEVER_PASSED = frozenset({"host", "content-length", "accept-encoding", *HOP_BY_HOP, *credential.HEADERS})
"""Of `x-pass-<name>`."""
_NOT_BACK = HOP_BY_HOP | {
    "content-length", "server", "date", "set-cookie", "set-cookie2", "strict-transport-security", "alt-svc",
    "content-security-policy", "content-security-policy-report-only", "public-key-pins", "x-frame-options",
    "x-content-type-options", "clear-site-data", "service-worker-allowed", "permissions-policy", "report-to",
    "reporting-endpoints", "nel", "origin-agent-cluster", "timing-allow-origin", "x-accel-buffering",
}  # fmt: skip
"""Of the other hop, or about an origin that isn't ours."""
_NOT_BACK_BEFORE = ("access-control-", "cross-origin-", "x-tollgate-")
"""Who may read our answers is ours to say, and only once: browsers refuse an answer that says it
twice.
"""
_SAID_BY_US = frozenset(
    f"x-litellm-{name}"
    for name in (
        "call-id", "model-id", "model-group", "model-name", "model-api-base", "model-region", "version", "attempted-retries",
        "attempted-fallbacks", "applied-guardrails",
    )
)  # fmt: skip
_EVENTS = "text/event-stream"


def found(entry: Entry, get: credential.Getter) -> str | None:
    """The caller's credential; None: none was sent; "": one was sent that can't be read."""
    if entry.key_header is not None:
        value = get(entry.key_header)
        if value is not None:
            return value.removeprefix("Bearer ").strip()
    user = _user_in(get("authorization") or "") if entry.key_is_user else ""
    return user or credential.find(get)


def _user_in(authorization: str) -> str:
    """Of Basic authentication; empty: none that can be read."""
    scheme, _, pair = authorization.partition(" ")
    try:
        return (
            base64.b64decode(pair.strip(), validate=True).decode().partition(":")[0]
            if scheme.lower() == "basic"
            else ""
        )
    except ValueError:
        return ""


def to_target(entry: Entry, sent: Mapping[str, str], secret: str | None) -> list[tuple[str, str]]:
    """
    Args:
        sent: the client's headers, by their names in lower case.
        secret: the credential that is ours; None: there is none.
    """
    own = {name.lower() for name in entry.headers}
    named = _named_by(sent.get("connection", ""))
    going: dict[str, str] = {}
    for name, value in sent.items():
        if name.startswith("x-pass-"):
            passed = name[7:]
            if passed and passed not in _NEVER_PASSED and not passed.startswith("x-amz-"):
                going[passed] = value
        elif name in HOP_BY_HOP or name in _OURS or name in named or name.startswith(_OURS_BEFORE):
            continue
        elif entry.forward_headers or name in _ALWAYS or name in entry.forwards:
            going.setdefault(name, value)
    if entry.key_header is not None:
        going.pop(entry.key_header, None)
    if entry.key_is_user:
        going.pop("authorization", None)
    if secret:
        going = {name: value for name, value in going.items() if secret not in value}
    return [*as_meant((n, v) for n, v in going.items() if n not in own), *entry.headers.items()]


def without_key(query: str, secret: str | None) -> str:
    """A query without what brings the caller's key for us (Google's clients have it as `key`)."""
    if not query or not secret:
        return query
    kept = [
        pair
        for pair in query.split("&")
        if secret not in pair and secret not in unquote_plus(pair) and not pair.startswith("litellm_api_key=")
    ]
    return "&".join(kept)


def to_client(answered: Iterable[tuple[str, str]]) -> str:
    """Rendered lines, each ending in CRLF.

    What another gateway says of its call under a name that ours has too is passed on as its word
    (`llm_provider-x-litellm-...`), and proxies before us are told not to collect events.
    """
    answered = [(name.lower(), value) for name, value in as_meant(answered)]
    named = _named_by(",".join(value for name, value in answered if name == "connection"))
    lines, said = "", dict(answered)
    for name, value in answered:
        if name in _NOT_BACK or name in named or not value.isprintable() or name.startswith(_NOT_BACK_BEFORE):
            continue
        lines += f"{'llm_provider-' if name in _SAID_BY_US else ''}{name}: {value}\r\n"
    if said.get("content-type", "").lower().startswith(_EVENTS):
        lines += "x-accel-buffering: no\r\n" + ("" if "cache-control" in said else "cache-control: no-cache\r\n")
    return lines


def as_meant(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Headers whose bytes were read as Latin-1, as who sent them meant them: what goes on is
    written in UTF-8, both ways.
    """
    return [(name, value if value.isascii() else _text(value)) for name, value in headers]


def _text(value: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value


def _named_by(connection: str) -> frozenset[str]:
    """Headers that a Connection header says are of one hop."""
    return frozenset(each.strip().lower() for each in connection.split(","))

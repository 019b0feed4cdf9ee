"""What a pass-through endpoint is, and which one a request means. Pure."""

import base64
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec

from shared import guarded_fields
from shared.config import ConfigError
from shared.guarded_fields import Fields
from shared.money import picousd_from_usd
from shared.routes import TABLE, Match, Route

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
ALL_METHODS = frozenset({*METHODS, "HEAD", "OPTIONS"})
TIMEOUT_S = 600.0
KEY_HEADER = "litellm_user_api_key"
"""Among an endpoint's headers: the name of the header that brings the caller's key."""
_PATH = re.compile(r"/[-._~!$&'()*+,;=:@0-9A-Za-z/]*")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_REFERENCE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")
_UP = re.compile(r"(^|[/\\])\.\.?($|[/\\])")
_KNOWN = frozenset(
    {
        "path", "target", "headers", "forward_headers", "merge_query_params", "default_query_params", "include_subpath",
        "cost_per_request", "auth", "methods", "timeout", "id", "guardrails",
    }
)  # fmt: skip
LANGFUSE = "langfuse"
_LANGFUSE_KEYS = "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY"
"""Among an endpoint's headers: what its `Authorization: Basic` is made of."""
_LATER = frozenset({"custom_auth_parser", "custom_handler"})
"""LiteLLM has them. Who sets them relies on them, so they are refused until something acts on
them.
"""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint."""

    id: str
    path: str
    target: str
    """An http(s) address."""
    headers: dict[str, str] = {}
    """Sent to the target. They may hold secrets: never shown."""
    key_header: str | None = None
    """A further header that the caller's key may be in."""
    key_is_user: bool = False
    """The caller's key may be the user of Basic authentication, as Langfuse's clients have it."""
    forward_headers: bool = False
    merge_query_params: bool = False
    default_query_params: dict[str, str] = {}
    include_subpath: bool = False
    cost_picousd: int | None = None
    """Of one request; None: nobody says."""
    auth: bool = True
    methods: tuple[str, ...] = METHODS
    timeout_s: float = TIMEOUT_S
    guardrails: dict[str, Fields] = {}
    """Of its requests and answers, in the order of the table of guardrails."""
    only_listed: bool = False
    """Only for who has it in `allowed_passthrough_routes`, and for proxy admins."""
    drops: str = ""
    """The beginning of what stands behind the path that the target ends with already (`/v1`):
    clients send it or not.
    """
    forwards: tuple[str, ...] = ()
    """The caller's headers that go on besides, in lower case."""

    @property
    def host(self) -> str:
        return urlsplit(self.target).hostname or ""

    def url(self, raw_rest: str, query: str) -> str:
        """Where a request goes.

        Args:
            raw_rest: of its path behind ours, as it was sent: empty, or from a slash on.
            query: as it was sent. The client's parameters win over the target's own, those over the
                defaults.
        """
        parts = urlsplit(self.target)
        if self.drops and (raw_rest == self.drops or raw_rest.startswith(self.drops + "/")):
            raw_rest = raw_rest[len(self.drops) :]
        path = parts.path.rstrip("/") + raw_rest if raw_rest else parts.path
        own = parts.query if self.merge_query_params or not query else ""
        if own or self.default_query_params:
            merged = list(self.default_query_params.items())
            for given in (own, query):
                pairs = parse_qsl(given, keep_blank_values=True)
                names = {name for name, _ in pairs}
                merged = [pair for pair in merged if pair[0] not in names] + pairs
            query = urlencode(merged)
        return f"{parts.scheme}://{parts.netloc}{path or '/'}" + (f"?{query}" if query else "")


class Entries:
    """All endpoints, ready to be searched: exact paths first, then the longest one that a request's
    path is below.
    """

    def __init__(self, entries: list[Entry]) -> None:
        self.all = entries
        self._exact: dict[str, list[Entry]] = {}
        for entry in entries:
            self._exact.setdefault(entry.path, []).append(entry)
        self.shadows = frozenset(path for path in self._exact if own(path))
        """Paths of calls to models that an endpoint stands for instead."""
        self._below = sorted({e.path for e in entries if e.include_subpath}, key=len, reverse=True)

    def find(self, method: str, path: str, raw_path: str) -> tuple[Entry, str] | tuple[str, ...]:
        """The endpoint, and what stands behind its path; else the methods this path has, none where
        nobody knows it.
        """
        found = self._exact.get(path)
        rest = ""
        if found is None:
            below = next((each for each in self._below if path.startswith(each.rstrip("/") + "/")), None)
            if below is None:
                return ()
            rest = raw_path[len(below.rstrip("/")) :]
            if _UP.search(rest.replace("%2F", "/").replace("%2f", "/").replace("%5C", "/").replace("%5c", "/")):
                return ()
            found = [entry for entry in self._exact[below] if entry.include_subpath]
        for entry in found:
            if method in entry.methods or (method == "HEAD" and "GET" in entry.methods):
                return entry, rest
        return tuple(dict.fromkeys(method for entry in found for method in entry.methods))


def read(given: Any, environ: Mapping[str, str], timeout_s: float | None = None) -> Entries:
    """`general_settings.pass_through_endpoints`. Raises ConfigError, with the place.

    Args:
        timeout_s: of those that say none; None: TIMEOUT_S.
    """
    if given is None:
        return Entries([])
    if not isinstance(given, list):
        raise ConfigError("general_settings.pass_through_endpoints must be a list")
    entries: list[Entry] = []
    for number, each in enumerate(given):
        if timeout_s is not None and isinstance(each, dict):
            each = {"timeout": timeout_s, **each}
        entry = entry_of(each, f"general_settings.pass_through_endpoints[{number}]", environ)
        taken = {method for other in entries if other.path == entry.path for method in other.methods}
        twice = taken.intersection(entry.methods)
        if twice:
            raise ConfigError(
                f"general_settings.pass_through_endpoints[{number}]: {entry.path} has {sorted(twice)[0]} already"
            )
        entries.append(entry)
    return Entries(entries)


def entry_of(given: Any, at: str, environ: Mapping[str, str] | None) -> Entry:
    """
    Args:
        environ: for `os.environ/NAME` in headers; None: references are refused (who sends them
            isn't the operator).

    Raises ConfigError.
    """
    if not isinstance(given, dict):
        raise ConfigError(f"{at} must be a mapping")
    for name in given:
        taken = name == "custom_auth_parser" and given[name] == LANGFUSE
        if name in _LATER and not taken and given[name] not in (None, {}, []):
            raise ConfigError(f"{at}.{name} is not supported here: the endpoint would pass what it should keep back")
        if name not in _KNOWN and name not in _LATER:
            raise ConfigError(f"{at}.{name}: no such setting")
    path, target = _text(given, "path", at), _text(given, "target", at)
    if not _PATH.fullmatch(path) or path == "/" or "//" in path or _UP.search(path):
        raise ConfigError(f"{at}.path: a path like /v1/rerank is needed, not {path[:80]!r}")
    if any(row.surface not in ("llm", "relayed") for row in own(path)):
        raise ConfigError(f"{at}.path: {path} is one of the gateway's own routes")
    _check_target(target, at)
    headers = _headers(given.get("headers") or {}, at, environ)
    key_header = next((headers.pop(name) for name in list(headers) if name.lower() == KEY_HEADER), None)
    cost = given.get("cost_per_request")
    try:
        cost_picousd = None if cost is None else picousd_from_usd(cost)
    except ValueError as error:
        raise ConfigError(f"{at}.cost_per_request: {error}") from None
    return Entry(
        id=str(given.get("id") or path),
        path=path,
        target=target,
        headers=headers,
        key_header=None if key_header is None else key_header.lower(),
        key_is_user=given.get("custom_auth_parser") == LANGFUSE,
        forward_headers=_flag(given, "forward_headers", at, False),
        merge_query_params=_flag(given, "merge_query_params", at, False),
        default_query_params=_params(given.get("default_query_params") or {}, at),
        include_subpath=_flag(given, "include_subpath", at, False),
        cost_picousd=cost_picousd,
        auth=_flag(given, "auth", at, True),
        methods=_methods(given.get("methods"), at),
        timeout_s=_timeout(given.get("timeout"), at),
        guardrails=guarded_fields.read(given.get("guardrails"), at),
    )


def own(path: str) -> list[Route]:
    """The gateway's routes with this path."""
    found = TABLE.find("GET", path)
    methods = ("GET",) if isinstance(found, Match) else found
    hits = [TABLE.find(method, path) for method in methods]
    return [hit.route for hit in hits if isinstance(hit, Match)]


def covers(entries: list[str], path: str) -> bool:
    """Whether a key's list of pass-through routes names this path: exactly, from above, or by a
    star at its end.
    """
    return any(
        path == each
        or path.startswith(each.rstrip("/") + "/")
        or (each.endswith("*") and path.startswith(each.rstrip("*")))
        for each in entries
    )


def _check_target(target: str, at: str) -> None:
    try:
        parts = urlsplit(target)
        _ = parts.port
    except ValueError:
        raise ConfigError(f"{at}.target is no address") from None
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.username
        or parts.password
        or parts.fragment
        or not target.isprintable()
        or " " in target
    ):
        raise ConfigError(
            f"{at}.target: an address like https://api.example.com/v1 is needed, without a name or password"
        )


def _text(given: dict[str, Any], name: str, at: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{at}.{name} must be a text")
    return value


def _flag(given: dict[str, Any], name: str, at: str, default: bool) -> bool:
    """Strictly true or false: `"true"` would be no key at all in LiteLLM."""
    value = given.get(name)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise ConfigError(f"{at}.{name} must be true or false, not {value!r}")
    return value


def _headers(given: Any, at: str, environ: Mapping[str, str] | None) -> dict[str, str]:
    if not isinstance(given, dict):
        raise ConfigError(f"{at}.headers must be a mapping")
    found = {}
    for name, value in given.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or not isinstance(value, str | int | float):
            raise ConfigError(f"{at}.headers: {str(name)[:80]!r} is no header with a text")
        text = _resolved(str(value), f"{at}.headers.{name}", environ)
        if not text.isprintable():
            raise ConfigError(f"{at}.headers.{name} holds characters that no header may have")
        found[name] = text
    if all(name in found for name in _LANGFUSE_KEYS):
        pair = ":".join(found.pop(name) for name in _LANGFUSE_KEYS)
        found["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    return found


def _resolved(value: str, at: str, environ: Mapping[str, str] | None) -> str:
    """`os.environ/NAME`, anywhere in the value."""

    def variable(reference: re.Match[str]) -> str:
        if environ is None:
            raise ConfigError(f"{at}: a reference to the environment is only for config.yaml")
        found = environ.get(reference[1], "")
        if not found:
            raise ConfigError(f"{at}: the environment variable {reference[1]} is not set, or empty")
        return found

    return _REFERENCE.sub(variable, value)


def _params(given: Any, at: str) -> dict[str, str]:
    if not isinstance(given, dict) or not all(isinstance(value, str | int | float | bool) for value in given.values()):
        raise ConfigError(f"{at}.default_query_params must be a mapping of names to texts")
    return {str(name): str(value) for name, value in given.items()}


def _methods(given: Any, at: str) -> tuple[str, ...]:
    if given is None:
        return METHODS
    if not isinstance(given, list) or not given or not all(isinstance(each, str) for each in given):
        raise ConfigError(f"{at}.methods must be a list such as ['GET', 'POST']")
    methods = tuple(dict.fromkeys(each.upper() for each in given))
    if not ALL_METHODS.issuperset(methods):
        raise ConfigError(f"{at}.methods: only {', '.join(sorted(ALL_METHODS))} can be passed on")
    return methods


def _timeout(given: Any, at: str) -> float:
    if given is None:
        return TIMEOUT_S
    if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= 86_400:
        raise ConfigError(f"{at}.timeout must be a number of seconds, up to a day")
    return float(given)

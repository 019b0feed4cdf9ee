"""`mcp_servers`: servers of the Model Context Protocol that clients reach under our keys, each at
`/mcp/<name>`, as it is. Pure.

What would have to look into the protocol isn't done, and what relies on it isn't opened: a server
of which only some tools may be called, or whose callers bring tokens of their own, isn't relayed.
"""

import base64
import re
from typing import Annotated, Any, Literal

from msgspec import Struct

from shared.config import headers
from shared.config.errors import ConfigError
from shared.config.fields import By, Reading, section
from shared.config.references import Unset, first_unset
from shared.config.upstream import why_not_callable
from shared.secrets.value import Secret

PATH = "/mcp/"
_NAME = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]{0,63}")
_HOW = "alone, at {path}: its tools aren't joined with other servers' at /mcp"
_BEFORE = {"bearer_token": "Bearer ", "token": "token ", "authorization": "", "basic": "Basic "}
"""`auth_type` -> what stands before its value in `Authorization`."""
_FILTERS = ("allowed_tools", "disallowed_tools", "allowed_params", "available_on_public_internet")
"""Keys that keep something back."""
_IDLE = {
    "description": "= said to people, and no part of the protocol",
    "mcp_info": "= shown to people, and no part of the protocol",
    "spec_version": "= client and server agree on it themselves",
    "protocol_version": "= client and server agree on it themselves",
    "access_groups": "a key is given a server by its allowed_passthrough_routes",
    "alias": "a server is reached by its name",
}


class McpServer(Struct, frozen=True, kw_only=True):
    """One server."""

    url: Annotated[str | None, By("edge")] = None
    """Its address."""
    transport: Annotated[Literal["http", "sse", "stdio"] | None, By("config")] = None
    """`http`: streamable HTTP. Without it an address that ends in /sse is the older transport."""
    auth_type: Annotated[str | None, By("edge")] = None
    """How it is shown who calls: none, api_key, bearer_token, basic, authorization, token."""
    auth_value: Annotated[Secret | None, By("edge")] = None
    """What is shown."""
    authentication_token: Annotated[Secret | None, By("edge")] = None
    """The same."""
    static_headers: Annotated[dict[str, Secret], By("edge")] = {}
    """Sent with every request."""
    extra_headers: Annotated[list[str], By("edge")] = []
    """Headers of the caller's that go on."""
    allow_all_keys: Annotated[bool, By("edge")] = False
    """Every key may use it. Else those that have it in `allowed_passthrough_routes`, and proxy
    admins.
    """
    timeout: Annotated[float | None, By("edge")] = None
    """Seconds a request may take."""

    def headers(self) -> dict[str, str]:
        """What says to the server who calls."""
        value = self.auth_value or self.authentication_token
        found = {name: each.reveal() for name, each in self.static_headers.items()}
        if value is None or self.auth_type in (None, "none"):
            return found
        plain = value.reveal()
        if self.auth_type == "api_key":
            return {**found, "X-API-Key": plain}
        shown = base64.b64encode(plain.encode()).decode() if self.auth_type == "basic" else plain
        return {**found, "Authorization": f"{_BEFORE[str(self.auth_type)]}{shown}"}


def read(given: Any, reading: Reading, *, secrets: bool) -> dict[str, McpServer]:
    """Those that are relayed, by name; of the others it is said why not.

    Args:
        secrets: whether this service calls them: then one without its credential isn't relayed.
    """
    if given is not None and not isinstance(given, dict):
        given = {"": given}
    found = {}
    for name, values in (given or {}).items():
        at = f"mcp_servers.{name}".rstrip(".")
        why = _why_not(str(name), values, secrets=secrets)
        if not why:
            known = {key: value for key, value in values.items() if key not in _FILTERS}
            try:
                found[str(name)] = section(McpServer, known, at, _IDLE, reading)
            except ConfigError as error:
                why = str(error).removeprefix(f"{at}.")
            else:
                why = "a header can't be sent" if _odd(found[str(name)].headers()) else ""
        if why:
            found.pop(str(name), None)
            reading.say(at, "no effect", why)
            reading.warn(f"{at}: not relayed ({why})")
        else:
            reading.say(at, "differently", _HOW.format(path=f"{PATH}{name}"))
    return found


def _why_not(name: str, values: Any, *, secrets: bool) -> str:
    """Why a server isn't relayed; empty: it is."""
    if not name or not isinstance(values, dict):
        return "it must be a mapping of names, each with a url"
    if _NAME.fullmatch(name) is None:
        return "its name must be made of letters, digits, '-', '_' and '.'"
    url, transport = values.get("url"), values.get("transport")
    if transport == "stdio" or values.get("command"):
        return "no program is started for it"
    if values.get("spec_path"):
        return "no server is made of an OpenAPI document"
    if isinstance(url, Unset):
        return f"url: {url}"
    if not isinstance(url, str) or (wrong := why_not_callable(url)):
        return f"url {wrong}" if isinstance(url, str) else "it has no url"
    if transport == "sse" or (transport is None and url.rstrip("/").endswith("/sse")):
        return "its transport is the older sse, which names addresses of its own; http is relayed"
    if values.get("auth_type") not in (None, "none", "api_key", *_BEFORE):
        return f"auth_type {values['auth_type']!r} isn't spoken here"
    for key in _FILTERS:
        if values.get(key) not in (None, [], {}, "", True):
            return f"{key} can't be enforced"
    missing = next((each for each in map(first_unset, values.values()) if each is not None), None)
    return str(missing) if secrets and missing is not None else ""


def _odd(found: dict[str, str]) -> bool:
    return not all(
        headers.NAME.fullmatch(name) and value.isascii() and value.isprintable() for name, value in found.items()
    )

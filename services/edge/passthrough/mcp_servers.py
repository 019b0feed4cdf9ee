"""The configuration's `mcp_servers` as pass-through endpoints: streamable HTTP of the Model Context
Protocol under our keys. Pure.

They are somebody's tools, with the organisation's credential, so nobody has them who wasn't given
them (`allowed_passthrough_routes`), unless the file says that all keys have.
"""

from collections.abc import Mapping

from shared.config.mcp import PATH, McpServer
from shared.passthrough import TIMEOUT_S, Entry

FORWARDS = ("mcp-session-id", "mcp-protocol-version", "last-event-id")
"""The caller's headers that the protocol is made of."""


def entries(servers: Mapping[str, McpServer]) -> list[Entry]:
    return [_entry(name, server) for name, server in servers.items()]


def _entry(name: str, server: McpServer) -> Entry:
    assert server.url is not None
    return Entry(
        id=f"mcp:{name}",
        path=f"{PATH}{name}",
        target=server.url,
        headers=server.headers(),
        methods=("POST", "GET", "DELETE"),
        forwards=(*FORWARDS, *(each.lower() for each in server.extra_headers)),
        timeout_s=server.timeout or TIMEOUT_S,
        only_listed=not server.allow_all_keys,
    )

"""Who may call which route: three tables and one pure rule (contract §5.2, §5.3).

Routes come without their `/v1` prefix. A route that isn't in the table is nobody's.
"""

from shared import errors
from shared.entities import Key
from shared.errors import Refusal

MODELS = "/models"

GROUPS: dict[str, str] = {
    "/chat/completions": "llm",
    "/completions": "llm",
    "/embeddings": "llm",
    MODELS: "llm",
    "/key/info": "info",
    "/key/list": "info",
    "/team/info": "info",
    "/team/list": "info",
    "/key/generate": "manage",
    "/key/update": "manage",
    "/key/delete": "manage",
    "/key/block": "manage",
    "/key/unblock": "manage",
    "/team/new": "manage",
    "/team/update": "manage",
    "/team/delete": "manage",
    "/team/block": "manage",
    "/team/unblock": "manage",
    "/spend/tags": "spend",
    "/spend/logs": "spend",
    "/audit": "audit",
}

RIGHTS: dict[str, frozenset[str]] = {
    "proxy_admin": frozenset({"llm", "info", "manage", "spend", "audit"}),
    "proxy_admin_viewer": frozenset({"info", "spend", "audit"}),
    "internal_user": frozenset({"llm", "info", "spend"}),
    "internal_user_viewer": frozenset({"info", "spend"}),
}
"""What a role may call. On `info` and `spend` everybody but the admins sees only what is theirs."""

OPEN_RIGHTS = frozenset({"llm", "info"})
"""Of the anonymous caller of a gateway without a master key."""

_NAMED_GROUPS: dict[str, frozenset[str]] = {
    "llm_api_routes": frozenset(r for r, group in GROUPS.items() if group == "llm"),
    "openai_routes": frozenset(r for r, group in GROUPS.items() if group == "llm"),
    "info_routes": frozenset({MODELS, *(r for r, group in GROUPS.items() if group == "info")}),
    "management_routes": frozenset({"/spend/logs", *(r for r, group in GROUPS.items() if group in ("manage", "info"))}),
    "spend_tracking_routes": frozenset(r for r, group in GROUPS.items() if group == "spend"),
}


def needs_model(route: str) -> bool:
    return GROUPS[route] == "llm" and route != MODELS


def refusal(route: str, role: str, key: Key | None, *, anonymous: bool) -> Refusal | None:
    """Why this caller may not call this route; None: they may. A key's `allowed_routes` only ever takes away."""
    group = GROUPS.get(route)
    if group is None:
        return errors.route_not_allowed(route)
    if key is not None and key.allowed_routes and not any(_covers(entry, route) for entry in key.allowed_routes):
        return errors.key_route_not_allowed(key.allowed_routes, route)
    rights = OPEN_RIGHTS if anonymous else RIGHTS.get(role, RIGHTS["internal_user"])
    if group in rights:
        return None
    return errors.route_not_allowed(route) if group == "llm" else errors.admin_only(route, role)


def _covers(entry: str, route: str) -> bool:
    """Exactly, as a prefix of the path, as a named group, or by a star at the end. `/v1/x` means `/x`."""
    named = _NAMED_GROUPS.get(entry)
    if named is not None:
        return route in named
    path = entry.removeprefix("/v1")
    if path.endswith("*"):
        return route.startswith(path[:-1])
    return route == path or (len(path) > 1 and route.startswith(path.rstrip("/") + "/"))

"""Who may call which route: the table of routes, a table of rights, and one pure rule (contract §5.2, §5.3).

Routes come by their names. A route that isn't in the table is nobody's.
"""

from shared import errors
from shared import routes as table
from shared.entities import Key
from shared.errors import Refusal
from shared.routes import Route

MODELS = "/models"


def right(route: Route) -> str:
    """What a caller must have: llm, info, manage, spend or audit."""
    if route.surface in ("llm", "models"):
        return "llm"
    if route.name.startswith("/audit"):
        return "audit"
    if route.surface == "ledger":
        return "spend"
    return "manage" if route.mutates else "info"


RIGHTS: dict[str, frozenset[str]] = {
    "proxy_admin": frozenset({"llm", "info", "manage", "spend", "audit"}),
    "proxy_admin_viewer": frozenset({"info", "spend", "audit"}),
    "internal_user": frozenset({"llm", "info", "spend"}),
    "internal_user_viewer": frozenset({"info", "spend"}),
}
"""What a role may call. On `info` and `spend` everybody but the admins sees only what is theirs."""

OPEN_RIGHTS = frozenset({"llm", "info"})
"""Of the anonymous caller of a gateway without a master key."""


def needs_model(route: str) -> bool:
    found = table.named(route)
    return found is not None and bool(found.model_from)


def refusal(route: str, role: str, key: Key | None, *, anonymous: bool) -> Refusal | None:
    """Why this caller may not call this route; None: they may. A key's `allowed_routes` only ever takes away."""
    found = table.named(route)
    if found is None:
        return errors.route_not_allowed(route)
    if key is not None and key.allowed_routes and not any(covers(entry, found) for entry in key.allowed_routes):
        return errors.key_route_not_allowed(key.allowed_routes, route)
    rights = OPEN_RIGHTS if anonymous else RIGHTS.get(role, RIGHTS["internal_user"])
    needed = right(found)
    if needed in rights:
        return None
    return errors.route_not_allowed(route) if needed == "llm" else errors.admin_only(route, role)


def covers(entry: str, route: Route) -> bool:
    """As one of LiteLLM's lists, exactly, as a prefix of the path, or by a star at the end. `/v1/x` means `/x`."""
    group = table.group_name(entry)
    if group is not None:
        return group in route.groups
    if entry.endswith("*"):
        return any(path.startswith(entry[:-1]) for path in route.paths)
    stem = entry.rstrip("/") + "/"
    return any(path == entry or (len(stem) > 1 and path.startswith(stem)) for path in route.paths)

"""Which role may call which route: one matrix, and one pure rule over the table of routes.

Whose rows somebody may touch once they may call a route is another matter: `rights.py`.
"""

import msgspec

from shared import errors
from shared.errors import Refusal
from shared.routes import Route

MODELS = "/models"


class Role(msgspec.Struct, frozen=True):
    groups: frozenset[str] = frozenset()
    """Lists of routes (LiteLLM's, or a row's own) that the role may call."""
    everything: bool = False
    reads: bool = False
    """Also what answers a GET, changes nothing and is no call to a model. What is asked by another
    method is listed: it may do something that leaves no fact (an emptied cache)."""


MATRIX: dict[str, Role] = {
    "proxy_admin": Role(everything=True),
    "proxy_admin_viewer": Role(
        frozenset(
            {
                "info_routes",
                "admin_viewer_routes",
                "spend_tracking_routes",
                "global_spend_tracking_routes",
                "own_routes",
                "looking_routes",
            }
        ),
        reads=True,
    ),
    "org_admin": Role(
        frozenset(
            {
                "llm_api_routes",
                "info_routes",
                "internal_user_routes",
                "self_managed_routes",
                "own_routes",
                "org_admin_only_routes",
                "management_routes",
            }
        )
    ),
    "internal_user": Role(
        frozenset({"llm_api_routes", "info_routes", "internal_user_routes", "self_managed_routes", "own_routes"})
    ),
    "internal_user_viewer": Role(frozenset({"info_routes", "internal_user_view_only_routes", "own_routes"})),
    "team": Role(frozenset({"llm_api_routes", "info_routes"})),
    "customer": Role(),
}
"""Ours: `own_routes`, what everybody may ask about themselves; `looking_routes`, what changes
nothing and is asked by POST. A role nobody knows is an internal user's. Of LiteLLM's routes for
org_admin those of `admin_viewer_routes` are left out: they show everybody's rows."""

OPEN = Role(frozenset({"llm_api_routes", "info_routes", "own_routes"}))
"""Of the anonymous caller of a gateway without a master key."""

CALLS = frozenset({"llm", "relayed", "passthrough"})
"""Surfaces of calls to a model."""


def may_call(route: Route, role: Role) -> bool:
    if role.everything:
        return True
    if role.reads and "GET" in route.methods and not route.mutates and route.surface not in CALLS:
        return True
    return not role.groups.isdisjoint(route.groups)


def refusal(route: Route, role_name: str, *, anonymous: bool, admin_only: bool) -> Refusal | None:
    """Why this role may not call this route; None: it may.

    Args:
        anonymous: nobody said who they are, and the gateway is open.
        admin_only: the configuration keeps this route for proxy admins.
    """
    role = OPEN if anonymous else MATRIX.get(role_name, MATRIX["internal_user"])
    if admin_only and not role.everything:
        return errors.admin_only_route(route.name)
    if may_call(route, role):
        return None
    return errors.route_not_allowed(route.name) if route.surface in CALLS else errors.admin_only(route.name, role_name)

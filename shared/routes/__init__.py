"""The one table of HTTP routes: edge, policy and ledger read it, and OpenAPI, role matrix and tests
are made from it.

A new route is a row in the file of its kind, and a handler where its surface's owner has them. Rows
only stand here once somebody answers them (a test holds every owner to that).
"""

import msgspec

from shared.routes import guardrails, hub, llm, management, organizations, pages, people, public, site, spend, utilities
from shared.routes.litellm_groups import GROUPS, group_name, groups_of
from shared.routes.route import Match, Parameter, Route, Table

__all__ = ["GROUPS", "TABLE", "Match", "Parameter", "Route", "find", "group_name", "named", "of_group", "of_surface"]


def _grouped(row: Route) -> Route:
    return msgspec.structs.replace(row, groups=row.groups | groups_of(row.paths))


TABLE = Table(
    _grouped(row)
    for row in (
        *llm.ROWS,
        *management.ROWS,
        *organizations.ROWS,
        *people.ROWS,
        *spend.ROWS,
        *public.ROWS,
        *pages.ROWS,
        *site.ROWS,
        *hub.ROWS,
        *guardrails.ROWS,
        *utilities.ROWS,
    )
)

find = TABLE.find


def named(name: str) -> Route | None:
    return TABLE.by_name.get(name)


def of_surface(surface: str) -> list[Route]:
    return [row for row in TABLE.rows if row.surface == surface]


def of_group(group: str) -> list[Route]:
    """The rows in one of LiteLLM's lists, or in a group of ours."""
    return [row for row in TABLE.rows if group in row.groups]

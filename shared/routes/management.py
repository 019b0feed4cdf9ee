"""Keys, teams and everything else that policy owns. Each row's command is in services/policy/commands."""

from typing import Any

from shared.routes.route import Parameter, Route

OBJECT: dict[str, Any] = {"type": "object"}


def _change(path: str, summary: str, *also: str, request: Any = OBJECT, answer: Any = OBJECT) -> Route:
    return Route(
        name=path,
        methods=("POST",),
        paths=(path, *also),
        surface="management",
        mutates=True,
        summary=summary,
        request=request,
        answer=answer,
    )


def _question(path: str, summary: str, *query: Parameter, answer: Any = OBJECT) -> Route:
    return Route(
        name=path,
        methods=("GET",),
        paths=(path,),
        surface="management",
        summary=summary,
        query=query,
        answer=answer,
    )


_KEY = Parameter("key", "The key, or its SHA-256; without it the caller's own")
_PAGE = (Parameter("page", type="integer"), Parameter("size", type="integer"))
_KEY_FILTERS = tuple(
    Parameter(name)
    for name in (
        "user_id", "team_id", "organization_id", "key_hash", "key_alias", "search", "status", "expires", "sort_by", "sort_order",
    )
)  # fmt: skip
_KEY_FLAGS = tuple(
    Parameter(name, type="boolean")
    for name in ("return_full_object", "include_team_keys", "include_created_by_keys", "substring_matching")
)

ROWS = (
    _change("/key/generate", "Make a virtual key"),
    _change("/key/update", "Change a key"),
    _change("/key/delete", "Delete keys"),
    _change("/key/block", "Block a key"),
    _change("/key/unblock", "Unblock a key"),
    _question("/key/info", "One key", _KEY),
    _question("/key/list", "The keys that the caller may see", *_PAGE, *_KEY_FILTERS, *_KEY_FLAGS),
    _change("/team/new", "Make a team"),
    _change("/team/update", "Change a team"),
    _change("/team/delete", "Delete teams, and their keys"),
    _change("/team/block", "Block a team"),
    _change("/team/unblock", "Unblock a team"),
    _question("/team/info", "One team", Parameter("team_id", "Without it the caller's own")),
    _question(
        "/team/list",
        "The teams that the caller may see",
        Parameter("user_id"),
        Parameter("organization_id"),
        answer={"type": "array", "items": OBJECT},
    ),
)

"""Organisations, projects, and what several entities share: budgets and tags. Each row's command is
in services/policy/commands.
"""

from typing import Any

from shared.entities import BUDGET, ORGANIZATION, PROJECT, TAG
from shared.routes.forms import ID, OBJECT, OBJECTS, PAGE, STRING, STRINGS, body, change, question
from shared.routes.route import Parameter, Route


def _with(path: str, method: str, summary: str, request: Any, *, answer: Any = OBJECT) -> Route:
    """A change by another method than POST; LiteLLM's clients use POST too where the page of the
    route says so.
    """
    return Route(
        name=path,
        methods=(method, "POST"),
        paths=(path,),
        surface="management",
        mutates=True,
        summary=summary,
        request=request,
        answer=answer,
    )


_ORGANIZATION_ID: dict[str, Any] = {"organization_id": STRING}
_ORGANIZATIONS = (
    change("/organization/new", "Make an organisation", body(ORGANIZATION, **_ORGANIZATION_ID)),
    _with("/organization/update", "PATCH", "Change an organisation", body(ORGANIZATION, **_ORGANIZATION_ID)),
    _with(
        "/organization/delete",
        "DELETE",
        "Delete organisations that have no teams",
        body(None, "organization_ids", organization_ids=STRINGS),
        answer=OBJECTS,
    ),
    question("/organization/info", "One organisation", Parameter("organization_id", required=True)),
    Route(
        name="POST /organization/info",
        methods=("POST",),
        groups=frozenset({"looking_routes"}),
        paths=("/organization/info",),
        surface="management",
        summary="Several organisations",
        request=body(None, "organizations", organizations=STRINGS),
        answer=OBJECTS,
    ),
    question(
        "/organization/list",
        "The organisations that the caller may see",
        Parameter("org_id"),
        Parameter("org_alias", "A part of the name"),
        answer=OBJECTS,
    ),
    change(
        "/organization/member_add",
        "Add members",
        body(None, "organization_id", "member", member={}, **_ORGANIZATION_ID),
    ),
    _with(
        "/organization/member_update",
        "PATCH",
        "Change a member's role",
        body(None, user_id=STRING, user_email=STRING, role=STRING, **_ORGANIZATION_ID),
    ),
    _with(
        "/organization/member_delete",
        "DELETE",
        "Take a member out",
        body(None, user_id=STRING, user_email=STRING, **_ORGANIZATION_ID),
    ),
    change("/project/new", "Make a project", body(PROJECT, project_id=STRING)),
    change("/project/update", "Change a project", body(PROJECT, project_id=STRING)),
    _with(
        "/project/delete", "DELETE", "Delete projects", body(None, "project_ids", project_ids=STRINGS), answer=OBJECTS
    ),
    question("/project/info", "One project", Parameter("project_id", required=True)),
    question("/project/list", "The projects that the caller may see", answer=OBJECTS),
)

_BUDGETS = (
    change("/budget/new", "Make a budget", body(BUDGET, budget_id=STRING)),
    change("/budget/update", "Change a budget", body(BUDGET, "budget_id", budget_id=STRING)),
    change("/budget/delete", "Delete a budget that nothing refers to", ID),
    Route(
        name="/budget/info",
        methods=("POST",),
        groups=frozenset({"looking_routes"}),
        paths=("/budget/info",),
        surface="management",
        summary="Some budgets, by name",
        request=body(None, "budgets", budgets=STRINGS),
        answer=OBJECTS,
    ),
    question("/budget/list", "Budgets", *PAGE, answer=OBJECTS),
    question("/budget/settings", "What can be set on a budget", Parameter("budget_id"), answer=OBJECTS),
    change("/tag/new", "Say something about a tag", body(TAG, "name", name=STRING)),
    change("/tag/update", "Say something else about it", body(TAG, "name", name=STRING)),
    change("/tag/delete", "Forget what was said about a tag", body(None, "name", name=STRING)),
)

ROWS = (*_ORGANIZATIONS, *_BUDGETS)

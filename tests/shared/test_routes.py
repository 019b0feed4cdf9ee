"""The table of routes: every row is found, is in LiteLLM's lists where LiteLLM has it, and has one
handler in its owner.
"""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openapi_spec_validator import validate

from services.edge.surfaces import SURFACES
from services.ledger.api import Api
from services.ledger.routes import handlers
from services.policy.commands import COMMANDS
from shared import routes
from shared.routes import TABLE, Match, Route, openapi
from shared.routes.litellm_groups import GROUPS
from shared.routes.route import Table, pattern

ROWS = TABLE.rows


def row(name: str, *paths: str, methods: tuple[str, ...] = ("GET",)) -> Route:
    return Route(name=name, methods=methods, paths=paths or (name,), surface="health")


@pytest.mark.parametrize("route", ROWS, ids=lambda r: r.name)
def test_every_row_is_found_by_each_of_its_paths_and_methods(route: Route) -> None:
    for path in route.paths:
        shown = re.sub(r"\{[a-z_]+(:path)?\}", "a-value", path)
        for method in route.methods:
            found = routes.find(method, shown)
            assert isinstance(found, Match)
            assert found.route is routes.named(route.name)
            assert set(found.params.values()) <= {"a-value"}
        assert not isinstance(routes.find("TRACE", shown), Match)


@pytest.mark.parametrize("route", ROWS, ids=lambda r: r.name)
def test_every_row_has_a_handler_in_its_owner(route: Route) -> None:
    assert route.surface in SURFACES
    assert route.summary
    if route.surface == "management":
        assert route.name in COMMANDS
    if route.surface == "ledger":
        assert route.name in handlers(Api(None, lambda: None, None, None, None))
    if route.mutates:
        assert not set(route.methods) & {"GET", "HEAD", "OPTIONS"}


def test_no_handler_is_without_its_row() -> None:
    assert set(COMMANDS) == {route.name for route in routes.of_surface("management")}
    assert set(handlers(Api(None, lambda: None, None, None, None))) == {r.name for r in routes.of_surface("ledger")}
    assert set(SURFACES) == {route.surface for route in ROWS}


def test_exact_paths_go_before_templates_and_the_more_literal_template_first() -> None:
    table = Table(
        [
            row("/key/{key:path}/regenerate"),
            row("/key/{key}"),
            row("/key/list"),
            row("POST /key/list", "/key/list", methods=("POST",)),
            row("/key/{key}/regenerate/{then}"),
        ]
    )

    def found(path: str, method: str = "GET") -> Any:
        hit = table.find(method, path)
        return (hit.route.name, hit.params) if isinstance(hit, Match) else hit

    assert found("/key/list") == ("/key/list", {})
    assert found("/key/list", "POST") == ("POST /key/list", {})
    assert found("/key/list", "PUT") == ("GET", "POST"), "what would be allowed"
    assert found("/key/k") == ("/key/{key}", {"key": "k"})
    assert found("/key/a/b/regenerate") == ("/key/{key:path}/regenerate", {"key": "a/b"})
    assert found("/key/regenerate") == ("/key/{key}", {"key": "regenerate"})
    assert found("/key/k/regenerate/x") == ("/key/{key}/regenerate/{then}", {"key": "k", "then": "x"})
    assert found("/key/a\nb") == ("/key/{key}", {"key": "a\nb"})
    for nobody in ("/key/", "/key", "/", "", "//", "/keys/k", "/key/k/", "/other"):
        assert found(nobody) == (), nobody


@pytest.mark.parametrize(
    "rows",
    [
        [row("/a"), row("/a")],
        [row("/a"), row("/b", "/a")],
        [row("/a/{x}"), row("/b", "/a/{y}")],
        [row("/a/{x:path}/{y:path}")],
    ],
)
def test_a_table_that_contradicts_itself_is_refused(rows: list[Route]) -> None:
    with pytest.raises(ValueError):
        Table(rows)


@given(st.text(max_size=30) | st.text("/{}a:.%", max_size=300))
def test_any_path_gets_an_answer(path: str) -> None:
    found = routes.find("GET", path)
    assert isinstance(found, Match | tuple)


def test_a_template_is_linear_on_any_path() -> None:
    """A hundred thousand characters at once: seconds, if it weren't."""
    expression = pattern("/models/{model_name:path}:generateContent")
    assert expression.fullmatch("/models/" + ":generateContent" * 20_000 + "x") is None


@pytest.mark.parametrize(
    ("group", "inside", "outside"),
    [
        ("llm_api_routes", ["/chat/completions", "/embeddings", "/models"], ["/key/info", "/spend/logs"]),
        ("openai_routes", ["/completions", "/models"], ["/audit"]),
        ("info_routes", ["/key/info", "/team/list", "/models"], ["/key/generate", "/chat/completions"]),
        ("management_routes", ["/key/generate", "/team/new", "/spend/logs"], ["/spend/tags", "/chat/completions"]),
        ("spend_tracking_routes", ["/spend/tags", "/spend/logs"], ["/audit"]),
        ("admin_viewer_routes", ["/audit", "/audit/{id}"], ["/key/generate"]),
        ("public_routes", ["/health/liveliness"], ["/health/readiness", "/models"]),
    ],
)
def test_litellms_lists_are_predicates_over_the_rows(group: str, inside: list[str], outside: list[str]) -> None:
    members = {route.name for route in routes.of_group(group)}
    assert set(inside) <= members
    assert not set(outside) & members
    assert routes.group_name(group) == routes.group_name("LiteLLMRoutes." + group) == group


def test_litellms_lists_are_there_whole() -> None:
    assert len(GROUPS) == 32
    assert {name: len(GROUPS[name]) for name in ("openai_routes", "info_routes", "public_routes", "google_routes")} == {
        "openai_routes": 127,
        "info_routes": 24,
        "public_routes": 19,
        "google_routes": 15,
    }
    assert routes.group_name("no_such_list") is None


def test_openapi_is_a_valid_document_of_every_path() -> None:
    document = openapi.document(ROWS, title="T", version="1", description="D")
    validate(document)
    asked = {(path, method) for path, each in document["paths"].items() for method in each}
    assert asked == {
        (path.replace(":path}", "}"), method.lower())
        for r in ROWS
        for path in r.paths
        for method in r.methods
        if r.surface not in openapi.FOR_BROWSERS
    }
    ids = [operation["operationId"] for each in document["paths"].values() for operation in each.values()]
    assert len(set(ids)) == len(ids)
    assert "security" not in document["paths"]["/health/liveliness"]["get"]
    assert document["paths"]["/audit/{id}"]["get"]["parameters"][0]["in"] == "path"
    chat = document["paths"]["/v1/chat/completions"]["post"]
    assert chat["requestBody"]["content"]["application/json"]["schema"]["required"] == ["model", "messages"]

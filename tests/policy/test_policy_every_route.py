"""Walks the table of routes: every management route has a command, an OpenAPI entry, a role, a
sample; each that changes something leaves exactly its facts; nobody who is nothing to an entity may
change it, or see it."""

from typing import Any

import jsonschema
import msgspec
import pytest

from services.policy.commands import COMMANDS
from services.policy.routes import MATRIX, may_call
from shared import routes
from shared.entities import KINDS
from shared.errors import Refusal
from shared.facts import Caller
from shared.routes import openapi
from tests.policy.samples import BOSS, MEMBER, ORG_ADMIN, OWNER, SAMPLES, TEXT, Sample, world
from tests.policy.world import CONFIG, NOW, World

ROUTES = routes.of_surface("management")
CHANGING = [row.name for row in ROUTES if row.mutates]
DOCUMENT = openapi.document(routes.TABLE.rows, title="t", version="1")


def made(route: str) -> World:
    more = TEXT.get(route)
    return world() if more is None else world(text=CONFIG.replace("general_settings:\n", more))


def call(w: World, route: str, **kw: Any) -> Any:
    sample = SAMPLES[route]
    return w.call(route, sample.body, query=sample.query, params=sample.params, **kw)


def test_every_management_route_has_all_it_needs() -> None:
    names = {row.name for row in ROUTES}
    assert names == set(COMMANDS) == set(SAMPLES)
    for row in ROUTES:
        assert row.public or [name for name, role in MATRIX.items() if may_call(row, role)], row.name
        for path in row.paths:
            for method in row.methods:
                operation = DOCUMENT["paths"][path.replace(":path}", "}")][method.lower()]
                assert operation["responses"]["200"] and operation["summary"]
                if SAMPLES[row.name].body and method != "GET":
                    assert "requestBody" in operation, (method, path)
                asked = {each["name"] for each in operation.get("parameters", ())}
                assert set(SAMPLES[row.name].query) <= asked, (row.name, asked)


@pytest.mark.parametrize("route", sorted(SAMPLES))
def test_a_good_call_is_answered_as_described_and_leaves_exactly_its_facts(route: str) -> None:
    w, sample, row = made(route), SAMPLES[route], routes.named(route)
    assert row is not None
    before = {(kind, each): entity for kind, table in w.directory.tables.items() for each, entity in table.items()}
    answer = call(w, route)
    assert not isinstance(answer, Refusal), answer
    operation = DOCUMENT["paths"][row.paths[0].replace(":path}", "}")][row.methods[0].lower()]
    jsonschema.validate(answer, resolved(operation["responses"]["200"]["content"]["application/json"]["schema"]))
    if "requestBody" in operation:
        body = {name: value for name, value in sample.body.items() if name not in ("token", "key_name")}
        jsonschema.validate(body, resolved(operation["requestBody"]["content"]["application/json"]["schema"]))
    left = [
        (f.kind, "*" if each[1] == "*" else f.entity_id, f.action)
        for f, each in zip(w.facts, sample.facts or [("", "", "")] * 99, strict=False)
    ]
    assert left == sample.facts and len(w.facts) == len(sample.facts)
    assert bool(sample.facts) == row.mutates
    for fact in w.facts:
        old = before.get((fact.kind, fact.entity_id))
        assert fact.before == (None if old is None else msgspec.to_builtins(old)), "before is what was there"
        now = w.directory.tables[fact.kind].get(fact.entity_id)
        assert fact.after == (None if now is None else msgspec.to_builtins(now)), "after is what is there"
    touched = {(f.kind, f.entity_id) for f in w.facts}
    after = {(kind, each): entity for kind, table in w.directory.tables.items() for each, entity in table.items()}
    for name in set(before) | set(after):
        assert name in touched or before.get(name) == after.get(name), f"{name} changed without a fact"


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return {**schema, "components": DOCUMENT["components"]}


BULK = frozenset({"/key/bulk_update", "/user/bulk_update"})
"""Whose answer says of each item whether it was let."""
STRANGERS = {
    "somebody": Caller(user_id="somebody"),
    "a viewer": Caller(user_id="v", role="proxy_admin_viewer"),
    "another organisation's admin": Caller(user_id="other-admin", role="org_admin"),
    "nobody's key": Caller(key_sha256=None, user_id=None),
}


@pytest.mark.parametrize("who", sorted(STRANGERS))
@pytest.mark.parametrize("route", CHANGING)
def test_a_stranger_changes_nothing(route: str, who: str) -> None:
    """Either the role may not call the route, or the command refuses."""
    actor, row = STRANGERS[who], routes.named(route)
    assert row is not None
    if not may_call(row, MATRIX[actor.role]):
        return
    w = made(route)
    answer = call(w, route, actor=actor)
    assert w.facts == []
    if route in BULK:
        failed = answer.get("failed_updates")
        assert failed == 2 or all(each["key_info"] is None for each in failed), "nothing is shown either"
    else:
        assert isinstance(answer, Refusal) and answer.status in (400, 403), (route, who, answer)


KEEPERS: dict[str, dict[str, set[str]]] = {
    BOSS: {
        "may": {
            "/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock", "/key/regenerate", "/team/update",
            "/key/{key_id}/reset_spend", "/team/key/bulk_update",
            "/team/{team_id}/member/{user_id}/reset_spend", "/team/{team_id}/member/{user_id}/reset_budget",
            "/team/member_add", "/team/member_update", "/team/member_delete", "/team/permissions_update", "/project/new",
            "/project/update", "/key/service-account/generate", "/key/bulk_update", "POST /team/{team_id}/callback",
            "/team/{team_id}/callback/{callback_name}",
        }
    },
    ORG_ADMIN: {
        "may": {
            "/key/generate", "/key/update", "/key/delete", "/key/block", "/key/unblock", "/key/regenerate", "/team/new",
            "/key/{key_id}/reset_spend", "/team/key/bulk_update", "PATCH /team/{team_id}",
            "/team/{team_id}/member/{user_id}/reset_spend", "/team/{team_id}/member/{user_id}/reset_budget",
            "/team/update", "/team/delete", "/team/block", "/team/unblock", "/team/member_add", "/team/member_update",
            "/team/member_delete", "/team/permissions_update", "/user/new", "/organization/member_add",
            "/organization/member_update", "/organization/member_delete", "/project/new", "/project/update",
            "/key/service-account/generate", "/key/bulk_update", "POST /team/{team_id}/callback",
            "/team/{team_id}/callback/{callback_name}",
        }
    },
    OWNER: {"may": {"/key/update", "/key/delete", "/key/regenerate", "/key/bulk_update"}},
    MEMBER: {"may": set()},
}  # fmt: skip


@pytest.mark.parametrize("who", sorted(KEEPERS))
@pytest.mark.parametrize("route", CHANGING)
def test_who_looks_after_what(route: str, who: str) -> None:
    """Role and relation together, as a credential of theirs is judged."""
    role = "org_admin" if who == ORG_ADMIN else "internal_user"
    row = routes.named(route)
    assert row is not None
    w = made(route)
    called = may_call(row, MATRIX[role])
    answer = call(w, route, actor=Caller(user_id=who, role=role)) if called else None
    assert bool(w.facts) == (route in KEEPERS[who]["may"]), (route, who, answer)
    assert bool(w.facts) == (called and not isinstance(answer, Refusal)) or route in BULK


def test_an_organisations_admin_is_one_by_membership_and_at_once() -> None:
    from tests.policy.world import key, secret

    w = world()
    w.hold(key("admins", user_id=ORG_ADMIN))
    grant = w.decide(secret("admins"), route="/team/new")
    assert grant.caller.role == "org_admin" and "control.organization.>" in grant.depends_on
    assert w.decide(secret("admins"), model="gpt").caller.role == "internal_user"
    w.call("/organization/member_update", {"organization_id": "o", "user_id": ORG_ADMIN, "role": "internal_user"})
    assert w.decide(secret("admins"), route="/team/new").rule == "role"


def test_samples_are_about_kinds_that_exist() -> None:
    assert {kind for sample in SAMPLES.values() for kind, _, _ in sample.facts} <= set(KINDS)
    assert isinstance(SAMPLES["/key/info"], Sample) and NOW

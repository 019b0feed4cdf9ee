"""Budgets and tags as entities: typed, kept, shown where something refers to them, and never said
to bind.
"""

from typing import Any

import pytest

from shared.entities import Budget
from shared.errors import Refusal
from tests.policy.samples import world
from tests.policy.world import CONFIG, World, digest, key, secret

GIVEN = {
    "max_budget": 10.5,
    "soft_budget": 5,
    "budget_duration": "30d",
    "tpm_limit": 1000,
    "rpm_limit": 10,
    "max_parallel_requests": 2,
    "model_max_budget": {"gpt": {"budget_limit": "0.5", "time_period": "1d"}},
    "budget_reset_at": "2030-01-31T00:00:00Z",
}


def test_a_budget_is_kept_as_it_was_given_and_said_not_to_bind() -> None:
    w = world()
    plan = w.plan("/budget/new", {"budget_id": "pro", **GIVEN})
    assert set(plan.not_enforced) == set(GIVEN)
    made = w.call("/budget/new", {"budget_id": "pro", **GIVEN})
    shown = {**GIVEN, "model_max_budget": {"gpt": {"budget_limit": 0.5, "time_period": "1d"}}}
    assert {name: made[name] for name in GIVEN} == {**shown, "budget_reset_at": "2030-01-31T00:00:00.000+00:00"}
    assert w.call("/budget/info", {"budgets": ["pro", "nobody's"]}) == [made], "those that are there"
    assert [each["budget_id"] for each in w.call("/budget/list")] == ["b", "pro"]
    changed = w.call("/budget/update", {"budget_id": "pro", "max_budget": 20, "tpm_limit": None})
    assert (changed["max_budget"], changed["tpm_limit"], changed["rpm_limit"]) == (20.0, None, 10)
    settings = w.call("/budget/settings", query={"budget_id": "pro"})
    assert {each["field_name"]: each["field_value"] for each in settings}["max_budget"] == 20.0
    assert w.call("/budget/new", {})["budget_id"], "one that nobody named has an id all the same"


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/key/generate", {"token": digest("k"), "key_name": "sk-...cdef"}),
        ("/customer/new", {"user_id": "holder"}),
        ("/organization/new", {"organization_id": "holder"}),
        ("/project/new", {"project_id": "holder"}),
        ("/tag/new", {"name": "holder"}),
    ],
)
def test_who_refers_to_a_budget_shows_it_and_keeps_it_from_being_deleted(route: str, body: dict[str, Any]) -> None:
    w = world()
    refused = w.call(route, {**body, "budget_id": "nobody's"})
    assert isinstance(refused, Refusal) and refused.param == "budget_id" and not w.facts
    plan = w.plan(route, {**body, "budget_id": "b"})
    assert "budget_id" in plan.not_enforced
    w.call(route, {**body, "budget_id": "b"})
    held = w.call("/budget/delete", {"id": "b"})
    assert isinstance(held, Refusal) and held.status == 400 and "still" in held.message
    w.call("/budget/update", {"budget_id": "b", "max_budget": 77})
    infos = {
        "/key/generate": lambda: w.call("/key/info", query={"key": digest("k")})["info"],
        "/customer/new": lambda: w.call("/customer/info", query={"end_user_id": "holder"}),
        "/organization/new": lambda: w.call("/organization/info", query={"organization_id": "holder"}),
        "/project/new": lambda: w.call("/project/info", query={"project_id": "holder"}),
        "/tag/new": lambda: w.call("/tag/update", {"name": "holder"})["tag"],
    }
    row = infos[route]()
    assert row["budget_id"] == "b" and row["litellm_budget_table"]["max_budget"] == 77.0


def test_a_reference_that_was_dangling_before_keeps_nobody_from_changing_something_else() -> None:
    w = World(key("a", extra={"budget_id": "gone"}))
    assert w.call("/key/update", {"key": digest("a"), "metadata": {"x": 1}})["budget_id"] == "gone"
    assert w.call("/key/info", query={"key": digest("a")})["info"]["litellm_budget_table"] is None
    w.call("/key/update", {"key": digest("a"), "budget_id": None})
    w.hold(Budget(budget_id="gone"))
    assert w.call("/budget/delete", {"id": "gone"})["budget_id"] == "gone", "nothing refers to it any more"


def test_a_customers_own_limits_stand_where_litellm_has_them() -> None:
    w = world()
    row = w.call("/customer/new", {"user_id": "x", "max_budget": 3, "rpm_limit": 5})
    assert row["litellm_budget_table"] == {"budget_id": None, "max_budget": 3.0, "rpm_limit": 5}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"max_budget": -1}, "max_budget"),
        ({"max_budget": "much"}, "max_budget"),
        ({"soft_budget": 2, "max_budget": 1}, "soft_budget"),
        ({"tpm_limit": 1.5}, "tpm_limit"),
        ({"budget_duration": "soon"}, "budget_duration"),
        ({"budget_duration": "0d"}, "budget_duration"),
        ({"budget_reset_at": "tomorrow"}, "budget_reset_at"),
        ({"budget_reset_at": 17}, "budget_reset_at"),
        ({"model_max_budget": {"gpt": 1}}, "model_max_budget.gpt"),
        ({"model_max_budget": {"gpt": {"max_budget": []}}}, "model_max_budget.gpt.max_budget"),
        ({"allowed_models": "gpt"}, "allowed_models"),
        ({"temp_budget_increase": 1}, "temp_budget_expiry"),
        ({"budget_id": 7}, "budget_id"),
        ({"budget_id": "b"}, "budget_id"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(body: dict[str, Any], param: str) -> None:
    w = world()
    refused = w.call("/budget/new", body)
    assert isinstance(refused, Refusal) and refused.status == 400 and refused.param == param
    assert not w.facts


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model_rpm_limit": {"gpt": "ten"}}, "model_rpm_limit.gpt"),
        ({"budget_limits": [{"max_budget": 1, "budget_duration": "1y"}]}, "budget_limits.0.budget_duration"),
        ({"budget_limits": [None]}, "budget_limits"),
        ({"budget_limits": {}}, "budget_limits"),
        ({"budget_reset_at": "0001-01-01T00:00:00+14:00"}, "budget_reset_at"),
        ({"rotation_interval": "0s"}, "rotation_interval"),
        ({"model_rpm_limit": {"gpt": None}}, "model_rpm_limit.gpt"),
        ({"model_rpm_limit": {"": 1}}, "model_rpm_limit."),
        ({"budget_limits": [{"max_budget": 1}]}, "budget_limits.0.budget_duration"),
        ({"budget_fallbacks": {"gpt": "mini"}}, "budget_fallbacks.gpt"),
        ({"aliases": {"": "gpt"}}, "aliases"),
        ({"aliases": {"x": ""}}, "aliases"),
        ({"rpm_limit_type": "fast"}, "rpm_limit_type"),
        ({"temp_budget_increase": 1}, "temp_budget_expiry"),
        ({"tpm_limit": "1.5"}, "tpm_limit"),
        ({"tpm_limit": "\u0663"}, "tpm_limit"),
        ({"guardrails": ["banned_keyword"]}, "guardrails"),
        ({"metadata": {"guardrails": ["banned_keyword"]}}, "guardrails"),
    ],
)
def test_a_keys_limits_have_their_types(body: dict[str, Any], param: str) -> None:
    w = world()
    refused = w.call("/key/update", {"key": digest("a"), **body})
    assert isinstance(refused, Refusal) and refused.param == param
    assert not w.facts


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/team/update", {"team_id": "t"}),
        ("/project/update", {"project_id": "p"}),
        ("/key/generate", {"token": digest("k"), "key_name": "sk-...cdef"}),
    ],
)
def test_a_guardrail_that_nobody_has_protects_nobody(route: str, body: dict[str, Any]) -> None:
    w = world()
    refused = w.call(route, {**body, "guardrails": ["banned_keywords", "misspelt"]})
    assert isinstance(refused, Refusal) and refused.param == "guardrails" and not w.facts
    assert not isinstance(w.call(route, {**body, "guardrails": ["banned_keywords"]}), Refusal)


def test_one_that_went_away_keeps_nobody_from_changing_something_else() -> None:
    w = World(key("a", extra={"guardrails": ["gone"]}))
    assert not isinstance(
        w.call("/key/update", {"key": digest("a"), "guardrails": ["gone", "banned_keywords"]}), Refusal
    )


def test_numbers_come_as_forms_send_them() -> None:
    w = world()
    assert w.call("/key/update", {"key": digest("a"), "tpm_limit": "1000", "max_budget": "0.5"})["tpm_limit"] == 1000


def test_a_tags_models_have_the_tag() -> None:
    w = World(
        key("a"), text=CONFIG + "router_settings: {enable_tag_filtering: true, model_group_alias: {other: gpt}}\n"
    )
    first, second = (each.deployment_id for each in w.catalog.candidates("gpt"))
    assert w.plan("/tag/new", {"name": "paid", "models": [first]}).not_enforced == []

    def tags(model: str = "gpt") -> list[list[str]]:
        return [each.tags for each in w.decide(secret("a"), model=model).candidates]

    assert tags() == [[], []]
    w.call("/tag/new", {"name": "paid", "models": [first]})
    w.call("/tag/new", {"name": "all of it", "models": ["gpt", second]})
    assert tags() == [["all of it", "paid"], ["all of it", "all of it"]] and tags("mini") == [[]]
    assert tags("other") == tags(), "by whatever name the model is called"
    assert "control.tag.>" in w.decide(secret("a"), model="gpt").depends_on, "a change holds at once"
    w.call("/tag/update", {"name": "paid", "models": [second]})
    w.call("/tag/delete", {"name": "all of it"})
    assert tags() == [[], ["paid"]]


def test_a_tag() -> None:
    w = world()
    deployment = next(iter(w.catalog.deployments.values()))
    body = {"name": "t1", "description": "two\nlines", "models": [deployment.id, "gpt"], "max_budget": 1}
    assert set(w.plan("/tag/new", body).not_enforced) == {"models", "max_budget"}
    made = w.call("/tag/new", body)
    assert made["message"] == "Tag t1 created successfully"
    tag = made["tag"]
    assert tag["description"] == "two\nlines" and tag["model_info"] == {deployment.id: deployment.model_name}
    assert tag["litellm_budget_table"] == {"budget_id": None, "max_budget": 1.0}
    again = w.call("/tag/new", {"name": "t1"})
    assert isinstance(again, Refusal) and again.status == 400
    assert w.call("/tag/update", {"name": "t1", "models": ["gpt"]})["tag"]["models"] == ["gpt"]
    assert w.call("/tag/update", {"name": "nobody's"}).status == 404
    assert w.call("/tag/delete", {"name": "t1"})["message"] == "Tag t1 deleted successfully"
    assert w.call("/tag/delete", {"name": "t1"}).status == 404
    for wrong in (None, 7, "", "x" * 257):
        assert w.call("/tag/new", {"name": wrong}).param == "name"

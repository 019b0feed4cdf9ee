"""Access groups by API, and the other routes that change several entities in one way."""

from typing import Any

import pytest

from shared.entities import Model, Team
from shared.errors import Refusal
from shared.facts import Caller
from shared.grant import Grant
from tests.policy.world import CONFIG, World, digest, key, secret

TEXT = CONFIG.replace("general_settings:\n", "general_settings:\n  store_model_in_db: true\n").replace(
    "  - model_name: mini\n", "  - model_name: mini\n    model_info: {access_groups: [of-file]}\n"
)


def world() -> World:
    params = {"model": "openai/gpt-4o", "api_key": "k"}
    models = [
        Model(model_id=f"{name}-{n}", model_name=name, litellm_params=params) for name in ("one", "two") for n in (1, 2)
    ]
    return World(*models, key("a"), text=TEXT)


def groups(w: World) -> dict[str, tuple[list[str], int]]:
    found = w.call("/access_group/list")["access_groups"]
    return {each["access_group"]: (each["model_names"], each["deployment_count"]) for each in found}


def test_a_group_is_what_a_list_of_models_may_hold_and_holds_at_once() -> None:
    w = world()
    assert isinstance(w.call("/key/update", {"key": digest("a"), "models": ["beta"]}), Refusal), "nobody knows it yet"
    made = w.call("/access_group/new", {"access_group": "beta", "model_names": ["one"]})
    assert made == {"access_group": "beta", "model_names": ["one"], "model_ids": None, "models_updated": 2}
    w.call("/key/update", {"key": digest("a"), "models": ["beta"]})
    assert isinstance(w.decide(secret("a"), model="one"), Grant)
    assert not isinstance(w.decide(secret("a"), model="two"), Grant)
    assert groups(w) == {"beta": (["one"], 2), "of-file": (["mini"], 1)}
    params = {"access_group": "beta"}
    w.call("/access_group/{access_group}/update", {"model_ids": ["two-1"]}, params=params)
    assert w.call("/access_group/{access_group}/info", params=params)["model_names"] == ["two"]
    assert not isinstance(w.decide(secret("a"), model="one"), Grant)
    assert isinstance(w.decide(secret("a"), model="two"), Grant)
    assert w.call("/access_group/{access_group}/delete", params=params)["models_updated"] == 1
    assert not isinstance(w.decide(secret("a"), model="two"), Grant)
    assert w.call("/access_group/{access_group}/info", params=params).status == 404


@pytest.mark.parametrize(
    ("body", "status", "param"),
    [
        ({"model_names": ["one"]}, 400, "access_group"),
        ({"access_group": "x"}, 400, "model_names"),
        ({"access_group": "x", "model_names": "one"}, 400, "model_names"),
        ({"access_group": "x", "model_names": ["mini"]}, 400, "model_names"),
        ({"access_group": "x", "model_names": ["one", "nobody's"]}, 400, "model_names"),
        ({"access_group": "x", "model_ids": ["one-1", "gone"]}, 400, "model_ids"),
        ({"access_group": "gpt", "model_names": ["one"]}, 400, "access_group"),
        ({"access_group": "of-file", "model_names": ["one"]}, 409, "access_group"),
    ],
)
def test_what_is_no_group_changes_nothing(body: dict[str, Any], status: int, param: str) -> None:
    w = world()
    refused = w.call("/access_group/new", body)
    assert isinstance(refused, Refusal) and (refused.status, refused.param) == (status, param)
    assert not w.facts


def test_models_a_page_at_a_time() -> None:
    w = world()
    page = w.call("/v2/model/info", query={"search": "ON", "size": "1", "page": "2"})
    assert [row["model_info"]["id"] for row in page["data"]] == ["one-2"]
    assert (page["total_count"], page["total_pages"], page["current_page"], page["size"]) == (2, 2, 2, 1)
    assert {row["model_name"] for row in w.call("/v2/model/info", query={"model": "mini"})["data"]} == {"mini"}


BOSS = Caller(user_id="boss")


def teams() -> World:
    admins = [{"role": "admin", "user_id": "boss"}]
    return World(
        Team(team_id="t", members_with_roles=admins, extra={"team_member_permissions": ["/key/info"]}),
        Team(team_id="u"),
        *(key(name, team_id="t") for name in ("a", "b")),
        key("blocked", team_id="t", blocked=True),
        key("other", team_id="u"),
    )


def test_the_keys_of_a_team_in_one_way() -> None:
    w = teams()
    body = {"team_id": "t", "all_keys_in_team": True, "update_fields": {"models": ["gpt"]}}
    done = w.call("/team/key/bulk_update", body, actor=BOSS)
    assert done["total_requested"] == len(done["successful_updates"]) == 2, "not the blocked one"
    assert w.directory.keys[digest("a")].models == ["gpt"] and not w.directory.keys[digest("blocked")].models
    foreign = {"team_id": "t", "key_ids": [digest("a"), digest("other")], "update_fields": {"models": []}}
    assert w.call("/team/key/bulk_update", foreign, actor=BOSS).param == "key_ids"
    theirs = {**foreign, "team_id": "u", "key_ids": [digest("other")]}
    assert w.call("/team/key/bulk_update", theirs, actor=BOSS).status == 403
    assert w.directory.keys[digest("other")].models == [] and len(w.facts) == 2
    assert w.call("/team/key/bulk_update", {**body, "team_id": "u", "key_ids": []}, actor=BOSS).status == 403


def test_permissions_are_added_to_what_teams_have() -> None:
    w = teams()
    body = {"permissions": ["/key/update"], "apply_to_all_teams": True}
    assert w.call("/team/permissions_bulk_update", body)["teams_updated"] == 2
    assert w.directory.teams["t"].extra["team_member_permissions"] == ["/key/info", "/key/health", "/key/update"]
    assert w.directory.teams["u"].extra["team_member_permissions"] == ["/key/info", "/key/health", "/key/update"]
    w.facts.clear()
    assert w.call("/team/permissions_bulk_update", {**body, "permissions": ["/nowhere"]}).status == 400
    assert w.call("/team/permissions_bulk_update", {"permissions": ["/key/update"]}).param == "team_ids"
    assert w.call("/team/permissions_bulk_update", body, actor=BOSS).status == 403
    assert not w.facts

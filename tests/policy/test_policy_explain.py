"""The dry run says what the real thing would do, by which rule, and for whom it may say so."""

from typing import Any

import pytest

from services.policy.decide import MASTER
from shared import admission
from shared.entities import Customer, Team, User
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.test_policy_admission import BREAK
from tests.policy.world import CONFIG, MASTER_KEY, World, digest, key, secret


def ask(world: World, actor: Caller = MASTER, **body: Any) -> Any:
    return world.call("/policy/explain", body, actor=actor)


def test_what_is_allowed_and_out_of_what() -> None:
    world = World(
        Team(team_id="t", metadata={"tags": ["team"]}),
        User(user_id="u"),
        key("a", team_id="t", user_id="u", metadata={"tags": ["key"]}),
    )
    said = ask(world, key=digest("a"), model="gpt", user="c")
    assert said["allowed"] is True and said["rule"] is None
    assert said["grant"]["tags"] == ["key", "team"]
    assert [c["provider"] for c in said["grant"]["candidates"]] == ["openai", "groq"]
    assert [f["subject"] for f in said["folded_from"]] == [
        f"control.key.{digest('a')}", "control.team.t", "control.user.u", "control.customer.c",
    ]  # fmt: skip
    assert [f["seq"] for f in said["folded_from"]] == [3, 1, 2, None]
    assert all(rule["allows"] for rule in said["rules"])
    names = [rule["rule"] for rule in said["rules"]]
    assert names == [name for name in admission.ORDER if name in names], "in the order they are looked at"


@pytest.mark.parametrize(
    ("entity", "body", "rule"),
    [
        (key("a", blocked=True), {}, "key_blocked"),
        (key("a", models=["mini"]), {}, "key_models"),
        (key("a", extra={"enforced_params": ["user"]}), {}, "enforced_params"),
        (key("a", extra={"allowed_ips": ["10.0.0.0/8"]}), {"ip": "11.0.0.1"}, "ip"),
        (key("a", allowed_routes=["/embeddings"]), {}, "key_routes"),
        (key("b"), {}, "credential"),
    ],
)
def test_the_rule_that_refuses_is_named(entity: Any, body: dict[str, Any], rule: str) -> None:
    world = World(entity)
    said = ask(world, key=digest("a"), model="gpt", **body)
    assert (said["allowed"], said["rule"]) == (False, rule)
    last = said["rules"][-1]
    assert (last["rule"], last["allows"], last["why"]) == (rule, False, said["refusal"]["message"])
    assert rule in BREAK


def test_a_blocked_customer_is_explained() -> None:
    said = ask(World(key("a"), Customer(user_id="c", blocked=True)), key=digest("a"), model="gpt", body={"user": "c"})
    assert (said["allowed"], said["rule"]) == (False, "customer")


def test_only_admins_may_ask_about_others_and_nothing_secret_is_said() -> None:
    world = World(key("a"), key("b"))
    own = Caller(key_sha256=digest("a"))
    assert ask(world, own, model="gpt")["allowed"] is True
    assert ask(world, own, key=digest("a"), model="gpt")["allowed"] is True
    refusal = ask(world, own, key=digest("b"), model="gpt")
    assert isinstance(refusal, Refusal) and refusal.code == "not_yours"
    assert isinstance(ask(world, route="/no/such"), Refusal)
    said = str(ask(World(key("a"), text=CONFIG), key=digest("a"), model="gpt"))
    assert MASTER_KEY not in said and secret("a") not in said and "api_key" not in said


def test_allowed_ips_at_run_time_win_over_the_file() -> None:
    text = CONFIG.replace(MASTER_KEY, MASTER_KEY + "\n  allowed_ips: [10.0.0.1]")
    world = World(key("a"), text=text)
    assert world.call("/get/allowed_ips") == {"data": ["10.0.0.1"]}
    assert world.call("/add/allowed_ip", {"ip": "192.0.2.0/24"})["status"] == "success"
    assert world.decide(secret("a"), model="gpt").rules.allowed_ips == [["10.0.0.1", "192.0.2.0/24"]]
    for wrong, status in (({"ip": "10.0.0.1"}, 400), ({"ip": "nowhere"}, 400), ({}, 400)):
        refusal = world.call("/add/allowed_ip", wrong)
        assert isinstance(refusal, Refusal) and refusal.status == status
    world.call("/delete/allowed_ip", {"ip": "10.0.0.1"})
    assert world.call("/get/allowed_ips") == {"data": ["192.0.2.0/24"]}
    refusal = world.call("/delete/allowed_ip", {"ip": "10.0.0.1"})
    assert isinstance(refusal, Refusal) and refusal.status == 404

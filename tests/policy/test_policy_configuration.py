"""/config/*: what the configuration says is shown without its secrets, and what may be set while we
run holds until it is taken back.
"""

from typing import Any

import pytest

from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.world import CONFIG, World, catalog, key, secret

GENERAL = {"config_type": "general_settings"}
CANARY = "sk-canary-0123456789abcdef"
FILE = CONFIG.replace(
    "general_settings:",
    f"""general_settings:
  database_url: postgresql://u:{CANARY}@h/d
  admin_only_routes: [/team/new]
  block_robots: true
  pass_through_endpoints: [{{path: /x, target: "https://example.com", headers: {{authorization: "Bearer {CANARY}"}}}}]
""",
).replace("callbacks: [banned_keywords]", "callbacks: [banned_keywords, generic_api]\n  success_callback: [langfuse]")


def world() -> World:
    return World(key("a"), text=FILE, environ={"LANGFUSE_PUBLIC_KEY": "x", "LANGFUSE_SECRET_KEY": CANARY})


def put(w: World, name: str, value: Any) -> Any:
    return w.call("/config/field/update", {**GENERAL, "field_name": name, "field_value": value})


def take_back(w: World, name: str) -> Any:
    return w.call("/config/field/delete", {**GENERAL, "field_name": name})


def rule(w: World, route: str = "/chat/completions", model: str = "gpt") -> str:
    found = w.decide(secret("a"), route, model)
    return getattr(found, "rule", "")


def test_no_secret_of_the_file_is_shown() -> None:
    w = world()
    rows = w.call("/config/list", query=GENERAL)
    names = {row["field_name"]: row for row in rows}
    assert CANARY not in str(rows) and "sk-master" not in str(rows)
    assert (
        names["pass_through_endpoints"]["field_value"] == "***"
        and names["pass_through_endpoints"]["source"] == "config"
    )
    assert (names["block_robots"]["field_value"], names["block_robots"]["editable"]) == (True, False)
    assert names["admin_only_routes"] == {
        "field_name": "admin_only_routes", "field_type": "List", "field_description": "", "field_value": ["/team/new"],
        "stored_in_db": False, "field_default_value": [], "premium_field": False, "nested_fields": None, "source": "config",
        "editable": True,
    }  # fmt: skip
    assert names["allowed_routes"]["source"] == "default" and names["allowed_routes"]["stored_in_db"] is None
    callbacks = w.call("/callbacks/list")
    assert callbacks == {"success": ["langfuse"], "failure": [], "success_and_failure": ["generic_api"]}
    assert CANARY not in str(w.call("/get/config/callbacks"))


def test_a_secret_that_is_written_as_a_number_is_a_secret() -> None:
    w = World(
        text=CONFIG.replace(
            "general_settings:", "general_settings:\n  litellm_salt_key: 7206121907\n  health_check_interval: 77"
        )
    )
    rows = {row["field_name"]: row["field_value"] for row in w.call("/config/list", query=GENERAL)}
    assert (rows["litellm_salt_key"], rows["health_check_interval"]) == ("***", 77)
    assert "7206121907" not in str(w.call("/config/field/info", query={"field_name": "litellm_salt_key"}))


def test_a_field_that_is_set_wins_over_the_file_until_it_is_taken_back() -> None:
    w = world()
    assert rule(w) == ""
    answer = put(w, "allowed_routes", ["/embeddings", "/config/field/delete"])
    assert answer["param_name"] == "general_settings" and "allowed_routes" in answer["param_value"]
    denial = w.decide(secret("a"), model="gpt")
    assert denial.refusal.decision == "allowed_routes; of=control.setting.allowed_routes"
    assert "control.setting.>" in denial.depends_on, "on every edge at once"
    info = w.call("/config/field/info", query={"field_name": "allowed_routes"})
    assert (info["source"], info["field_value"]) == ("db", ["/embeddings", "/config/field/delete"])
    take_back(w, "allowed_routes")
    assert rule(w) == ""
    assert w.call("/config/field/info", query={"field_name": "allowed_routes"}).status == 400, "not set"
    assert take_back(w, "allowed_routes").status == 400


def test_each_field_acts() -> None:
    w = world()
    put(w, "enforced_params", ["user", "metadata.x"])
    rules = w.decide(secret("a"), model="gpt").rules
    assert rules.enforced_params == ["user", "metadata.x"]
    assert set(rules.enforced_params_of) == {"control.setting.enforced_params"}
    put(w, "reject_clientside_metadata_tags", True)
    assert w.decide(secret("a"), model="gpt").rules.reject_clientside_tags
    put(w, "allowed_ips", ["10.0.0.0/8"])
    assert w.decide(secret("a"), model="gpt").rules.allowed_ips == [["10.0.0.0/8"]]
    assert w.call("/get/allowed_ips") == {"data": ["10.0.0.0/8"]}, "one setting, whoever sets it"
    put(w, "public_routes", ["/team/list"])
    assert rule(w, "/team/list", "") == "" and w.decide(None, "/team/list").caller.role == "internal_user_viewer"
    put(w, "admin_only_routes", ["/key/list"])
    assert w.decide(secret("a"), "/key/list").refusal.decision == "role; of=control.setting.admin_only_routes"


def test_what_is_set_outlives_another_file_and_a_stream_that_begins_anew() -> None:
    from services.policy.current import Current

    w = world()
    put(w, "enforced_params", ["user"])
    current = Current(catalog(FILE))
    current.follow(w.directory)
    current.replace(catalog(CONFIG), "", None)
    assert current.catalog.access.enforced_params == ["user"]
    w.directory.clear()
    assert current.catalog.access.enforced_params == [] and w.catalog.access.enforced_params == []


@pytest.mark.parametrize(
    ("name", "value", "param"),
    [
        ("public_routes", ["/no/such/route"], "public_routes"),
        ("allowed_routes", "llm_api_routes", "allowed_routes"),
        ("allowed_routes", ["/chat/completions"], "allowed_routes"),
        ("allowed_ips", ["10.0.0"], "allowed_ips"),
        ("enforced_params", [1], "enforced_params"),
        ("enforced_params", None, "enforced_params"),
        ("enforce_user_param", "perhaps", "enforce_user_param"),
        ("service_account_settings", ["x"], "service_account_settings"),
        ("master_key", "sk-mine", "field_name"),
        ("database_url", "x", "field_name"),
        ("misspelt", 1, "field_name"),
        (7, 1, "field_name"),
        ("enforced_params", ["x" * 100_000], "enforced_params"),
    ],
)
def test_what_cant_hold_changes_nothing(name: Any, value: Any, param: str) -> None:
    w = world()
    refused = put(w, name, value)
    assert isinstance(refused, Refusal) and refused.status == 400 and refused.param == param, refused
    assert not w.facts and rule(w) == ""


def test_several_at_once_or_none() -> None:
    w = world()
    refused = w.call("/config/update", {"general_settings": {"enforced_params": ["user"], "allowed_ips": ["x"]}})
    assert isinstance(refused, Refusal) and not w.facts
    for body in (
        {"litellm_settings": {"drop_params": True}},
        {"environment_variables": {"X": "y"}},
        {},
        {"general_settings": {}},
    ):
        assert w.call("/config/update", body).status == 400
    w.call("/config/update", {"general_settings": {"enforced_params": ["user"], "enforce_user_param": False}})
    assert {f.entity_id for f in w.facts} == {"enforced_params", "enforce_user_param"}


@pytest.mark.parametrize("role", ["internal_user", "org_admin", "proxy_admin_viewer"])
def test_only_proxy_admins_set_anything(role: str) -> None:
    from services.policy.routes import MATRIX, may_call
    from shared import routes

    for name in ("/config/field/update", "/config/field/delete", "/config/update"):
        row = routes.named(name)
        assert row is not None and not may_call(row, MATRIX[role])
    row = routes.named("/config/list")
    assert row is not None and may_call(row, MATRIX[role]) == (role == "proxy_admin_viewer")
    assert Caller(role=role)


def test_what_alerts_go_by_is_shown() -> None:
    text = CONFIG.replace(
        "general_settings:\n",
        "general_settings:\n  alerting: [slack]\n  alerting_args: {spend_anomaly_multiplier: 4, email_to: a@b.example,"
        " book_behind_s: sk-where-a-number-is-meant}\n",
    )
    rows = {row["field_name"]: row for row in World(text=text).call("/alerting/settings")}
    shown = {name: (row["field_value"], row["source"]) for name, row in rows.items() if row["source"] == "config"}
    assert shown == {"slack_alerting": (True, "config"), "spend_anomaly_multiplier": (4, "config")}
    assert "sk-where" not in str(rows)
    assert "sk-" not in str(rows) and "a@b.example" not in str(rows)
    assert rows["minor_outage_alert_threshold"]["field_value"] is None

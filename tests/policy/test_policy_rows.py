"""Rows as LiteLLM's have them, field by field (contract §1.2, §1.3, §2.1 to §2.3): a column that
isn't set is there, and what LiteLLM keeps in `metadata` stands there too.
"""

from typing import Any

import pytest

from shared.entities import User
from shared.facts import Caller
from tests.policy.world import World, digest

KEY_COLUMNS = """
    token key_name key_alias soft_budget_cooldown spend total_spend expires models aliases config router_settings user_id team_id agent_id
    project_id permissions max_parallel_requests metadata blocked tpm_limit rpm_limit tpd_limit max_budget budget_duration budget_reset_at
    allowed_cache_controls allowed_routes key_type policies access_group_ids model_spend model_max_budget budget_fallbacks budget_id
    organization_id object_permission_id created_at created_by updated_at updated_by last_active rotation_count auto_rotate rotation_interval
    last_rotation_at key_rotation_at budget_limits
"""
TEAM_COLUMNS = """
    team_id team_alias organization_id admins members members_with_roles metadata max_budget soft_budget spend models max_parallel_requests
    tpm_limit rpm_limit tpd_limit budget_duration budget_reset_at blocked model_spend model_max_budget router_settings
    team_member_permissions access_group_ids policies default_team_member_models budget_limits model_id allow_team_guardrail_config
    object_permission_id created_at updated_at
"""
USER_COLUMNS = """
    user_id user_email user_alias user_role teams max_budget budget_duration budget_reset_at models tpm_limit rpm_limit
    max_parallel_requests metadata sso_user_id spend model_spend model_max_budget allowed_cache_controls policies object_permission_id
    created_at updated_at
"""
CUSTOMER_COLUMNS = (
    "user_id alias spend allowed_model_region default_model models budget_id object_permission_id blocked"
    " litellm_budget_table"
)
GENERATED = """
    key token token_id key_name expires user_id created_by updated_by created_at updated_at litellm_budget_table soft_budget
    duration key_alias models spend max_budget budget_duration budget_id budget_limits model_max_budget budget_fallbacks tpm_limit rpm_limit
    tpd_limit max_parallel_requests model_rpm_limit model_tpm_limit mcp_rpm_limit tag_rpm_limit rpm_limit_type tpm_limit_type team_id
    organization_id project_id agent_id metadata tags permissions guardrails policies prompts disable_global_guardrails enforced_params
    allowed_routes key_type allowed_passthrough_routes denied_passthrough_routes allowed_cache_controls aliases config router_settings
    object_permission access_group_ids blocked auto_rotate rotation_interval throttle_on_budget_exceeded end_user_budget_id
"""


def minted(name: str) -> dict[str, str]:
    return {"token": digest(name), "key_name": "sk-...cdef"}


def test_a_row_has_every_column_also_where_nothing_is_set() -> None:
    w = World(User(user_id="u"))
    made = w.call("/key/generate", minted("a"))
    assert set(GENERATED.split()) <= set(made)
    token = digest("a")
    info = w.call("/key/info", query={"key": token})["info"]
    assert set(KEY_COLUMNS.split()) - {"token"} <= set(info)
    assert (info["rotation_count"], info["auto_rotate"], info["policies"], info["budget_id"]) == (0, False, [], None)
    assert set(TEAM_COLUMNS.split()) <= set(w.call("/team/new", {"team_id": "t"}))
    assert set(USER_COLUMNS.split()) <= set(w.call("/user/info", query={"user_id": "u"})["user_info"])
    w.call("/customer/new", {"user_id": "c"})
    assert set(CUSTOMER_COLUMNS.split()) <= set(w.call("/customer/info", query={"end_user_id": "c"}))


IN_METADATA: dict[str, Any] = {
    "guardrails": ["banned_keywords"],
    "model_rpm_limit": {"gpt": 5},
    "model_tpm_limit": {"gpt": 50},
    "tag_rpm_limit": {"x": 1},
    "mcp_rpm_limit": {"x": 1},
    "enforced_params": ["user"],
    "rpm_limit_type": "dynamic",
    "tpm_limit_type": "dynamic",
    "prompts": ["p"],
    "disable_global_guardrails": True,
    "allowed_passthrough_routes": ["/a"],
    "denied_passthrough_routes": ["/b"],
    "throttle_on_budget_exceeded": True,
    "end_user_budget_id": "b",
    "temp_budget_increase": 3,
    "temp_budget_expiry": "2027-06-01T00:00:00.000+00:00",
}


def test_what_litellm_keeps_in_metadata_is_shown_there_too() -> None:
    w = World()
    w.call("/key/generate", {**minted("a"), "metadata": {"mine": 1}, "tags": ["t"], **IN_METADATA})
    info = w.call("/key/info", query={"key": digest("a")})["info"]
    assert info["metadata"] == {"mine": 1, "tags": ["t"], **IN_METADATA}
    assert {name: info[name] for name in IN_METADATA} == IN_METADATA


@pytest.mark.parametrize("route", ["/key/update", "/team/update"])
def test_who_writes_metadata_back_changes_what_they_changed_and_no_more(route: str) -> None:
    """As a script does that reads a row, changes something in `metadata`, and writes that."""
    w = World()
    w.call("/key/generate", {**minted("a"), "guardrails": ["banned_keywords"], "metadata": {"mine": 1}})
    w.call("/team/new", {"team_id": "t", "guardrails": ["banned_keywords"], "metadata": {"mine": 1}})
    name = {"key": digest("a")} if route == "/key/update" else {"team_id": "t"}

    def found() -> Any:
        return w.directory.keys[digest("a")] if route == "/key/update" else w.directory.teams["t"]

    shown = {"mine": 1, "guardrails": ["banned_keywords"]}
    w.call(route, {**name, "metadata": {**shown, "mine": 2}})
    assert found().metadata == {"mine": 2} and found().extra["guardrails"] == ["banned_keywords"]
    w.call(route, {**name, "metadata": {**shown, "guardrails": []}})
    assert found().extra["guardrails"] == [] and "guardrails" not in found().metadata
    w.call(route, {**name, "metadata": {"mine": 3}})
    assert found().extra["guardrails"] == []  # what has a name of its own goes by that name alone


MODELS = """
model_list:
  - {model_name: gpt, litellm_params: {model: openai/a, mock_response: x}, model_info: {id: gpt-1, created_at: 2024}}
  - {model_name: mini, litellm_params: {model: openai/b, mock_response: x}, model_info: {id: mini-1, access_groups: [cheap], created_at: soon}}
  - {model_name: other, litellm_params: {model: openai/c, mock_response: x}, model_info: {id: other-1}}
general_settings: {master_key: sk-master-of-this-world}
"""
FILTERS = [
    ("/key/list", {"project_id": "p"}, "keys", ["a"]),
    ("/key/list", {"agent_id": "g"}, "keys", ["b"]),
    ("/key/list", {"access_group_id": "cheap"}, "keys", ["b"]),
    ("/key/list", {"access_group_id": "cheap", "project_id": "p"}, "keys", []),
    ("/user/list", {"team": "t"}, "users", ["u"]),
    ("/user/list", {"search": "LICE"}, "users", ["u"]),
    ("/user/list", {"search": "v"}, "users", ["v"]),
    ("/user/list", {"sso_user_ids": "s1,s2"}, "users", ["v"]),
    ("/user/list", {"organization_ids": "o"}, "users", ["v"]),
    ("/user/list", {"sort_by": "user_id", "sort_order": "desc"}, "users", ["v", "u"]),
    ("/user/list", {"sort_by": "user_id", "user_ids": "v,u"}, "users", ["u", "v"]),
    ("/v2/team/list", {"search": "eam"}, "teams", ["t"]),
    ("/v2/model/info", {"modelId": "gpt-1"}, "data", ["gpt-1"]),
    ("/v2/model/info", {"teamId": "t", "sortBy": "model_name", "sortOrder": "desc"}, "data", ["mini-1", "gpt-1"]),
    ("/v2/model/info", {"teamId": "t", "sortBy": "created_at"}, "data", ["gpt-1", "mini-1"]),
    ("/v2/model/info", {"access_group": "cheap"}, "data", ["mini-1"]),
    ("/organization/list", {"org_id": "o"}, "", ["o"]),
    ("/organization/list", {"org_alias": "x"}, "", []),
]


@pytest.mark.parametrize(("route", "query", "field", "wanted"), FILTERS)
def test_a_list_shows_what_was_asked_for_and_no_more(
    route: str, query: dict[str, str], field: str, wanted: list[str]
) -> None:
    """A filter that isn't known would show everything."""
    alice = User(user_id="u", user_email="alice@x.y")
    w = World(alice, User(user_id="v", user_email="b@x.z", extra={"sso_user_id": "s2"}), text=MODELS)
    members = [{"role": "user", "user_id": "u"}]
    w.call(
        "/team/new", {"team_id": "t", "team_alias": "Team", "members_with_roles": members, "models": ["gpt", "mini"]}
    )
    w.call("/team/new", {"team_id": "other"})
    w.call("/organization/new", {"organization_id": "o", "organization_alias": "Org"})
    w.call("/organization/new", {"organization_id": "o2"})
    w.call("/organization/member_add", {"organization_id": "o", "member": {"user_email": "b@x.z", "role": "org_admin"}})
    w.call("/project/new", {"project_id": "p", "team_id": "t"})
    w.call("/key/generate", {**minted("a"), "team_id": "t", "project_id": "p"})
    w.call("/key/generate", {**minted("b"), "agent_id": "g", "access_group_ids": ["cheap"]})
    found = w.call(route, query=query)
    rows = found[field] if field else found
    ids = {"keys": "token", "users": "user_id", "teams": "team_id", "": "organization_id"}.get(field, field)
    shown = [
        each["model_info"]["id"] if ids == "data" else each[ids] if isinstance(each, dict) else each for each in rows
    ]
    names = {str(digest("a")): "a", str(digest("b")): "b"}
    assert [names.get(each, each) for each in shown] == wanted


def test_users_without_what_a_list_is_sorted_by_are_in_one_order_on_every_replica() -> None:
    """Else pages that come from two of them miss some users and have others twice."""
    names = [f"user-{n}" for n in range(10)]
    w = World(*(User(user_id=name) for name in names))
    found = w.call("/user/list", query={"user_ids": ",".join(reversed(names)), "sort_by": "user_alias"})
    assert [row["user_id"] for row in found["users"]] == names


def test_a_list_of_keys_with_their_users() -> None:
    w = World(User(user_id="u", user_email="alice@x.y"))
    w.call("/key/generate", {**minted("a"), "user_id": "u"})
    w.call("/key/generate", minted("b"))
    rows = w.call("/key/list", query={"expand": "user", "sort_by": "token"})["keys"]
    assert {row["token"]: row["user"] and row["user"]["user_email"] for row in rows} == {
        digest("a"): "alice@x.y",
        digest("b"): None,
    }


def test_the_key_that_is_made_with_a_user_has_its_limits() -> None:
    w = World()
    w.call("/team/new", {"team_id": "t"})
    body = {"guardrails": ["banned_keywords"], "permissions": {"hide_secrets": True}, "team_id": "t", "blocked": True}
    w.call("/user/new", {**minted("a"), "user_id": "u", **body})
    key = w.directory.keys[digest("a")]
    assert (key.extra["guardrails"], key.permissions, key.team_id, key.blocked) == (*body.values(),)
    assert w.directory.users["u"].extra == {}


def test_members_of_an_organisation_go_by_their_address_too() -> None:
    w = World(User(user_id="u", user_email="alice@x.y"))
    w.call("/organization/new", {"organization_id": "o"})
    named = {"organization_id": "o", "user_email": "alice@x.y"}
    w.call(
        "/organization/member_add",
        {"organization_id": "o", "member": {"user_email": "alice@x.y", "role": "internal_user"}},
    )
    w.call("/organization/member_update", {**named, "role": "org_admin"})
    assert w.directory.tables["organization"]["o"].members == [{"user_id": "u", "user_role": "org_admin"}]
    w.call("/organization/member_delete", named)
    assert w.directory.tables["organization"]["o"].members == []


MEMBERSHIP = (
    "user_id organization_id user_role spend budget_id created_at updated_at user user_email litellm_budget_table"
)


def test_an_organisations_row_is_litellms() -> None:
    w = World(User(user_id="u", user_email="alice@x.y"), User(user_id="v"))
    w.call("/organization/new", {"organization_id": "o"})
    w.call("/team/new", {"team_id": "t", "organization_id": "o", "metadata": {"mine": 1}})
    for user in ("u", "v"):
        w.call("/organization/member_add", {"organization_id": "o", "member": {"user_id": user}})
    asked = {"query": {"organization_id": "o"}}
    row = w.call("/organization/info", **asked)
    assert set(MEMBERSHIP.split()) == set(row["members"][0]) and row["members"][0]["user_email"] == "alice@x.y"
    assert set(TEAM_COLUMNS.split()) <= set(row["teams"][0])
    assert {"users", "litellm_budget_table", "budget_id", "models", "metadata"} <= set(row)
    assert w.call("/organization/list") == [row]
    assert w.call("POST /organization/info", {"organizations": ["o", "no such"]}) == [row]
    changed = w.call("/organization/member_update", {"organization_id": "o", "user_id": "u", "role": "org_admin"})
    assert (changed["user_id"], changed["user_role"]) == ("u", "org_admin")
    of_member = w.call("/organization/info", **asked, actor=Caller(user_id="v"))
    assert of_member["teams"] == [{"team_id": "t", "team_alias": None}], "what a team is, is its own"
    assert {each["user_email"] for each in of_member["members"]} == {None}


def test_a_patched_team_is_answered_by_its_row() -> None:
    w = World()
    w.call("/team/new", {"team_id": "t"})
    assert set(TEAM_COLUMNS.split()) <= set(
        w.call("PATCH /team/{team_id}", {"models": ["gpt"]}, params={"team_id": "t"})
    )


def test_a_spend_that_was_set_is_answered() -> None:
    w = World()
    w.spent = {}
    assert w.call("/key/generate", {**minted("a"), "spend": 1.5})["spend"] == 1.5


def test_whoever_makes_a_team_is_its_admin_unless_the_file_says_otherwise() -> None:
    for setting, admins in (("false", 1), ("true", 0)):
        text = f"general_settings: {{master_key: sk-m, disable_auto_add_proxy_admin_to_teams: {setting}}}\n"
        assert len(World(text=text).call("/team/new", {"team_id": "t"})["members_with_roles"]) == admins


def test_a_memberships_limits_are_shown() -> None:
    w = World(User(user_id="u"))
    w.call("/team/new", {"team_id": "t"})
    w.call("/team/member_add", {"team_id": "t", "member": {"role": "user", "user_id": "u"}, "max_budget_in_team": 2})
    found = w.call("/team/info", query={"team_id": "t"})["team_memberships"]
    assert [each["litellm_budget_table"] for each in found if each["user_id"] == "u"] == [
        {"max_budget": 2, "tpm_limit": None, "rpm_limit": None}
    ]


def test_a_team_that_lists_no_permissions_lets_its_members_look() -> None:
    """LiteLLM's row has an empty list there, and its baseline is always allowed."""
    w = World()
    w.call("/team/new", {"team_id": "t", "team_member_permissions": []})
    found = w.call("/team/permissions_list", query={"team_id": "t"})
    assert found["team_member_permissions"] == ["/key/info", "/key/health"]

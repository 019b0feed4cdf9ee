"""Ways around a check: another route, a name that looks like another, what colleagues may change,
what only looks like looking.
"""

from typing import Any

import pytest

from services.policy.routes import MATRIX, may_call
from shared import routes
from shared.entities import Project, Team, User
from shared.errors import Refusal
from shared.facts import Caller
from tests.policy.attacks_kit import FRESH, by, world
from tests.policy.world import CONFIG, NOW, World, digest, key, secret

LIMITED = """
litellm_settings:
  default_internal_user_params: {user_role: internal_user_viewer, models: [mini], teams: [t], max_budget: 3}
  upperbound_key_generate_params: {duration: 1d}
"""


@pytest.mark.parametrize(
    "field",
    [
        {"disable_global_guardrails": True},
        {"modify_guardrails": True},
        {"metadata": {"guardrails": {"modify_guardrails": True}}},
        {"allowed_passthrough_routes": ["/x"]},
    ],
)
def test_an_organisations_admin_makes_no_team_that_could_not_be_made_such_by_a_change(field: dict[str, Any]) -> None:
    w = world()
    body = {"team_id": "new", "organization_id": "o"}
    refused = by(w, "org-admin", "/team/new", {**body, **field})
    assert isinstance(refused, Refusal) and refused.status == 403 and not w.facts
    assert not isinstance(by(w, "org-admin", "/team/new", {**body, "models": ["gpt"], "max_budget": 5}), Refusal)


def test_who_may_only_look_empties_no_cache() -> None:
    """Nothing that isn't asked by GET, unless it is named."""
    asked = {
        row.name
        for row in routes.TABLE.rows
        if "GET" not in row.methods and not row.public and may_call(row, MATRIX["proxy_admin_viewer"])
    }
    assert asked == {
        "/v2/key/info", "/key/health", "/policy/explain", "/budget/info", "POST /spend/query", "/spend/calculate", "/cost/estimate",
        "/tag/info", "/global/spend/end_users", "POST /organization/info",
    }  # fmt: skip
    w = World(User(user_id="watcher", user_role="proxy_admin_viewer"), key("a", user_id="watcher"))
    assert w.decide(secret("a"), "/cache/flushall").rule == "role"
    assert w.decide(secret("a"), "/budget/list").caller.role == "proxy_admin_viewer"


def test_a_users_first_key_is_held_to_the_bounds_of_keys() -> None:
    w = World(text=CONFIG.replace("litellm_settings:", LIMITED.strip()))
    long = w.call("/user/new", {**FRESH, "user_id": "u", "duration": "30d"})
    assert isinstance(long, Refusal) and long.param == "duration"
    w.call("/user/new", {**FRESH, "user_id": "u"})
    assert w.directory.keys[digest("fresh")].expires_at_ms == NOW + 86_400_000


def test_new_users_have_what_the_configuration_says_whoever_makes_them() -> None:
    w = World(
        Team(team_id="t", members_with_roles=[{"role": "admin", "user_id": "boss"}]),
        text=CONFIG.replace("litellm_settings:", LIMITED.strip()),
    )
    w.call("/user/new", {"user_id": "u", "auto_create_key": False})
    w.call(
        "/team/member_add", {"team_id": "t", "member": {"role": "user", "user_id": "m"}}, actor=Caller(user_id="boss")
    )
    for name in ("u", "m"):
        user = w.directory.users[name]
        assert (user.user_role, user.models, user.max_budget_picousd) == ("internal_user_viewer", ["mini"], 3 * 10**12)
        assert w.directory.teams["t"].role_of(name) == "user"
    w.call("/user/new", {"user_id": "root", "user_role": "proxy_admin", "auto_create_key": False, "teams": []})
    assert (w.directory.users["root"].models, w.directory.teams["t"].role_of("root")) == ([], None)
    named = {"models": ["gpt"], "user_role": "internal_user", "teams": []}
    w.call("/user/new", {"user_id": "own", "auto_create_key": False, **named})
    assert (w.directory.users["own"].models, w.directory.users["own"].user_role) == (["gpt"], "internal_user")


@pytest.mark.parametrize(
    ("who", "route", "there", "not_there"),
    [
        ("org-admin", "/user/update", {"user_id": "victim"}, {"user_id": "nobody"}),
        ("org-admin", "/user/update", {"user_email": "victim@example.com"}, {"user_email": "nobody@example.com"}),
        ("org-admin", "/user/delete", {"user_ids": ["victim"]}, {"user_ids": ["nobody"]}),
        ("org-admin", "/user/new", {**FRESH, "organizations": ["other"]}, {**FRESH, "organizations": ["nothing"]}),
        ("member", "/project/new", {"team_id": "foreign"}, {"team_id": "nothing"}),
        ("boss", "/project/new", {"team_id": "foreign"}, {"team_id": "nothing"}),
    ],
)
def test_nobody_learns_who_and_what_is_there(who: str, route: str, there: Any, not_there: Any) -> None:
    w = world()
    one, other = by(w, who, route, there), by(w, who, route, not_there)
    assert isinstance(one, Refusal) and one == other and one.status == 403
    w.hold(Project(project_id="mine", team_id="t"))
    one, other = (
        by(w, "boss", "/project/update", {"project_id": "mine", "team_id": each}) for each in ("foreign", "nothing")
    )
    assert isinstance(one, Refusal) and one == other


def test_teams_of_a_new_user_tell_nobody_what_teams_there_are() -> None:
    w = world()
    body = {**FRESH, "user_id": "new", "organizations": ["o"]}
    one, other = (by(w, "org-admin", "/user/new", {**body, "teams": [each]}) for each in ("foreign", "nothing"))
    assert one.status == other.status == 403 and one.message.replace("foreign", "nothing") == other.message


@pytest.mark.parametrize("spelt", ["Victim@Example.com", "victim@EXAMPLE.COM", "\uff56ictim@example.com"])
def test_one_address_is_one_person_however_it_is_spelt(spelt: str) -> None:
    w = world()
    again = w.call("/user/new", {**FRESH, "user_id": "second", "user_email": spelt})
    assert isinstance(again, Refusal) and again.param == "user_email"
    added = w.call("/team/member_add", {"team_id": "t", "member": {"role": "user", "user_email": spelt}})
    assert [each["user_id"] for each in added["updated_users"]] == ["victim"]
    w.call("/user/update", {"user_email": spelt, "models": ["mini"]})
    assert w.directory.users["victim"].models == ["mini"]


@pytest.mark.parametrize("alias", ["\uff50rod", "pr\u043ed", "e\u0301tat", "\u03bfps-2"])
def test_no_alias_that_looks_like_another(alias: str) -> None:
    w = world()
    answer = w.call("/key/generate", {**FRESH, "key_alias": alias})
    assert isinstance(answer, Refusal) and answer.param == "key_alias"
    for fine in ("\u00e9tat", "\u043f\u0440\u043e\u0435\u043a\u0442-api", "\u672c\u756a-prod"):
        assert not isinstance(w.call("/key/update", {"key": digest("own"), "key_alias": fine}), Refusal)


def test_nobody_says_of_their_key_that_it_is_a_session() -> None:
    w = world()
    for route, body in (("/key/generate", FRESH), ("/key/update", {"key": digest("own")})):
        answer = w.call(route, {**body, "metadata": {"tollgate_session": "password"}})
        assert isinstance(answer, Refusal) and answer.status == 400 and "tollgate_session" in str(answer.param)


@pytest.mark.parametrize(
    "read_along",
    [{"logging": []}, {"store_prompts_in_spend_logs": True}, {"callback_settings": {"success_callback": ["otel"]}}],
)
@pytest.mark.parametrize("name", ["team", "service"])
def test_a_colleague_who_may_change_a_key_does_not_get_to_read_its_prompts(
    name: str, read_along: dict[str, Any]
) -> None:
    w = world()
    roles = [{"role": "user", "user_id": "colleague"}, {"role": "user", "user_id": "member"}]
    w.hold(
        Team(
            team_id="t", members_with_roles=roles, extra={"team_member_permissions": ["/key/update", "/key/regenerate"]}
        )
    )
    body = {"key": digest(name), "metadata": read_along}
    for route, more in (("/key/update", {}), ("/key/regenerate", FRESH)):
        answer = by(w, "colleague", route, {**body, **more})
        assert isinstance(answer, Refusal) and answer.param == "metadata", route
    assert not isinstance(by(w, "colleague", "/key/update", {**body, "metadata": {"note": "x"}}), Refusal)
    if name == "team":
        assert not isinstance(by(w, "member", "/key/update", body), Refusal), "it is theirs"


def test_what_a_team_lets_its_members_do_goes_by_litellms_names() -> None:
    w = world()
    listed = w.call("/team/permissions_list", query={"team_id": "t"})["all_available_permissions"]
    wanted = ["/key/list", "/key/service-account/generate", "/key/{key_id}/regenerate", "/key/aliases"]
    assert set(wanted) <= set(listed)
    w.call("/team/permissions_update", {"team_id": "t", "team_member_permissions": wanted})
    member = Caller(user_id="member")
    seen = w.call("/key/list", query={"include_team_keys": "true"}, actor=member)["keys"]
    assert digest("service") in seen
    made = {**FRESH, "team_id": "t", "key_alias": "robot"}
    assert isinstance(w.call("/key/generate", made, actor=member), Refusal), "a key of nobody's is something else"
    assert not isinstance(w.call("/key/service-account/generate", made, actor=member), Refusal)
    again = {"token": digest("again"), "key_name": "sk-...", "key": digest("service")}
    assert not isinstance(w.call("/key/regenerate", again, actor=member), Refusal)
    assert isinstance(w.call("/key/delete", {"keys": [digest("again")]}, actor=member), Refusal)
    refused = w.call("/team/permissions_update", {"team_id": "t", "team_member_permissions": ["/team/new"]})
    assert isinstance(refused, Refusal)


def test_who_administers_something_finds_those_who_are_in_it_and_nobody_else() -> None:
    w = world()

    def found(who: str, **query: str) -> Any:
        answer = by(w, who, "/user/filter/ui", query=query)
        return answer if isinstance(answer, Refusal) else [each["user_id"] for each in answer]

    assert found("org-admin") == ["org-admin"]
    assert set(found("boss")) == {"boss", "member"}
    assert found("boss", search="MEM") == ["member"] and found("boss", search="victim") == []
    assert found("org-admin", user_email="victim@") == [] and found("member").status == 403
    every = w.call("/user/filter/ui", query={"user_email": "EXAMPLE", "user_id": "vic"})
    assert every == [{"user_id": "victim", "user_email": "victim@example.com", "user_alias": None}]
    assert [each["team_id"] for each in w.call("/team/filter/ui", query={"team_id": "FOR"})] == ["foreign"]
    assert not may_call(routes.TABLE.by_name["/team/filter/ui"], MATRIX["org_admin"])


def test_an_organisation_that_is_misspelt_is_refused_by_its_field() -> None:
    """It would bind nothing: its models, its budget."""
    w = world()
    for route, body in (
        ("/team/new", {"team_id": "new"}),
        ("/team/update", {"team_id": "t"}),
        ("/key/generate", FRESH),
        ("/key/update", {"key": digest("own")}),
    ):
        answer = w.call(route, {**body, "organization_id": "misspelt"})
        assert isinstance(answer, Refusal) and (answer.status, answer.param) == (400, "organization_id"), route
    assert not w.facts

"""More of what users of other gateways reported (BerriAI/litellm; its issues' numbers): groups of
models, aliases, members, sessions in lists.
"""

from typing import Any

import pytest

from services.policy.commands.membership import OFFSET
from shared.entities import Organization, Project, Team, User
from shared.entities import readers as fields
from shared.facts import Caller
from shared.grant import Denial, Grant
from tests.policy.world import CONFIG, World, digest, key, refusal, secret

GROUPS = CONFIG.replace(
    "litellm_settings:\n",
    """  - model_name: openai/*
    litellm_params: {model: openai/*, api_key: k}
    model_info: {access_groups: [wild]}
  - model_name: openai/dear
    litellm_params: {model: openai/dear, api_key: k}
  - model_name: basic
    litellm_params: {model: groq/basic, api_key: k}
    model_info: {access_groups: [plain]}
router_settings: {model_group_alias: {nick: basic}}
litellm_settings:
""",
)


def called(w: World, model: str) -> str:
    """The rule that refuses the key's call of a model; empty: none."""
    decision = w.decide(secret("a"), model=model)
    return decision.rule if isinstance(decision, Denial) else ""


# ── groups of models: 26656, 28464, 23850, 31438, 31966, 37492, 8113 ──


@pytest.mark.parametrize("models", [[], ["no-default-models"], ["mini"]])
def test_access_group_ids_are_what_may_be_called_besides_the_list(models: list[str]) -> None:
    w = World(key("a", models=models, extra={"access_group_ids": ["plain"]}), text=GROUPS)
    assert (called(w, "basic"), called(w, "gpt")) == ("", "key_models")
    assert called(w, "mini") == ("" if models == ["mini"] else "key_models")
    listed = w.decide(secret("a"), route="/models")
    assert isinstance(listed, Grant) and sorted(listed.models) == sorted(
        ["basic", "nick", *(m for m in models if m == "mini")]
    )


HOLDERS: list[tuple[dict[str, Any], Any, str]] = [
    ({"team_id": "t"}, Team(team_id="t", extra={"access_group_ids": ["plain"]}), "team_models"),
    ({"user_id": "u"}, User(user_id="u", extra={"access_group_ids": ["plain"]}), "user_models"),
    ({"organization_id": "o"}, Organization(organization_id="o", extra={"access_group_ids": ["plain"]}), "organization_models"),
    ({"extra": {"project_id": "p"}}, Project(project_id="p", extra={"access_group_ids": ["plain"]}), "project"),
]  # fmt: skip


@pytest.mark.parametrize(("of_key", "holder", "rule"), HOLDERS, ids=[rule for _, _, rule in HOLDERS])
def test_so_are_those_of_whom_the_key_belongs_to(of_key: dict[str, Any], holder: Any, rule: str) -> None:
    w = World(holder, key("a", **of_key), text=GROUPS)
    assert (called(w, "basic"), called(w, "gpt")) == ("", rule)


def test_a_group_that_is_gone_lets_nothing_through_and_a_misspelt_one_is_refused() -> None:
    w = World(key("a", extra={"access_group_ids": ["gone"]}), text=GROUPS)
    assert called(w, "basic") == "key_models"
    assert refusal(w.call("/key/update", {"key": digest("a"), "access_group_ids": ["plian"]})) == (
        400, "bad_request", "access_group_ids",
    )  # fmt: skip
    assert w.call("/key/update", {"key": digest("a"), "access_group_ids": ["plain", "gone"]})["access_group_ids"]
    assert called(w, "basic") == ""


@pytest.mark.parametrize("gone", ["gpt", "*", "all-proxy-models", "g*"])
def test_a_group_that_is_gone_is_no_model_and_no_pattern_of_its_name(gone: str) -> None:
    """As one who could set the field before it bound may have left it."""
    for models in ([], ["mini"]):
        w = World(key("a", models=models, extra={"access_group_ids": [gone]}), text=GROUPS)
        assert (called(w, "gpt"), called(w, "mini")) == ("key_models", "" if models else "key_models")


def test_a_team_that_has_groups_may_get_models_beside_them_and_give_them_back() -> None:
    w = World(Team(team_id="t", extra={"access_group_ids": ["plain"]}), key("a", team_id="t"), text=GROUPS)
    w.call("/team/model/add", {"team_id": "t", "models": ["mini"]})
    assert [called(w, each) for each in ("mini", "basic", "gpt")] == ["", "", "team_models"]
    w.call("/team/model/delete", {"team_id": "t", "models": ["mini"]})
    assert [called(w, each) for each in ("mini", "basic")] == ["team_models", ""]


def test_who_owns_a_key_gets_no_further_by_groups() -> None:
    w = World(
        User(user_id="u"), key("a", user_id="u", models=["mini"], extra={"access_group_ids": ["plain"]}), text=GROUPS
    )
    owner = Caller(user_id="u", role="internal_user")
    moved = {"models": ["mini", "plain"], "access_group_ids": []}
    for update in ({"access_group_ids": ["plain", "wild"]}, {"models": [], "access_group_ids": None}, moved):
        assert refusal(w.call("/key/update", {"key": digest("a"), **update}, actor=owner))[::2] == (403, "models")
    assert w.call("/key/update", {"key": digest("a"), "access_group_ids": []}, actor=owner)["models"] == ["mini"]


def test_groups_add_nothing_to_models_that_the_configuration_bounds() -> None:
    bound = "litellm_settings:\n  upperbound_key_generate_params: {models: [mini]}\n"
    w = World(text=GROUPS.replace("litellm_settings:\n", bound))
    sent = {"token": digest("a"), "key_name": "sk-...a"}
    assert refusal(w.call("/key/generate", {**sent, "access_group_ids": ["wild"]}))[::2] == (400, "access_group_ids")
    w.call("/key/generate", {**sent, "access_group_ids": []})
    assert w.directory.keys[digest("a")].models == ["mini"]
    assert refusal(w.call("/key/update", {"key": digest("a"), "access_group_ids": ["wild"]}))[0] == 400


def test_a_group_has_what_its_pattern_serves_and_no_entry_of_its_own_beside_it() -> None:
    w = World(key("a", models=["wild"]), text=GROUPS)
    assert [called(w, each) for each in ("openai/gpt-5", "openai/dear", "groq/x", "basic")] == ["", *["key_models"] * 3]
    w = World(key("a", models=["plain"]), text=GROUPS)
    assert [called(w, each) for each in ("basic", "nick", "openai/gpt-5")] == ["", "", "key_models"]


def test_a_name_that_others_serve_too_is_not_a_groups() -> None:
    text = GROUPS.replace(
        "router_settings:",
        """  - model_name: inner
    litellm_params: {model: groq/inner, api_key: k}
    model_info: {access_groups: [some], team_id: t, team_public_model_name: shared}
  - model_name: shared
    litellm_params: {model: groq/shared, api_key: k}
router_settings:""",
    )
    assert "model_name: inner" in text
    w = World(Team(team_id="t"), key("a", team_id="t", models=["some"]), text=text)
    assert [len(w.catalog.candidates(name)) for name in ("inner", "shared")] == [1, 2]
    assert (called(w, "inner"), called(w, "shared")) == ("", "key_models")


# ── aliases: 37034, 40716 ──


def test_lists_show_a_teams_aliases_where_what_they_stand_for_may_be_called() -> None:
    team = Team(team_id="t", models=["gpt", "mini"], extra={"model_aliases": {"fast": "mini", "no": "free"}})
    w = World(team, key("a", team_id="t", aliases={"mine": "fast"}), key("b", team_id="t", models=["gpt"]))
    shown = [w.decide(secret(name), route="/models") for name in "ab"]
    assert [sorted(each.models) for each in shown if isinstance(each, Grant)] == [
        ["fast", "gpt", "mine", "mini"],
        ["gpt"],
    ]
    assert [called(w, each) for each in ("fast", "mine", "no")] == ["", "", "team_models"]


# ── a service account stays one: 26004 ──


def test_metadata_that_says_nothing_of_the_service_account_leaves_it() -> None:
    w = World(key("a", team_id="t", metadata={"service_account_id": "robot", "x": 1}), Team(team_id="t"))
    assert w.call("/key/update", {"key": digest("a"), "metadata": {"y": 2}})["metadata"] == {
        "service_account_id": "robot", "y": 2,
    }  # fmt: skip
    for other in ("another", None):
        sent = {"key": digest("a"), "metadata": {"service_account_id": other}}
        assert refusal(w.call("/key/update", sent))[::2] == (400, "metadata")


# ── members written with their team: 3034, 8285 ──


def people() -> World:
    roles = [{"role": "admin", "user_id": "boss", OFFSET: -5}, {"role": "user", "user_id": "old"}]
    return World(
        Team(team_id="t", members_with_roles=roles),
        *(User(user_id=name, user_email=f"{name}@example.com", teams=["t"]) for name in ("boss", "old")),
        User(user_id="new", user_email="new@example.com"),
        key("old", user_id="old", team_id="t", key_alias="of-old"),
        key("elsewhere", user_id="old"),
    )


@pytest.mark.parametrize("route", ["/team/update", "PATCH /team/{team_id}"])
def test_users_and_keys_follow_the_members_that_a_team_is_written_with(route: str) -> None:
    w = people()
    members = [{"role": "admin", "user_id": "boss"}, {"role": "user", "user_email": "NEW@example.com"}]
    members.append({"role": "user", "user_id": "unheard-of"})
    w.call(route, {"team_id": "t", "members_with_roles": members}, params={"team_id": "t"})
    team = w.directory.teams["t"]
    assert team.member_ids == ["boss", "new", "unheard-of"] and team.members_with_roles[0][OFFSET] == -5
    assert [w.directory.users[name].teams for name in ("boss", "new", "unheard-of", "old")] == [["t"]] * 3 + [[]]
    assert digest("old") not in w.directory.keys and digest("elsewhere") in w.directory.keys
    assert w.directory.alias_owner("of-old") is None


def test_who_writes_back_what_they_read_changes_nobodys_membership() -> None:
    w = people()
    row = w.call("/team/info", query={"team_id": "t"})["team_info"]
    w.call("/team/update", {**row, "team_alias": "Named"})
    assert [fact.kind for fact in w.facts] == ["team"]
    assert w.directory.teams["t"].members_with_roles[0][OFFSET] == -5


@pytest.mark.parametrize("said", [None, "left out"])
def test_lists_of_members_that_say_nothing_leave_everybody(said: str | None) -> None:
    w = people()
    lists = {} if said else dict.fromkeys(("members_with_roles", "members", "admins"))
    w.call("/team/update", {"team_id": "t", "team_alias": "Named", **lists})
    assert [fact.kind for fact in w.facts] == ["team"] and digest("old") in w.directory.keys
    assert w.directory.teams["t"].members_with_roles[0][OFFSET] == -5


BOSS = {"role": "admin", "user_id": "boss"}
NOBODY = {"role": "user", "user_email": "x@example.com"}


@pytest.mark.parametrize(
    "members",
    [[], [BOSS, BOSS], [BOSS, {"role": "user", "user_email": "boss@example.com"}], [NOBODY, {**NOBODY, "user_email": "X@example.com"}],
     [BOSS, {"role": "user"}], {"user_id": "boss"}, "boss"],
)  # fmt: skip
def test_a_list_of_members_that_cannot_be_meant_is_refused(members: Any) -> None:
    w = people()
    assert refusal(w.call("/team/update", {"team_id": "t", "members_with_roles": members}))[::2] == (
        400, "members_with_roles",
    )  # fmt: skip
    assert w.facts == [] and digest("old") in w.directory.keys
    assert refusal(w.call("/team/member_add", {"team_id": "t", "member": [NOBODY, NOBODY]}))[::2] == (400, "member")


def test_a_member_named_by_address_keeps_what_was_set_for_them() -> None:
    w = people()
    members = [{"role": "admin", "user_email": "Boss@example.com"}, {"role": "user", "user_id": "old"}]
    w.call("/team/update", {"team_id": "t", "members_with_roles": members})
    boss = w.directory.teams["t"].members_with_roles[0]
    assert (boss["user_id"], boss[OFFSET]) == ("boss", -5)


def test_a_team_made_with_its_members_is_on_their_lists() -> None:
    w = people()
    members = [{"role": "user", "user_id": "new"}, {"role": "user", "user_email": "x@example.com"}]
    w.call("/team/new", {"team_id": "n", "members_with_roles": members, "admins": ["boss"]})
    team = w.directory.teams["n"]
    assert w.directory.users["new"].teams == ["n"] and w.directory.users["boss"].teams == ["t", "n"]
    assert set(team.member_ids) == {"new", "boss", "default_user_id", w.directory.user_of("x@example.com").user_id}


# ── sign-ins, and addresses, in lists of keys ──


def test_sign_ins_are_no_keys_of_lists_unless_asked_for() -> None:
    session = {fields.SESSION: "password"}
    w = World(
        User(user_id="u"), key("a", user_id="u"), *(key(f"s{n}", user_id="u", metadata=session) for n in range(3))
    )
    w.hold(key("blocked", user_id="u", blocked=True, metadata=session))
    own = Caller(user_id="u", role="internal_user")
    for more in ({}, {"actor": own}):
        for query, count in (({}, 1), ({"user_id": "u"}, 1), ({"status": "revoked"}, 0), ({"sessions": "true"}, 4)):
            found = w.call("/key/list", query=query, **more)
            assert (found["total_count"], len(found["keys"])) == (count, count), (query, more)
    info = w.call("/user/info", query={"user_id": "u"})
    assert [each["token"] for each in info["keys"]] == [digest("a")]
    assert w.call("/v2/user/info", query={"user_id": "u"})["key_count"] == 1
    assert w.call("/key/list", query={"sessions": "true", "status": "revoked"})["total_count"] == 1


def test_a_colleague_sees_whose_key_it_is_and_not_their_address() -> None:
    roles = [
        {"role": "admin", "user_id": "boss"},
        {"role": "user", "user_id": "ann"},
        {"role": "user", "user_id": "bob"},
    ]
    team = Team(team_id="t", members_with_roles=roles, extra={"team_member_permissions": ["/key/list", "/key/info"]})
    w = World(
        team, User(user_id="bob", user_alias="Bob", user_email="bob@example.com"), key("a", user_id="bob", team_id="t")
    )
    query = {"team_id": "t", "include_team_keys": "true", "expand": "user"}
    seen = {
        name: w.call("/key/list", query=query, actor=Caller(user_id=name, role="internal_user"))["keys"][0]["user"]
        for name in ("ann", "boss", "bob")
    }
    assert {name: (row["user_alias"], row["user_email"]) for name, row in seen.items()} == {
        "ann": ("Bob", None), "boss": ("Bob", "bob@example.com"), "bob": ("Bob", "bob@example.com"),
    }  # fmt: skip


# ── a user with a key, by an organisation's admin ──


def test_an_organisations_admin_gives_the_first_key_what_they_could_give_any() -> None:
    member = {"user_id": "org-admin", "user_role": "org_admin"}
    w = World(
        Organization(organization_id="o", members=[member]), Team(team_id="t", organization_id="o"), Team(team_id="x")
    )
    actor = Caller(user_id="org-admin", role="org_admin")
    sent = {"user_id": "n", "organizations": ["o"], "token": digest("n"), "key_name": "sk-...n"}
    assert refusal(w.call("/user/new", {**sent, "permissions": {"x": True}}, actor=actor))[::2] == (403, "permissions")
    assert refusal(w.call("/user/new", {**sent, "team_id": "x"}, actor=actor))[0] == 403
    row = w.call("/user/new", {**sent, "team_id": "t", "aliases": {"m": "mini"}, "blocked": True}, actor=actor)
    made = w.directory.keys[digest("n")]
    assert (made.team_id, made.aliases, made.blocked, made.delegated, row["team_id"]) == (
        "t",
        {"m": "mini"},
        True,
        True,
        "t",
    )


# ── a customer who only came by ──


def test_a_customer_becomes_an_entity_when_somebody_sets_something_on_them() -> None:
    w = World(key("a"))
    assert isinstance(w.decide(None, customer_id="passer-by"), Grant)
    assert refusal(w.call("/customer/info", query={"end_user_id": "passer-by"}))[0] == 404
    assert w.facts == [] and not w.directory.customers, "what they did is in the book"
    w.call("/customer/block", {"user_ids": ["passer-by"]})
    assert [(fact.kind, fact.entity_id, fact.before) for fact in w.facts] == [("customer", "passer-by", None)]
    assert isinstance(w.decide(None, customer_id="passer-by"), Denial)


# ── a team's models ──


def test_a_teams_list_of_models_is_never_emptied_into_everything() -> None:
    w = World(Team(team_id="t", models=["gpt", "mini"]), Team(team_id="all"), key("a", team_id="t"))
    assert w.call("/team/model/add", {"team_id": "t", "models": ["free", "mini"]})["models"] == ["gpt", "mini", "free"]
    assert w.call("/team/model/delete", {"team_id": "t", "models": ["free", "gpt"]})["models"] == ["mini"]
    assert (called(w, "mini"), called(w, "gpt")) == ("", "team_models")
    for route, team, models in (
        ("/team/model/delete", "t", ["mini"]),
        ("/team/model/add", "all", ["mini"]),
        ("/team/model/add", "t", ["misspelt"]),
        ("/team/model/add", "t", []),
    ):
        assert refusal(w.call(route, {"team_id": team, "models": models}))[::2] == (400, "models")
    assert (called(w, "mini"), called(w, "gpt")) == ("", "team_models")


# ── ids that are addresses: 27009 ──


def test_a_plus_in_an_id_may_come_as_the_space_that_it_is_in_a_query() -> None:
    w = World(User(user_id="a+b@x.y"), User(user_id="c+d"), User(user_id="c d"))
    for route in ("/user/info", "/v2/user/info"):
        for asked, found in (("a b@x.y", "a+b@x.y"), ("a+b@x.y", "a+b@x.y"), ("c d", "c d"), ("c+d", "c+d")):
            assert w.call(route, query={"user_id": asked})["user_id"] == found
        thief = Caller(user_id="a b@x.y", role="internal_user")
        assert refusal(w.call(route, query={"user_id": "a b@x.y"}, actor=thief))[0] == 403, (
            "who is asked about is who is looked at"
        )

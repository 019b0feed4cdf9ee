"""The order of rules, as a table: of every two that would refuse, the one that stands first is
reported. What each demands.
"""

import json
from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.policy.blocked_users import BlockedUsers
from services.policy.rules import RULES
from shared import admission
from shared.admission.predicates import PREDICATES
from shared.entities import Customer, Organization, Project, Team, User
from shared.errors import Refusal, render
from shared.grant import Ask, Denial, Grant, Permit
from tests.policy.world import CONFIG, MASTER_KEY, NOW, World, key, secret, split


class Case:
    """A caller, a team, a gateway and a request that all rules let through, until rules are told to
    refuse.
    """

    def __init__(self) -> None:
        self.general: dict[str, Any] = {"master_key": MASTER_KEY}
        self.litellm: dict[str, Any] = {"callbacks": ["banned_keywords", "blocked_user_check"]}
        self.environ: dict[str, str] = {}
        self.key: dict[str, Any] = {"team_id": "t", "organization_id": "o", "extra": {"project_id": "p"}}
        self.team: dict[str, Any] = {}
        self.user: dict[str, Any] = {}
        self.organization: dict[str, Any] = {}
        self.project: dict[str, Any] = {}
        self.customer: dict[str, Any] = {}
        self.body: dict[str, Any] = {"model": "gpt", "user": "c"}
        self.ip = "10.0.0.1"
        self.credential = secret("a")
        self.model = "gpt"
        self.route = "/chat/completions"

    def run(self) -> Refusal | Permit:
        made = key("a", **{**self.key, "user_id": "u"})
        world = World(
            made, Team(team_id="t", **self.team), User(user_id="u", **self.user), text=_yaml(self), environ=self.environ
        )
        world.hold(Organization(organization_id="o", **self.organization), Project(project_id="p", **self.project))
        if self.customer:
            world.hold(Customer(user_id="c", **self.customer))
        decision = world.decide(self.credential, self.route, self.model)
        fields = split(json.dumps({**self.body, "model": self.model}).encode())
        tags = self.body.get("tags", [])
        ask = Ask(tags, {}, self.ip, fields, self.model, "c", world.decide(None, "", customer_id="c"))
        return admission.permit(decision, ask, NOW, lambda: 0.5)


def _yaml(case: Case) -> str:
    head = CONFIG.split("litellm_settings:")[0]
    return head + f"litellm_settings: {json.dumps(case.litellm)}\ngeneral_settings: {json.dumps(case.general)}\n"


def refuse(**parts: Any) -> Callable[[Case], None]:
    def apply(case: Case) -> None:
        for part, value in parts.items():
            if isinstance(value, dict):
                getattr(case, part).update(value)
            else:
                setattr(case, part, value)

    return apply


TOO_LONG = "m" * 600


BREAK: dict[str, tuple[str, Callable[[Case], None]]] = {
    "credential": ("unknown_key", refuse(credential="sk-nobody-knows-this-one")),
    "ip": ("ip_not_allowed", refuse(general={"allowed_ips": ["192.168.0.0/16"]})),
    "allowed_routes": ("route_not_allowed", refuse(general={"allowed_routes": ["/embeddings"]})),
    "key_blocked": ("blocked_key", refuse(key={"blocked": True})),
    "model_name": ("bad_request", refuse(model=TOO_LONG)),
    "key_models": ("model_not_allowed", refuse(key={"models": ["mini"]})),
    "key_expired": ("expired_key", refuse(key={"expires_at_ms": NOW})),
    "key_routes": ("key_route_not_allowed", refuse(key={"allowed_routes": ["/embeddings"]})),
    "endpoints_disabled": ("endpoints_disabled", refuse(environ={"DISABLE_LLM_API_ENDPOINTS": "true"})),
    "team": ("blocked_team", refuse(team={"blocked": True})),
    "team_models": ("model_not_allowed", refuse(team={"models": ["mini"]})),
    "organization_models": ("model_not_allowed", refuse(organization={"models": ["mini"]})),
    "customer": ("blocked_customer", refuse(customer={"blocked": True})),
    "project": ("blocked_project", refuse(project={"blocked": True})),
    "client_tags": (
        "clientside_tags_rejected",
        refuse(general={"reject_clientside_metadata_tags": True}, body={"tags": ["x"]}),
    ),
    "modify_guardrails": (
        "may_not_modify_guardrails",
        refuse(team={"metadata": {"guardrails": {"modify_guardrails": False}}}, body={"guardrails": []}),
    ),
    "role": ("route_not_allowed", refuse(user={"user_role": "proxy_admin_viewer"})),
    "guardrails_served": ("guardrail_not_here", refuse(team={"metadata": {"guardrails": ["gone"]}})),
    "guardrail_names": ("bad_request", refuse(body={"guardrails": ["misspelt"]})),
    "enforced_params": ("missing_param", refuse(general={"enforced_params": ["metadata.generation_name"]})),
    "model_served": ("unknown_model", refuse(model="nobody-serves-this")),
    "budget": ("over_budget", refuse(litellm={"max_budget": 0})),
    "cache_controls": (
        "cache_control_not_allowed",
        refuse(
            key={"extra": {"project_id": "p", "allowed_cache_controls": ["ttl"]}}, body={"cache": {"no-store": True}}
        ),
    ),
}


def code(outcome: Refusal | Permit) -> str:
    return outcome.code if isinstance(outcome, Refusal) else "permitted"


def test_the_table_breaks_every_rule_there_is() -> None:
    assert code(Case().run()) == "permitted"
    assert set(RULES) | set(PREDICATES) <= set(admission.ORDER)
    assert set(BREAK) == (set(RULES) | set(PREDICATES)) - {"user_models"}, "that one binds only without a team"


@pytest.mark.parametrize("name", BREAK)
def test_each_rule_refuses_by_itself(name: str) -> None:
    expected, broken = BREAK[name]
    case = Case()
    broken(case)
    assert code(case.run()) == expected


@pytest.mark.parametrize(("first", "second"), list(combinations(BREAK, 2)))
def test_of_two_rules_the_documented_one_is_reported(first: str, second: str) -> None:
    if {first, second} <= {"model_name", "model_served"}:
        return  # one name can't be both
    case = Case()
    BREAK[second][1](case)
    BREAK[first][1](case)
    if second == "model_name":
        case.model = TOO_LONG
    outcome = case.run()
    assert code(outcome) == BREAK[first][0], (first, second)


def test_a_users_models_bind_their_keys_without_a_team() -> None:
    world = World(key("a", user_id="u"), User(user_id="u", models=["mini"]))
    denial = world.decide(secret("a"), model="gpt")
    assert isinstance(denial, Denial) and denial.refusal.type == "user_model_access_denied"
    assert isinstance(world.decide(secret("a"), model="mini"), Grant)


# Enforced params: the page's answers, body for body.


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ({}, "user"),
        ({"user": "gm"}, "[metadata][generation_name]"),
        ({"user": "gm", "metadata": {}}, "[metadata][generation_name]"),
        ({"user": "gm", "metadata": "x"}, "[metadata][generation_name]"),
        ({"user": "gm", "metadata": {"generation_name": "prod-app"}}, None),
        ({"user": None, "metadata": {"generation_name": None}}, None),
    ],
)
@pytest.mark.parametrize("source", ["general", "key", "team", "key metadata"])
def test_enforced_params_answer_as_the_page_does(body: dict[str, Any], name: str | None, source: str) -> None:
    params = ["user", "metadata.generation_name"]
    held = (
        {"extra": {"enforced_params": params}}
        if source != "key metadata"
        else {"metadata": {"enforced_params": params}}
    )
    general = f"\n  enforced_params: {json.dumps(params)}" if source == "general" else ""
    world = World(
        key("a", team_id="t", **(held if source.startswith("key") else {})),
        Team(team_id="t", **(held if source == "team" else {})),
        text=CONFIG.replace(MASTER_KEY, MASTER_KEY + general),
    )
    decision = world.decide(secret("a"), model="gpt")
    refusal = admission.admit(decision, Ask([], {}, None, split(json.dumps({**body, "model": "gpt"}).encode())), NOW)
    if name is None:
        assert refusal is None
        return
    assert refusal is not None and refusal.status == 401
    assert json.loads(render(refusal)) == {
        "error": {
            "message": "Authentication Error, BadRequest please pass "
            f"param={name} in request body. This is a required param",
            "type": "auth_error",
            "param": "None",
            "code": 401,
        }
    }


def test_demands_of_one_caller_never_leak_into_anothers() -> None:
    world = World(key("a", extra={"enforced_params": ["user"]}), key("b"))
    for _ in range(3):
        first, second = (world.decide(secret(name), model="gpt") for name in "ab")
        assert (first.rules.enforced_params, second.rules.enforced_params) == (["user"], [])


@pytest.mark.parametrize("depth", [1, 2, 3, 6])
def test_a_path_of_any_depth_is_demanded(depth: int) -> None:
    path = [f"p{i}" for i in range(depth)]
    decision = World(key("a", extra={"enforced_params": [".".join(path)]})).decide(secret("a"), model="gpt")

    def ask(body: Any) -> Refusal | None:
        return admission.admit(decision, Ask([], {}, None, split(json.dumps(body).encode())), NOW)

    whole: Any = 1
    for name in reversed(path):
        whole = {name: whole}
    assert ask(whole) is None
    short: Any = {}
    for name in reversed(path[:-1]):
        short = {name: short}
    missing = ask(short)
    assert missing is not None
    assert f"param={path[0] if depth == 1 else ''.join(f'[{p}]' for p in path)} in" in missing.message


def test_service_accounts_have_demands_of_their_own() -> None:
    text = CONFIG.replace(
        f"  master_key: {MASTER_KEY}",
        f"  master_key: {MASTER_KEY}\n  service_account_settings: {{enforced_params: [user]}}",
    )
    world = World(key("a", metadata={"service_account_id": "ci"}), key("b"), text=text)
    assert world.decide(secret("a"), model="gpt").rules.enforced_params == ["user"]
    assert world.decide(secret("b"), model="gpt").rules.enforced_params == []


@settings(deadline=None)
@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5), lambda x: st.lists(x) | st.dictionaries(st.text(max_size=5), x)
    )
)
def test_any_body_gets_an_answer(value: Any) -> None:
    decision = World(
        key("a", extra={"enforced_params": ["metadata.a.b", "guardrails.x"], "modify_guardrails": False})
    ).decide(secret("a"), model="gpt")
    body = json.dumps({"metadata": value, "guardrails": value, "litellm_metadata": value})
    outcome = admission.permit(decision, Ask([], {}, None, split(body.encode())), NOW, lambda: 0.5)
    assert isinstance(outcome, Refusal)


# Customers: a decision of their own.


def test_a_customer_is_blocked_by_the_list_or_the_api_and_an_unblock_outlives_the_list() -> None:
    world = World(key("a"), blocked_users=BlockedUsers({"listed"}))

    def blocked(user_id: str) -> bool:
        decision = world.decide(None, "", customer_id=user_id)
        assert decision.depends_on[1] == "control.setting.>"
        if isinstance(decision, Denial):
            assert decision.refusal.message == f"User blocked from making LLM API Calls. User={user_id}"
            assert decision.refusal.status == 400
        return isinstance(decision, Denial)

    assert blocked("listed") and not blocked("other")
    assert world.call("/customer/block", {"user_ids": ["other"]})["blocked_users"][0]["blocked"] is True
    assert blocked("other")
    assert world.call("/customer/unblock", {"user_ids": ["listed"]}) == {"blocked_users": ["other"]}
    assert not blocked("listed")
    assert [(f.kind, f.action) for f in world.facts] == [("customer", "blocked"), ("customer", "unblocked")]
    world.call("/customer/new", {"user_id": "new"})
    assert not blocked("new")
    world.call("/customer/delete", {"user_ids": ["listed"]})
    assert blocked("listed"), "what was said of them is gone, the list counts again"


def test_a_customers_models_bind_whoever_calls_for_them() -> None:
    world = World(key("a"), Customer(user_id="c", models=["mini"]))
    for model, expected in (("gpt", "model_not_allowed"), ("mini", "permitted")):
        decision = world.decide(secret("a"), model=model)
        ask = Ask([], {}, None, {}, model, "c", world.decide(None, "", customer_id="c"))
        outcome = admission.permit(decision, ask, NOW, lambda: 0.5)
        assert code(outcome) == expected
        if isinstance(outcome, Refusal):
            assert outcome.type == "customer_model_access_denied"

"""The order of rules, for every pair of them: of two that would refuse, the first one in the
documented order is reported; by the decision, by /policy/explain, and by the header."""

import itertools
from typing import Any

import msgspec
import pytest

from shared import admission, routes
from shared.entities import Customer, Organization, Project, Team, User
from shared.errors import Refusal
from shared.grant import Ask, Denial
from shared.ids import digest_key
from tests.policy.world import CONFIG, NOW, World, digest, key, secret

ORDER = (
    "credential", "ip", "allowed_routes", "key_blocked", "model_name", "key_models", "key_expired", "key_routes",
    "endpoints_disabled", "team", "team_models", "organization_models", "user_models", "customer", "project", "client_tags",
    "modify_guardrails", "role", "guardrails_served", "guardrail_names", "enforced_params", "model_served", "budget", "cache_controls",
)  # fmt: skip
"""As docs/access.md says: LiteLLM's, but that strangers get 401 first."""


class Scene(msgspec.Struct):
    """What makes a rule refuse a call of /chat/completions; all at once where several are asked
    for.
    """

    credential: str = secret("a")
    ip: str = "192.0.2.1"
    model: str = "gpt"
    body: dict[str, Any] = {}
    general: dict[str, Any] = {}
    environ: dict[str, str] = {}
    key: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    team: dict[str, Any] | None = {}
    organization: dict[str, Any] = {}
    project: dict[str, Any] = {}
    user: dict[str, Any] = {}
    customer: dict[str, Any] = {}
    over: bool = False


def breaking(scene: Scene, rule: str) -> None:
    match rule:
        case "credential":
            scene.credential = secret("nobody")
        case "ip":
            scene.extra["allowed_ips"] = ["10.0.0.1"]
        case "allowed_routes":
            scene.general["allowed_routes"] = ["/embeddings"]
        case "key_blocked":
            scene.key["blocked"] = True
        case "model_name":
            scene.model = "m" * 600
        case "key_models":
            scene.key["models"] = ["mini"]
        case "key_expired":
            scene.key["expires_at_ms"] = NOW - 1
        case "key_routes":
            scene.key["allowed_routes"] = ["/embeddings"]
        case "endpoints_disabled":
            scene.environ["DISABLE_LLM_API_ENDPOINTS"] = "true"
        case "team" if scene.team is not None:
            scene.team["blocked"] = True
        case "team_models" if scene.team is not None:
            scene.team["models"] = ["mini"]
        case "organization_models":
            scene.organization["models"] = ["mini"]
        case "user_models":
            scene.team, scene.user["models"] = None, ["mini"]
        case "customer":
            scene.customer["blocked"] = True
        case "project":
            scene.project["blocked"] = True
        case "client_tags":
            scene.general["reject_clientside_metadata_tags"] = True
            scene.body["tags"] = ["mine"]
        case "modify_guardrails":
            scene.extra["modify_guardrails"] = False
            scene.body["guardrails"] = ["banned_keywords"]
        case "role":
            scene.user["user_role"] = "proxy_admin_viewer"
        case "guardrails_served":
            scene.extra["guardrails"] = ["gone"]
        case "guardrail_names":
            scene.body["guardrails"] = ["misspelt"]
        case "enforced_params":
            scene.general["enforced_params"] = ["metadata.generation_name"]
        case "model_served":
            scene.model = scene.model if len(scene.model) > 512 else "nobody-serves-this"
        case "budget":
            scene.over = True
        case "cache_controls":
            scene.extra["allowed_cache_controls"] = ["ttl"]
            scene.body["cache"] = {"no-cache": True}
        case _:
            raise AssertionError(rule)


IMPOSSIBLE = {frozenset(pair) for pair in (("user_models", "team"), ("user_models", "team_models"))}
"""A team's key isn't held to its user's models."""


def reported(*rules: str) -> tuple[str, str]:
    """(rule, decision) of a call against which all of these speak, as the edge finds them; explain
    must say the same.
    """
    scene = Scene()
    for rule in rules:
        breaking(scene, rule)
    import json

    general = "".join(f"  {name}: {json.dumps(value)}\n" for name, value in scene.general.items())
    text = CONFIG.replace("general_settings:\n", "general_settings:\n" + general)
    if scene.over:
        text = text.replace("litellm_settings:\n", "litellm_settings:\n  max_budget: 0\n")
    w = World(text=text, environ=scene.environ)
    team_id = None if scene.team is None else "t"
    w.hold(
        key(
            "a",
            team_id=team_id,
            user_id="u",
            organization_id="o",
            extra={"project_id": "p", **scene.extra},
            **scene.key,
        ),
        Organization(organization_id="o", **scene.organization),
        Project(project_id="p", **scene.project),
        User(user_id="u", **scene.user),
        Customer(user_id="c", **scene.customer),
    )
    if scene.team is not None:
        w.hold(Team(team_id="t", **scene.team))
    decision = w.decide(scene.credential, model=scene.model)
    customer = w.decide(None, customer_id="c")
    ask = Ask(
        scene.body.get("tags", []), {}, scene.ip, {n: msgspec.Raw(msgspec.json.encode(v)) for n, v in scene.body.items()},
        scene.model, "c", customer,
    )  # fmt: skip
    refusal = admission.admit(decision, ask, NOW)
    assert refusal is not None and refusal.decision is not None, (rules, decision)
    asked = {
        "key": digest_key(scene.credential), "model": scene.model, "user": "c", "ip": scene.ip, "body": scene.body,
    }  # fmt: skip
    said = w.call("/policy/explain", asked)
    assert not isinstance(said, Refusal), said
    assert (said["allowed"], said["decision"], said["status"]) == (False, refusal.decision, refusal.status)
    assert [each["rule"] for each in said["rules"]] == list(ORDER[: ORDER.index(said["rule"]) + 1]), "each in order"
    assert [each["allows"] for each in said["rules"]] == [True] * (len(said["rules"]) - 1) + [False]
    rule, _, of = refusal.decision.partition("; of=")
    assert (said["rule"], said["rules"][-1]["of"]) == (rule, of or None)
    return rule, of


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(ORDER, 2)))
def test_of_two_rules_the_first_is_reported(first: str, second: str) -> None:
    if frozenset((first, second)) in IMPOSSIBLE:
        return
    assert reported(first, second)[0] == first
    assert reported(second, first)[0] == first, "whatever was set first"


OF = {
    "credential": "", "ip": f"control.key.{digest('a')}", "allowed_routes": "config", "team": "control.team.t",
    "organization_models": "control.organization.o", "user_models": "control.user.u", "customer": "control.customer.c",
    "project": "control.project.p", "modify_guardrails": f"control.key.{digest('a')}", "role": "role.proxy_admin_viewer",
    "guardrails_served": f"control.key.{digest('a')}",
    "guardrail_names": "request", "enforced_params": "config", "key_routes": f"control.key.{digest('a')}",
    "budget": "control.setting.budgets_over", "model_served": "config", "team_models": "control.team.t", "model_name": "request",
    "cache_controls": f"control.key.{digest('a')}",
}  # fmt: skip


@pytest.mark.parametrize("rule", ORDER)
def test_each_rule_alone_names_itself_and_whose_it_is(rule: str) -> None:
    found, of = reported(rule)
    assert found == rule
    assert of == OF.get(rule, of)


def test_the_documented_order_is_the_one_that_is_walked() -> None:
    from pathlib import Path

    assert ORDER == admission.ORDER
    text = Path("docs/access.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = [name.strip().strip("`") for row in rows for name in row.split(",")]
    assert [name for name in named if name in ORDER] == list(ORDER)


def test_without_anything_against_it_a_call_is_let_in() -> None:
    w = World(key("a"))
    said = w.call("/policy/explain", {"key": digest("a"), "model": "gpt"})
    assert said["allowed"] and said["decision"] is None and said["rule"] is None
    assert [each["rule"] for each in said["rules"]] == list(ORDER)
    assert said["settings"]["general_settings.enforced_params"] == []
    assert "sk-" not in msgspec.json.encode(said).decode()


def test_a_decision_is_a_line_of_printable_ascii_whatever_ids_hold() -> None:
    odd = "Zürich\r\nx: y"
    w = World(Team(team_id=odd, blocked=True), key("a", team_id=odd))
    denial = w.decide(secret("a"), model="gpt")
    assert isinstance(denial, Denial) and denial.refusal.decision is not None
    assert denial.refusal.decision.isascii() and denial.refusal.decision.isprintable()
    assert routes.named("/policy/explain") is not None

"""Which guardrails a request runs through: the file's, a key's, a team's, a project's; one that is
gone refuses it.
"""

import json
from typing import Any

import pytest

from shared import admission
from shared.entities import Project, Team
from shared.errors import Refusal
from shared.grant import Ask, Denial, Grant
from tests.policy.world import CONFIG, NOW, World, catalog, digest, key, secret, split


def guardrails(world: World, name: str, body: dict[str, Any] | None = None) -> list[str] | str:
    decision = world.decide(secret(name), model="gpt")
    outcome = admission.permit(decision, Ask([], {}, None, split(json.dumps(body or {}).encode())), NOW, lambda: 0.5)
    return outcome.code if isinstance(outcome, Refusal) else [ref.name for ref in outcome.guardrails]


def test_permissions_turn_a_guardrail_off_for_a_key_and_a_request_may_turn_it_on_again() -> None:
    text = CONFIG.replace("[banned_keywords]", "[hide_secrets, banned_keywords]")
    world = World(
        key("a"),
        key("off", permissions={"hide_secrets": False}),
        key("none", extra={"disable_global_guardrails": True}),
        key("named", extra={"disable_global_guardrails": True, "guardrails": ["hide_secrets"]}),
        key("team", team_id="t"),
        Team(team_id="t", metadata={"guardrails": ["banned_keywords"], "disable_global_guardrails": True}),
        text=text,
    )
    assert guardrails(world, "a") == ["hide_secrets", "banned_keywords"]
    assert guardrails(world, "off") == ["banned_keywords"]
    assert guardrails(world, "none") == []
    assert guardrails(world, "named") == ["hide_secrets"]
    assert guardrails(world, "team") == ["banned_keywords"]
    assert guardrails(world, "off", {"guardrails": ["hide_secrets"]}) == ["banned_keywords", "hide_secrets"]
    assert guardrails(world, "off", {"metadata": {"guardrails": ["hide_secrets"]}}) == [
        "banned_keywords",
        "hide_secrets",
    ]
    assert guardrails(world, "a", {"disable_global_guardrails": True}) == ["hide_secrets", "banned_keywords"]
    assert guardrails(world, "a", {"guardrails": ["misspelt"]}) == "bad_request"


def test_who_names_a_guardrail_that_is_gone_is_refused_and_told_which() -> None:
    w = World(
        key("key", extra={"guardrails": ["banned_keywords", "pii"]}),
        key("metadata", metadata={"guardrails": ["pii"]}),
        key("team", team_id="t"),
        key("project", extra={"project_id": "p"}),
        key("mode", permissions={"enable_llm_guard_check": True}),
        key("only off", permissions={"hide_secrets": True, "something else": True}),
        key("others", extra={"guardrails": ["banned_keywords"]}),
        Team(team_id="t", extra={"guardrails": ["pii"]}),
        Project(project_id="p", metadata={"guardrails": ["pii"]}),
    )
    for name, whose in (
        ("key", f"key.{digest('key')}"),
        ("metadata", f"key.{digest('metadata')}"),
        ("team", "team.t"),
        ("project", "project.p"),
    ):
        for route in ("/chat/completions", "/embeddings", "/messages", "/audio/transcriptions"):
            denial = w.decide(secret(name), route, "gpt")
            assert isinstance(denial, Denial) and denial.refusal.status == 503
            assert (
                "'pii'" in denial.refusal.message
                and denial.refusal.decision == f"guardrails_served; of=control.{whose}"
            )
            assert "control.setting.>" in denial.depends_on, "it is asked anew once the file has it again"
        assert isinstance(w.decide(secret(name), "/models"), Grant), "nothing is screened there"
    assert "llmguard_moderations" in w.decide(secret("mode"), model="gpt").refusal.message
    assert guardrails(w, "only off") == guardrails(w, "others") == ["banned_keywords"]

    there = CONFIG + "guardrails: [{guardrail_name: pii, litellm_params: {guardrail: hide-secrets, mode: pre_call}}]\n"
    w.catalog = catalog(there)
    assert guardrails(w, "key") == ["pii", "banned_keywords"], "as soon as the file has it again"
    excused = CONFIG.replace("general_settings:", "general_settings:\n  allow_unenforced: [pii]")
    w.catalog = catalog(excused)
    assert guardrails(w, "key") == ["banned_keywords"], "the operator said that it may be left undone"


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ("litellm_settings: {callbacks: [llmguard_moderations], llm_guard_mode: key-specific}", "llmguard_moderations"),
        (
            "litellm_settings: {callbacks: [llmguard_moderations], llm_guard_mode: request-specific}",
            "llmguard_moderations",
        ),
        ("guardrails: [{guardrail_name: mine, litellm_params: {guardrail: llm-guard, mode: pre_call}}]", "mine"),
    ],
)
def test_what_a_keys_permissions_turn_on_runs_however_it_is_configured(settings: str, named: str) -> None:
    """Had it only been looked for, a key that counts on it would be served without it."""
    head = CONFIG.split("litellm_settings:")[0]
    permitted = {"enable_llm_guard_check": True}
    w = World(
        key("a"),
        key("on", permissions=permitted),
        key("defaults off", permissions=permitted, extra={"disable_global_guardrails": True}),
        key("off", permissions={"enable_llm_guard_check": False}),
        text=head + settings,
    )
    assert guardrails(w, "on") == guardrails(w, "defaults off") == [named]
    assert guardrails(w, "a") == guardrails(w, "off") == []

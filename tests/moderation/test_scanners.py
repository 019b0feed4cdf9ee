"""Services that are only asked whether something may pass: each is asked in its own shape, and what
it doesn't answer lets nothing through.
"""

from functools import partial
from typing import Any

import pytest

from services.moderation.guardrails.scanners import SCANNERS
from shared.config import ConfigError
from shared.outbound import Outbound
from tests.moderation.remote_kit import StandIn, listed, load, screened

ANALYZE, SHIELD = "/contentsafety/text:analyze", "/contentsafety/text:shieldPrompt"
CASES: dict[str, Any] = {
    "azure/text_moderations": (
        ANALYZE, "ocp-apim-subscription-key", "k",
        {"text": "BOMB", "categories": ["Hate", "Sexual", "SelfHarm", "Violence"], "haltOnBlocklistHit": False,
         "outputType": "FourSeverityLevels"},
        {"categoriesAnalysis": [{"category": "Hate", "severity": 0}, {"category": "Violence", "severity": 2}], "blocklistsMatch": []},
        {"categoriesAnalysis": [{"category": "Hate", "severity": 0}], "blocklistsMatch": []}, ["Violence"],
    ),
    "azure/prompt_shield": (
        SHIELD, "ocp-apim-subscription-key", "k", {"userPrompt": "BOMB", "documents": []},
        {"userPromptAnalysis": {"attackDetected": True}, "documentsAnalysis": []},
        {"userPromptAnalysis": {"attackDetected": False}, "documentsAnalysis": []}, ["attack"],
    ),
    "lakera_v2": (
        "/v2/guard", "authorization", "Bearer k", {"messages": [{"role": "user", "content": "BOMB"}], "breakdown": True},
        {"flagged": True, "breakdown": [{"detector_type": "prompt_attack", "detected": True}, {"detector_type": "pii/x", "detected": False}]},
        {"flagged": False, "breakdown": []}, ["prompt_attack"],
    ),
    "aporia": (
        "/validate", "x-aporia-api-key", "k", {"messages": [{"role": "user", "content": "BOMB"}], "validation_target": "prompt"},
        {"action": "block", "revised_response": "no"}, {"action": "passthrough"}, ["policy"],
    ),
    "panw_prisma_airs": (
        "/v1/scan/sync/request", "x-pan-token", "k",
        {"metadata": {"app_name": "Tollgate"}, "contents": [{"prompt": "BOMB"}], "ai_profile": {"profile_name": "p"}},
        {"action": "block", "category": "malicious"}, {"action": "allow", "category": "benign"}, ["malicious"],
    ),
}  # fmt: skip


def test_each_row_has_its_case() -> None:
    assert CASES.keys() == SCANNERS.keys()


@pytest.mark.parametrize("name", CASES)
async def test_it_is_asked_as_it_wants_and_its_word_counts(name: str, server: StandIn, outbound: Outbound) -> None:
    path, header, value, question, bad, good, types = CASES[name]
    more = {"profile_name": "p"} if name == "panw_prisma_airs" else {}
    screen = listed(outbound, guardrail=name, mode="pre_call", api_base=server.url, api_key="k", **more)
    server.answers[path] = lambda asked: bad if "BOMB" in str(asked) else good
    verdict = await screened(screen, "BOMB", roles=["user"])
    assert (verdict.action, verdict.status) == ("block", 400) and SCANNERS[name].found(bad, {}) == types
    at, headers, body = server.asked[0]
    assert (at, headers[header], body) == (path, value, question)
    assert (await screened(screen, "hello", roles=["user"])).action == "allow"
    for odd in (
        [],
        {},
        {"flagged": "no"},
        {"action": "perhaps"},
        {"categoriesAnalysis": [{"severity": "0"}]},
        {"userPromptAnalysis": {}},
    ):
        server.answers[path] = partial(lambda said, _: said, odd)
        assert (await screened(screen, "hello", roles=["user"])).action == "error", odd


async def test_an_answer_is_asked_about_as_one(server: StandIn, outbound: Outbound) -> None:
    passing = {
        "lakera_v2": {"flagged": False},
        "aporia": {"action": "passthrough"},
        "panw_prisma_airs": {"action": "allow"},
    }
    for name, answer in passing.items():
        server.answers[CASES[name][0]] = partial(lambda said, _: said, answer)
        screen = listed(outbound, guardrail=name, mode="post_call", api_base=server.url, api_key="k")
        assert (await screened(screen, "said", stage="post_call", roles=["assistant"])).action == "allow"
    lakera, aporia, airs = (body for _, _, body in server.asked)
    assert lakera["messages"] == [{"role": "assistant", "content": "said"}]
    assert aporia == {"response": "said", "validation_target": "response"}
    assert airs["contents"] == [{"response": "said"}] and airs["metadata"]["is_response"] is True


async def test_azure_s_limits_and_long_texts(server: StandIn, outbound: Outbound) -> None:
    def of(severity: int) -> Any:
        return lambda asked: {
            "categoriesAnalysis": [{"category": "Hate", "severity": severity if "BOMB" in asked["text"] else 0}]
        }

    def screen(**params: Any) -> Any:
        return listed(
            outbound, guardrail="azure/text_moderations", mode="pre_call", api_base=server.url, api_key="k", **params
        )

    server.answers[ANALYZE] = of(4)
    for params, action in (
        ({"severity_threshold": 6}, "allow"), ({"severity_threshold": "4"}, "block"),
        ({"severity_threshold_by_category": {"Hate": 6}}, "allow"), ({"severity_threshold_by_category": {"Hate": 4}}, "block"),
    ):  # fmt: skip
        assert (await screened(screen(**params), "BOMB")).action == action, params
    server.asked.clear()
    long = "x" * 9_998 + "BOMB" + "x" * 12_000
    assert (await screened(screen(), long)).action == "block", "also where a piece ends"
    assert len(server.asked) == 3 and all(len(body["text"]) <= 10_000 for _, _, body in server.asked)
    with pytest.raises(ConfigError, match="whole numbers from 1 to 7"):
        screen(severity_threshold="high")


def test_what_it_needs_refuses_the_start(outbound: Outbound) -> None:
    with pytest.raises(ConfigError, match="api_base and api_key"):
        listed(outbound, guardrail="lakera_v2")
    with pytest.raises(ConfigError, match="api_base and api_key"):
        listed(outbound, guardrail="aporia", api_key="k")
    assert listed(outbound, {"LAKERA_API_KEY": "k"}, guardrail="lakera", mode="during_call")


def test_its_own_name_for_what_happens_without_an_answer(outbound: Outbound) -> None:
    entry = {"guardrail": "panw_prisma_airs", "api_key": "k", "fallback_on_error": "allow"}

    def loaded(**params: Any) -> Any:
        return load(outbound, {}, guardrails=[{"guardrail_name": "g", "litellm_params": params}])[0].enabled.on_error

    assert loaded(**entry) == "allow" and loaded(**{**entry, "on_error": "block"}) == "block"
    assert loaded(guardrail="panw_prisma_airs", api_key="k") == "block"
    with pytest.raises(ConfigError, match="block or allow"):
        loaded(**{**entry, "fallback_on_error": "maybe"})

"""Guardrails that ask a service: what they send, what they make of its answer, and what happens
where it has none.

The stand-in answers as the real servers were recorded (LLM Guard API 0.3.16, Presidio analyzer,
OpenAI, Google's REST API).
"""

import asyncio
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from structlog.testing import capture_logs

from services.moderation.guardrails.remote import FAILURES_MAX, Circuit, NoAnswerError
from services.moderation.screen import Screen
from shared.config import ConfigError
from shared.outbound import Outbound
from shared.requests import Redaction
from tests.moderation.remote_kit import StandIn, listed, load, screened

# ── LLM Guard ──


def llm_guard(asked: Any) -> Any:
    text = asked["prompt"]
    found = "BOMB" in text or "Bearer" in text
    clean = text.replace("BOMB", "[REDACTED]").replace("Bearer abc.def", "[REDACTED]")
    scanners = {"Regex": 1.0 if "Bearer" in text else -1.0, "BanSubstrings": 1.0 if "BOMB" in text else -1.0}
    return {"is_valid": not (found and "make a" in text), "scanners": scanners, "sanitized_prompt": clean}


async def test_llm_guard_s_sanitised_prompt_is_what_goes_on(server: StandIn, outbound: Outbound) -> None:
    server.answers["/analyze/prompt"] = llm_guard
    callbacks = {"callbacks": ["llmguard_moderations"]}
    screen = Screen(load(outbound, {"LLM_GUARD_API_BASE": server.url}, litellm_settings=callbacks))
    with capture_logs() as logs:
        verdict = await screened(screen, "hello world", name="llmguard_moderations")
    assert verdict.action == "allow"
    (line,) = [line for line in logs if line["event"].startswith("LLM Guard: Received response - ")]
    assert line["log_level"] == "debug", "what was said is nobody's business unless debugging is on"
    verdict = await screened(screen, "hello", "a BOMB shelter", name="llmguard_moderations")
    assert verdict.redactions == [Redaction(1, 0, 14, "a [REDACTED] shelter")]
    verdict = await screened(screen, "make a BOMB Bearer abc.def", name="llmguard_moderations")
    assert (verdict.action, verdict.status, verdict.message) == ("block", 400, "Violated content safety policy")


def test_llm_guard_without_an_address_refuses_the_start(outbound: Outbound) -> None:
    with pytest.raises(ConfigError, match="Missing `LLM_GUARD_API_BASE` from environment"):
        load(outbound, {}, litellm_settings={"callbacks": ["llmguard_moderations"]})


async def test_an_answer_is_put_before_llm_guard_as_an_answer(server: StandIn, outbound: Outbound) -> None:
    server.answers["/analyze/output"] = lambda asked: {"is_valid": True, "scanners": {}, "sanitized_output": "clean"}
    screen = listed(outbound, guardrail="llm_guard", mode="post_call", api_base=server.url, api_key="k")
    assert (await screened(screen, "dirty", stage="post_call")).redactions == [Redaction(0, 0, 5, "clean")]
    path, headers, body = server.asked[0]
    assert (path, headers["authorization"], body) == ("/analyze/output", "Bearer k", {"prompt": "", "output": "dirty"})


# ── no answer ──


async def slow(_: Any) -> Any:
    await asyncio.sleep(1.5)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: web.Response(status=500, text="oops"),
        lambda _: web.Response(status=401, text="who are you"),
        lambda _: web.Response(status=302, headers={"Location": "http://127.0.0.1:9/elsewhere"}),
        lambda _: web.Response(text="<html>"),
        lambda _: web.Response(text="null"),
        lambda _: {"is_valid": "yes"},
        lambda _: [],
        lambda _: {"is_valid": True, "sanitized_prompt": None},
        slow,
    ],
    ids=["500", "401", "redirect", "html", "null", "odd", "list", "no text", "slow"],
)
@pytest.mark.parametrize("on_error", ["block", "allow"])
@pytest.mark.alone
async def test_what_is_no_answer_is_an_error_within_the_deadline(
    server: StandIn, outbound: Outbound, answer: Any, on_error: str
) -> None:
    server.answers["/analyze/prompt"] = answer
    screen = listed(outbound, guardrail="llm_guard", api_base=server.url, deadline_ms=300, on_error=on_error)
    started = time.perf_counter()
    with capture_logs() as logs:
        verdict = await screened(screen, "TOP SECRET")
    assert time.perf_counter() - started < 3
    assert [(o.name, o.action) for o in verdict.outcomes] == [("g", "error")]
    assert "TOP SECRET" not in str(logs)


async def test_a_service_that_is_away_is_asked_no_more_for_a_while(
    server: StandIn, outbound: Outbound, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And `/health/services` says so; then one question tries, and all is well again."""
    server.answers["/analyze/prompt"] = lambda _: web.Response(status=503)
    screen = listed(outbound, guardrail="llm_guard", api_base=server.url)
    (state,) = screen.services().services
    assert (state.guardrail, state.needs, state.circuit, state.seconds_ago) == (
        "g",
        "an LLM Guard API server",
        "closed",
        None,
    )
    for _ in range(FAILURES_MAX + 10):
        assert (await screened(screen, "x")).action == "error"
    assert len(server.asked) == FAILURES_MAX
    (state,) = screen.services().services
    assert (state.circuit, state.failures, state.error) == ("open", FAILURES_MAX, "status 503")
    assert state.seconds_ago is not None and state.seconds_ago < 30
    monkeypatch.setattr("services.moderation.guardrails.remote.OPEN_S", 0.0)
    server.answers["/analyze/prompt"] = llm_guard
    assert (await screened(screen, "x")).action == "allow"
    (state,) = screen.services().services
    assert (state.circuit, state.failures, state.error) == ("closed", 0, "")


async def test_an_outcome_says_what_asking_cost_and_by_which_rules(server: StandIn, outbound: Outbound) -> None:
    server.answers["/analyze/prompt"] = llm_guard
    screen = listed(outbound, guardrail="llm_guard", api_base=server.url, cost_per_request=0.001)
    (outcome,) = (await screened(screen, "one", "two", "three")).outcomes
    assert outcome.cost_picousd == 3 * 1_000_000_000
    server.answers["/analyze/prompt"] = lambda _: web.Response(status=500)
    (outcome,) = (await screened(screen, "one")).outcomes
    assert (outcome.action, outcome.cost_picousd) == ("error", 1_000_000_000)
    for wrong in (-1, "1", True, 2_000):
        with pytest.raises(ConfigError, match="cost_per_request"):
            listed(outbound, guardrail="llm_guard", api_base=server.url, cost_per_request=wrong)


def test_a_circuit_opens_lets_one_try_and_closes() -> None:
    now = 0.0
    circuit = Circuit(lambda: now)

    def ask(works: bool) -> bool:
        try:
            circuit.enter()
        except NoAnswerError:
            return False
        circuit.leave(worked=works)
        return True

    assert [ask(False) for _ in range(FAILURES_MAX)] == [True] * FAILURES_MAX
    assert circuit.is_open and not ask(True)
    now = 6.0
    circuit.enter()
    with pytest.raises(NoAnswerError):
        circuit.enter()  # only one tries
    circuit.leave(worked=False)
    assert not ask(True)
    now = 12.0
    assert ask(True) and not circuit.is_open and ask(True)


# ── Presidio ──

TEXT = "My name is Ann Berg, call 212-555-0123"


def presidio(asked: Any) -> Any:
    """Recorded."""
    found = [
        {"analysis_explanation": None, "end": 19, "entity_type": "PERSON", "score": 0.85, "start": 11},
        {"analysis_explanation": None, "end": 38, "entity_type": "PHONE_NUMBER", "score": 0.75, "start": 26},
    ]
    wanted = asked.get("entities")
    return [f for f in found if asked["text"] == TEXT and (wanted is None or f["entity_type"] in wanted)]


async def test_presidio_s_spans_become_types(server: StandIn, outbound: Outbound) -> None:
    server.answers["/analyze"] = presidio
    screen = listed(outbound, {"PRESIDIO_ANALYZER_API_BASE": server.url}, guardrail="presidio")
    verdict = await screened(screen, "nothing", TEXT)
    assert verdict.redactions == [Redaction(1, 11, 19, "<PERSON>"), Redaction(1, 26, 38, "<PHONE_NUMBER>")]
    assert server.asked[0][2] == {"text": "nothing", "language": "en"}
    one = {"pii_entities_config": {"PERSON": "MASK"}, "presidio_score_threshold": 0.5}
    screen = listed(outbound, guardrail="presidio", api_base=server.url, **one)
    assert (await screened(screen, TEXT)).redactions == [Redaction(0, 11, 19, "<PERSON>")]
    assert server.asked[-1][2]["score_threshold"] == 0.5
    screen = listed(outbound, guardrail="presidio", api_base=server.url, pii_entities_config={"PHONE_NUMBER": "BLOCK"})
    assert "PHONE_NUMBER" in (await screened(screen, TEXT)).message
    server.answers["/analyze"] = lambda _: [{"start": 0, "end": 999, "entity_type": "PERSON"}]
    assert (await screened(listed(outbound, guardrail="presidio", api_base=server.url), TEXT)).action == "error"


# ── OpenAI ──


async def test_openai_s_moderation_flags(server: StandIn, outbound: Outbound) -> None:
    server.answers["/moderations"] = lambda asked: {
        "id": "modr-1",
        "model": asked["model"],
        "results": [{"flagged": "kill" in text, "categories": {"violence": "kill" in text}} for text in asked["input"]],
    }
    screen = listed(outbound, guardrail="openai_moderation", mode="during_call", api_base=server.url, api_key="sk-up")
    assert (await screened(screen, "hi", stage="during_call")).action == "allow"
    verdict = await screened(screen, "hi", "kill them", stage="during_call")
    assert (verdict.action, verdict.status, verdict.message) == ("block", 403, "Violated content safety policy")
    _, headers, body = server.asked[-1]
    assert headers["authorization"] == "Bearer sk-up"
    assert body == {"model": "omni-moderation-latest", "input": ["hi", "kill them"]}
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        listed(outbound, guardrail="openai_moderation")


async def test_openai_s_moderation_by_a_name_of_the_model_list(server: StandIn, outbound: Outbound) -> None:
    server.answers["/v1/moderations"] = lambda asked: {"results": [{"flagged": False}]}
    model = {
        "model_name": "mod",
        "litellm_params": {"model": "openai/omni-x", "api_base": server.url + "/v1", "api_key": "k"},
    }
    settings = {"callbacks": ["openai_moderations"], "openai_moderations_model_name": "mod"}
    loaded = load(outbound, {}, model_list=[model], litellm_settings=settings)
    assert (await screened(Screen(loaded), "x", name="openai_moderations")).action == "allow"
    assert server.asked[0][2]["model"] == "omni-x"


# ── Google ──


@pytest.fixture
def google(tmp_path: Path, server: StandIn) -> dict[str, str]:
    """A service account whose tokens the stand-in gives out."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    account = {
        "type": "service_account", "project_id": "p", "private_key_id": "1", "private_key": pem, "client_email": "a@p.iam.example",
        "token_uri": server.url + "/token",
    }  # fmt: skip
    (tmp_path / "account.json").write_text(json.dumps(account))
    server.answers["/token"] = lambda _: {"access_token": "ya29.t", "expires_in": 3600, "token_type": "Bearer"}
    categories = [
        {"name": "Toxic", "confidence": 0.5},
        {"name": "Death, Harm & Tragedy", "confidence": 0.7},
        {"name": "Legal", "confidence": 0.01},
    ]
    server.answers["/v2/documents:moderateText"] = lambda _: {"moderationCategories": categories}
    return {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "account.json"), "GOOGLE_LANGUAGE_API_BASE": server.url}


@pytest.mark.parametrize(
    ("settings", "category"),
    [
        ({}, None),
        ({"google_moderation_confidence_threshold": 0.4}, "death_harm_and_tragedy"),
        ({"toxic_confidence_threshold": 0.1}, "toxic"),
        ({"death_harm_and_tragedy_threshold": 0.6}, "death_harm_and_tragedy"),
        ({"death_harm_and_tragedy_confidence_threshold": 0.6}, "death_harm_and_tragedy"),
        ({"death_harm_and_tragedy_threshold": 0.7}, None),
        ({"legal_threshold": 0.001}, "legal"),
        ({"google_moderation_confidence_threshold": 0.4, "death_harm_and_tragedy_threshold": 0.9}, "toxic"),
    ],
)
async def test_google_s_thresholds_in_both_spellings(
    server: StandIn, outbound: Outbound, google: dict[str, str], settings: dict[str, float], category: str | None
) -> None:
    callbacks = {"callbacks": ["google_text_moderation"], **settings}
    screen = Screen(load(outbound, google, litellm_settings=callbacks))
    verdict = await screened(screen, "one", "two", name="google_text_moderation")
    if category is None:
        assert verdict.action == "allow"
    else:
        assert verdict.message == f"Violated content safety policy. Category={category}"
    asked = [(headers, body) for path, headers, body in server.asked if path != "/token"]
    assert asked[0][0]["authorization"] == "Bearer ya29.t"
    assert asked[0][1] == {"document": {"type": "PLAIN_TEXT", "content": "one\ntwo"}}


async def test_google_s_token_is_kept_and_its_lack_is_an_error(
    server: StandIn, outbound: Outbound, google: dict[str, str]
) -> None:
    screen = Screen(load(outbound, google, litellm_settings={"callbacks": ["google_text_moderation"]}))
    for _ in range(3):
        await screened(screen, "x", name="google_text_moderation")
    assert [path for path, _, _ in server.asked].count("/token") == 1
    server.answers["/token"] = lambda _: web.Response(status=400, text="{}")
    screen = Screen(load(outbound, google, litellm_settings={"callbacks": ["google_text_moderation"]}))
    assert (await screened(screen, "x", name="google_text_moderation")).action == "error"
    with pytest.raises(ConfigError, match="GOOGLE_APPLICATION_CREDENTIALS"):
        load(outbound, {}, litellm_settings={"callbacks": ["google_text_moderation"]})


# ── an operator's own ──


async def test_a_generic_http_guardrail(server: StandIn, outbound: Outbound) -> None:
    path = "/beta/litellm_basic_guardrail_api"
    screen = listed(outbound, guardrail="generic_guardrail_api", api_base=server.url, api_key="k",
                    additional_provider_specific_params={"level": 3})  # fmt: skip
    server.answers[path] = lambda _: {"action": "NONE"}
    assert (await screened(screen, "a", "b")).action == "allow"
    _, headers, body = server.asked[0]
    assert headers["x-api-key"] == "k" and body["texts"] == ["a", "b"] and body["input_type"] == "request"
    assert body["additional_provider_specific_params"] == {"level": 3}
    server.answers[path] = lambda _: {"action": "BLOCKED", "blocked_reason": "not here"}
    assert (await screened(screen, "a")).message == "not here"
    server.answers[path] = lambda _: {"action": "GUARDRAIL_INTERVENED", "texts": ["a", "B"]}
    assert (await screened(screen, "a", "b")).redactions == [Redaction(1, 0, 1, "B")]
    for odd in ({"action": "GUARDRAIL_INTERVENED", "texts": ["a"]}, {"action": "WHAT"}, {}, []):
        server.answers[path] = partial(lambda said, _: said, odd)
        assert (await screened(screen, "a", "b")).action == "error"


async def test_a_guardrail_of_the_operator_s_own_file(outbound: Outbound, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        """
class No(Exception):
    message, status = "we don't say that", 451

class Shouts:
    def __init__(self, word, **params): self.word = word
    async def inspect(self, texts, stage):
        if "boom" in texts: raise RuntimeError("TOP SECRET")
        if self.word in texts: raise No
        return [text.upper() for text in texts]

class Sync:
    def inspect(self, texts, stage): return None
"""
    )
    screen = listed(outbound, {}, tmp_path, guardrail="mine.Shouts", word="bad")
    assert (await screened(screen, "hi", "HO")).redactions == [Redaction(0, 0, 2, "HI")]
    verdict = await screened(screen, "bad")
    assert (verdict.action, verdict.message, verdict.status) == ("block", "we don't say that", 451)
    with capture_logs() as logs:
        assert (await screened(screen, "boom")).action == "error"
    assert "TOP SECRET" not in str(logs)
    assert (await screened(listed(outbound, {}, tmp_path, guardrail="mine.Sync"), "x")).action == "allow"
    for wrong, sentence in (("mine.Nobody", "Nobody"), ("nowhere.X", "no file"), ("mine.No", "no method inspect")):
        with pytest.raises(ConfigError, match=sentence):
            listed(outbound, {}, tmp_path, guardrail=wrong)

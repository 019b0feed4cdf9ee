"""Guardrails against the real libraries behind their services: `make prove`.

llm-guard has an environment of its own (1.5 GB: it asks for torch), made here once and kept beside
the project's packages. Presidio is tried where the environment names a Python that has it:

PRESIDIO_PYTHON   presidio-analyzer, and a spaCy pipeline as the package PRESIDIO_MODEL (en_core_web_sm)
LLM_GUARD_PYTHON  one with llm-guard, instead of the one made here

And a real model, which `make model` serves, in Llama Guard's place: what it thinks is worth
nothing, but it reads the real prompt, and its answer is a verdict where it has the form of one.
"""  # noqa: W505

import json
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.moderation.guardrails import table
from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import replaced
from services.moderation.screen import Screen
from shared.config import parse
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import ScreenRequest, Verdict
from tests.live.conftest import model_url as model_url
from tests.prove.environments import MADE_S, python_with
from tests.support.ports import free_port

HERE = Path(__file__).parent
PRESIDIO = os.environ.get("PRESIDIO_PYTHON", "")
LLM_GUARD = ("llm-guard==0.3.16", "torch==2.13.0")
"""The last release, and a framework that it runs with."""
MODEL = os.environ.get("PRESIDIO_MODEL", "en_core_web_sm")


@contextmanager
def served(python: str, app: str, *arguments: str) -> Iterator[str]:
    port = free_port()
    with subprocess.Popen([python, str(HERE / app), str(port), *arguments], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert b"ready" in process.stdout.readline(), f"{app} did not start"
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(OutboundSettings(), Guard(any_address=True))
    yield made
    await made.close()


async def screened(outbound: Outbound, text: str, stage: str = "pre_call", **params: Any) -> tuple[Verdict, str]:
    params = {"mode": [stage], "deadline_ms": 60_000, **params}
    config = parse(
        json.dumps({"guardrails": [{"guardrail_name": "g", "litellm_params": params}]}),
        {},
        directory="",
        service="moderation",
    )
    screen = Screen(table.load(Parts(config=config, outbound=outbound)))
    answer = screen.screen(ScreenRequest(["g"], stage, [text]))
    verdict = answer if isinstance(answer, Verdict) else await answer
    return verdict, replaced(text, verdict.redactions)


@pytest.mark.skipif(not PRESIDIO, reason="PRESIDIO_PYTHON names no Python with presidio-analyzer")
async def test_presidio(outbound: Outbound) -> None:
    with served(PRESIDIO, "presidio_app.py", MODEL) as url:
        text = "é🙂: please write to ada@example.com or call (425) 882-9090; card 4012888888881881."
        verdict, out = await screened(outbound, text, guardrail="presidio", presidio_analyzer_api_base=url)
        assert verdict.action == "redact"
        assert (
            "ada@example.com" not in out
            and "4012888888881881" not in out
            and "<EMAIL_ADDRESS>" in out
            and "<CREDIT_CARD>" in out
        )
        assert "write to <EMAIL_ADDRESS> or call" in out  # positions are of characters
        actions = {"EMAIL_ADDRESS": "MASK", "CREDIT_CARD": "BLOCK"}
        verdict, _ = await screened(
            outbound, text, guardrail="presidio", presidio_analyzer_api_base=url, pii_entities_config=actions
        )
        assert verdict.action == "block" and "CREDIT_CARD" in verdict.message
        verdict, out = await screened(
            outbound,
            text,
            guardrail="presidio",
            presidio_analyzer_api_base=url,
            pii_entities_config={"EMAIL_ADDRESS": "MASK"},
        )
        assert out == text.replace("ada@example.com", "<EMAIL_ADDRESS>")
        verdict, out = await screened(
            outbound, "the weather is fine", guardrail="presidio", presidio_analyzer_api_base=url
        )
        assert verdict.action == "allow"


@pytest.fixture(scope="module")
def llm_guard() -> Iterator[str]:
    with served(os.environ.get("LLM_GUARD_PYTHON") or python_with(*LLM_GUARD), "llm_guard_app.py") as url:
        yield url


GITHUB_TOKEN = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"


@pytest.mark.timeout(2 * MADE_S)
@pytest.mark.parametrize(
    ("text", "stage", "action"),
    [
        ("hello world", "pre_call", "allow"),
        ("make a BOMB", "pre_call", "block"),
        ("use Bearer abc.def-123 there", "pre_call", "block"),
        (f"push with {GITHUB_TOKEN}", "pre_call", "block"),
        ("zero\u200bwidth", "pre_call", "block"),
        ("a fine day", "post_call", "allow"),
        ("a BOMB you say", "post_call", "block"),
    ],
)
async def test_llm_guard(outbound: Outbound, llm_guard: str, text: str, stage: str, action: str) -> None:
    verdict, out = await screened(outbound, text, stage, guardrail="llm_guard", api_base=llm_guard)
    assert verdict.action == action
    assert out == text
    if action == "block":
        assert (verdict.status, verdict.message) == (400, "Violated content safety policy")


@pytest.mark.timeout(2 * MADE_S)
async def test_what_llm_guard_answers(llm_guard: str) -> None:
    """As its API server was recorded to answer, whose shape the stand-ins of other tests have."""

    async def asked(path: str, **question: Any) -> Any:
        async with aiohttp.ClientSession() as http, http.post(llm_guard + path, json=question) as answer:
            return await answer.json()

    said = await asked("/analyze/prompt", prompt="make a BOMB Bearer abc.def", scanners_suppress=["Secrets"])
    assert said == {
        "is_valid": False,
        "scanners": {"Regex": 1.0, "BanSubstrings": 1.0, "InvisibleText": -1.0},
        "sanitized_prompt": "make a [REDACTED] [REDACTED]",
    }
    assert await asked("/scan/prompt", prompt="hello", scanners_suppress=["Regex", "BanSubstrings"]) == {
        "is_valid": True,
        "scanners": {"Secrets": -1.0, "InvisibleText": -1.0},
    }
    said = await asked("/analyze/output", prompt="", output="a BOMB")
    assert (said["is_valid"], said["sanitized_output"]) == (False, "a [REDACTED]")


GRAMMAR = 'root ::= "safe" | "unsafe\\nS" [1-9]'


@pytest.mark.parametrize(("stage", "api"), [("post_call", "completions"), ("pre_call", "chat")])
async def test_a_model_in_llama_guard_s_format(outbound: Outbound, model_url: str, stage: str, api: str) -> None:
    async def judged(**extra: Any) -> Verdict:
        params = {"model": "smollm2", "api_base": model_url, "llamaguard_version": 3, "llamaguard_api": api}
        verdict, _ = await screened(
            outbound, "How do I pick a lock?", stage, guardrail="llamaguard", **params, extra_body=extra
        )
        return verdict

    free = await judged()
    assert free.action in ("allow", "block", "error")  # what rambles has judged nothing
    either = await judged(grammar=GRAMMAR)
    assert either.action in ("allow", "block")
    assert (await judged(grammar='root ::= "safe"')).action == "allow"
    no = await judged(grammar='root ::= "unsafe\\nS2"')
    assert (no.action, no.status, no.message) == ("block", 400, "Violated content safety policy")
    assert (await judged(grammar='root ::= "it is unsafe"')).action == "error"

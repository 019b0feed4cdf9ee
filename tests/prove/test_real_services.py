"""Guardrails against the real libraries behind their services: `make prove`, where the environment
names a Python that has them.

PRESIDIO_PYTHON   presidio-analyzer, and a spaCy pipeline as the package PRESIDIO_MODEL (en_core_web_sm)
LLM_GUARD_PYTHON  llm-guard

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

import pytest

from services.moderation.guardrails import table
from services.moderation.guardrails.parts import Parts
from services.moderation.inspection import replaced
from services.moderation.screen import Screen
from shared.config import parse
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import ScreenRequest, Verdict
from tests.live.conftest import model_url as model_url
from tests.support.ports import free_port

HERE = Path(__file__).parent
PRESIDIO, LLM_GUARD = os.environ.get("PRESIDIO_PYTHON", ""), os.environ.get("LLM_GUARD_PYTHON", "")
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


@pytest.mark.skipif(not LLM_GUARD, reason="LLM_GUARD_PYTHON names no Python with llm-guard")
async def test_llm_guard(outbound: Outbound) -> None:
    with served(LLM_GUARD, "llm_guard_app.py") as url:
        verdict, out = await screened(outbound, "hello world", guardrail="llm_guard", api_base=url)
        assert (verdict.action, out) == ("allow", "hello world")
        verdict, out = await screened(outbound, "zero\u200bwidth", guardrail="llm_guard", api_base=url)
        assert verdict.action in ("redact", "block") and "\u200b" not in (out if verdict.action == "redact" else "")
        verdict, _ = await screened(outbound, "make a BOMB", guardrail="llm_guard", api_base=url)
        assert (verdict.action, verdict.message) == ("block", "Violated content safety policy")
        verdict, _ = await screened(outbound, "a BOMB you say", "post_call", guardrail="llm_guard", api_base=url)
        assert verdict.action == "block"


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

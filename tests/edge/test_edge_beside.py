"""A guardrail beside the call: it cuts the provider off, holds the answer back, and lets what is
fine through.
"""

import asyncio
import time

import pytest

from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import ScreenRequest, Verdict
from tests.edge.fakes import Peer, Provider, delta, until
from tests.edge.harness import Edge, silent, stream

BESIDE = GuardrailRef("beside", ["during_call"])


def verdict(asked: ScreenRequest) -> Verdict:
    if any("forbidden" in text for text in asked.texts):
        return Verdict("block", [GuardrailOutcome("beside", asked.stage, "block")], "Violated content safety policy")
    return Verdict("allow", [GuardrailOutcome("beside", asked.stage, "allow")])


async def late(asked: ScreenRequest) -> Verdict:
    await asyncio.sleep(0.2)
    return verdict(asked)


class Beside(Edge):
    async def screen(self, asked: ScreenRequest) -> Verdict:  # type: ignore[override]
        return await late(asked)


def saying(text: str) -> dict[str, list[dict[str, str]]]:
    return {"messages": [{"role": "user", "content": text}]}


@pytest.mark.alone
async def test_a_no_cuts_off_a_provider_that_is_still_thinking() -> None:
    async with Provider(silent) as provider, Beside({"m": [provider.url]}, guardrails=[BESIDE]) as edge:
        started = time.perf_counter()
        answer = await edge.chat(**saying("forbidden"))
        assert answer.status == 400 and time.perf_counter() - started < 2
        assert answer.error_message() == "Violated content safety policy"
        settled = await edge.the_settled()
        assert (settled.outcome, settled.status) == ("blocked", 400)
        assert [(o.name, o.action) for o in settled.guardrail_outcomes] == [("beside", "block")]
        assert provider.connections == 1, "it did run beside the call"


@pytest.mark.parametrize("streams", [False, True])
async def test_nothing_of_an_answer_goes_out_before_the_verdict(streams: bool) -> None:
    async def whole(peer: Peer) -> None:
        await peer.request()
        body = b'{"id":"x","choices":[{"index":0,"message":{"role":"assistant","content":"THE ANSWER"},"finish_reason":"stop"}]}'
        await peer.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )

    script = stream(delta("THE ANSWER"), delta("more"), b"data: [DONE]\n\n") if streams else whole
    async with Provider(script) as provider, Beside({"m": [provider.url]}, guardrails=[BESIDE]) as edge:
        answer = await edge.chat(**saying("forbidden"), stream=streams)
        assert b"THE ANSWER" not in answer.body and b"Violated content safety policy" in answer.body
        assert (await edge.the_settled()).outcome == "blocked"
    async with Provider(script) as provider, Beside({"m": [provider.url]}, guardrails=[BESIDE]) as edge:
        answer = await edge.chat(**saying("fine"), stream=streams)
        assert answer.status == 200 and b"THE ANSWER" in answer.body
        assert answer.headers.get("x-litellm-applied-guardrails") == "beside"
        await until(lambda: edge.settled())
        assert edge.settled()[0].outcome == "success"

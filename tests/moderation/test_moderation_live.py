"""Moderation as a real process on a real broker, with the permissions it really has."""

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client

from services.moderation.guardrails.loaded import Loaded
from services.moderation.screen import Screen
from shared import bus, subjects
from shared.guardrails import Enabled, Spec
from shared.requests import CountReply, CountRequest, Fault, ScreenRequest, Verdict
from tests.moderation.moderation_kit import Moderation, wait_for
from tests.support.ports import free_port

Start = Callable[..., Moderation]
KEYWORDS: dict[str, Any] = {"callbacks": ["banned_keywords"], "banned_keywords_list": ["hello"]}


def question(*texts: str) -> ScreenRequest:
    return ScreenRequest(["banned_keywords"], "pre_call", list(texts), "acompletion")


async def screen(edge: Client, *texts: str) -> Verdict:
    return await bus.ask(edge, subjects.MODERATION_SCREEN, question(*texts), Verdict, 5000)


async def test_ask_and_answer(edge: Client, start: Start) -> None:
    moderation = start(**KEYWORDS)
    moderation.wait_ready()
    verdict = await screen(edge, "You are kind.", "Hello world!")
    assert (verdict.action, verdict.message, verdict.status) == ("block", "Keyword banned. Keyword=hello", 400)
    (outcome,) = verdict.outcomes
    assert (outcome.name, outcome.stage, outcome.action) == ("banned_keywords", "pre_call", "block")
    assert (await screen(edge, "good morning")).action == "allow"
    assert (await screen(edge, "x " * 450_000 + "HELLO")).action == "block"
    counted = await bus.ask(edge, subjects.MODERATION_COUNT, CountRequest("gpt-4", ["hello world"]), CountReply, 5000)
    assert counted.tokens == [2]
    status, metrics = moderation.probe("/metrics")
    assert status == 200
    assert 'tollgate_guardrail_outcomes_total{action="block",guardrail="banned_keywords"} 2.0' in metrics
    assert "world" not in moderation.log()


async def test_it_is_small_and_quick_to_start(edge: Client, start: Start) -> None:
    moderation = start(**KEYWORDS)
    moderation.wait_ready()
    await screen(edge, "hi")
    assert moderation.resident_kb() < 64_000


JUNK = [
    b"",
    b"\xc1",
    b"\x93\x90",
    b"hello",
    b"\x93\x90\xa2\xff\xfe\x90",
    msgspec.msgpack.encode({"guardrails": []}),
    msgspec.msgpack.encode([1, 2, 3]),
    msgspec.msgpack.encode([["a"], "pre_call", "not a list"]),
    b"\x96" + msgspec.msgpack.encode([]) + b"\xa1x" + b"\x90\xa1y\xc0" + b"\x91" * 100_000 + b"\x90",
]


@pytest.mark.parametrize("subject", [subjects.MODERATION_SCREEN, subjects.MODERATION_COUNT])
async def test_junk_is_a_bad_request_and_the_next_question_is_answered(
    edge: Client, start: Start, subject: str
) -> None:
    moderation = start(**KEYWORDS)
    moderation.wait_ready()
    for junk in JUNK:
        reply = await edge.request(subject, junk, timeout=5)
        assert msgspec.msgpack.decode(reply.data, type=Fault) == Fault("bad_request"), junk[:20]
    assert (await screen(edge, "hello")).action == "block"
    assert "Traceback" not in moderation.log()


async def test_two_replicas_share_the_questions(edge: Client, start: Start) -> None:
    replicas = [start(**KEYWORDS), start(**KEYWORDS)]
    for replica in replicas:
        replica.wait_ready()
    verdicts = await asyncio.gather(*(screen(edge, "hello" if i % 2 else "bye") for i in range(200)))
    assert [v.action for v in verdicts] == ["allow", "block"] * 100
    answered = []
    for replica in replicas:
        found = re.findall(r"tollgate_guardrail_outcomes_total\{.*banned.*\} (\d+)", replica.probe("/metrics")[1])
        answered.append(sum(map(int, found)))
    assert sum(answered) == 200  # each question went to one of them
    assert min(answered) > 0

    replicas[0].terminate()  # and nothing is lost when one leaves in the middle
    verdicts = await asyncio.gather(*(screen(edge, "hello") for _ in range(200)))
    assert {v.action for v in verdicts} == {"block"}
    assert await replicas[0].exit_status() == 0


async def test_sigterm_lets_running_answers_finish(edge: Client, start: Start) -> None:
    moderation = start(**KEYWORDS)
    moderation.wait_ready()
    # The first count loads the tokenizer: half a second in which the signal arrives.
    asking = [
        asyncio.create_task(
            bus.ask(edge, subjects.MODERATION_COUNT, CountRequest("gpt-4o", ["hello world"]), CountReply, 10_000)
        )
        for _ in range(20)
    ]
    await asyncio.sleep(0.1)
    moderation.terminate()
    assert [(await task).tokens for task in asking] == [[2]] * 20
    assert await moderation.exit_status() == 0
    with pytest.raises(bus.BusError):
        await bus.ask(edge, subjects.MODERATION_SCREEN, question("x"), Verdict, 500)


async def test_a_deadline_holds_on_the_bus(edge: Client, broker: Callable[[str], str]) -> None:
    class Stuck:
        async def inspect(self, inspection: Any) -> list[Any]:
            await asyncio.sleep(60)
            return []

        def open_from(self, text: str) -> int | None:
            return None

    spec = Spec(integration="stuck", may=("pre_call",))
    screening = Screen([Loaded(Enabled(name="stuck", spec=spec, stages=("pre_call",), deadline_ms=100), Stuck())])
    client = await bus.connect("moderation", broker("moderation"))
    answering = await bus.answer(client, subjects.MODERATION_SCREEN, "moderation", ScreenRequest, screening.screen)
    await client.flush()
    started = asyncio.get_running_loop().time()
    asked = ScreenRequest(["stuck"], "pre_call", ["x"])
    verdict = await bus.ask(edge, subjects.MODERATION_SCREEN, asked, Verdict, 5000)
    assert asyncio.get_running_loop().time() - started < 2
    assert (verdict.action, verdict.outcomes[0].action) == ("error", "error")
    await answering.drain()
    await client.close()


@pytest.mark.parametrize(("limit_s", "finishes"), [(10, True), (0.2, False)])
async def test_draining_waits_for_answers_in_work_but_not_for_ever(
    edge: Client, broker: Callable[[str], str], limit_s: float, finishes: bool
) -> None:
    async def slow(request: ScreenRequest) -> Verdict:
        await asyncio.sleep(1)
        return Verdict("allow", [])

    client = await bus.connect("moderation", broker("moderation"))
    answering = await bus.answer(client, subjects.MODERATION_SCREEN, "moderation", ScreenRequest, slow)
    await client.flush()
    asking = asyncio.create_task(screen(edge, "x"))
    await asyncio.sleep(0.2)
    await answering.drain(limit_s)
    await client.close()
    await asyncio.sleep(0.1)
    assert asking.done() == finishes
    asking.cancel()


def test_a_wrong_list_stops_the_start_with_one_sentence(start: Start, tmp_path: Path) -> None:
    moderation = start(callbacks=["banned_keywords"], banned_keywords_list="nowhere.txt")
    assert moderation.process.wait(15) == 2
    assert "tollgate moderation: litellm_settings.banned_keywords_list: cannot read" in moderation.log()
    assert "Traceback" not in moderation.log()


def test_without_a_broker_it_is_live_not_ready_and_stops(start: Start) -> None:
    moderation = start(f"nats://moderation:secret@127.0.0.1:{free_port()}", **KEYWORDS)
    wait_for(lambda: moderation.probe("/live")[0] == 200, 15)
    assert moderation.probe("/ready")[0] == 503
    moderation.terminate()
    assert moderation.process.wait(10) == 0
    assert "secret" not in moderation.log()

"""Asking moderation: nothing is lost at a cut, nothing forbidden leaks from a stream, and no answer
is a no.
"""

import asyncio
import itertools
import json
import threading
from typing import Any

import msgspec
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.content import request
from services.edge.formats.base import Call
from services.edge.formats.events import data_of, split_events
from services.edge.screening import Screening, StreamWindow, count_tokens
from services.edge.screening import slices as slices_
from services.edge.screening.slices import slices
from services.edge.texts import of_chunk
from shared import subjects
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import CountReply, DecodeTokensReply, Fault, ScreenRequest, Verdict
from tests.edge.fakes import FakeBus, delta
from tests.support.loops import callback_cpu
from tests.support.pace import at_pace

BAN = "forbidden"
MB = 1024 * 1024
GUARD = GuardrailRef("ban", ["pre_call", "post_call"], window_characters=len(BAN))


def bans(asked: ScreenRequest) -> Verdict:
    if any(BAN in text for text in asked.texts):
        return Verdict("block", [GuardrailOutcome("ban", asked.stage, "block")], f"Keyword banned. Keyword={BAN}")
    return Verdict("allow", [GuardrailOutcome("ban", asked.stage, "allow")])


def screening(answer: Any = bans, *guards: GuardrailRef) -> tuple[Screening, FakeBus]:
    bus: Any = FakeBus()
    bus.answers[subjects.MODERATION_SCREEN] = answer
    return Screening(bus, list(guards) or [GUARD], "acompletion", "customer"), bus


async def screened(answer: Any, *guards: GuardrailRef) -> tuple[str | None, list[GuardrailOutcome]]:
    asked, _ = screening(answer, *guards)
    refusal = await asked.screen("pre_call", ["x"])
    return refusal.code if refusal is not None else None, asked.outcomes


# ── verdicts ──


async def test_allowed_goes_on_and_blocked_does_not() -> None:
    asked, _ = screening()
    assert await asked.screen("pre_call", ["fine"]) is None
    refusal = await asked.screen("pre_call", ["fine", f"this is {BAN}"])
    assert refusal is not None
    assert (refusal.code, refusal.status, refusal.message) == ("blocked_content", 400, f"Keyword banned. Keyword={BAN}")
    assert [(o.name, o.action) for o in asked.outcomes] == [("ban", "block")]


@pytest.mark.parametrize(
    ("texts", "code"),
    [
        (["fine", f"this is {BAN}"], "blocked_content"),
        (["fine", "fine"], None),
        (["fine"], "bad_request"),
        (None, "bad_request"),
    ],
)
async def test_token_ids_are_read_or_refused(texts: list[str] | None, code: str | None) -> None:
    asked, bus = screening()
    bus.answers[subjects.MODERATION_TOKENS] = lambda _: DecodeTokensReply(texts)
    call = Call(b"", {"prompt": msgspec.Raw(b"[[1, 2], [3]]")}, "m")
    _, refusal = await asked.request(call, "gpt-4o")
    assert (refusal and refusal.code) == code
    del bus.answers[subjects.MODERATION_TOKENS]
    _, refusal = await asked.request(call, "gpt-4o")
    assert refusal is not None and refusal.status == 400, "nobody there to read them"


@pytest.mark.parametrize(("messages", "apart"), [(3, False), (9_000, True)])
async def test_a_body_of_very_many_values_is_walked_beside_the_loop(
    messages: int, apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()
    of_fields = request.of_fields

    def noted(fields: request.Fields, **named: bool) -> request.Content:
        threads.add(threading.current_thread())
        return of_fields(fields, **named)

    monkeypatch.setattr(request, "of_fields", noted)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}] * messages}).encode()
    asked, _ = screening()
    call = Call(body, msgspec.json.decode(body, type=dict[str, msgspec.Raw]), "m")
    _, refusal = await asked.request(call, "m")
    assert refusal is None
    assert (threading.main_thread() not in threads) is apart


async def test_large_bodies_that_are_walked_keep_no_journal_and_no_name_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those are the default executor's."""
    go = threading.Event()

    def stuck(fields: request.Fields, **_: bool) -> request.Content:
        go.wait(20)
        return request.Content([], None)

    monkeypatch.setattr(request, "of_fields", stuck)
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "a"}] * 9_000}).encode()
    call = Call(body, {}, "m")
    walking = [asyncio.create_task(screening()[0].request(call, "m")) for _ in range(40)]
    try:
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await asyncio.to_thread(int)
        assert not any(task.done() for task in walking)
    finally:
        go.set()
    await asyncio.gather(*walking)


async def test_only_the_guardrails_of_the_stage_are_asked() -> None:
    other = GuardrailRef("other", ["post_call"])
    asked, bus = screening(bans, GUARD, other)
    await asked.screen("pre_call", ["x"])
    await asked.screen("post_call", ["x"])
    await asked.screen("during_call", ["x"])
    assert [question.guardrails for question in bus.asked] == [["ban"], ["ban", "other"]]
    assert bus.asked[0].customer_id == "customer"


@pytest.mark.parametrize(
    "answer",
    [
        None,
        lambda _: Fault("unavailable"),
        lambda _: Verdict("error", [GuardrailOutcome("ban", "pre_call", "error")]),
        lambda _: Verdict("redact", [GuardrailOutcome("ban", "pre_call", "redact")]),
    ],
    ids=["silence", "fault", "error", "a redaction nobody applies"],
)
async def test_no_usable_answer_is_a_no_unless_the_guardrail_says_otherwise(answer: Any) -> None:
    block, allow = GuardrailRef("ban", ["pre_call"], "block", 20), GuardrailRef("ban", ["pre_call"], "allow", 20)
    code, outcomes = await screened(answer, block)
    assert code == "guardrail_unavailable"
    code, outcomes = await screened(answer, allow)
    assert code is None
    assert [o.action for o in outcomes] != ["allow"], "recorded as unscreened"


async def test_a_strict_guardrail_decides_beside_a_lenient_one() -> None:
    strict, lenient = GuardrailRef("a", ["pre_call"], "block", 20), GuardrailRef("b", ["pre_call"], "allow", 20)
    assert (await screened(None, lenient, strict))[0] == "guardrail_unavailable"


async def test_the_worst_of_many_screenings_is_recorded_once() -> None:
    asked, _ = screening()
    for text in ("a", "b", BAN):
        await asked.screen("post_call", [text])
    assert [(o.stage, o.action) for o in asked.outcomes] == [("post_call", "block")]
    asked, _ = screening()
    for text in ("a", "b"):
        await asked.screen("post_call", [text])
    assert [(o.stage, o.action) for o in asked.outcomes] == [("post_call", "allow")]


# ── slices ──


@given(
    said=st.lists(st.text("abc", max_size=60), max_size=12),
    overlap=st.integers(0, 40),
    size=st.integers(4, 30),
)
@settings(max_examples=150, deadline=None)
def test_slices_lose_nothing_and_overlap_where_they_cut(said: list[str], overlap: int, size: int) -> None:
    old = slices_.SLICE_CHARACTERS_MAX, slices_.OVERLAP_CHARACTERS_MAX
    slices_.SLICE_CHARACTERS_MAX, slices_.OVERLAP_CHARACTERS_MAX = size, size // 2
    try:
        parts = list(slices(said, overlap))
    finally:
        slices_.SLICE_CHARACTERS_MAX, slices_.OVERLAP_CHARACTERS_MAX = old
    pieces = [piece.said for part in parts for piece in part]
    assert all(len(piece) <= size for piece in pieces)
    assert all(sum(len(piece.said) for piece in part) <= size for part in parts)
    assert all(said[piece.text].startswith(piece.said, piece.start) for part in parts for piece in part)
    real = min(overlap, size // 2)
    position = 0
    for text in said:  # whole texts, or pieces that share `real` characters with the one before
        rebuilt = pieces[position]
        position += 1
        while len(rebuilt) < len(text):
            assert rebuilt.endswith(pieces[position][:real]) or real == 0
            rebuilt += pieces[position][real:]
            position += 1
        assert rebuilt == text
    assert position == len(pieces)


@pytest.mark.parametrize("said", ["one prompt", "many parts"])
def test_a_megabyte_is_put_to_moderation_in_short_steps(said: str) -> None:
    """No callback of the edge's loop takes 20 ms of CPU (3 and 12, with room for a slow machine):
    the walk through the body, and the bus's bytes, here both ways."""
    words = "the quick brown fox and the key of the house "
    texts = [words * (MB // len(words))] if said == "one prompt" else [words * 10] * (MB // len(words) // 10)
    raw = msgspec.json.encode([{"role": "user", "content": [{"type": "text", "text": text} for text in texts]}])
    call = Call(b"", {"model": msgspec.Raw(b'"m"'), "messages": msgspec.Raw(raw)}, "m")

    async def longest() -> float:
        asked, bus = screening()
        with callback_cpu() as spent:
            _, refusal = await asyncio.create_task(asked.request(call, "m"))
        assert refusal is None
        assert sum(len(text) for question in bus.asked for text in question.texts) >= sum(map(len, texts))
        assert len(spent) >= len(bus.asked)
        return max(spent)

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert min(runner.run(longest()) for _ in range(5)) < at_pace(0.04)


async def test_a_word_at_a_cut_is_seen_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices_, "SLICE_CHARACTERS_MAX", 50)
    for at in range(30, 60):
        asked, _ = screening()
        assert await asked.screen("pre_call", ["x" * at + BAN + "x" * 100]) is not None, f"at {at}"


def test_a_long_run_of_what_nobody_sees_does_not_part_a_word_at_a_cut() -> None:
    said = "forb" + "\u200b" * 30_000 + "iddenword"
    for before in (slices_.SLICE_CHARACTERS_MAX - 15_000, slices_.SLICE_CHARACTERS_MAX - 30_000):
        text = "a " * (before // 2) + said + " b" * 100_000
        pieces = [piece.said for part in slices([text], 256) for piece in part]
        assert len(pieces) > 1 and any(said in piece for piece in pieces)


async def test_a_question_fits_a_bus_message_whatever_the_characters() -> None:
    asked, bus = screening()
    await asked.screen("pre_call", ["😀" * 500_000, *["é" * 10] * 20_000])
    assert max(map(len, bus.sent)) < 1_000_000


def test_an_overlap_as_large_as_a_slice_still_ends() -> None:
    assert len(list(slices(["x" * 1_000_000], 10**9))) < 20


# ── streams ──


def said_by(events: bytes) -> str:
    return "".join(text for event in split_events(events) for _, text in of_chunk(data_of(event)))


async def stream(pieces: list[bytes], answer: Any = bans, window: int = len(BAN)) -> tuple[list[bytes], bool]:
    """What went out at each piece, and whether it was blocked."""
    asked, _ = screening(answer, GuardrailRef("ban", ["post_call"], window_characters=window))
    held = StreamWindow(asked)
    out = []
    for piece in pieces:
        whole, refusal = await held.feed(piece)
        out.append(whole)
        if refusal is not None:
            return out, True
    rest, refusal = await held.end()
    return [*out, rest], refusal is not None


async def test_what_is_allowed_comes_out_whole_and_in_order() -> None:
    pieces = [b": hello\n\n", *[delta(f"word{i} ") for i in range(30)], b'data: {"choices":[]}\n\n']
    out, blocked = await stream(pieces)
    assert not blocked
    assert b"".join(out) == b"".join(pieces)


async def test_nothing_is_delayed_by_more_than_the_window() -> None:
    asked, _ = screening()
    held = StreamWindow(asked)
    given_, out = "", b""
    for i in range(50):
        whole, _ = await held.feed(delta(f"{i:03d}"))
        given_ += f"{i:03d}"
        out += whole
        assert len(said_by(out)) >= len(given_) - len(BAN) - 3


async def test_a_block_comes_before_the_first_part_of_the_word_is_out() -> None:
    out, blocked = await stream([delta("it is "), *[delta(letter) for letter in BAN]])
    assert blocked
    assert said_by(b"".join(out)) in ("", "it is ")


WORDS = ["ok ", "fine ", "for", "bid", "den", "forbid", "forbidde", "n", BAN, " ", "f", "o", "r"]


@given(
    words=st.lists(st.sampled_from(WORDS), max_size=20),
    cuts=st.lists(st.integers(0, 200), max_size=20),
    together=st.integers(1, 4),
)
@settings(max_examples=120, deadline=None)
def test_however_a_stream_is_cut_the_word_never_leaks(words: list[str], cuts: list[int], together: int) -> None:
    text = "".join(words)
    borders = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [delta(text[a:b]) for a, b in itertools.pairwise(borders)]
    fed = [b"".join(pieces[i : i + together]) for i in range(0, len(pieces), together)]
    out, blocked = uvloop.run(stream(fed))
    assert blocked == (BAN in text)
    assert BAN not in said_by(b"".join(out))
    if blocked:
        assert text.find(BAN) >= len(said_by(b"".join(out))), "not even its first part"
    else:
        assert b"".join(out) == b"".join(pieces)


async def test_another_field_between_the_parts_of_a_word_does_not_hide_it() -> None:
    def event(**fields: str) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": fields}]}).encode() + b"\n\n"

    half, rest = BAN[:4], BAN[4:]
    out, blocked = await stream(
        [event(content=half), event(reasoning_content="xx"), event(content=rest), event(content="y" * 50)]
    )
    assert blocked
    assert BAN not in "".join(said_by(piece) for piece in out).replace("xx", "")


async def test_one_choice_does_not_hide_what_another_says() -> None:
    def choice(index: int, text: str) -> bytes:
        return b"data: " + json.dumps({"choices": [{"index": index, "delta": {"content": text}}]}).encode() + b"\n\n"

    pieces = [piece for letter in BAN for piece in (choice(0, letter), choice(1, "z"))]
    _, blocked = await stream(pieces)
    assert blocked


async def test_an_event_that_cannot_be_read_is_screened_as_it_stands() -> None:
    out, blocked = await stream([b'data: {"choices":[{"delta":{"content":"' + BAN.encode() + b'\xff"}}]}\n\n'])
    assert blocked
    assert b"".join(out) == b""


async def test_a_moderation_that_goes_away_ends_the_stream() -> None:
    answers = iter([Verdict("allow", []), Fault("unavailable")])
    _, blocked = await stream([delta("a"), delta("b")], lambda _: next(answers))
    assert blocked


# ── counting ──


async def test_tokens_are_counted_by_moderation_and_by_a_rule_of_thumb_without_it() -> None:
    bus: Any = FakeBus()
    bus.answers[subjects.MODERATION_COUNT] = lambda asked: CountReply([7 for _ in asked.texts])
    assert await count_tokens(bus, "m", ["a", "b"]) == 14
    bus.answers[subjects.MODERATION_COUNT] = None
    assert await count_tokens(bus, "m", ["a" * 40, "b"]) == 11
    bus.is_connected = False
    assert await count_tokens(bus, "m", ["a" * 40]) == 10
    assert await count_tokens(bus, "m", []) == 0


async def test_asking_many_at_once_keeps_the_outcomes_apart() -> None:
    (one, _), (two, _) = screening(), screening()
    await asyncio.gather(one.screen("pre_call", ["x"]), two.screen("pre_call", [BAN]))
    assert [o.action for o in one.outcomes] == ["allow"]
    assert [o.action for o in two.outcomes] == ["block"]


async def test_a_file_that_nobody_can_read_passes_or_not_as_it_is_set() -> None:
    pdf = "data:application/pdf;base64,JVBERi0A/w=="
    raw = json.dumps([{"role": "user", "content": [{"type": "file", "file": {"file_data": pdf}}]}]).encode()
    call = Call(b"", {"model": msgspec.Raw(b'"m"'), "messages": msgspec.Raw(raw)}, "m")
    for refuse in (False, True):
        bus: Any = FakeBus()
        bus.answers[subjects.MODERATION_SCREEN] = bans
        _, refusal = await Screening(bus, [GUARD], "acompletion", None, refuse_unreadable=refuse).request(call, "m")
        assert (refusal is not None) == refuse

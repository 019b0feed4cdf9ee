"""Answers and streams through the guardrails that redact and block, as they really are: what comes
out doesn't depend on how an answer is cut, nothing forbidden gets out, and what is redacted is
still a stream that clients can read."""

import json
from typing import Any

import chunk_invariance
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from services.edge.formats.events import data_of, split_events
from services.edge.screening import Screening, StreamWindow
from services.moderation.guardrails.banned_keywords import BannedKeywords
from services.moderation.guardrails.hide_secrets import HideSecrets
from services.moderation.guardrails.loaded import Loaded
from services.moderation.screen import Screen
from services.moderation.secrets.engine import Engine
from shared import subjects
from shared.errors import Refusal
from shared.grant import GuardrailRef
from shared.guardrails import TABLE, Enabled
from tests.edge.fakes import FakeBus

SPECS = {spec.integration: spec for spec in TABLE}
HIDES = Enabled(name="hides", spec=SPECS["hide-secrets"], stages=("post_call",))
BANS = Enabled(name="bans", spec=SPECS["banned_keywords"], stages=("post_call",))
SCREEN = Screen([Loaded(HIDES, HideSecrets(Engine(None))), Loaded(BANS, BannedKeywords(["forbidden word", "résumé"]))])


def screening(*guards: Enabled) -> Screening:
    bus: Any = FakeBus()
    bus.answers[subjects.MODERATION_SCREEN] = SCREEN.screen
    refs: list[GuardrailRef] = [each.ref() for each in guards or (HIDES, BANS)]
    return Screening(bus, refs, "acompletion", None)


def event(text: str, index: int = 0, field: str = "content", **more: Any) -> bytes:
    delta: dict[str, Any] = {field: text}
    if field == "arguments":
        delta = {"tool_calls": [{"index": 1, "function": {"arguments": text}}]}
    choice = {"index": index, "delta": delta, "finish_reason": None, "logprobs": {"content": [{"token": text}]}}
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [choice], **more}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def said_in(out: bytes) -> dict[tuple[int, str], str]:
    """Channel -> what was said in it."""
    said: dict[tuple[int, str], str] = {}
    for each in split_events(out):
        data = data_of(each)
        if not data:
            continue
        for choice in json.loads(data)["choices"]:
            for field, value in choice["delta"].items():
                if field == "tool_calls":
                    value, field = value[0]["function"]["arguments"], "arguments"
                key = (choice["index"], field)
                said[key] = said.get(key, "") + value
    return said


async def streamed(pieces: list[bytes], *guards: Enabled) -> tuple[bytes, Refusal | None]:
    window, out = StreamWindow(screening(*guards)), b""
    for piece in pieces:
        whole, refusal = await window.feed(piece)
        out += whole
        if refusal is not None:
            return out, refusal
    rest, refusal = await window.end()
    return out + rest, refusal


def run(pieces: list[bytes], *guards: Enabled) -> tuple[bytes, Refusal | None]:
    import asyncio

    return asyncio.run(streamed(pieces, *guards))


TEXTS = [
    ("Set API_KEY='sk_1234567890abcdef' and go.", "Set API_KEY='[REDACTED]' and go."),
    ("The password is Xk9#mP2$vL, keep it safe", "The password is [REDACTED], keep it safe"),
    ('{"api_key": "abcd1234efgh5678ijkl", "x": 1}', '{"api_key": "[REDACTED]", "x": 1}'),
    ("密码 password: 'Zx9kQ2mN7pR4' 谢谢 😀", "密码 password: '[REDACTED]' 谢谢 😀"),
    ("no secret here, the key is patience", "no secret here, the key is patience"),
    ("two: token=abcd1234efgh5678 token=zzzz9999yyyy8888 end", "two: token=[REDACTED] token=[REDACTED] end"),
]


@pytest.mark.parametrize(("text", "expected"), TEXTS, ids=lambda t: t[:16])
def test_a_redacted_stream_reads_the_same_however_it_is_cut(text: str, expected: str) -> None:
    def through(chunks: list[str]) -> list[str]:
        out, refusal = run([event(chunk) for chunk in chunks], HIDES)
        assert refusal is None
        return [said_in(out).get((0, "content"), "")]

    chunk_invariance.assert_chunk_invariant(through, lambda whole: expected, text)
    assert through(list(text)) == [expected]
    assert through([text]) == [expected]


ESCAPED = [
    ('{"say": "a \\u0066orbidden\\u0020w\\u006f\\u0072d"}', None),
    (
        '{"api_key": "\\u0061bcd1234\\u0065fgh5678ijkl", "x": "\\\\u0066"}',
        '{"api_key": "[REDACTED]", "x": "\\\\u0066"}',
    ),
    (
        '{"a": "\\ud83d\\ude00 \\u00e9\\n\\\\ \\" a\\/b", "b": "\\ud83d"}',
        '{"a": "😀 é\\n\\\\ \\" a/b", "b": "\\ud83d"}',
    ),
    ('{"path": "C:\\u sers\\u00', '{"path": "C:\\u sers\\u00'),
]


@pytest.mark.parametrize(("text", "expected"), ESCAPED, ids=["blocked", "redacted", "kept", "broken"])
def test_an_escape_in_arguments_hides_nothing_however_it_is_cut(text: str, expected: str | None) -> None:
    """None: it is blocked, and nothing of what is forbidden gets out."""

    def through(chunks: list[str]) -> list[str]:
        out, refusal = run([event(chunk, field="arguments") for chunk in chunks], HIDES, BANS)
        assert (refusal is None) == (expected is not None)
        said = said_in(out).get((0, "arguments"), "")
        return [said if expected is not None else str("forbidden" in said or "\\u0066" in said)]

    chunk_invariance.assert_chunk_invariant(through, lambda whole: expected or "False", text)
    assert through(list(text)) == through([text]) == [expected or "False"]


def test_an_escape_in_a_responses_arguments_is_read() -> None:
    pieces = ['{"k": "\\u00', '66orbidden w\\u006frd"}']
    body = [{"type": "response.function_call_arguments.delta", "item_id": "1", "delta": piece} for piece in pieces]
    out, refusal = run([b"data: " + json.dumps(each).encode() + b"\n\n" for each in body], BANS)
    assert refusal is not None
    assert b"orbidden" not in out


def test_a_percent_sign_in_a_url_hides_nothing() -> None:
    def of(url: str) -> bytes:
        delta = {"annotations": [{"index": 0, "url": url}]}
        return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta}]}).encode() + b"\n\n"

    for pieces in (
        ["https://x/%66orbidden word"],
        ["https://x/%6", "6orbidden word"],
        ["https://x/%", "66orbidden w", "%6frd"],
    ):
        out, refusal = run([of(piece) for piece in pieces], BANS)
        assert refusal is not None, pieces
        assert b"orbidden" not in out


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    texts=st.lists(st.sampled_from([text for text, _ in TEXTS]), min_size=1, max_size=3),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=40),
    together=st.integers(1, 4),
    order=st.randoms(use_true_random=False),
)
@example(texts=[TEXTS[0][0]], cuts=[1], together=1, order=None)
def test_choices_and_tool_calls_interleaved(texts: list[str], cuts: list[int], together: int, order: Any) -> None:
    """Each channel gets a text of its own, cut anywhere, and mixed with the others' pieces."""
    channels = [(0, "content"), (0, "arguments"), (1, "reasoning_content")][: len(texts)]
    lines: list[list[bytes]] = []
    for (index, field), text in zip(channels, texts, strict=True):
        pieces, at, i = [], 0, 0
        while at < len(text):
            size = cuts[i % len(cuts)]
            pieces.append(event(text[at : at + size], index, field))
            at, i = at + size, i + 1
        lines.append(pieces)
    mixed = []
    while any(lines):
        line = lines[0] if order is None else order.choice(lines)
        lines = [other for other in lines if other]
        if line:
            mixed.append(line.pop(0))
    grouped = [b"".join(mixed[i : i + together]) for i in range(0, len(mixed), together)]
    out, refusal = run(grouped, HIDES)
    assert refusal is None
    expected = dict(TEXTS)
    assert said_in(out) == {channel: expected[text] for channel, text in zip(channels, texts, strict=True)}
    assert len(split_events(out)) == len(mixed), "no event is lost"


@settings(max_examples=60, deadline=None)
@given(
    before=st.text("ab ß", max_size=30),
    spelled=st.sampled_from(
        ["forbidden word", "FORBIDDEN\u200b  WORD", "ré\u0301sumé".replace("é\u0301", "é"), "RÉSUMÉ"]
    ),
    cuts=st.lists(st.integers(1, 7), min_size=1, max_size=30),
)
def test_a_banned_word_never_gets_out_whole(before: str, spelled: str, cuts: list[int]) -> None:
    text, pieces, at, i = before + spelled + " and more", [], 0, 0
    while at < len(text):
        size = cuts[i % len(cuts)]
        pieces.append(event(text[at : at + size]))
        at, i = at + size, i + 1
    out, refusal = run(pieces, BANS)
    assert refusal is not None and refusal.status == 400
    assert spelled not in said_in(out).get((0, "content"), "")


def test_what_can_be_no_part_of_a_finding_goes_out_at_once() -> None:
    import asyncio

    async def first() -> bytes:
        window = StreamWindow(screening(BANS))
        out, _ = await window.feed(event("Good morning. "))
        return out

    assert said_in(asyncio.run(first())) == {(0, "content"): "Good morning. "}


def test_a_redacted_event_keeps_the_rest_and_loses_its_echo() -> None:
    out, _ = run([event("token=abcd1234efgh5678 ", usage={"total_tokens": 3}), event("end")], HIDES)
    first, second = (json.loads(data_of(each)) for each in split_events(out))
    assert first["choices"][0]["delta"] == {"content": "token=[REDACTED] "} and first["usage"] == {"total_tokens": 3}
    assert first["choices"][0]["logprobs"] is None and second["choices"][0]["logprobs"] is not None
    assert first["id"] == "chatcmpl-1"


async def test_a_whole_answer() -> None:
    call = {"id": "c", "function": {"name": "f", "arguments": '{"password": "Xk9mP2vLq8"}'}}
    message = {"role": "assistant", "content": "token=abcd1234efgh5678", "tool_calls": [call]}
    body = json.dumps({"id": "x", "choices": [{"index": 0, "message": message}], "usage": {"total_tokens": 1}}).encode()
    out, refusal = await screening(HIDES).answer(body)
    assert refusal is None
    said = json.loads(out)["choices"][0]["message"]
    assert said["content"] == "token=[REDACTED]"
    assert json.loads(said["tool_calls"][0]["function"]["arguments"]) == {"password": "[REDACTED]"}
    body = json.dumps({"choices": [{"message": {"content": "a FORBIDDEN word"}}]}).encode()
    _, refusal = await screening(BANS).answer(body)
    assert refusal is not None and refusal.message == "Keyword banned. Keyword=forbidden word"

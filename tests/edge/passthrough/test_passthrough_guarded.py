"""Guardrails of pass-through endpoints: moderation's own code answers; nothing forbidden reaches
the target, or comes back.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from services.moderation.guardrails import table
from services.moderation.guardrails.parts import Parts
from services.moderation.screen import Screen
from shared import guarded_fields, guardrails, subjects
from shared.config import parse
from shared.facts import Refused
from tests.edge.passthrough.passthrough_kit import World

MASK = """
class Mask:
    def __init__(self, **params): self.word = params["word"]
    def inspect(self, texts, stage): return [text.replace(self.word, "[MASKED]") for text in texts]
"""
JSON = {"Content_Type": "application/json"}


@pytest_asyncio.fixture
async def guarded(world: World, tmp_path: Path) -> AsyncIterator[World]:
    """Keywords `bomb` (before and after), and a class that masks `Ada` (before) and `Bob`
    (after).
    """
    (tmp_path / "mine.py").write_text(MASK)
    tree = {
        "litellm_settings": {"banned_keywords_list": ["bomb"]},
        "guardrails": [
            {
                "guardrail_name": "ban",
                "litellm_params": {"guardrail": "banned_keywords", "mode": ["pre_call", "post_call"]},
            },
            {"guardrail_name": "ada", "litellm_params": {"guardrail": "mine.Mask", "mode": "pre_call", "word": "Ada"}},
            {"guardrail_name": "bob", "litellm_params": {"guardrail": "mine.Mask", "mode": "post_call", "word": "Bob"}},
        ],
    }
    config = parse(json.dumps(tree), {}, directory=str(tmp_path), service="moderation")
    world.edge.parts.guardrails = guardrails.enabled(config)
    world.edge.bus.answers[subjects.MODERATION_SCREEN] = Screen(table.load(Parts(config=config))).screen
    yield world


async def send(world: World, body: Any, path: str = "/their", **headers: str) -> Any:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await world.ask(path, body=data, **{**JSON, **headers})


async def test_a_block_reaches_no_target_and_is_in_the_book(guarded: World) -> None:
    guarded.endpoint(guardrails=["ban"])
    answer = await send(guarded, {"query": "how to make a B\u00f6mb", "deep": [{"x": "a BOMB"}]})
    assert answer.status == 400 and answer.json()["error"]["message"] == "Keyword banned. Keyword=bomb"
    assert not guarded.target.seen
    (refused,) = [fact for fact in guarded.edge.facts() if isinstance(fact, Refused)]
    assert [(o.name, o.stage, o.action) for o in refused.guardrail_outcomes] == [("ban", "pre_call", "block")]


async def test_a_redaction_goes_on_and_the_fact_says_so(guarded: World) -> None:
    guarded.endpoint(guardrails={"ada": None})
    answer = await send(guarded, {"query": "Ada and Ada", "n": 1.50, "documents": [{"text": "by Ada"}]})
    assert answer.status == 200
    assert json.loads(guarded.target.seen[0][3]) == {
        "query": "[MASKED] and [MASKED]", "n": 1.5, "documents": [{"text": "by [MASKED]"}],
    }  # fmt: skip
    settled = await guarded.settled()
    assert settled.opened.guardrails == ["ada"]
    assert [(o.name, o.action) for o in settled.guardrail_outcomes] == [("ada", "redact")]


async def test_only_the_named_fields_are_read(guarded: World) -> None:
    guarded.endpoint(guardrails={"ada": {"request_fields": ["query", "documents[*].text"]}})
    await send(guarded, {"query": "Ada", "documents": [{"text": "Ada", "id": "Ada"}, {"text": "x"}], "other": "Ada"})
    assert json.loads(guarded.target.seen[0][3]) == {
        "query": "[MASKED]", "documents": [{"text": "[MASKED]", "id": "Ada"}, {"text": "x"}], "other": "Ada",
    }  # fmt: skip


async def test_what_was_read_is_what_goes_on(guarded: World) -> None:
    """A name that stands twice: a target might read the first, where we read the last."""
    guarded.endpoint(guardrails=["ban"])
    assert (await send(guarded, b'{"q": "bomb", "q": "flower"}')).status == 200
    assert json.loads(guarded.target.seen[0][3]) == {"q": "flower"} and b"bomb" not in guarded.target.seen[0][3]


@pytest.mark.parametrize(
    ("body", "headers"),
    [(b"bomb", {}), (b"bomb", {"Content_Type": "text/plain"}), (b"{", {}), (b"{}", {"Content_Encoding": "br"})],
)
async def test_what_can_t_be_read_doesn_t_go_on(guarded: World, body: bytes, headers: dict[str, str]) -> None:
    guarded.endpoint(guardrails=["ban"])
    assert (await send(guarded, body, **headers)).status in (400, 415)
    assert not guarded.target.seen


async def test_answers_are_read_before_they_come_back(guarded: World) -> None:
    guarded.endpoint(path="/their", include_subpath=True, guardrails=["ban", "bob"])
    guarded.target.said = json.dumps({"results": [{"text": "Bob is here"}]}).encode()
    answer = await send(guarded, {"query": "x"}, "/their/said")
    assert answer.json() == {"results": [{"text": "[MASKED] is here"}]}
    assert answer.headers["x-litellm-applied-guardrails"] == "ban,bob"
    settled = await guarded.settled()
    assert [(o.name, o.stage, o.action) for o in settled.guardrail_outcomes] == [
        ("ban", "pre_call", "allow"), ("bob", "post_call", "redact"), ("ban", "post_call", "allow"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/problem+json"])
async def test_a_forbidden_answer_is_an_error(guarded: World, kind: str) -> None:
    guarded.endpoint(include_subpath=True, guardrails=["ban"])
    guarded.target.said, guarded.target.said_type = b'{"a": "a bomb"}', kind
    answer = await send(guarded, {"query": "x"}, "/their/said")
    assert answer.status == 400 and "bomb" not in json.dumps(answer.json()).replace("Keyword=bomb", "")
    assert (await guarded.settled()).outcome == "blocked"


async def test_a_picture_comes_back_unless_it_is_set_otherwise(guarded: World) -> None:
    guarded.endpoint(include_subpath=True, guardrails=["ban"])
    guarded.target.said, guarded.target.said_type = b"\x89PNG bomb", "image/png"
    assert (await send(guarded, {"query": "x"}, "/their/said")).body == b"\x89PNG bomb"


async def test_events_are_read_one_by_one(guarded: World) -> None:
    guarded.endpoint(include_subpath=True, guardrails=["bob"])
    answer = await send(guarded, {"query": "x"}, "/their/sse")
    assert answer.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
    guarded.target.said_type = "text/event-stream"
    guarded.target.said = b"".join(
        b'data: {"delta":{"text":"%b"}}\n\n' % piece for piece in (b"Hi B", b"o", b"b and B", b"o")
    )
    answer = await send(guarded, {"query": "x"}, "/their/said")
    said = "".join(json.loads(line[6:])["delta"]["text"] for line in answer.body.decode().split("\n\n") if line)
    assert said == "Hi [MASKED] and Bo"


async def test_a_forbidden_stream_ends_with_an_error_event(guarded: World) -> None:
    guarded.endpoint(include_subpath=True, guardrails=["ban"])
    guarded.target.said_type = "text/event-stream"
    guarded.target.said = b"".join(b'data: {"text":"%b"}\n\n' % piece for piece in (b"a b", b"om", b"b here", b" more"))
    answer = await send(guarded, {"query": "x"}, "/their/said")
    events = [json.loads(line[6:]) for line in answer.body.decode().split("\n\n") if line]
    assert events[-1]["error"]["message"] == "Keyword banned. Keyword=bomb" and "om" not in str(events[:-1])
    assert (await guarded.settled()).outcome == "blocked"


async def test_a_guardrail_that_isn_t_here_or_is_away_blocks(guarded: World) -> None:
    guarded.endpoint(guardrails=["nosuch"])
    assert (await send(guarded, {"q": "x"})).status == 503
    guarded.endpoint(guardrails=["ban"])
    guarded.edge.bus.answers[subjects.MODERATION_SCREEN] = None
    assert (await send(guarded, {"q": "x"})).status == 503
    assert not guarded.target.seen


@given(
    st.recursive(
        st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    )
)
def test_fields_name_what_is_there(value: Any) -> None:
    for path in ("a", "a.b", "a[*].b", "a[0]", "$.c[*][*]"):
        for address, found in guarded_fields.select(value, guarded_fields.steps(path)):
            here = value
            for step in address:
                here = here[step]
            assert here is found

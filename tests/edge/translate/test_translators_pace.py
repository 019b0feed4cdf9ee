"""What a translator costs: 50 us for a chat of 1 kB, 15 us for a chunk of a stream, on the machine
the bounds were set on (`tests/support/pace.py`).
"""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from services.edge.providers.translate import (
    openai_chat__anthropic,
    openai_chat__bedrock,
    openai_chat__cohere,
    openai_chat__gemini,
    openai_chat__ollama,
)  # fmt: skip
from tests.edge.translate import test_openai_chat__anthropic as anthropic
from tests.edge.translate import test_openai_chat__bedrock as bedrock
from tests.edge.translate import test_openai_chat__cohere as cohere
from tests.edge.translate import test_openai_chat__gemini as gemini
from tests.edge.translate import test_openai_chat__ollama as ollama
from tests.edge.translate.translate_kit import fields, options
from tests.support.pace import at_pace

pytestmark = pytest.mark.alone

REQUEST_S, CHUNK_S = 50e-6, 15e-6
CHUNKS = 400
MESSAGES = [
    {"role": "system", "content": "You answer briefly, in whole sentences, and say where you know it from."},
    {"role": "user", "content": "What is the difference between a river and a stream? " * 5},
    {"role": "assistant", "content": "A river is larger, and flows into the sea or a lake. " * 4},
    {"role": "user", "content": [{"type": "text", "text": "And a brook? Please say it in one sentence. " * 6}]},
]
CHAT = {"model": "m", "messages": MESSAGES, "temperature": 0.2, "max_tokens": 500, "stop": ["END"]}
WIRES: list[tuple[str, Any, Any]] = [
    ("anthropic", openai_chat__anthropic, anthropic), ("bedrock", openai_chat__bedrock, bedrock), ("cohere", openai_chat__cohere, cohere),
    ("gemini", openai_chat__gemini, gemini), ("ollama", openai_chat__ollama, ollama),
]  # fmt: skip
IDS = [name for name, _, _ in WIRES]


def best_s(work: Callable[[], object], times: int) -> float:
    """Of this thread's CPU: the least of several runs of `times` calls, a call."""
    found = []
    for _ in range(7):
        before = time.thread_time()
        for _ in range(times):
            work()
        found.append((time.thread_time() - before) / times)
    return min(found)


@pytest.mark.parametrize(("name", "translator", "kit"), WIRES, ids=IDS)
def test_a_chat_of_a_kilobyte(name: str, translator: Any, kit: Any) -> None:
    body = json.dumps(CHAT)
    assert 900 < len(body) < 1_300
    asked = fields(CHAT)
    found = best_s(lambda: translator.request(dict(asked), kit_model(kit), options()), 200)
    print(f"{name}: {found * 1e6:.1f} us a request")
    assert found <= at_pace(REQUEST_S)


@pytest.mark.parametrize(("name", "translator", "kit"), WIRES, ids=IDS)
def test_a_chunk_of_a_stream(name: str, translator: Any, kit: Any) -> None:
    chunks = many(translator, pieces(name, kit.stream_of(kit.REPLIES["text"])))

    def run() -> None:
        stream = translator.Stream(options(stream=True))
        for chunk in chunks:
            stream.feed(chunk)
        stream.finish()

    found = best_s(run, 1) / len(chunks)
    print(f"{name}: {found * 1e6:.1f} us a chunk")
    assert found <= at_pace(CHUNK_S)


def kit_model(kit: Any) -> str:
    return str(getattr(kit, "MODEL", "llama3.2"))


def pieces(name: str, raw: bytes) -> list[bytes]:
    """A stream's events, as they come."""
    if name == "bedrock":
        found = []
        while raw:
            size = int.from_bytes(raw[:4], "big")
            found.append(raw[:size])
            raw = raw[size:]
        return found
    end = b"\n" if name == "ollama" else b"\r\n\r\n" if b"\r\n\r\n" in raw else b"\n\n"
    return [each + end for each in raw.split(end) if each]


def many(translator: Any, events: list[bytes]) -> list[bytes]:
    """The stream with a piece of its text many times."""
    for at in range(len(events)):
        stream = translator.Stream(options(stream=True))
        before = [said for event in events[:at] for said in stream.feed(event)]
        if any(b'"content":"' in said and b'"content":""' not in said for said in stream.feed(events[at])):
            assert before is not None
            return [*events[:at], *[events[at]] * CHUNKS, *events[at + 1 :]]
    raise AssertionError("nothing in it is text")

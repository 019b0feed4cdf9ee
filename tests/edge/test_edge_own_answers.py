"""Python of the operator's own that changes an answer in one piece, or refuses it; what was billed
stays as it was.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.edge import own_hooks
from services.edge.cache import control
from services.edge.cache.state import Cache
from services.edge.cache.store import Local
from shared.config import hooks, parse
from shared.facts import Settled
from shared.grant import GuardrailRef
from shared.stand_ins import HTTPException
from tests.edge.test_edge_own_hooks import ask, edge

METHOD = hooks.AFTER[0]


def after(function: Any, **more: Any) -> Any:
    return SimpleNamespace(**{METHOD: function}, **more)


def text(answer: Any) -> str:
    found: str = answer.json()["choices"][0]["message"]["content"]
    return found


def settled(gateway: Any) -> Settled:
    (found,) = (fact for fact in gateway.facts() if isinstance(fact, Settled))
    return found


async def test_what_it_changes_in_place_or_returns_is_what_the_client_gets() -> None:
    seen: list[Any] = []

    async def stamp(data: dict[str, Any], **given: Any) -> None:
        data["metadata"]["stamp"] = "s-1"

    async def cite(data: dict[str, Any], user_api_key_dict: Any, response: Any) -> None:
        seen.append((data["model"], data["metadata"], user_api_key_dict.key_alias, response.usage.total_tokens))
        assert response["choices"] and response.nothing is None
        response.choices[0].message.content += " [1]"

    async def anew(response: Any, **given: Any) -> dict[str, Any]:
        return {**response, "extra": response.choices[0].message.content}

    async with edge(after(cite, async_pre_call_hook=stamp), after(anew)) as gateway:
        answer = await ask(gateway)
        assert (answer.status, text(answer), answer.json()["extra"]) == (200, "hi [1]", "hi [1]")
        assert int(answer.headers["content-length"]) == len(answer.body)
        model, metadata, alias, total = seen.pop()
        assert (model, metadata["stamp"], alias) == ("m", "s-1", "test")
        usage = settled(gateway).usage
        assert usage.input_tokens + usage.output_tokens == total == answer.json()["usage"]["total_tokens"]


async def test_an_answer_that_it_leaves_alone_stays_byte_for_byte_and_a_stream_isnt_asked_about() -> None:
    asked: list[Any] = []

    async def look(response: Any, **given: Any) -> None:
        asked.append(response)

    async with edge() as plain, edge(after(look)) as gateway:
        (without, answer) = [(await ask(each)).json() for each in (plain, gateway)]
        for each in (without, answer):
            each.pop("id"), each.pop("created")
        assert without == answer and len(asked) == 1
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        assert b"[DONE]" in (await ask(gateway, body)).body and len(asked) == 1


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (HTTPException(400, "Not this answer"), 400, "Not this answer"),
        (ValueError("postgresql://u:secret@h/d"), 503, "can't be asked"),
        (None, 503, "can't be asked"),
    ],
)
async def test_what_it_refuses_isnt_given_out_and_is_billed(raised: Exception | None, status: int, said: str) -> None:
    async def no(response: Any, **given: Any) -> Any:
        response.choices[0].message.content = "changed"
        if raised is None:
            return ["no mapping"]
        raise raised

    async with edge(after(no)) as gateway:
        answer = await ask(gateway)
        assert answer.status == status and said in answer.error_message() and b"secret" not in answer.body
        assert b"changed" not in answer.body
        end = settled(gateway)
        assert (end.outcome, end.status) == ("blocked", status) and end.usage.output_tokens


async def test_what_it_wrote_is_screened() -> None:
    async def leak(response: Any, **given: Any) -> None:
        response.choices[0].message.content = "a forbidden word"

    async with edge(after(leak), guardrails=[GuardrailRef("banned", ["post_call"])]) as gateway:
        answer = await ask(gateway)
        assert answer.status == 400 and b"forbidden word" not in answer.body


CODE = """
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy._types import *
import litellm

class Mine(CustomLogger):
    async def async_post_call_success_hook(self, data: dict, user_api_key_dict: UserAPIKeyAuth, response):
        assert isinstance(response, litellm.ModelResponse)
        self.asked = (getattr(self, "asked", 0) or 0) + 1
        response.choices[0].message.content = f"mine {self.asked}"

instance = Mine()
"""


BOUND = (
    ("from typing import *", "x: Optional[Any] = None\n"),
    ("from fastapi import *", "x = HTTPException\n"),
    (
        "",
        "def f(x):\n    match x:\n        case [a, *b]: return a, b\n        case {'k': _, **c}: return c\n        case d: return d\n",
    ),
    ("", "class A:\n    def f(self): return __class__\n"),
)
"""Names that are no stand-in's to have."""


async def test_a_file_for_litellm_acts_and_nothing_it_made_is_cached(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "more.py").write_text(CODE.replace("import litellm\n", "import litellm\nx = ProxyLogging()\n"))
    text_ = "litellm_settings: {callbacks: [mine.instance], cache: true, cache_params: {type: local}}"
    config = parse(text_, {}, directory=str(tmp_path))
    verdicts = {key.place: (key.verdict, key.note) for key in config.keys}
    assert verdicts["litellm_settings.callbacks"][0] == "acts"
    assert "no caller may get what it made for another" in verdicts["litellm_settings.cache"][1]
    assert hooks.why_not("more.instance", str(tmp_path)).startswith(
        "its file imports litellm.proxy._types.ProxyLogging"
    )
    for n, (line, body) in enumerate(BOUND):
        (tmp_path / f"bound{n}.py").write_text(CODE.replace("import litellm\n", f"import litellm\n{line}\n") + body)
        assert hooks.why_not(f"bound{n}.instance", str(tmp_path)) == "", line
    async with edge() as gateway:
        gateway.parts.own_hooks = own_hooks.load(config, gateway._thread)
        wanted = control.read(True, {"type": "local"}, {})
        assert wanted is not None
        gateway.parts.cache = Cache(wanted, Local(1_000_000, float))
        assert [text(await ask(gateway)) for _ in range(2)] == ["mine 1", "mine 2"]
        gateway.parts.own_hooks = None
        assert [text(await ask(gateway)) for _ in range(2)] == ["hi", "hi"], "nor was it kept for others"

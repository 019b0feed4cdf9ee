"""Python of the operator's own that is asked before a call: what it makes of the call is what is
decided on, screened and sent; what it refuses, or can't be asked about, goes nowhere.
"""

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from services.edge import own_hooks
from services.edge.own_hooks import OwnHooks
from services.edge.own_thread import ASKED_MAX, NoAnswerError, OwnThread
from shared import credential
from shared.config import ConfigError, hooks, parse
from shared.errors import Refusal
from shared.facts import Opened, Refused
from shared.grant import Denial, GuardrailRef
from shared.requests import DecideReply, DecideRequest
from shared.stand_ins import DualCache, HTTPException
from tests.edge.fakes import Answer
from tests.edge.harness import Edge

CHAT = "/v1/chat/completions"


class Hooked(Edge):
    """An edge with hooks, for which policy denies a model."""

    def __init__(self, *found: Any, timeout_s: float = 5, denied: str = "", **more: Any) -> None:
        super().__init__({"m": ["mock:hi"], "other": ["mock:other"]}, **more)
        self._thread, self._denied = OwnThread("own_hooks_of_a_test"), denied
        self._hooks = OwnHooks([(f"h{n}", each) for n, each in enumerate(found)], self._thread, timeout_s)

    def decide(self, asked: DecideRequest) -> DecideReply:
        if asked.model and asked.model == self._denied:
            return DecideReply(Denial(Refusal("model_not_allowed", 403, "no", "auth_error"), 1, ["control.key.test"]))
        return super().decide(asked)

    async def __aenter__(self) -> "Hooked":
        await super().__aenter__()
        self.parts.own_hooks = self._hooks
        return self

    async def __aexit__(self, *error: object) -> None:
        await super().__aexit__(*error)
        self._thread.close()

    def opened(self) -> list[str]:
        """Models."""
        return [fact.model for fact in self.facts() if isinstance(fact, Opened)]


edge = Hooked


def hook(function: Any) -> Any:
    return SimpleNamespace(async_pre_call_hook=function)


async def ask(gateway: Edge, body: dict[str, Any] | str | None = None, path: str = CHAT, *more: str) -> Answer:
    said = body or {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    sent = (said if isinstance(said, str) else json.dumps(said)).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: e", f"Content-Length: {len(sent)}", "Authorization: Bearer sk-1", *more]
    async with await gateway.connect() as caller:
        await caller.send("\r\n".join([*lines, "", ""]).encode() + sent)
        return await caller.answer()


async def test_it_is_told_who_asks_for_what_and_an_unchanged_call_stays_as_it_is() -> None:
    seen: list[Any] = []

    async def look(user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> None:
        seen.append((user_api_key_dict.key_alias, user_api_key_dict.nothing, call_type, dict(data)))
        await cache.async_set_cache("calls", (await cache.async_get_cache("calls") or 0) + 1)
        seen.append(cache.get_cache("calls"))

    async with edge(hook(look)) as gateway:
        others = [f"{name}: sk-1" for name in (*credential.HEADERS, "cookie") if name != "authorization"]
        for number in (1, 2):
            assert (await ask(gateway, None, CHAT, *others)).json()["choices"][0]["message"]["content"] == "hi"
            alias, nothing, call_type, data = seen[-2]
            assert (alias, nothing, call_type, seen[-1]) == ("test", None, "completion", number)
            assert data["messages"] == [{"role": "user", "content": "hi"}] and data["metadata"] == {}
            request = data["proxy_server_request"]
            assert request["method"] == "POST" and request["url"] == CHAT
            assert "sk-1" not in repr(request["headers"]) and request["headers"]["host"] == "e"


async def test_another_model_is_decided_on_anew_and_other_texts_are_what_guardrails_see() -> None:
    async def change(user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> dict[str, Any]:
        return {**data, "model": "other"}

    async def in_place(user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str) -> None:
        data["messages"][0]["content"] = "a forbidden word"

    async with edge(hook(change)) as gateway:
        answer = await ask(gateway)
        assert answer.json()["choices"][0]["message"]["content"] == "other"
        assert gateway.opened() == ["other"]
    async with edge(hook(change), denied="other") as gateway:
        assert (await ask(gateway)).status == 403, "what the caller may not call stays closed"
        assert not gateway.opened()
    guardrails = [GuardrailRef("banned", ["pre_call"])]
    async with edge(hook(in_place), guardrails=guardrails) as gateway:
        assert (await ask(gateway)).status == 400
        assert not gateway.opened()


@pytest.mark.parametrize(
    ("raised", "status", "said"),
    [
        (HTTPException(429, "Slower"), 429, "Slower"),
        (HTTPException(400, {"error": "No names, please"}), 400, "No names, please"),
        (HTTPException(500, "database password x"), 503, "can't be asked"),
        (ValueError("postgresql://u:secret@h/d"), 503, "can't be asked"),
        (SystemExit(3), 503, "can't be asked"),
        (asyncio.CancelledError(), 503, "can't be asked"),
        (TimeoutError(), 503, "can't be asked"),
    ],
)
@pytest.mark.parametrize("method", hooks.BEFORE)
async def test_what_it_raises_refuses_the_call_and_is_in_the_book(
    raised: BaseException, status: int, said: str, method: str
) -> None:
    async def refuse(**given: Any) -> None:
        raise raised

    async with edge(SimpleNamespace(**{method: refuse})) as gateway:
        answer = await ask(gateway)
        assert (answer.status, said in answer.json()["error"]["message"]) == (status, True), answer.body
        assert b"secret@" not in answer.body and b"password" not in answer.body
        (fact,) = [each for each in gateway.facts() if isinstance(each, Refused)]
        assert (fact.status, fact.error_code) == (status, "hook_refused" if status < 500 else "hook_unavailable")
        assert not gateway.opened()


async def test_a_string_refuses_and_one_that_never_answers_lets_nothing_through() -> None:
    async def text(**given: Any) -> str:
        return "Ask somebody else"

    async def forever(**given: Any) -> None:
        await asyncio.Event().wait()

    async with edge(hook(text)) as gateway:
        answer = await ask(gateway)
        assert (answer.status, answer.json()["error"]["message"]) == (400, "Ask somebody else")
    async with edge(hook(forever), timeout_s=0.05) as gateway:
        assert (await ask(gateway)).status == 503
        assert not gateway.opened()


async def test_behind_one_that_blocks_nothing_is_done_for_those_who_have_left() -> None:
    begun, go_on, called = threading.Event(), threading.Event(), list[int]()

    def block() -> None:
        begun.set()
        go_on.wait(10)

    thread = OwnThread("blocked_of_a_test")
    try:
        first = asyncio.ensure_future(thread.ask(10, block))
        await asyncio.to_thread(begun.wait)
        left = [thread.ask(0.01, called.append, number) for number in range(ASKED_MAX - 1)]
        assert {type(each) for each in await asyncio.gather(*left, return_exceptions=True)} == {NoAnswerError}
        with pytest.raises(NoAnswerError, match="no room"):
            await thread.ask(10, called.append, -1)
        go_on.set()
        await first
        assert await thread.ask(10, lambda: "again") == "again" and called == []
    finally:
        go_on.set()
        thread.close()


async def test_it_is_asked_on_routes_of_other_wires_too() -> None:
    async def change(data: dict[str, Any], call_type: str, **given: Any) -> dict[str, Any]:
        return {**data, "model": "other"} if call_type == "anthropic_messages" else data

    async with edge(hook(change)) as gateway:
        body = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}
        answer = await ask(gateway, body, "/v1/messages")
        assert "'other' can't be called here" in answer.json()["error"]["message"], "nobody scripted speaks this wire"


async def test_a_change_counts_though_the_hook_made_it_in_what_it_saw_of_the_request_too() -> None:
    async def mask(data: dict[str, Any], **given: Any) -> None:
        for said in (data, data["proxy_server_request"]["body"]):
            said["model"] = "other"

    async with edge(hook(mask)) as gateway:
        await ask(gateway)
        assert gateway.opened() == ["other"]


DEEP = '{"model": "m", "messages": [{"role": "user", "content": "hi"}], "metadata": null, "x": %s}'


@pytest.mark.parametrize("method", hooks.BEFORE)
@pytest.mark.parametrize("x", ["[" * 400 + "]" * 400, "[" * 990 + "]" * 990, '"\\ud800"', "NaN", "1" * 40])
async def test_what_is_hard_to_read_is_no_failure_of_ours(x: str, method: str) -> None:
    async def look(data: dict[str, Any], **given: Any) -> None:
        data["metadata"]["seen"] = "yes"

    async with edge(SimpleNamespace(**{method: look})) as gateway:
        answer = await ask(gateway, DEEP % x)
        assert answer.status in (200, 400, 503), answer.body
        assert (await ask(gateway, "\ufeff" + DEEP % 1)).status == 200


async def test_a_name_that_stands_twice_goes_on_as_the_hook_saw_it() -> None:
    async def look(data: dict[str, Any], **given: Any) -> None:
        assert data["messages"][0]["content"] == "clean"

    seen: list[bytes | None] = []
    async with edge(hook(look)) as gateway:
        hooks_: Any = gateway.parts.own_hooks
        change = hooks_.change

        async def noted(*given: Any) -> Any:
            seen.append(made := await change(*given))
            return made

        hooks_.change = noted
        twice = '{"model": "m", "messages": [{"role": "user", "content": "dirty", "content": "clean"}]}'
        assert (await ask(gateway, twice)).status == 200
    assert seen[0] is not None and b"dirty" not in seen[0] and b"clean" in seen[0]


async def test_what_no_json_can_say_goes_nowhere() -> None:
    async def odd(data: dict[str, Any], **given: Any) -> dict[str, Any]:
        return {**data, "x": object()}

    async with edge(hook(odd)) as gateway:
        assert (await ask(gateway)).status == 503
        assert not gateway.opened()


CODE = """
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.proxy_server import UserAPIKeyAuth, DualCache

class Mine(CustomLogger):
    async def async_pre_call_hook(self, user_api_key_dict: UserAPIKeyAuth, cache: DualCache, data: dict, call_type):
        data["temperature"] = 0
        return data

instance = Mine()
"""


def test_it_is_found_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "broken.py").write_text(CODE + "\nraise RuntimeError('no')")
    (tmp_path / "lacking.py").write_text("import not_installed_anywhere\n" + CODE)

    def load(name: str) -> OwnHooks | None:
        config = parse(f"litellm_settings: {{callbacks: [{name}.instance]}}", {}, directory=str(tmp_path))
        verdicts = {key.place: (key.verdict, key.note) for key in config.keys}
        said.append(verdicts["litellm_settings.callbacks"])
        return own_hooks.load(config, OwnThread("t"))

    said: list[tuple[str, str]] = []
    assert load("mine") is not None and said.pop()[0] == "acts"
    with pytest.raises(ConfigError, match=r"lacking\.instance can't be asked about calls: .*not_installed_anywhere"):
        load("lacking")
    allowed = (
        "general_settings: {allow_unenforced: [lacking.instance]}\nlitellm_settings: {callbacks: [lacking.instance]}"
    )
    without = parse(allowed, {}, directory=str(tmp_path))
    assert own_hooks.load(without, OwnThread("t")) is None and "started without it" in "\n".join(without.warnings)
    with pytest.raises(ConfigError, match=r"pii_mask.instance can't be asked about calls: .*there is no pii_mask.py"):
        load("pii_mask")
    assert load("nowhere") is None and "there is no nowhere.py" in said.pop()[1]
    with pytest.raises(ConfigError, match=r"litellm_settings\.callbacks: broken\.instance"):
        load("broken")


async def test_its_memory_has_a_bound_and_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.stand_ins.KEPT_MAX", 2)
    cache = DualCache()
    for number in range(3):
        await cache.async_set_cache(f"k{number}", number, ttl=60)
    assert [cache.get_cache(f"k{number}") for number in range(3)] == [None, 1, 2]
    assert await cache.async_increment_cache("k2") == 3 and await cache.async_get_cache("k2") == 3
    cache.set_cache("gone", 1, ttl=0)
    assert cache.get_cache("gone") is None and await cache.async_increment_cache("gone", 2, ttl=60) == 2

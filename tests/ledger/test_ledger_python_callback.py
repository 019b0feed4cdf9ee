"""Python of the operator's own: told of every call, tried again, and never in anybody's way."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from services.ledger.sinks import choose, python, records, targets
from services.ledger.sinks.errors import SinkError
from shared.config import callbacks, hooks, parse
from tests.ledger.ledger_kit import ALICE, Book, opened, settled

MINE = """
import asyncio
class Mine:
    def __init__(self): self.told = []
    async def record(self, call):
        await asyncio.sleep(0)
        if call["id"] == "bad": raise ValueError("no")
        self.told.append(call["id"])
mine = Mine()
class Plain:
    def record(self, call): open(__file__ + ".told", "a").write(call["id"] + "\\n")
def nothing(): ...
"""
LITELLM = "from litellm.proxy.utils import PrismaClient\nclass A:\n    def record(self, c): ...\nx = A()\n"
LOGGER = """
from litellm.integrations.custom_logger import CustomLogger
from litellm.proxy.proxy_server import DualCache, UserAPIKeyAuth
import litellm

class Logger(CustomLogger):
    def __init__(self):
        super().__init__(turn_off_message_logging=True)
        self.told = []
    async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
        seen = kwargs["litellm_params"]["metadata"]["user_api_key_alias"], kwargs["response_cost"]
        self.told.append((kwargs["model"], response_obj.usage.total_tokens, response_obj["id"], seen, (end_time - start_time).total_seconds()))
    def log_failure_event(self, kwargs, response_obj, start_time, end_time):
        self.told.append((kwargs["model"], kwargs["exception"], response_obj))
logger = Logger()
"""
CHANGING = (
    LOGGER
    + """
class Changing(Logger):
    async def async_post_call_streaming_hook(self, user_api_key_dict: UserAPIKeyAuth, response: str):
        return response
changing = Changing()
"""
)
ONLY = "class A:\n    async def async_post_call_streaming_hook(self, *a): ...\nx = A()\n"


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MINE)
    (tmp_path / "theirs.py").write_text(LITELLM)
    (tmp_path / "logger.py").write_text(LOGGER)
    (tmp_path / "changing_calls.py").write_text(CHANGING)
    (tmp_path / "only.py").write_text(ONLY)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "raises.py").write_text("class A:\n    def record(self, c): ...\n1 / 0\n")
    monkeypatch.setattr(records, "payload", lambda row: {"id": row["id"]})
    return tmp_path


def rows(*ids: str) -> list[dict[str, Any]]:
    return [{"id": each} for each in ids]


async def test_an_instance_and_a_class_are_told_in_order(directory: Path) -> None:
    made = python.make("mine.mine", str(directory))
    await made.send(rows("a", "b"))
    assert made._record.__self__.told == ["a", "b"]
    await python.make("mine.Plain", str(directory)).send(rows("c"))
    assert (directory / "mine.py.told").read_text() == "c\n"


async def test_what_it_raises_is_a_sink_that_refuses(directory: Path) -> None:
    with pytest.raises(SinkError, match="raised ValueError") as refused:
        await python.make("mine.mine", str(directory)).send(rows("bad"))
    assert not refused.value.lasting
    with pytest.raises(SinkError, match="loading it raised ZeroDivisionError") as refused:
        python.make("raises.A", str(directory))
    assert refused.value.lasting


async def test_one_that_blocks_keeps_nobody_but_itself(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "DEADLINE_S", 0.05)
    (directory / "slow.py").write_text(
        "import threading\n"
        "class S:\n"
        "    free = threading.Event()\n"
        "    def record(self, c):\n"
        "        assert self.free.wait(60), 'it was waited for'\n"
        "        self.free.clear()\n"
    )
    slow = python.make("slow.S", str(directory))
    free = slow._record.__self__.free
    with pytest.raises(SinkError, match="took longer"):
        await slow.send(rows("a"))
    with pytest.raises(SinkError, match="still busy"):
        await slow.send(rows("a"))
    free.set()  # until here it is blocked: nobody waited for its end
    while "slow.S" in python._running:
        await asyncio.sleep(0.01)
    with pytest.raises(SinkError, match="took longer"):
        await slow.send(rows("a"))
    free.set()
    await asyncio.sleep(0.5)


async def test_a_changed_file_is_loaded_anew(directory: Path) -> None:
    file = directory / "changing.py"
    file.write_text("class A:\n    def record(self, c): open(__file__ + '.told', 'a').write('one ')\n")
    await python.make("changing.A", str(directory)).send(rows("a"))
    file.write_text("class A:\n    def record(self, c): open(__file__ + '.told', 'a').write('two, changed ')\n")
    import os

    os.utime(file, ns=(10**18, 10**18))
    await python.make("changing.A", str(directory)).send(rows("a"))
    assert (directory / "changing.py.told").read_text() == "one two, changed "


WHY = {
    "mine.mine": "", "mine.Plain": "", "theirs.x": "imports litellm.proxy.utils.PrismaClient", "logger.logger": "",
    "changing_calls.changing": "", "only.x": "streaming_hook is not called", "broken.x": "no Python", "gone.x": "there is no gone.py",
    "mine.other": "has no other", "../mine.mine": "there is no", "prometheus": "there is no",
}  # fmt: skip


@pytest.mark.parametrize("name", WHY)
def test_it_is_looked_at_before_it_is_run(directory: Path, name: str) -> None:
    found = hooks.why_not(name, str(directory))
    assert (WHY[name] in found) if WHY[name] else found == ""


def test_the_file_names_it_and_what_does_nothing_is_said(directory: Path) -> None:
    found = choose.of_config(
        {"callbacks": ["mine.mine", "theirs.x", "otel", "helicone"], "success_callback": "mine.Plain"}, str(directory)
    )
    assert [sink.name for sink in found] == ["mine.Plain", "mine.mine", "otel"]
    assert isinstance(targets.make(found[1], {}, None), python.Python)
    text = "litellm_settings: {callbacks: [mine.mine, prometheus], success_callback: [mine.Plain, helicone], failure_callback: [theirs.x]}"
    config = parse(text, {}, directory=str(directory))
    said = {key.place.removeprefix("litellm_settings."): key for key in config.keys}
    assert said["callbacks"].verdict == "acts"
    assert said["success_callback"].note == "helicone: calls aren't sent there"
    assert "PrismaClient" in said["failure_callback"].note and said["failure_callback"].verdict == "no effect"
    assert any("PrismaClient" in each for each in config.warnings)
    assert callbacks.idle(["hide_secrets", "blocked_user_check"], ".") == []


async def test_a_class_for_litellm_is_told_by_its_own_methods(
    directory: Path, book: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From rows of a real book."""
    monkeypatch.undo()  # the payload is the real one
    done = settled(opened(caller=ALICE), response_id="chatcmpl-1")
    failed = settled(opened(caller=ALICE), outcome="provider_error", status=500, error_code="provider_500")
    await book.post(done, failed)
    rows_ = [dict(row) for row in await book.fetch("SELECT * FROM request_log ORDER BY id")]
    made = python.make("logger.logger", str(directory))
    await made.send(rows_)
    told = sys.modules["tollgate_callbacks_logger"].logger.told
    assert told[0][:3] == ("gpt-4o-mini", 30, "chatcmpl-1") and told[0][3][0] == ALICE.key_alias and told[0][4] >= 0
    assert told[1][1:] == ("provider_500", None)


def test_what_of_it_is_not_called_is_named(directory: Path) -> None:
    config = parse(
        "litellm_settings: {callbacks: [changing_calls.changing, logger.logger]}", {}, directory=str(directory)
    )
    (key,) = config.keys
    assert (
        key.verdict == "no effect"
        and "its async_post_call_streaming_hook isn't called" in key.note
        and "logger.logger" not in key.note
    )
    found = choose.of_config(config.litellm_settings, str(directory))
    assert [sink.name for sink in found] == ["changing_calls.changing", "logger.logger"], (
        "told of what is over all the same"
    )

"""Tokens: how many a text is, where a provider gave no usage (`moderation.count`), and what ids say
(`moderation.tokens`).

The tokenizer and its tables (65 MB and up to 1 s an encoding, in which the interpreter does nothing
else) live in a process of their own, which the first question starts: most replicas never need
them, and no guarded call ever waits for them.
"""

import asyncio
import contextlib
import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from services.moderation.metrics import tokens_counted
from shared.bus import BusError
from shared.requests import CountReply, CountRequest, DecodeTokensReply, DecodeTokensRequest

CHARACTERS_MAX = 1_000_000
"""Of one question, all texts together. More than a bus message holds."""
TOKENS_MAX = 300_000

_CL100K = (
    "gpt-4", "gpt-3.5", "gpt-35", "text-embedding-3", "text-embedding-ada", "davinci-002", "babbage-002"
)  # fmt: skip
_O200K = ("gpt-4o", "gpt-4.1", "gpt-4.5")
_KNOWN_O200K = (*_O200K, "gpt-5", "o1", "o3", "o4", "chatgpt-4o")


def _plain(model: str) -> str:
    return model.lower().rpartition("/")[2].removeprefix("ft:")


def encoding_name(model: str) -> str:
    """The tokenizer of a model's family; what nobody knows is counted like OpenAI's newer
    models.
    """
    name = _plain(model)
    if name.startswith(_CL100K) and not name.startswith(_O200K):
        return "cl100k_base"
    return "o200k_base"


def known_encoding(model: str) -> str | None:
    """The tokenizer of a model that surely has it; None: unknown."""
    name = _plain(model)
    return encoding_name(model) if name.startswith((*_CL100K, *_KNOWN_O200K)) else None


class Tokens:
    """Counts and decodes, in a process of its own."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    async def count(self, request: CountRequest) -> CountReply:
        """Raises BusError("bad_request") when the question is too big."""
        if sum(map(len, request.texts)) > CHARACTERS_MAX:
            raise BusError("bad_request")
        tokens: list[int] = await self._run(_count, encoding_name(request.model), request.texts)
        tokens_counted.inc(len(tokens))
        return CountReply(tokens)

    async def decode(self, request: DecodeTokensRequest) -> DecodeTokensReply:
        if sum(map(len, request.prompts)) > TOKENS_MAX:
            raise BusError("bad_request")
        name = known_encoding(request.model)
        if name is None:
            return DecodeTokensReply(None)
        return DecodeTokensReply(await self._run(_decode, name, request.prompts))

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in list((self._pool._processes or {}).values()):
                with contextlib.suppress(OSError):
                    process.kill()
            self._pool = None

    async def _run(self, work: Callable[..., Any], *arguments: Any) -> Any:
        """A process that was killed is started anew by the next question."""
        pool = self._pool
        if pool is None:
            # spawn: a fork of a process with threads and a loop may hang.
            pool = self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _ignore_signals)
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, work, *arguments)
        except BrokenProcessPool:
            if self._pool is pool:
                self._pool = None
            raise BusError("unavailable") from None


def _ignore_signals() -> None:
    """The service says when this process ends: a signal to the group must not cut off an answer. A
    dead parent ends it, too.
    """
    import signal  # noqa: PLC0415
    import threading  # noqa: PLC0415

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: Any) -> None:
    import os  # noqa: PLC0415

    parent.join()
    os._exit(0)


_encodings: dict[str, Any] = {}


def _encoding(name: str) -> Any:
    if name not in _encodings:
        import quicktok  # noqa: PLC0415 - costs memory only where it is used

        _encodings[name] = quicktok.get_encoding(name)
    return _encodings[name]


def _count(name: str, texts: list[str]) -> list[int]:
    count = _encoding(name).count
    return [count(text) for text in texts]


def _decode(name: str, prompts: list[list[int]]) -> list[str] | None:
    encoding = _encoding(name)
    try:
        return [encoding.decode(ids) for ids in prompts]
    except Exception:  # an id that is none of this tokenizer's
        return None

"""A Python object of the operator's own that is told of every call: `callbacks:
[my_module.my_instance]`, the file beside the configuration.

    class Mine:
        async def record(self, call: dict) -> None: ...     # or a plain function
    my_instance = Mine()

A class written for LiteLLM is told by its own methods (litellm_events.py).

It is told at least once, in the order of the book, 100 calls in a row at most; what it raises is
tried again, and nothing else waits for it. It runs in a thread of its own: one that blocks keeps
nobody but itself. docs/callbacks.md.
"""

import asyncio
import inspect
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog

from services.ledger.sinks import litellm_events, records
from services.ledger.sinks.errors import SinkError
from shared import own_code
from shared.config import hooks

log = structlog.get_logger()

DEADLINE_S = 30.0
"""For one batch."""
_running: set[str] = set()
"""Names of those that are still busy with a batch that was given up."""


class Python:
    def __init__(self, name: str, record: Any) -> None:
        self._name = name
        self._record = record

    async def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._name in _running:
            raise SinkError(f"{self._name} is still busy with the batch before")
        payloads = [records.payload(row) for row in rows]
        _running.add(self._name)
        working = asyncio.ensure_future(asyncio.to_thread(_tell_all, self._record, payloads))
        working.add_done_callback(self._ended)
        try:
            await asyncio.wait_for(asyncio.shield(working), DEADLINE_S)
        except TimeoutError:
            raise SinkError(f"{self._name} took longer than {DEADLINE_S:.0f} s") from None
        except Exception as error:
            raise SinkError(f"{self._name} raised {type(error).__name__}") from None

    def _ended(self, done: "asyncio.Future[None]") -> None:
        _running.discard(self._name)
        if not done.cancelled():
            done.exception()  # told already, or nobody waits any more


def _tell_all(record: Any, payloads: list[dict[str, Any]]) -> None:
    asyncio.run(_told(record, payloads))


async def _told(record: Any, payloads: list[dict[str, Any]]) -> None:
    for payload in payloads:
        found = record(payload)
        if inspect.isawaitable(found):
            await found


def make(name: str, directory: str) -> Python:
    """Raises SinkError for what can't be loaded, or isn't one of ours."""
    why = hooks.why_not(name, directory)
    if why:
        raise SinkError(f"{name}: {why}", lasting=True)
    module, _, attribute = name.rpartition(".")
    path = hooks.file_of(module, directory)
    assert path is not None
    return Python(name, _loaded(name, attribute, path, directory, path.stat().st_mtime_ns))


@lru_cache(maxsize=64)
def _loaded(name: str, attribute: str, path: Path, directory: str, changed_ns: int) -> Any:
    """The method `record`, or what stands for it. A file that was changed is loaded anew."""
    loaded_as = f"tollgate_callbacks_{name.rpartition('.')[0].replace('.', '_')}"
    try:
        found = getattr(own_code.module(path, loaded_as, directory), attribute)
        made = found() if inspect.isclass(found) else found
        record = getattr(made, hooks.METHOD, None) or litellm_events.teller(made)
    except Exception as error:
        raise SinkError(f"{name}: loading it raised {type(error).__name__}", lasting=True) from None
    log.info("callback_loaded", name=name)
    return record

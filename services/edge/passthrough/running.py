"""The responses that go on in the background (background.py), on this edge's disk: a file each,
written before the caller has the last of the answer, so that a restarted edge goes on.
"""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import structlog

from shared import private_file
from shared.facts import Opened
from shared.ids import RequestId
from shared.on_disk import synced

log = structlog.get_logger()

RUNNING_MAX: Final = 2_000
"""On one edge: past it a new one is refused."""
WAIT_S: Final = 2.0


class Kept(msgspec.Struct, array_like=True):
    """What a file holds."""

    opened: Opened
    response_id: str
    """The provider's."""
    settled: bytes = b""
    """The fact of its end, once that is known."""


_kept = msgspec.msgpack.Decoder(Kept).decode


class One:
    """One that runs."""

    __slots__ = ("due_at", "kept", "lock")

    def __init__(self, kept: Kept, due_at: float) -> None:
        self.kept = kept
        self.due_at = due_at
        """When it is asked about; by the clock's seconds."""
        self.lock = asyncio.Lock()


class Running:
    """
    Args:
        directory: of the files; None: they are kept in memory alone.
        seconds: a clock.
    """

    def __init__(self, directory: Path | None, seconds: Callable[[], float]) -> None:
        self._directory, self._seconds = directory, seconds
        self.all: dict[RequestId, One] = {}
        """By the call's id: providers may give two responses one id."""
        self.more = asyncio.Event()
        self._adding: set[asyncio.Future[None]] = set()

    @property
    def has_room(self) -> bool:
        return len(self.all) < RUNNING_MAX

    def load(self) -> None:
        """What a predecessor left. Raises OSError where the directory can't be made."""
        if self._directory is None:
            return
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in sorted(self._directory.iterdir()):
            if path.name.startswith("."):  # half of one, whose caller never had the id
                path.unlink()
                continue
            try:
                found = _kept(path.read_bytes())
            except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
                log.error("background_response_not_read", file=path.name, error=type(error).__name__)
                continue
            self.all[found.opened.id] = One(found, 0.0)

    def add(self, opened: Opened, response_id: str) -> "asyncio.Future[None]":
        """One that has been made; done once that is on the disk."""
        one = self.all[opened.id] = One(Kept(opened, response_id), self._seconds() + WAIT_S)
        self.more.set()
        adding = asyncio.ensure_future(self._first(one))
        self._adding.add(adding)
        adding.add_done_callback(self._adding.discard)
        return adding

    async def _first(self, one: One) -> None:
        async with one.lock:  # else its end, told at once, may be overwritten
            if self.all.get(one.kept.opened.id) is one and not one.kept.settled:
                await self.keep(one.kept)

    def of(self, response_id: str) -> list[One]:
        """Those that the provider has under this id."""
        return [one for one in self.all.values() if one.kept.response_id == response_id]

    def fetched(self, one: One) -> None:
        """A caller reads it, so it may be over. Those that were due before have their turn first,
        however often it is read.
        """
        one.due_at = min(one.due_at, self._seconds())
        self.more.set()

    async def keep(self, kept: Kept) -> None:
        """On the disk. Where that can't be, it is asked about all the same, as long as this edge
        runs.
        """
        if self._directory is None:
            return
        try:
            await asyncio.to_thread(_write, self._directory / kept.opened.id, msgspec.msgpack.encode(kept))
        except OSError as error:
            log.error("background_response_not_kept", call=kept.opened.id, error=str(error))

    async def forget(self, kept: Kept) -> None:
        self.all.pop(kept.opened.id, None)
        if self._directory is None:
            return
        try:
            await asyncio.to_thread((self._directory / kept.opened.id).unlink, missing_ok=True)
        except OSError as error:
            log.error("background_response_not_forgotten", call=kept.opened.id, error=str(error))


def _write(path: Path, data: bytes) -> None:
    """All of it or nothing, also after a crash."""
    private_file.replace(path, data)
    synced(path.parent)

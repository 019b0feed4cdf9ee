"""Notices of control facts, for who keeps a cache (edge): which subject changed, at which sequence;
not to what.

The broker publishes one when it has stored a fact. They aren't acknowledged, so one may be missed:
sequences are dense, so that shows in the next; and twice a second the stream itself is asked where
it stands, so that it shows also when none follows. What was missed isn't read again: a cache is
emptied. The same look tells another stream (lost and rebuilt, purged) from the one we know, and
that the broker is there: `stale_ms` is how long nothing was heard.
"""

import asyncio
import time
from collections.abc import Callable

import nats.errors
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from shared import streams, subjects
from shared.losses import Losses
from shared.streams import StreamState
from shared.waiting import ended, set_within

log = structlog.get_logger()

LOOK_S = 0.5

OnChange = Callable[[str, int], None]
"""(subject, sequence). Synchronous."""


class ControlNotices:
    """
    Args:
        on_change: the entity of a subject changed.
        on_reset: something was missed, or the stream is another one: nothing that was derived from
            it holds.
    """

    def __init__(self, client: Client, on_change: OnChange, on_reset: Callable[[], None]) -> None:
        self._client = client
        self._on_change = on_change
        self._on_reset = on_reset
        self._subscription: Subscription | None = None
        self._known: StreamState | None = None
        """The stream at the last look."""
        self._losses = Losses()
        self._heard_at = time.monotonic()
        self._look_now = asyncio.Event()
        self._watcher: asyncio.Task[None] | None = None
        self.begun = asyncio.Event()
        """Set once the stream was seen for the first time."""
        self.seq = 0
        """CONTROL sequence of the last change that was told (or the stream's last when this
        began).
        """

    @property
    def stale_ms(self) -> float:
        """How long the stream wasn't seen."""
        return (time.monotonic() - self._heard_at) * 1000

    @property
    def caught_up(self) -> bool:
        """Whether all that was in the stream at the last look has been told."""
        return self._known is not None and self.seq >= self._known.last_seq

    def is_current(self, stale_ms_max: float) -> bool:
        """Both, asked with every request: all was told, and the stream was seen lately."""
        known = self._known
        return (
            known is not None
            and self.seq >= known.last_seq
            and (time.monotonic() - self._heard_at) * 1000 < stale_ms_max
        )

    async def start(self) -> None:
        self._subscription = await self._client.subscribe(subjects.CONTROL_FEED, cb=self._receive)
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            await ended(self._watcher)
        if self._subscription is not None:
            try:
                await self._subscription.unsubscribe()
            except nats.errors.Error:
                pass  # the connection is gone, and the subscription with it

    def reconnected(self) -> None:
        """To be called when the connection is back: what happened meanwhile was missed."""
        self._look_now.set()

    async def _watch(self) -> None:
        while True:
            self._look_now.clear()
            asked_at = time.monotonic()
            try:
                state = await streams.state(self._client, subjects.CONTROL_STREAM)
            except streams.StreamError as error:
                if error.code == streams.NOT_FOUND and self._known is not None:
                    self._reset("it is gone", None)
            except (nats.errors.Error, OSError, TimeoutError):
                pass  # stale_ms tells
            else:
                self._heard_at = asked_at
                if self.saw(state):
                    await self._look_for_losses(state)
            await set_within(self._look_now, LOOK_S)

    async def _look_for_losses(self, state: StreamState) -> None:
        try:
            if await self._losses.found(self._client, state, self.seq):
                self._reset("facts were taken out of it", state)
                await self._losses.found(self._client, state, self.seq)
        except (nats.errors.Error, OSError, TimeoutError):
            return  # at the next look
        self.begun.set()

    def saw(self, state: StreamState) -> bool:
        """The stream as it is: whether it is the one we know, and all was told. A change it had at
        the last look and that nobody has told of by now was missed.
        """
        known = self._known
        if known is None:
            self._reset("", state)
        elif state.created != known.created:
            self._reset("it was made at another time", state)
        elif state.last_seq < known.last_seq:
            self._reset("facts were taken out of it", state)
        elif self.seq < known.last_seq:
            self._reset("notices were missed", state)
        else:
            self._known = state
        return self._known is state

    async def _receive(self, message: Msg) -> None:
        headers = message.headers or {}
        text = headers.get("Nats-Sequence", "")
        if headers.get("Nats-Stream") == subjects.CONTROL_STREAM and text.isdigit():
            self.told(message.subject.removeprefix(subjects.FEED_PREFIX), int(text))

    def told(self, subject: str, seq: int) -> None:
        if self._known is None:
            return  # nothing can have been derived yet: the first look says where we begin
        if seq <= self.seq:
            self._look_now.set()  # late, or of another stream
            self._on_change(subject, self.seq)
            return
        if seq > self.seq + 1:
            log.warning("notices_missed", last=self.seq, next=seq)
            self._losses.begin()
            self._on_reset()
        self.seq = seq
        self._losses.told(subject, seq)
        self._on_change(subject, seq)

    def _reset(self, why: str, state: StreamState | None) -> None:
        if why:
            log.warning("control_notices_reset", why=why, known_seq=self.seq)
        self._known = state
        self._losses.begin()
        self.seq = state.last_seq if state is not None else 0
        self._on_reset()

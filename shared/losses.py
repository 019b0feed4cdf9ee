"""Whether somebody took facts out of CONTROL.

Nothing in it ends by itself but remembered answers (`subjects.ENDING`), each after its term. Who
follows the stream is told of every one of them, so it can reckon how many lasting facts there must
be. When fewer are there, what was derived from them holds no longer.
"""

from nats.aio.client import Client

from shared import streams, subjects
from shared.streams import Counted, StreamState


class Losses:
    def __init__(self) -> None:
        self._base: Counted | None = None
        """All that was told after this one is known; None: nothing is."""
        self._waiting: Counted | None = None
        """Something had gone by then, and not all had been told."""
        self._ending: set[int] = set()
        """Sequences of those that end, after the base. What is told again counts once."""

    def begin(self) -> None:
        """Another stream, or something wasn't told."""
        self._base = self._waiting = None
        self._ending.clear()

    def told(self, subject: str, seq: int) -> None:
        """In order, none missed; again where a follower reads again."""
        if subject.startswith(subjects.ENDING):
            self._ending.add(seq)

    async def found(self, client: Client, state: StreamState, told_seq: int) -> bool:
        """Whether lasting facts are missing; False also as long as that can't be said.

        Args:
            state: as it is now.
            told_seq: the last that was told.

        Raises nats.errors.Error, OSError, TimeoutError.
        """
        base = self._base
        if base is None:
            self._base = await streams.counted(client)
            return False
        if self._waiting is None:
            if state.gone == base.gone:
                return False
            self._waiting = await streams.counted(client)
        now = self._waiting
        if now is None or told_seq < now.last_seq:
            return False
        ending = sum(base.last_seq < seq <= now.last_seq for seq in self._ending)
        missing = base.lasting + now.last_seq - base.last_seq - ending - now.lasting
        self._base, self._waiting = now, None
        self._ending = {seq for seq in self._ending if seq > now.last_seq}
        return missing > 0

"""An answer of Responses with its ids as the client gets them: event by event, or all at once where
it is one object. One that is large, or takes long, goes on as it comes: there an `id` is one
wherever it stands.
"""

import re
from collections.abc import AsyncIterator, Callable
from typing import Final

from services.edge.formats.events import BEGINNING, EVENT_BYTES_MAX, data_of, last_event_end, split_events
from services.edge.formats.wire import BOM
from services.edge.passthrough import references
from services.edge.passthrough.kept import Leaving
from services.edge.passthrough.undone import Undone
from shared.decoding import UNREADABLE
from shared.outbound import OutboundError

FIELD_BYTES: Final = len("event:")
"""From so many on it is known whether these are events."""
CARRIED_BYTES: Final = 1024
"""More than a name with its id has."""
_ID: Final = re.compile(
    rb'(?<!\\)"(id|(?:previous_response|container|first|last|approval_request)_id)"\s{0,16}:\s{0,16}"([^"\\]{1,512})"'
)


class WithOwnIds(Undone):
    """
    Args:
        whole_bytes_max: of one that is waited for.
        hold: whether so many bytes more may be kept in memory.
    """

    def __init__(self, inner: Undone, leaving: Leaving, whole_bytes_max: int, hold: Callable[[int], bool]) -> None:
        self._inner, self._leaving, self._hold, self._bytes_max = inner, leaving, hold, whole_bytes_max
        self.status, self.headers = inner.status, inner.headers
        self._pieces: list[bytes] = []
        """Events: the last one, whose end isn't here. Else all of it, or its last bytes."""
        self._size = 0
        self._tail = b""
        """The last bytes: an event's end may come in two pieces."""
        self._are_events: bool | None = None
        """None: not known yet."""
        self._is_long = False
        """It is in one piece, and isn't waited for any more."""
        self._has_id = False

    async def chunks(self) -> AsyncIterator[bytes]:
        """Empty: something came, and nothing of it can go on yet. Raises OutboundError."""
        if self._is_long:
            yield self._as_it_comes(b"")
        async for chunk in self._inner.chunks():
            yield self._feed(chunk)
        yield self._finish()

    async def arrived(self, within_s: float) -> bool:
        return await self._inner.arrived(within_s)

    def let_go(self) -> None:
        self._is_long = not self._are_events

    def drop(self) -> None:
        self._inner.drop()

    def _feed(self, chunk: bytes) -> bytes:
        if self._are_events:
            return self._events(chunk)
        start = b"".join((*self._pieces, chunk)).removeprefix(BOM) if self._are_events is None else b""
        if len(start.strip()) >= FIELD_BYTES or start.strip()[:1] == b"{":
            self._are_events = BEGINNING.match(start) is not None
            if self._are_events:
                self._pieces, self._size = [], 0
                return self._events(start)
        self._size += len(chunk)
        if self._is_long or self._size > self._bytes_max or not self._hold(len(chunk)):
            return self._as_it_comes(chunk)
        self._pieces.append(chunk)
        return b""

    def _finish(self) -> bytes:
        """What is left."""
        body, self._pieces = b"".join(self._pieces), []
        if self._is_long:
            return _ID.sub(self._renamed, body)
        return self._event(body) if self._are_events else self._changed(body, references.ANSWER)

    def _as_it_comes(self, chunk: bytes) -> bytes:
        self._is_long = True
        data = b"".join((*self._pieces, chunk))
        end = max(0, len(data) - CARRIED_BYTES, *(data.rfind(mark) for mark in (b",", b"{")))
        self._pieces = [data[end:]]
        return _ID.sub(self._renamed, data[:end])

    def _renamed(self, found: re.Match[bytes]) -> bytes:
        name, id = found[1], found[2].decode("utf-8", "replace")
        is_response = name == b"previous_response_id" or (
            name == b"id" and (not self._has_id or id.startswith("resp_"))
        )
        self._has_id = self._has_id or name == b"id"
        made = self._leaving(references.RESPONSE if is_response else references.ITEM, id).encode()
        return found[0][: found.start(2) - found.start()] + made + b'"'

    def _events(self, data: bytes) -> bytes:
        seen = self._tail + data
        end = last_event_end(seen, 0)
        self._pieces.append(data)
        self._size += len(data)
        if end == 0:
            if self._size > EVENT_BYTES_MAX:
                raise OutboundError("broken")
            self._tail = seen[-3:]
            return b""
        joined = b"".join(self._pieces)
        at = len(joined) - (len(seen) - end)
        self._pieces, self._size, self._tail = [joined[at:]], len(joined) - at, joined[at:][-3:]
        return b"".join(map(self._event, split_events(joined[:at])))

    def _event(self, event: bytes) -> bytes:
        data = data_of(event)
        if b'id"' not in data:
            return event
        made = self._changed(data, references.EVENT)
        if made == data:
            return event
        if data in event:
            return event.replace(data, made, 1)
        return (
            b"".join(line + b"\n" for line in event.splitlines() if line and not line.startswith(b"data:"))
            + b"data: %b\n\n" % made
        )

    def _changed(self, raw: bytes, addresses: references.Addresses) -> bytes:
        start = raw.removeprefix(BOM).strip()
        try:
            return references.rewritten(start, addresses, self._leaving) if start[:1] == b"{" else raw
        except UNREADABLE:
            return raw

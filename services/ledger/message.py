"""One message of a stream, as the ledger sees it."""

from collections import deque
from typing import NamedTuple


class Message(NamedTuple):
    seq: int
    """Its place in the stream."""
    at_ns: int
    """When the broker stored it: Unix nanoseconds."""
    subject: str
    data: bytes


def first_of(waiting: deque[Message], messages_max: int, bytes_max: int) -> tuple[list[Message], int]:
    """Takes them out: at least one where any waits, however large. And their bytes."""
    taken: list[Message] = []
    size = 0
    while waiting and len(taken) < messages_max and (not taken or size + len(waiting[0].data) <= bytes_max):
        message = waiting.popleft()
        size += len(message.data)
        taken.append(message)
    return taken, size

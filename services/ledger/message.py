"""One message of a stream, as the ledger sees it."""

from typing import NamedTuple


class Message(NamedTuple):
    seq: int
    """Its place in the stream."""
    at_ns: int
    """When the broker stored it: Unix nanoseconds."""
    subject: str
    data: bytes

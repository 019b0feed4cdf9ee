"""A target's answer on its way back, as it comes."""

from collections.abc import Callable
from typing import Protocol

from services.edge import sizes
from services.edge.http import Request, StreamAnswer
from services.edge.passthrough.record import Record
from services.edge.passthrough.undone import Answered
from shared.errors import Refusal
from shared.outbound import OutboundError


class Seeing(Protocol):
    """Is shown an answer as it flows by."""

    def feed(self, data: bytes) -> None: ...


async def flow(
    request: Request,
    record: Record,
    answer: Answered,
    out: StreamAnswer,
    tap: Seeing | None,
    mb: float | None,
    too_large: Callable[[int, float], Refusal],
    held: bytes = b"",
    broke_off: Callable[[], bytes] | None = None,
) -> bool:
    """Whether all of it went out. Where not, it is settled, and the connection is cut: half an
    answer must not look like a whole one.

    Args:
        mb: an answer may have so many; None: no limit.
        too_large: bytes and `mb` -> what is said of it.
        held: its beginning, which is here already and was shown to the tap.
        broke_off: what tells the client, where it can be told, that the rest won't come; then the
            connection is left as it is.
    """
    size = len(held)
    try:
        if held:
            await out.write(held)
        async for chunk in answer.chunks():
            if not chunk:
                continue
            size += len(chunk)
            if mb is not None and size > mb * sizes.MB:
                refusal = too_large(size, mb)
                record.settle("blocked", refusal.status, refusal.code)
                request.abort()
                return False
            if tap is not None:
                tap.feed(chunk)
            await out.write(chunk)
    except OutboundError as error:
        record.broke(error)
        last = broke_off() if broke_off is not None else b""
        if last:
            await out.write(last)
            await record.durable()
            await out.end()
        else:
            request.abort()
        return False
    return True


async def end(record: Record, answer: Answered, out: StreamAnswer) -> None:
    """All of it went out."""
    record.answered(answer.status)
    await record.durable()
    await out.end()

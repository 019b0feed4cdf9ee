"""A target's answer where guardrails read it before it comes back: whole, or event by event."""

from services.edge import sizes
from services.edge.http import Request, StreamAnswer
from services.edge.passthrough.answer import end
from services.edge.passthrough.guarded import Guarded, GuardedStream
from services.edge.passthrough.record import Record
from services.edge.usage.tap import Tap
from shared import errors
from shared.errors import Refusal, RefusedError
from shared.outbound import OutboundError, Streamed

SSE = "text/event-stream"


async def pass_guarded(
    request: Request, record: Record, guarded: Guarded, answer: Streamed, lines: str, bytes_max: int
) -> StreamAnswer:
    """Raises RefusedError, settled, where nothing of it may come back.

    Args:
        lines: the head's, rendered.
        bytes_max: an answer that is read whole may have so many.
    """
    said = dict(answer.headers)
    kind = said.get("content-type", "")
    if said.get("content-encoding", "identity").lower() != "identity":
        raise _refused(record, errors.blocked_content("A compressed answer can't be checked", 502))
    tap = record.tap(answer)
    if kind.partition(";")[0].strip().lower() == SSE:
        return await _events(request, record, guarded, answer, lines, tap)
    try:
        body = await guarded.answer(await _whole(answer, tap, bytes_max), kind)
    except RefusedError as no:
        raise _refused(record, no.refusal) from None
    out = StreamAnswer(answer.status, lines + guarded.told.header())
    await out.start(request)
    await out.write(body)
    await end(record, answer, out)
    return out


async def _whole(answer: Streamed, tap: Tap | None, bytes_max: int) -> bytes:
    pieces, size = [], 0
    async for chunk in answer.chunks():
        size += len(chunk)
        if size > bytes_max:
            raise RefusedError(errors.response_too_large(size, bytes_max / sizes.MB))
        if tap is not None:
            tap.feed(chunk)
        pieces.append(chunk)
    return b"".join(pieces)


async def _events(
    request: Request, record: Record, guarded: Guarded, answer: Streamed, lines: str, tap: Tap | None
) -> StreamAnswer:
    out, stream, refusal = StreamAnswer(answer.status, lines), GuardedStream(guarded), None
    await out.start(request)
    try:
        async for chunk in answer.chunks():
            if tap is not None:
                tap.feed(chunk)
            events, refusal = await stream.feed(chunk)
            await out.write(events)
            if refusal is not None:
                break
        else:
            events, refusal = await stream.end()
            await out.write(events)
    except OutboundError as error:
        record.broke(error)
        request.abort()  # half an answer must not look like a whole one
        return out
    if refusal is None:
        await end(record, answer, out)
        return out
    record.settle("blocked", refusal.status, refusal.code)
    await out.write(b"data: " + errors.render(refusal) + b"\n\n")
    await record.durable()
    await out.end()
    return out


def _refused(record: Record, refusal: Refusal) -> RefusedError:
    record.settle("blocked", refusal.status, refusal.code)
    return RefusedError(refusal, record.id, record.call_id)

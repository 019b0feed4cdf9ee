"""Questions about the book: passed on to the ledger's HTTP API, answer streamed back.

The ledger asks policy who is asking, as the edge does, so the credential goes with the question, and nothing else of the
caller's headers.
"""

from urllib.parse import quote

from services.edge.answering import SAFE
from services.edge.http import Request, StreamAnswer
from services.edge.upstream import Client, Deadlines, Origin, UpstreamError, render_headers
from shared import credential, errors
from shared.errors import RefusedError

DEADLINES = Deadlines(connect_ms=1_000, first_byte_ms=15_000, idle_ms=15_000, total_ms=60_000)
PASSED_HEADERS = (b"content-type", b"retry-after")


async def serve(request: Request, client: Client, origin: Origin, base_path: str) -> StreamAnswer:
    headers = [(name, sent) for name in credential.HEADERS if (sent := request.header(name)) is not None]
    headers.append(("x-forwarded-for", request.remote or ""))
    target = base_path + quote(request.path, safe="/-._~")
    if request.query:
        target += "?" + request.query
    try:
        answer = await client.send(origin, "GET", target, render_headers(headers), b"", DEADLINES)
    except UpstreamError:
        raise RefusedError(errors.ledger_unavailable()) from None
    except ValueError:
        raise RefusedError(
            errors.bad_request("A header or the query holds characters that can't be passed on")
        ) from None
    lines = [
        f"{name.decode('ascii')}: {value.decode('latin-1')}\r\n"
        for name, value in answer.headers
        if name in PASSED_HEADERS or name.startswith(b"x-tollgate-")
    ]
    out = StreamAnswer(answer.status, SAFE + "".join(lines))
    try:
        await out.start(request)
        while chunk := await answer.next_chunk():
            await out.write(chunk)
        await out.end()
    except UpstreamError:
        request.abort()  # half an answer must not look like a whole one
    finally:
        if not answer.complete:
            answer.abort()
    return out

"""What the ledger answers: passed on to its HTTP API with method and body, answer streamed back.

The ledger asks policy who is asking, as the edge does. The edge tells it who that is, signed for
this question (shared.asker): the credential stays here, as do all other headers of the caller.
"""

from urllib.parse import quote

from services.edge import reading
from services.edge.answers import SAFE
from services.edge.http import Request, StreamAnswer
from services.edge.parts import Parts
from services.edge.upstream import Deadlines, UpstreamError, render_headers
from shared import asker, errors
from shared.errors import RefusedError
from shared.requests import DecideRequest
from shared.routes import Match

DEADLINES = Deadlines(connect_ms=1_000, first_byte_ms=15_000, idle_ms=15_000, total_ms=60_000)
PASSED_HEADERS = (b"content-type", b"retry-after")
BODY_BYTES_MAX = 1024 * 1024


async def serve(parts: Parts, request: Request, match: Match) -> StreamAnswer:
    settings, client = parts.settings, parts.upstream
    head = reading.head(request)
    await parts.tokens.identify(head, request)
    body = b""
    if match.route.request is not None:
        body = await reading.body(request, BODY_BYTES_MAX, settings.edge_body_timeout_ms)
    if "%2F" in match.path:  # no path of the ledger has such a segment
        raise RefusedError(errors.not_found(request.method, request.path))
    target = quote(match.path, safe="/-._~")
    if request.query:
        target += "?" + request.query
    said = parts.tokens.claims(head.digest)
    who = DecideRequest(
        head.digest,
        "",
        min_control_seq=parts.grants.seen_seq,
        credential_shape=head.shape,
        claims=b"" if said is None else said.claims,
        team_id=None if said is None else said.team_id,
        requester_ip=head.ip,
    )
    headers = [
        (asker.HEADER, parts.signer.sign(who, request.method, target, body, parts.clock.unix_ms())),
        ("x-forwarded-for", request.remote or ""),
    ]
    if body:
        headers.append(("content-type", "application/json"))
    target = parts.ledger_path + target
    try:
        answer = await client.send(parts.ledger, request.method, target, render_headers(headers), body, DEADLINES)
    except UpstreamError:
        raise RefusedError(errors.ledger_unavailable()) from None
    except ValueError:
        raise RefusedError(
            errors.bad_request("A header or the query holds characters that can't be passed on")
        ) from None
    if answer.status < 400 and not match.route.public:
        request.recognised()
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

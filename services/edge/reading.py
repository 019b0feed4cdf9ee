"""Reading a request: its head, and its body within limits."""

import asyncio
from collections.abc import Callable

import msgspec

from services.edge import inflating
from services.edge.formats.base import NO_HINTS, Hints
from services.edge.http import BrokenBodyError, OverBudgetError, Request
from shared import credential, errors, tracing
from shared.errors import Refusal, RefusedError
from shared.ids import KeyDigest, digest_key

HEADER_CHARACTERS_MAX = 256
LIST_CHARACTERS_MAX = 16_384
TOKEN_KEPT_MAX = 2048
"""Of a token that its connection holds, as it holds a head (http/known.py)."""
HELD_FREE_BYTES = 8192
"""A body up to this is covered by its connection's flat share (http/budget.py)."""
_PLAIN = ("", "identity")
_ENCODINGS = (*_PLAIN, *inflating.ENCODINGS)


class Head(msgspec.Struct):
    """What the pipeline needs of a request's head. The credential is digested here and goes no
    further.
    """

    digest: KeyDigest | None
    shape: str
    ip: str | None
    user_agent: str | None
    litellm_call_id: str | None = None
    hints: Hints = NO_HINTS
    num_retries: str | None = None
    timeout: str | None = None
    stream_timeout: str | None = None
    token: str | None = None
    """The credential itself where it looks like an identity provider's token: tokens.py verifies
    it, and it goes no further.
    """
    team_id: str | None = None
    """With a token: which of its teams the caller asks for."""
    session_id: str | None = None
    log_off: str | None = None
    """Callbacks that are not to be told of this call, with commas between."""
    traceparent: str | None = None
    """Whose trace the call belongs to (shared/tracing.py)."""
    tracestate: str | None = None
    told: dict[str, str] | None = None
    """What the book keeps of the headers in the call's metadata."""
    own_tags: tuple[str, ...] = ()
    """What the operator's own headers say of it: tags in the book."""


def text(value: str | None, characters_max: int = HEADER_CHARACTERS_MAX) -> str | None:
    """A header's value as it can be recorded: cut, and with a question mark for each byte that
    isn't UTF-8. Empty is none.
    """
    if not value:
        return None
    value = value[:characters_max]
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def call_id(request: Request) -> str | None:
    """The client's own name for its call, where it is one."""
    given = request.header("x-litellm-call-id")
    return given if given and len(given) <= HEADER_CHARACTERS_MAX and given.isprintable() else None


class Credential:
    """What was found out about a credential, for the next request that brings it on the same
    connection: mostly all of them.

    Holds the header as the connection holds it anyway, and no longer.
    """

    __slots__ = ("_header", "_of", "digest", "is_kept", "read", "shape", "token")

    def __init__(self, request: Request, found: str) -> None:
        self.digest, self.shape = credential.digest(found)
        self.token = found if self.shape == "jwt" else None
        most = credential.CREDENTIAL_CHARACTERS_MAX if self.token is None else TOKEN_KEPT_MAX
        self.is_kept = 0 < len(found) <= most
        """False: one that can't be read, or a token so long that it isn't held."""
        self._header = request.field(b"authorization") if self.is_kept else None
        self._of = request.head
        self.read: Head | None = None
        """What else the same head says, once it was read."""

    def is_of(self, request: Request) -> bool:
        """Whether this request brings the same, and nothing else that could be one."""
        of = request.head
        if of is not None and of is self._of:
            return True
        header = self._header
        if header is None or request.field(b"authorization") != header or not request.has_none_of(_OTHERS):
            return False
        self._of, self.read = of, None
        return True


_OTHERS = frozenset(name.encode() for name in credential.HEADERS if name != "authorization")


def head(request: Request) -> Head:
    """Raises RefusedError (malformed_key) when a credential was sent that can't be read."""
    get = request.header
    memo = request.credential
    kept = memo if type(memo) is Credential and memo.is_kept else None
    if kept is not None:
        if kept.read is not None and kept.read.ip == request.remote:
            return msgspec.structs.replace(kept.read)  # a copy: who asks may find that somebody else is asking
        digest, shape, token = kept.digest, kept.shape, kept.token
    else:
        digest, shape, token = None, "none", None
        found = credential.find(get)
        if found is not None:
            if not 0 < len(found) <= credential.CREDENTIAL_CHARACTERS_MAX:
                raise RefusedError(errors.malformed_key())
            digest, shape = credential.digest(found)
            token = found if shape == "jwt" else None
    found_head = Head(digest, shape, request.remote, text(get("user-agent")), token=token)
    if token is not None:
        found_head.team_id = text(get("x-litellm-team-id"))
        if found_head.team_id is not None:  # what is kept for the token is kept for it with this team
            found_head.digest = digest_key(f"{token}\n{found_head.team_id}")
    if not request.has_none_of(_SAYS_MORE):
        _read_more(found_head, request)
    if kept is not None and request.head is not None:
        kept.read = msgspec.structs.replace(found_head)
    return found_head


_SAYS_MORE = frozenset(
    (
        b"x-litellm-tags", b"x-litellm-spend-logs-metadata", b"x-litellm-customer-id", b"x-litellm-end-user-id",
        b"x-litellm-num-retries", b"x-litellm-timeout", b"x-litellm-stream-timeout", b"x-litellm-call-id", b"x-litellm-session-id",
        b"x-litellm-trace-id", b"x-litellm-disable-callbacks", b"x-litellm-agent-id", b"traceparent",
    )
)  # fmt: skip
"""Headers that few requests have."""


def _read_more(head: Head, request: Request) -> None:
    get = request.header
    head.litellm_call_id = call_id(request)
    head.num_retries = text(get("x-litellm-num-retries"))
    head.timeout = text(get("x-litellm-timeout"))
    head.stream_timeout = text(get("x-litellm-stream-timeout"))
    head.session_id = text(get("x-litellm-session-id") or get("x-litellm-trace-id"))
    head.log_off = text(get("x-litellm-disable-callbacks"))
    agent_id, head.traceparent = text(get("x-litellm-agent-id")), tracing.read(get(tracing.TRACEPARENT))
    if head.traceparent is not None:
        head.tracestate = tracing.state(get(tracing.TRACESTATE))
        head.told = {tracing.TRACEPARENT: head.traceparent}
    if agent_id is not None:
        head.told = {**(head.told or {}), "agent_id": agent_id}
    hints = Hints(
        text(get("x-litellm-tags"), LIST_CHARACTERS_MAX),
        get("x-litellm-spend-logs-metadata"),
        text(get("x-litellm-customer-id") or get("x-litellm-end-user-id")),
        routing=(head.num_retries, head.timeout, head.stream_timeout) != (None, None, None),
    )
    head.hints = NO_HINTS if hints == NO_HINTS else hints


async def body(
    request: Request,
    bytes_max: int,
    timeout_ms: int,
    too_large: Callable[[int | None, int], Refusal] = errors.body_too_large,
) -> bytes:
    """The whole body, decompressed. Raises RefusedError: too large (cut off while reading),
    undecodable, too slow, no room.

    Args:
        too_large: its size in bytes, as far as that is known, and the limit → what is answered.
    """
    declared = request.content_length
    if declared is not None and declared > bytes_max:
        raise RefusedError(too_large(declared, bytes_max))
    encoding = (request.header("content-encoding") or "").strip().lower()
    if encoding not in _ENCODINGS:
        raise RefusedError(errors.unsupported_encoding(encoding))
    data = await _sent(request, bytes_max, timeout_ms)
    if len(data) > bytes_max:
        raise RefusedError(too_large(None, bytes_max))
    if encoding in _PLAIN:
        return data
    try:
        return await inflating.inflate(data, encoding, bytes_max, request.hold)
    except inflating.TooLargeError:
        raise RefusedError(too_large(None, bytes_max)) from None
    except inflating.InflatingError as error:
        raise RefusedError(errors.unreadable_body(str(error))) from None
    except inflating.NoRoomError:
        raise RefusedError(errors.overloaded()) from None


async def _sent(request: Request, bytes_max: int, timeout_ms: int) -> bytes:
    """The bytes as they were sent; hardly more than `bytes_max` of them."""
    whole = request.whole_body()
    if whole is not None:
        if len(whole) > HELD_FREE_BYTES and not request.hold(len(whole)):
            raise RefusedError(errors.overloaded())
        return whole
    try:
        pieces, size = [], 0
        async with asyncio.timeout(timeout_ms / 1000):
            while size <= bytes_max and (piece := await request.next_chunk()):
                pieces.append(piece)
                size += len(piece)
                if not request.hold(len(piece)):
                    raise RefusedError(errors.overloaded())
        return b"".join(pieces)
    except TimeoutError:
        raise RefusedError(errors.unreadable_body("The request body did not arrive in time")) from None
    except OverBudgetError:
        raise RefusedError(errors.overloaded()) from None
    except BrokenBodyError:
        raise RefusedError(errors.unreadable_body("The request body could not be read")) from None

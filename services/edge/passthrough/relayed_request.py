"""What a relayed call sends to a deployment: where, with which headers, which bytes."""

from contextlib import AbstractAsyncContextManager

import msgspec

from services.edge.content import names
from services.edge.formats import fields as fields_
from services.edge.formats import joined
from services.edge.formats.base import Call
from services.edge.formats.openai import CHAT
from services.edge.http import Request
from services.edge.parts import Parts
from services.edge.passthrough.by_chat import ByChat
from services.edge.passthrough.form import Form
from services.edge.passthrough.kept import KeptResponse
from services.edge.passthrough.kinds import Kind
from services.edge.providers.base import Target
from services.edge.upstream import read_headers
from shared.outbound import Streamed

MODEL_PLACE = "/chat/completions"
"""Where a provider's address of this ends, that of the other routes ends, too."""


class Sent(msgspec.Struct, frozen=True):
    method: str
    url: str
    headers: list[tuple[str, str]]
    body: bytes


async def made(
    kind: Kind,
    target: Target,
    model: str,
    call: Call,
    form: Form | None,
    request: Request | None,
    by_chat: ByChat | None,
    kept: KeptResponse | None,
) -> Sent:
    """Raises CredentialsError.

    Args:
        model: the upstream's.
        request: of the caller; None: nobody asks but ourselves.
        kept: the response that it is about; None: it is a call of its own.
    """
    origin = target.origin
    assert origin is not None
    method = kind.of_response or "POST"
    if by_chat is not None:
        path, body = by_chat.path, by_chat.body
    else:
        path = target.provider.path(target, CHAT.name, model, stream=False)
        path = path + kind.path if kind.wire == "anthropic" else path.replace(MODEL_PLACE, kind.path, 1)
        if kept is not None:
            path, body = kept.path(path), b""
        else:
            body = form.with_model(model) if form is not None else _json(call, model)
    block = target.headers
    if target.credentials is not None:
        block += await target.credentials.headers(method, path, body)
    sent = {name.lower(): value for name, value in read_headers(block)}
    for name in kind.forwards if by_chat is None else ():
        value = None if request is None else request.header(name)
        if value is not None and value.isprintable():
            sent[name] = value
    if form is not None and request is not None:
        sent["content-type"] = request.header("content-type") or ""
    return Sent(method, f"{origin.scheme}://{origin.authority}{path}", list(sent.items()), body)


def stream(
    parts: Parts, target: Target, sent: Sent, deadline_ms: int, idle_ms: int
) -> AbstractAsyncContextManager[Streamed]:
    """The deployment's answer. Entering it raises OutboundError."""
    verify = target.origin.verify if target.origin is not None else None
    return parts.passthrough_outbound.stream(
        sent.method,
        sent.url,
        headers=sent.headers,
        body=sent.body,
        deadline_ms=deadline_ms,
        idle_ms=idle_ms,
        tls=None if verify is None else parts.upstream.tls(verify),
    )


def _json(call: Call, model: str) -> bytes:
    """Without what is the gateway's; the values' bytes are the client's."""
    fields = {name: raw for name, raw in call.fields.items() if name not in names.GATEWAY or name == "metadata"}
    fields["model"] = joined.quoted(model)
    if "metadata" in fields:
        theirs = fields_.own_metadata(fields.pop("metadata"))
        if theirs:
            fields["metadata"] = msgspec.Raw(msgspec.json.encode(theirs))
    return joined.join(fields)

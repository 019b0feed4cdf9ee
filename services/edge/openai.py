"""OpenAI's wire shapes: what the edge reads of a request and of an answer, and what it changes in a request.

A request's top level is split once into raw slices; values nobody here needs are never decoded, and reach the provider
byte for byte. Pure.
"""

from typing import Any

import msgspec

from services.edge.content import names
from services.edge.formats.base import Call as Call
from shared import errors
from shared.errors import RefusedError
from shared.money import CALL_TOKENS_MAX, Usage
from shared.routes import Route

MODEL_CHARACTERS_MAX = 256
TAGS_MAX = 64
TAG_CHARACTERS_MAX = 256
METADATA_BYTES_MAX = 65_536
METADATA_DEPTH_MAX = 32

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding JSON that somebody else wrote may raise: not text, or nested without end, is unreadable too."""

GATEWAY_FIELDS = names.GATEWAY
"""Fields of LiteLLM's API that are for the gateway: a provider would refuse them. `metadata` goes on to the provider when
the request asks to store it (`store: true`, OpenAI's own use of the field), without what is ours."""
_OURS_IN_METADATA = frozenset({"tags", "spend_logs_metadata", "guardrails", "permissions"})

UNSAFE_FIELDS = frozenset(
    {"api_base", "base_url", "user_config", "api_key", "aws_secret_access_key", "vertex_credentials"}
)
"""A caller who could set these could send our secrets, or its prompts, anywhere (contract §0.1.3b)."""


_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Metadata(msgspec.Struct):
    tags: list[str] | None = None
    spend_logs_metadata: dict[str, Any] | None = None
    user_id: Any = None


_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "model": msgspec.json.Decoder(str),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(_StreamOptions | None),
    "metadata": msgspec.json.Decoder(_Metadata | None),
    "litellm_metadata": msgspec.json.Decoder(_Metadata | None),
    "tags": msgspec.json.Decoder(list[str] | None),
    "user": msgspec.json.Decoder(str | None),
    "max_tokens": msgspec.json.Decoder(int | None),
    "max_completion_tokens": msgspec.json.Decoder(int | None),
    "n": msgspec.json.Decoder(int | None),
}


def parse(body: bytes, route: Route, header_tags: str | None, header_metadata: str | None) -> Call:
    """Read a request. Raises RefusedError with what is wrong and where."""
    fields = _fields(body)
    if not names.TOP.issuperset(fields):
        names.refuse_look_alikes(fields, names.TOP)
    if not UNSAFE_FIELDS.isdisjoint(fields):
        name = min(UNSAFE_FIELDS.intersection(fields))
        raise RefusedError(errors.unsafe_field(name))
    if "model" not in fields:
        raise _bad(f"{route.name}: Missing required parameter: 'model'.", "model")
    model = _read(fields, "model")
    if not model or len(model) > MODEL_CHARACTERS_MAX or "\x00" in model:
        raise _bad(f"model must be 1 to {MODEL_CHARACTERS_MAX} characters", "model")
    _check_required(fields, route)
    stream = "stream" in fields and bool(_read(fields, "stream"))
    options = _read(fields, "stream_options") if "stream_options" in fields else None
    metadata = _NO_METADATA
    if "metadata" in fields:
        metadata = _read(fields, "metadata") or _NO_METADATA
    tags, root_tags = metadata.tags or [], _read(fields, "tags") if "tags" in fields else None
    if root_tags is not None:
        tags = [*tags, *root_tags]
    elif header_tags:
        tags = [*tags, *(tag.strip() for tag in header_tags.split(",") if tag.strip())]
    if tags:
        _check_tags(tags)
    logged = metadata.spend_logs_metadata or {}
    if header_metadata:
        logged = {**_header_object(header_metadata), **logged}
    if logged:
        _check_logged(logged)
    customer = _read(fields, "user") if "user" in fields else None
    if not customer and metadata.user_id is not None:
        customer = str(metadata.user_id)
    return Call(
        body=body,
        fields=fields,
        model=model,
        stream=stream,
        wants_usage=options is not None and bool(options.include_usage),
        customer_id=customer[:256] if customer else None,
        tags=list(dict.fromkeys(tags)) if tags else tags,
        spend_logs_metadata=logged,
        max_output_tokens=_max_output_tokens(fields),
    )


_NO_METADATA = _Metadata()


def _bad(message: str, param: str | None = None) -> RefusedError:
    return RefusedError(errors.bad_request(message, param))


def _fields(body: bytes) -> dict[str, msgspec.Raw]:
    if not body:
        raise _bad("The request body is empty; a JSON object is needed")
    try:
        if not body.isascii():
            body.decode("utf-8")  # the splitter below skips over strings without reading them
        fields = _split(body)
        if not _says_only(body, fields):
            names.refuse_repeated_top(body, fields)
        return fields
    except UnicodeDecodeError as error:
        raise _bad(f"The request body is not valid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise _bad("The request body is nested too deeply") from None
    except msgspec.DecodeError as error:
        text = str(error)
        if "Expected `object`" in text:
            text = "The request body must be a JSON object"
        raise _bad(text) from None


def _read(fields: dict[str, msgspec.Raw], name: str) -> Any:
    raw = fields.get(name)
    if raw is None:
        return None
    try:
        return _decoders[name].decode(raw)
    except UNREADABLE as error:
        text, _, path = str(error).partition(" - at `$")
        raise _bad(f"{name}{path.rstrip('`')}: {text}", f"{name}{path.rstrip('`')}") from None


_NULL = msgspec.Raw(b"null")
_START_BYTES = 32
"""Of a value that may be all of a large body: enough to see what it is."""


def _check_required(fields: dict[str, msgspec.Raw], route: Route) -> None:
    name = route.required
    raw = fields.get(name, _NULL)
    start = bytes(memoryview(raw)[:_START_BYTES])
    if start == b"null":
        raise _bad(f"{route.name}: Missing required parameter: '{name}'.", name)
    if name == "messages" and start[:1] != b"[":
        raise _bad("messages: Expected `array`", "messages")
    if start[:1] not in b'["':
        raise _bad(f"{name}: Expected `string` or `array`", name)
    if name == "messages" and start[1:].lstrip()[:1] in b"]" and bytes(memoryview(raw)[1:]).strip() == b"]":
        raise _bad("messages must not be empty", name)


def _check_tags(tags: list[str]) -> None:
    if len(tags) > TAGS_MAX:
        raise _bad(f"At most {TAGS_MAX} tags are allowed", "metadata.tags")
    for tag in tags:
        if not tag or len(tag) > TAG_CHARACTERS_MAX or "\x00" in tag:
            raise _bad(f"A tag must be 1 to {TAG_CHARACTERS_MAX} characters", "metadata.tags")


def _check_logged(logged: dict[str, Any]) -> None:
    """It goes into the fact as it is: bounded, no deeper than every reader of facts can follow, no integers past 64 bits."""
    name = "metadata.spend_logs_metadata"
    if not _is_within(logged, METADATA_DEPTH_MAX):
        raise _bad(f"It is nested more than {METADATA_DEPTH_MAX} levels deep", name)
    try:
        size = len(msgspec.msgpack.encode(logged))
    except OverflowError:
        raise _bad("A number in it is too large", name) from None
    if size > METADATA_BYTES_MAX:
        raise _bad(f"It is larger than {METADATA_BYTES_MAX} bytes", name)


def _is_within(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return depth > 0 and all(_is_within(item, depth - 1) for item in value)


def _header_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"), type=dict[str, Any])
    except (*UNREADABLE, UnicodeEncodeError):
        raise _bad("x-litellm-spend-logs-metadata must be a JSON object", "x-litellm-spend-logs-metadata") from None


def _max_output_tokens(fields: dict[str, msgspec.Raw]) -> int | None:
    bound = _read(fields, "max_completion_tokens")
    if bound is None:
        bound = _read(fields, "max_tokens")
    if bound is None or not 0 <= bound < 2**31:
        return None
    choices = _read(fields, "n")
    return int(bound * max(1, min(choices or 1, 128)))


_USUAL_NAMES = {
    name: msgspec.json.encode(name)
    for name in (
        "messages", "prompt", "input", "stream", "temperature", "top_p", "max_tokens", "max_completion_tokens", "n", "stop", "user",
        "tools", "tool_choice", "response_format", "seed", "presence_penalty", "frequency_penalty", "logprobs",
    )
}  # fmt: skip
"""Encoded once."""


def provider_body(call: Call, upstream_model: str) -> bytes:
    """The bytes for the provider: the client's own where nothing has to change, else its values' bytes joined anew."""
    fields = call.fields
    if (
        upstream_model == call.model
        and GATEWAY_FIELDS.isdisjoint(fields)
        and (call.wants_usage or not call.stream)
        and _says_only(call.body, fields)
    ):
        return call.body
    parts = [b'"model":' + msgspec.json.encode(upstream_model)]
    for name, raw in fields.items():
        if name == "model" or name in GATEWAY_FIELDS or (name == "stream_options" and call.stream):
            continue
        parts.append(b"%b:%b" % (_USUAL_NAMES.get(name) or msgspec.json.encode(name), raw))
    if call.stream:
        parts.append(b'"stream_options":' + _stream_options(fields))
    metadata = _metadata_to_forward(fields)
    if metadata:
        parts.append(b'"metadata":' + msgspec.json.encode(metadata))
    return b"{" + b",".join(parts) + b"}"


def _says_only(body: bytes, fields: dict[str, msgspec.Raw]) -> bool:
    """Whether the body is these fields and not a byte more: no name twice, none escaped, no space between them.

    Anything else might read differently to a provider (the first of two models, where we read the last), so it is joined
    anew, which costs next to nothing.
    """
    return len(body) == 1 + sum(len(name) + 4 + len(raw) for name, raw in fields.items())


def _stream_options(fields: dict[str, msgspec.Raw]) -> bytes:
    """The client's options, and the usage chunk asked for."""
    raw = fields.get("stream_options")
    options = msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | None) if raw is not None else None
    return msgspec.json.encode({**(options or {}), "include_usage": True})


def _metadata_to_forward(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    raw, store = fields.get("metadata"), fields.get("store")
    if raw is None or store is None or bytes(store) != b"true":
        return None
    metadata = msgspec.json.decode(raw, type=dict[str, msgspec.Raw] | None) or {}
    return {key: value for key, value in metadata.items() if key not in _OURS_IN_METADATA}


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | float | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | float | None = None


class WireUsage(msgspec.Struct):
    """OpenAI's usage object. All optional: providers leave out what they like, and some count in floats."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    total_tokens: int | float | None = None
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None


class AnswerHead(msgspec.Struct):
    """What we read of an answer or of a stream's chunk; the rest is passed on unread."""

    id: str | None = None
    model: str | None = None
    usage: WireUsage | None = None
    error: msgspec.Raw = msgspec.Raw(b"null")
    """In a stream: the provider gave up."""


class _OddHead(msgspec.Struct):
    id: Any = None
    model: Any = None
    usage: msgspec.Raw = msgspec.Raw(b"null")
    error: msgspec.Raw = msgspec.Raw(b"null")


_answer_head = msgspec.json.Decoder(AnswerHead).decode
_odd_head = msgspec.json.Decoder(_OddHead).decode
_usage = msgspec.json.Decoder(WireUsage | None).decode


def answer_head(body: bytes) -> AnswerHead:
    """A field that isn't what it should be is none; the others count. Raises UNREADABLE for what is no JSON object."""
    try:
        return _answer_head(body)
    except msgspec.ValidationError:
        odd = _odd_head(body)
    try:
        usage = _usage(odd.usage)
    except UNREADABLE:
        usage = None
    response_id, model = (value if isinstance(value, str) else None for value in (odd.id, odd.model))
    return AnswerHead(response_id, model, usage, odd.error)


def usage_of(wire: WireUsage | None) -> Usage | None:
    """None when the provider told nothing usable. Zero is a number, not a missing one."""
    if wire is None or (wire.prompt_tokens is None and wire.completion_tokens is None and wire.total_tokens is None):
        return None
    output = wire.completion_tokens
    if output is None:
        output = (wire.total_tokens or 0) - (wire.prompt_tokens or 0) if wire.total_tokens is not None else 0
    prompt = wire.prompt_tokens
    if prompt is None:
        prompt = (wire.total_tokens or 0) - output
    details, completion = wire.prompt_tokens_details, wire.completion_tokens_details
    cached = (details.cached_tokens or 0) if details is not None else 0
    reasoning = (completion.reasoning_tokens or 0) if completion is not None else 0
    return Usage(_tokens(prompt), _tokens(output), _tokens(cached), 0, _tokens(reasoning), "provider")


def _tokens(claimed: int | float) -> int:
    """Within what a call can be."""
    return (
        claimed
        if type(claimed) is int and 0 <= claimed <= CALL_TOKENS_MAX
        else int(min(max(0, claimed), CALL_TOKENS_MAX))
    )

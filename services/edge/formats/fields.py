"""A request's top level: split once into raw slices, each bounded before it is decoded. Pure.

What every OpenAI format's request has in common, and what in it is the gateway's own: read here,
and never sent on.
"""

from typing import Any, Final

import msgspec

from services.edge.content import names
from services.edge.formats.base import Call, Hints
from services.edge.formats.joined import says_only
from services.edge.formats.wire import BOM, decode_leniently, without_lone_surrogates
from shared import errors
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

MODEL_CHARACTERS_MAX: Final = 256
TAGS_MAX: Final = 64
TAG_CHARACTERS_MAX: Final = 256
METADATA_BYTES_MAX: Final = 65_536
METADATA_DEPTH_MAX: Final = 32
SLICE_BYTES_MAX: Final = 256 * 1024
"""Of a field's bytes that are decoded here; larger ones are refused unread."""
SPLIT_AT_ONCE_BYTES: Final = 64 * 1024
"""A body up to this can't have names enough to matter."""
QUOTES_MAX: Final = 65_536
"""Outside the fields a format knows: bounds the names at the top level (two quotes each) before
they are split.
"""

GATEWAY_FIELDS: Final = names.GATEWAY
"""Fields of LiteLLM's API that are for the gateway: a provider would refuse them. `metadata` goes
on to the provider when the request asks to store it (`store: true`, OpenAI's own use of the field),
without what is ours."""

UNSAFE_FIELDS: Final = frozenset(
    {"api_base", "base_url", "user_config", "api_key", "aws_secret_access_key", "vertex_credentials"}
)
"""A caller who could set these could send our secrets, or its prompts, anywhere."""

_split = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_ABSENT: Final = msgspec.Raw(b"")


class _Known(msgspec.Struct):
    """The fields that may be most of a large body: skipped over in one pass, so that the rest can
    be looked at first.
    """

    messages: msgspec.Raw = _ABSENT
    prompt: msgspec.Raw = _ABSENT
    input: msgspec.Raw = _ABSENT
    tools: msgspec.Raw = _ABSENT
    documents: msgspec.Raw = _ABSENT
    response_format: msgspec.Raw = _ABSENT
    prediction: msgspec.Raw = _ABSENT
    suffix: msgspec.Raw = _ABSENT
    image: msgspec.Raw = _ABSENT


_known = msgspec.json.Decoder(_Known).decode


class _Metadata(msgspec.Struct):
    tags: msgspec.Raw = _ABSENT
    spend_logs_metadata: msgspec.Raw = _ABSENT
    user_id: msgspec.Raw = _ABSENT


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    "model": msgspec.json.Decoder(str),
    "stream": msgspec.json.Decoder(bool | None),
    "stream_options": msgspec.json.Decoder(_StreamOptions | None),
    "metadata": msgspec.json.Decoder(_Metadata | None),
    "litellm_metadata": msgspec.json.Decoder(_Metadata | None),
    "tags": msgspec.json.Decoder(list[str | int] | str | None),
    "spend_logs_metadata": msgspec.json.Decoder(dict[str, Any] | None),
    "user": msgspec.json.Decoder(str | None),
    "user_id": msgspec.json.Decoder(str | int | None),
    "max_tokens": msgspec.json.Decoder(int | float | None),
    "max_completion_tokens": msgspec.json.Decoder(int | float | None),
    "n": msgspec.json.Decoder(int | float | None),
    "dimensions": msgspec.json.Decoder(int | float | None),
    "num_retries": msgspec.json.Decoder(int | None),
    "timeout": msgspec.json.Decoder(int | float | None),
    "stream_timeout": msgspec.json.Decoder(int | float | None),
    "fallbacks": msgspec.json.Decoder(list[Any] | None),
}


def bad(message: str, param: str | None = None) -> RefusedError:
    return RefusedError(errors.bad_request(message, param))


def split(body: bytes) -> tuple[dict[str, msgspec.Raw], bool]:
    """The top level, and whether the body says it and nothing else: then it may go on as it is.

    Raises RefusedError: no JSON object, not UTF-8, too deep, too many names, a name twice.
    """
    if not body:
        raise bad("The request body is empty; a JSON object is needed")
    if body[:3] == BOM:
        return split(body[3:])[0], False
    try:
        if not body.isascii():
            body.decode("utf-8")  # the splitter below skips over strings without reading them
        if len(body) > SPLIT_AT_ONCE_BYTES:
            _refuse_many_names(body)
        fields = _split(body)
        exact = says_only(body, fields)
        if not exact:
            names.refuse_repeated_top(body, fields)
        if not names.TOP.issuperset(fields):
            names.refuse_look_alikes(fields, names.TOP)
        return fields, exact
    except UnicodeDecodeError as error:
        raise bad(f"The request body is not valid UTF-8 (byte {error.start})") from None
    except RecursionError:
        raise bad("The request body is nested too deeply") from None
    except msgspec.DecodeError as error:
        text = str(error)
        if _is_of_surrogates(text) and (mended := without_lone_surrogates(body)) is not body:
            return split(mended)[0], False
        if "Expected `object`" in text:
            text = "The request body must be a JSON object"
        raise bad(text) from None


def _is_of_surrogates(text: str) -> bool:
    """Whether msgspec's words may mean a lone surrogate."""
    return "truncated" in text or "surrogate" in text or "hex escape" in text


def _refuse_many_names(body: bytes) -> None:
    quotes = body.count(b'"')
    if quotes > QUOTES_MAX:
        known = _known(body)
        quotes -= sum(bytes(getattr(known, name)).count(b'"') for name in _Known.__struct_fields__)
        if quotes > QUOTES_MAX:
            raise bad("The request body has too many fields")


def read(fields: dict[str, msgspec.Raw], name: str, at: str | None = None) -> Any:
    """A field's value; None when absent. Raises RefusedError naming the place inside it.

    Args:
        at: where the field stands, for the message; its name by default.
    """
    raw = fields.get(name)
    return None if raw is None else decode(raw, name, at or name)


def decode(raw: msgspec.Raw, name: str, at: str) -> Any:
    """By the decoder of `name`."""
    if len(raw) > SLICE_BYTES_MAX:
        raise bad(f"It is larger than {SLICE_BYTES_MAX} bytes", at)
    try:
        return _decoders[name].decode(raw)
    except UNREADABLE as error:
        text, _, path = str(error).partition(" - at `$")
        if _is_of_surrogates(text) and b"\\u" in bytes(raw):  # a lone surrogate, which JavaScript's strings may hold
            try:
                return msgspec.convert(decode_leniently(bytes(raw)), _TYPES[name], strict=True)
            except (msgspec.ValidationError, msgspec.DecodeError):
                pass
        where = f"{at}{path.rstrip('`')}"
        raise bad(f"{where}: {text}", where) from None


_TYPES: Final[dict[str, Any]] = {name: decoder.type for name, decoder in _decoders.items()}


def required(fields: dict[str, msgspec.Raw], name: str, route: str) -> None:
    """The field a format can't do without, by how its value begins: it may be all of a large
    body.
    """
    raw = fields.get(name, _NULL)
    if bytes(memoryview(raw)[:2]) == _BEGUN:
        return
    start = bytes(memoryview(raw)[:_START_BYTES])
    if start == b"null":
        raise bad(f"{route}: Missing required parameter: '{name}'.", name)
    if name == "messages" and start[:1] != b"[":
        raise bad("messages: Expected `array`", "messages")
    if start[:1] not in b'["':
        raise bad(f"{name}: Expected `string` or `array`", name)
    if name == "messages" and start[1:].lstrip()[:1] in b"]" and bytes(memoryview(raw)[1:]).strip() == b"]":
        raise bad("messages must not be empty", name)


_NULL: Final = msgspec.Raw(b"null")
_START_BYTES: Final = 32
_BEGUN: Final = b"[{"
"""How most begin."""


def model_of(fields: dict[str, msgspec.Raw], route: str) -> str:
    raw = fields.get("model")
    if raw is None:
        raise bad(f"{route}: Missing required parameter: 'model'.", "model")
    model: str = decode(raw, "model", "model")
    check_model(model)
    return model


def check_model(model: str) -> None:
    if not model or len(model) > MODEL_CHARACTERS_MAX or "\x00" in model:
        raise bad(f"model must be 1 to {MODEL_CHARACTERS_MAX} characters", "model")


def refuse_unsafe(fields: dict[str, msgspec.Raw]) -> None:
    if not UNSAFE_FIELDS.isdisjoint(fields):
        raise RefusedError(errors.unsafe_field(min(UNSAFE_FIELDS.intersection(fields))))


def flag(fields: dict[str, msgspec.Raw], name: str) -> bool:
    """Of a field that is true, false or null."""
    said = bytes(memoryview(fields[name])[:_START_BYTES])
    return said == b"true" or (said != b"false" and bool(read(fields, name)))


def says_true(fields: dict[str, msgspec.Raw], name: str) -> bool:
    """Of a field that nobody has looked at: whether it is `true`. It may be missing, or anything
    else.
    """
    raw = fields.get(name)
    return raw is not None and bytes(raw) == b"true"


FOR_US: Final = GATEWAY_FIELDS | {"user"}
"""What a request says of its own to the gateway."""


def add_common(call: Call, hints: Hints) -> None:
    """What every format's call may have: tags, metadata, customer, a stream's options."""
    fields = call.fields
    if "stream_options" in fields:
        options = read(fields, "stream_options")
        call.wants_usage = options is not None and bool(options.include_usage)
    tags: list[str] = []
    logged: dict[str, Any] = {}
    customer: str | None = read(fields, "user") if "user" in fields else None
    for name in ("metadata", "litellm_metadata"):
        if name not in fields:
            continue
        metadata = read(fields, name)
        if metadata is None:
            continue
        tags += _tags(metadata.tags, f"{name}.tags")
        if bytes(metadata.spend_logs_metadata):
            logged.update(_logged(metadata.spend_logs_metadata, f"{name}.spend_logs_metadata"))
        if not (customer and customer.strip()) and bytes(metadata.user_id):
            customer = _name(metadata.user_id, f"{name}.user_id")
    if "tags" in fields:
        tags += _tags(fields["tags"], "tags")
    elif hints.tags:
        tags += _split_tags(hints.tags)
    if tags:
        _check_tags(tags)
        tags = list(dict.fromkeys(tags))
    if hints.spend_logs_metadata:
        logged = {**_header_object(hints.spend_logs_metadata), **logged}
    if logged:
        _check_logged(logged)
    customer = (customer or "").strip() or hints.customer_id
    call.tags, call.spend_logs_metadata = tags, logged
    call.customer_id = customer[:256] if customer else None


def _tags(raw: msgspec.Raw, at: str) -> list[str]:
    """A list of texts or numbers, or one text with commas between them."""
    found = decode(raw, "tags", at) if bytes(memoryview(raw)[:1]) else None
    if isinstance(found, str):
        return _split_tags(found)
    return [tag if isinstance(tag, str) else str(tag) for tag in found or ()]


def _split_tags(said: str) -> list[str]:
    return [tag.strip() for tag in said.split(",") if tag.strip()]


def header_tags(hints: Hints) -> list[str]:
    """Those of a call whose body isn't ours to read. Raises RefusedError."""
    tags = list(dict.fromkeys(_split_tags(hints.tags))) if hints.tags else []
    _check_tags(tags)
    return tags


def _check_tags(tags: list[str]) -> None:
    if len(tags) > TAGS_MAX:
        raise bad(f"At most {TAGS_MAX} tags are allowed", "metadata.tags")
    for tag in tags:
        if not tag or len(tag) > TAG_CHARACTERS_MAX or "\x00" in tag:
            raise bad(f"A tag must be 1 to {TAG_CHARACTERS_MAX} characters", "metadata.tags")


def _logged(raw: msgspec.Raw, at: str) -> dict[str, Any]:
    if len(raw) > 2 * METADATA_BYTES_MAX:
        raise bad(f"It is larger than {METADATA_BYTES_MAX} bytes", at)
    found: dict[str, Any] | None = decode(raw, "spend_logs_metadata", at)
    return found or {}


def _check_logged(logged: dict[str, Any]) -> None:
    """It goes into the fact as it is: bounded, no deeper than every reader of facts can follow, no
    integers past 64 bits.
    """
    name = "metadata.spend_logs_metadata"
    if not _is_within(logged, METADATA_DEPTH_MAX):
        raise bad(f"It is nested more than {METADATA_DEPTH_MAX} levels deep", name)
    try:
        size = len(msgspec.msgpack.encode(logged))
    except OverflowError:
        raise bad("A number in it is too large", name) from None
    if size > METADATA_BYTES_MAX:
        raise bad(f"It is larger than {METADATA_BYTES_MAX} bytes", name)


def _is_within(value: Any, depth: int) -> bool:
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return True
    return depth > 0 and all(_is_within(item, depth - 1) for item in value)


def _name(raw: msgspec.Raw, at: str) -> str | None:
    found = decode(raw, "user_id", at)
    return None if found is None else str(found)


def _header_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text.encode("utf-8", "surrogateescape"), type=dict[str, Any])
    except (*UNREADABLE, UnicodeEncodeError):
        raise bad("x-litellm-spend-logs-metadata must be a JSON object", "x-litellm-spend-logs-metadata") from None


def whole_number(fields: dict[str, msgspec.Raw], name: str) -> int | None:
    """An integer, or a float that is one (100.0)."""
    found = read(fields, name) if name in fields else None
    if isinstance(found, float):
        if not found.is_integer():
            raise bad(f"{name}: Expected `int`", name)
        return int(found)
    return found


def forwarded_metadata(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw] | None:
    """OpenAI's own metadata of a request that is stored: the client's entries without ours. None:
    nothing goes on.
    """
    raw = fields.get("metadata")
    if raw is None or not says_true(fields, "store"):
        return None
    return own_metadata(raw)


def own_metadata(raw: msgspec.Raw) -> dict[str, msgspec.Raw]:
    """A request's metadata as its provider knows it, without what is ours in it. Raises
    RefusedError.
    """
    try:
        metadata = _entries(raw) or {}
    except UNREADABLE:
        raise bad("metadata: Expected `object`", "metadata") from None
    return {
        key: value
        for key, value in metadata.items()
        if key not in names.OURS_IN_METADATA and (key != "tags" or bytes(memoryview(value)[:1]) == b'"')
    }


_entries = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode


def stream_options(fields: dict[str, msgspec.Raw]) -> bytes:
    """The client's options, and the usage chunk asked for."""
    raw = fields.get("stream_options")
    return msgspec.json.encode({**((_entries(raw) if raw is not None else None) or {}), "include_usage": True})

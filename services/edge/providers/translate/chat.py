"""OpenAI's chat request as values: what translators read. Decoded once; what no provider reads
stays raw.

Legacy `functions`, `function_call` and messages of role `function` come out as tools.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from services.edge.providers.translate.wire import NOTHING, Fields, read, refuse
from shared.decoding import UNREADABLE


class ImageUrl(msgspec.Struct):
    url: str = ""
    detail: str | None = None
    format: str | None = None
    """LiteLLM's addition: the media type."""


class InputAudio(msgspec.Struct):
    data: str = ""
    format: str = "wav"


class File(msgspec.Struct):
    file_data: str | None = None
    file_id: str | None = None
    filename: str | None = None
    format: str | None = None


class Part(msgspec.Struct):
    type: str = "text"
    text: str | None = None
    image_url: ImageUrl | str | None = None
    input_audio: InputAudio | None = None
    file: File | None = None
    refusal: str | None = None
    cache_control: msgspec.Raw = NOTHING
    """Anthropic's, which LiteLLM lets through."""


class Function(msgspec.Struct):
    name: str = ""
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    id: str = ""
    type: str | None = "function"
    function: Function | None = None
    provider_specific_fields: msgspec.Raw = NOTHING
    """Where a Gemini thought signature comes back."""


class Message(msgspec.Struct):
    role: str
    content: str | list[Part] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: Function | None = None
    name: str | None = None
    reasoning_content: str | None = None
    thinking_blocks: list[msgspec.Raw] | None = None
    """Claude's signed reasoning, handed back by the client."""
    cache_control: msgspec.Raw = NOTHING
    refusal: str | None = None


class ToolFunction(msgspec.Struct):
    name: str = ""
    description: str | None = None
    parameters: msgspec.Raw = NOTHING
    strict: bool | None = None


class Tool(msgspec.Struct):
    """A function. `raw` is the tool as the client wrote it, for tools that are the provider's
    own.
    """

    type: str = ""
    function: ToolFunction | None = None
    cache_control: msgspec.Raw = NOTHING
    raw: msgspec.Raw = NOTHING


class _NamedFunction(msgspec.Struct):
    name: str = ""


class _Choice(msgspec.Struct):
    type: str = "function"
    function: _NamedFunction | None = None
    name: str = ""


class ToolChoice(msgspec.Struct, frozen=True):
    mode: str
    """auto, none, required, function."""
    name: str = ""


class _JsonSchema(msgspec.Struct):
    name: str = "answer"
    description: str | None = None
    schema: msgspec.Raw = NOTHING
    strict: bool | None = None


class ResponseFormat(msgspec.Struct):
    type: str = "text"
    """text, json_object, json_schema."""
    json_schema: _JsonSchema | None = None
    response_schema: msgspec.Raw = NOTHING
    """LiteLLM's older spelling."""

    @property
    def schema(self) -> msgspec.Raw:
        return self.json_schema.schema if self.json_schema is not None else self.response_schema


def is_said(raw: msgspec.Raw) -> bool:
    """Whether there is a value: clients write null for none."""
    return bool(raw) and bytes(raw) != b"null"


_messages = msgspec.json.Decoder(list[Message])
_mapping = msgspec.json.Decoder(dict[str, Any] | None)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw] | None)
_tool = msgspec.json.Decoder(Tool)
_functions = msgspec.json.Decoder(list[ToolFunction] | None)
_choice = msgspec.json.Decoder(str | _Choice | None)
_function_choice = msgspec.json.Decoder(str | _NamedFunction | None)
_response_format = msgspec.json.Decoder(ResponseFormat | None)
_stop = msgspec.json.Decoder(str | list[str] | None)
_number = msgspec.json.Decoder(int | float | None)
_string = msgspec.json.Decoder(str | None)
_bool = msgspec.json.Decoder(bool | None)
_effort = msgspec.json.Decoder(str | dict[str, Any] | None)

READ_HERE = frozenset(
    {
        "model", "messages", "tools", "functions", "tool_choice", "function_call", "response_format", "stop", "max_tokens",
        "max_completion_tokens", "stream", "stream_options", "parallel_tool_calls", "reasoning_effort",
    }
)  # fmt: skip
"""Fields every translator turns into the provider's own; whatever else it doesn't know passes
through.
"""


def messages(fields: Fields) -> list[Message]:
    """Roles are system, developer, user, assistant, tool; calls and results of legacy functions are
    tools'.
    """
    found: list[Message] = read(fields, "messages", _messages) or []
    last_call = ""
    for i, message in enumerate(found):
        if message.function_call is not None and not message.tool_calls:
            last_call = f"call_{i}"
            message.tool_calls = [ToolCall(last_call, "function", message.function_call)]
        if message.role == "function":
            message.role, message.tool_call_id = "tool", message.tool_call_id or last_call
        elif message.role not in _ROLES:
            refuse(f"messages[{i}].role: {message.role[:40]!r} is no role", f"messages[{i}].role")
        if message.role == "tool" and not message.tool_call_id:
            refuse(
                f"messages[{i}].tool_call_id: a tool's message names the call it answers", f"messages[{i}].tool_call_id"
            )
    return found


_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


def tools(fields: Fields) -> list[Tool]:
    found = []
    for i, raw in enumerate(read(fields, "tools", _raw_list) or ()):
        try:
            tool = _tool.decode(raw)
        except UNREADABLE as error:
            refuse(f"tools[{i}]: {error}", f"tools[{i}]")
        if (tool.type == "function" or tool.function is not None) and (tool.function is None or not tool.function.name):
            refuse(f"tools[{i}].function.name: a function has a name", f"tools[{i}].function")
        tool.raw = raw
        found.append(tool)
    found += [Tool("function", function) for function in read(fields, "functions", _functions) or ()]
    return found


def tool_choice(fields: Fields) -> ToolChoice | None:
    """None: the provider decides, as when nothing is said."""
    choice = read(fields, "tool_choice", _choice)
    param = "tool_choice"
    if choice is None and "function_call" in fields:
        choice, param = read(fields, "function_call", _function_choice), "function_call"
    if choice is None:
        return None
    if isinstance(choice, str):
        if choice not in ("auto", "none", "required"):
            refuse(f"{param}: {choice[:40]!r} is none of auto, none, required", param)
        return ToolChoice(choice)
    named = choice.function if isinstance(choice, _Choice) and choice.function is not None else choice
    if not named.name:
        refuse(f"{param}: only auto, none, required or a function by its name", param)
    return ToolChoice("function", named.name)


def response_format(fields: Fields) -> ResponseFormat | None:
    """None where text is wanted."""
    found: ResponseFormat | None = read(fields, "response_format", _response_format)
    if found is None or found.type == "text":
        return None
    if found.type not in ("json_object", "json_schema"):
        refuse(
            f"response_format.type: {found.type[:40]!r} is none of text, json_object, json_schema",
            "response_format.type",
        )
    if found.type == "json_schema" and not found.schema:
        refuse("response_format.json_schema.schema is missing", "response_format.json_schema")
    return found


def stop(fields: Fields) -> list[str]:
    found = read(fields, "stop", _stop)
    return [found] if isinstance(found, str) else found or []


def integer(fields: Fields, name: str) -> int | None:
    """Clients in languages with one kind of number write 100.0."""
    found: int | float | None = read(fields, name, _number)
    if isinstance(found, float):
        if not found.is_integer():
            refuse(f"{name}: must be a whole number", name)
        return int(found)
    return found


def string(fields: Fields, name: str) -> str | None:
    found: str | None = read(fields, name, _string)
    return found


def boolean(fields: Fields, name: str) -> bool | None:
    found: bool | None = read(fields, name, _bool)
    return found


def mapping(fields: Fields, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = read(fields, name, _mapping)
    return found


def max_tokens(fields: Fields) -> int | None:
    found = integer(fields, "max_completion_tokens")
    return integer(fields, "max_tokens") if found is None else found


def reasoning_effort(fields: Fields) -> str | None:
    """none, minimal, low, medium, high, xhigh, max; also from the object form `{"effort": ...}`."""
    found = read(fields, "reasoning_effort", _effort)
    if isinstance(found, dict):
        found = found.get("effort")
    if found is None:
        return None
    if found not in EFFORTS:
        refuse(f"reasoning_effort: {str(found)[:40]!r} is none of {', '.join(EFFORTS)}", "reasoning_effort")
    return str(found)


EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def arguments(call: ToolCall, where: str) -> msgspec.Raw:
    """A call's arguments as the JSON object they stand for. Raises RefusedError where they are
    none.
    """
    text = (call.function.arguments if call.function is not None else None) or ""
    if text.strip() in ("", "null"):
        return _NO_ARGUMENTS
    data = text.encode("utf-8", "surrogatepass")
    try:
        _object.decode(data)
    except UNREADABLE:
        refuse(f"{where}.function.arguments: not a JSON object", f"{where}.function.arguments")
    return msgspec.Raw(data)


_NO_ARGUMENTS = msgspec.Raw(b"{}")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def called(messages: list[Message]) -> list[str]:
    """Names of the functions that were called."""
    calls = (call.function for each in messages for call in each.tool_calls or ())
    return list(dict.fromkeys(function.name for function in calls if function is not None and function.name))


def put(turn: list[dict[str, Any]], blocks: list[dict[str, Any]], is_result: Callable[[dict[str, Any]], bool]) -> None:
    """Behind what the turn has; results of calls before what else was said in it, as they answer
    the turn before.
    """
    if not blocks or not is_result(blocks[0]):
        turn += blocks
        return
    place = next((n for n, block in enumerate(turn) if not is_result(block)), len(turn))
    turn[place:place] = blocks


def lost_thoughts(messages: list[Message]) -> bool:
    """Whether the last of the assistant's turns called something, and its signed thoughts weren't
    brought back.
    """
    last = next((each for each in reversed(messages) if each.role == "assistant"), None)
    return last is not None and bool(last.tool_calls) and not last.thinking_blocks


def text_of(content: str | list[Part] | None) -> str:
    """All text parts as one string."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    return "\n".join(part.text or part.refusal or "" for part in content if part.text or part.refusal)


def data_url(url: str) -> tuple[str, str] | None:
    """(media type, base64) of a data URL; None for any other."""
    if url[:5].lower() != "data:":
        return None
    head, comma, data = url[5:].partition(",")
    media, *attributes = head.lower().split(";")
    return (registered(media) or "text/plain", data) if comma and "base64" in attributes else None


def registered(media: str) -> str:
    """A media type by the name that providers know it by."""
    return "image/jpeg" if media == "image/jpg" else media


def image_url(part: Part) -> tuple[str, str | None]:
    """(url, media type where the client said it)."""
    image = part.image_url
    if isinstance(image, ImageUrl):
        return image.url, None if image.format is None else registered(image.format)
    return image or "", None


MEDIA_BY_ENDING = {
    "jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "gif": "image/gif", "webp": "image/webp", "heic": "image/heic",
    "heif": "image/heif", "pdf": "application/pdf", "mp4": "video/mp4", "mov": "video/quicktime", "webm": "video/webm", "mp3": "audio/mpeg",
    "wav": "audio/wav", "ogg": "audio/ogg", "flac": "audio/flac", "txt": "text/plain", "csv": "text/csv", "html": "text/html",
    "md": "text/markdown",
}  # fmt: skip


def media_type(name: str) -> str | None:
    """By a URL's or file's ending; None when it says nothing."""
    path = name.partition("?")[0].partition("#")[0]
    return MEDIA_BY_ENDING.get(path.rpartition(".")[2].lower())

"""OpenAI's chat in front, Google's generateContent behind: AI Studio and Vertex AI
(https://ai.google.dev/api/generate-content).

The differences that matter: results of tools name the function, not the call; a part that a
thinking model signed must come back with its signature, which travels in the call's id because
every client returns that (`SIGNATURE`); the numbers of a stream's chunks are cumulative, and
nothing but the end of the bytes says that it is over.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.edge.providers.base import Options
from services.edge.providers.call_ids import SIGNATURE
from services.edge.providers.translate import chat
from services.edge.providers.translate.gemini_answer import Stream, answer, error
from services.edge.providers.translate.wire import encode, read, refuse
from shared.decoding import UNREADABLE

__all__ = ["Stream", "answer", "error", "request"]

_GENERATION = {
    "temperature": "temperature", "top_p": "topP", "top_k": "topK", "n": "candidateCount", "seed": "seed",
    "presence_penalty": "presencePenalty", "frequency_penalty": "frequencyPenalty", "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs", "speech_config": "speechConfig", "media_resolution": "mediaResolution", "image_config": "imageConfig",
    "response_modalities": "responseModalities", "thinking_config": "thinkingConfig", "response_json_schema": "responseJsonSchema",
    "routing_config": "routingConfig", "audio_timestamp": "audioTimestamp",
}  # fmt: skip
"""OpenAI's name, or ours for Google's own, -> the field of generationConfig."""
_GENERATION_OWN = frozenset(_GENERATION.values()) | {
    "maxOutputTokens",
    "stopSequences",
    "responseMimeType",
    "responseSchema",
}
_TOP = {
    "safety_settings": "safetySettings", "cached_content": "cachedContent", "tool_config": "toolConfig", "labels": "labels",
    "model_armor_config": "modelArmorConfig",
}  # fmt: skip
_HANDLED = chat.READ_HERE | {
    "user", "metadata", "modalities", "audio", "thinking", "web_search_options", "service_tier", "generationConfig",
}  # fmt: skip
_BUDGETS = {"none": 0, "minimal": 128, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192, "max": 16384}
"""Tokens to think, for models before Gemini 3."""
_LEVELS = {
    "none": "MINIMAL",
    "minimal": "MINIMAL",
    "low": "LOW",
    "medium": "MEDIUM",
    "high": "HIGH",
    "xhigh": "HIGH",
    "max": "HIGH",
}
UNSIGNED = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator` in base64: Google's own word for a call that another model
made.
"""

Part = dict[str, Any]


def request(fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
    del options  # the address says whether it streams
    system, contents = _contents(chat.messages(fields), model)
    made: dict[str, Any] = {"contents": contents}
    if system:
        made["systemInstruction"] = {"parts": system}
    _tools(fields, made)
    config: dict[str, Any] = chat.mapping(fields, "generationConfig") or {}
    _generation(fields, config, model)
    if config:
        made["generationConfig"] = config
    tier = chat.string(fields, "service_tier")
    if tier not in (None, "auto", "default"):
        made["serviceTier"] = tier
    for name, raw in fields.items():
        if name in _GENERATION or name in _GENERATION_OWN or name in _HANDLED:
            continue
        made.setdefault(_TOP.get(name, name), raw)
    return encode(made)


def newest(model: str) -> bool:
    """Gemini 3 and later: a level of thinking instead of a budget, and signatures that must come
    back.
    """
    found = model.rpartition("gemini-")[2][:1]
    return "gemini-" in model and found.isdigit() and int(found) >= 3


# ── messages ──


def _contents(messages: list[chat.Message], model: str) -> tuple[list[Part], list[dict[str, Any]]]:
    system: list[Part] = []
    turns: list[dict[str, Any]] = []
    last = ""
    names: dict[str, str] = {}
    """Call -> function."""
    for i, message in enumerate(messages):
        where = f"messages[{i}]"
        if message.role in ("system", "developer"):
            text = chat.text_of(message.content)
            if text:
                system.append({"text": text})
            continue
        if message.role == "assistant":
            role, parts = "model", _model_parts(message, where, names, newest(model))
        elif message.role == "tool":
            role, parts = "user", _result(message, where, names)
        else:
            role, parts = "user", _parts(message.content, where)
        if not parts:
            if role == "model":
                continue  # said nothing and called nothing
            parts = [{"text": ""}]
        # The results of one turn's calls stand together, and apart from what the user says then.
        if last == message.role:
            turns[-1]["parts"] += parts
        else:
            turns.append({"role": role, "parts": parts})
        last = message.role
    if not turns:
        refuse("messages: Gemini needs a message of the user's besides system messages", "messages")
    return system, turns


def _parts(content: str | list[chat.Part] | None, where: str) -> list[Part]:
    if isinstance(content, str):
        return [{"text": content}] if content else []
    return [made for j, part in enumerate(content or ()) if (made := _part(part, f"{where}.content[{j}]")) is not None]


def _part(part: chat.Part, where: str) -> Part | None:
    if part.type in ("text", "refusal", "input_text"):
        text = part.text or part.refusal
        return {"text": text} if text else None
    if part.type == "image_url":
        return _media(*chat.image_url(part), where)
    if part.type == "input_audio" and part.input_audio is not None:
        return {"inlineData": {"mimeType": f"audio/{part.input_audio.format}", "data": part.input_audio.data}}
    if part.type == "file" and part.file is not None:
        media = part.file.format or (chat.media_type(part.file.filename) if part.file.filename else None)
        return _media(part.file.file_data or part.file.file_id or "", media, where)
    return refuse(f"{where}: Gemini takes no part of type {part.type[:40]!r}", where)


def _media(url: str, media: str | None, where: str) -> Part:
    inline = chat.data_url(url)
    if inline is not None:
        return {"inlineData": {"mimeType": media or inline[0], "data": inline[1]}}
    if not url.startswith(("https://", "http://", "gs://", "files/")):
        refuse(f"{where}: neither a data URL in base64 nor an address", where)
    data = {"mimeType": media or chat.media_type(url) or "image/jpeg", "fileUri": url}
    if "youtube.com/" in url or "youtu.be/" in url or "/files/" in url:
        data.pop("mimeType") if media is None else None  # Google knows what it is
    return {"fileData": data}


def _model_parts(message: chat.Message, where: str, names: dict[str, str], signs: bool) -> list[Part]:
    parts = _parts(message.content, where)
    for j, call in enumerate(message.tool_calls or ()):
        at = f"{where}.tool_calls[{j}]"
        if call.function is None or not call.function.name:
            refuse(f"{at}.function.name: a call names its function", at)
        names[call.id] = call.function.name
        part: Part = {"functionCall": {"name": call.function.name, "args": chat.arguments(call, at)}}
        signature = call.id.partition(SIGNATURE)[2] or _signature(call)
        if signature or (signs and j == 0):  # of parallel calls the first is signed
            part["thoughtSignature"] = signature or UNSIGNED
        parts.append(part)
    return parts


class _Own(msgspec.Struct):
    thought_signature: str | None = None


_own = msgspec.json.Decoder(_Own | None).decode


def _signature(call: chat.ToolCall) -> str | None:
    """As LiteLLM's clients keep it."""
    if not call.provider_specific_fields:
        return None
    try:
        own = _own(call.provider_specific_fields)
    except UNREADABLE:
        return None
    return own.thought_signature if own is not None else None


def _result(message: chat.Message, where: str, names: dict[str, str]) -> list[Part]:
    name = names.get(message.tool_call_id or "") or message.name
    if not name:
        refuse(f"{where}.tool_call_id: no call before it has this id", f"{where}.tool_call_id")
    text = chat.text_of(message.content)
    response: Any = {"content": text}
    if text.lstrip()[:1] == "{":
        try:
            response = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except UNREADABLE:
            pass
    found: list[Part] = [{"functionResponse": {"name": name, "response": response}}]
    if not isinstance(message.content, str):
        found += [part for part in _parts(message.content, where) if "text" not in part]
    return found


# ── tools and settings ──


class _Schema(msgspec.Struct):
    type: Any = None


_schema = msgspec.json.Decoder(_Schema).decode


def _typed(parameters: msgspec.Raw) -> Any:
    """Google takes none that doesn't say that it is an object."""
    try:
        if _schema(parameters).type is None:
            return {**msgspec.json.decode(parameters), "type": "object"}
    except UNREADABLE:
        pass
    return parameters


def _tools(fields: Mapping[str, msgspec.Raw], made: dict[str, Any]) -> None:
    declared, tools = [], []
    for tool in chat.tools(fields):
        if tool.function is None:
            tools.append(tool.raw)  # Google's own: {"googleSearch": {}}, {"codeExecution": {}}, ...
            continue
        declaration: dict[str, Any] = {"name": tool.function.name}
        if tool.function.description:
            declaration["description"] = tool.function.description
        if tool.function.parameters and bytes(tool.function.parameters) != b"null":
            declaration["parametersJsonSchema"] = _typed(tool.function.parameters)
        declared.append(declaration)
    if declared:
        tools.insert(0, {"functionDeclarations": declared})  # type: ignore[arg-type]
    if chat.mapping(fields, "web_search_options") is not None:
        tools.append({"googleSearch": {}})  # type: ignore[arg-type]
    if not tools:
        return
    made["tools"] = tools
    choice = chat.tool_choice(fields)
    if choice is not None and declared:
        calling: dict[str, Any] = {"mode": {"auto": "AUTO", "none": "NONE"}.get(choice.mode, "ANY")}
        if choice.mode == "function":
            calling["allowedFunctionNames"] = [choice.name]
        made["toolConfig"] = {"functionCallingConfig": calling}


_modalities = msgspec.json.Decoder(list[str] | None)


def _generation(fields: Mapping[str, msgspec.Raw], config: dict[str, Any], model: str) -> None:
    for name, raw in fields.items():
        own = _GENERATION.get(name, name if name in _GENERATION_OWN else None)
        if own is not None and bytes(raw) != b"null":
            config[own] = raw
    max_tokens = chat.max_tokens(fields)
    if max_tokens is not None:
        config["maxOutputTokens"] = max_tokens
    stop = chat.stop(fields)
    if stop:
        config["stopSequences"] = stop
    wanted = chat.response_format(fields)
    if wanted is not None:
        config["responseMimeType"] = "application/json"
        if wanted.schema:
            config["responseJsonSchema"] = wanted.schema
    modalities = read(fields, "modalities", _modalities)
    if modalities:
        config["responseModalities"] = [word.upper() for word in modalities]
    audio = chat.mapping(fields, "audio")
    if audio is not None and isinstance(audio.get("voice"), str):
        config["speechConfig"] = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": audio["voice"]}}}
    _thinking(fields, config, model)


def _thinking(fields: Mapping[str, msgspec.Raw], config: dict[str, Any], model: str) -> None:
    """`thinking` is Anthropic's way to say it, which LiteLLM's clients use for Gemini too."""
    said = chat.mapping(fields, "thinking")
    if said is not None:
        budget = said.get("budget_tokens", 0) if said.get("type") != "disabled" else 0
        config["thinkingConfig"] = {"includeThoughts": budget != 0, "thinkingBudget": budget}
        return
    effort = chat.reasoning_effort(fields)
    if effort is None:
        return
    if newest(model):
        level = _LEVELS[effort]
        config["thinkingConfig"] = {"thinkingLevel": level, "includeThoughts": effort != "none"}
        if level == "MINIMAL" and "flash" not in model:
            config["thinkingConfig"]["thinkingLevel"] = "LOW"  # the least that the larger models take
        return
    budget = _BUDGETS[effort]
    if "flash-lite" in model:
        budget = max(budget, 512) if budget else 0
    elif budget == 0 and "pro" in model:
        budget = 128  # can't be switched off
    config["thinkingConfig"] = {"thinkingBudget": budget, "includeThoughts": effort != "none"}

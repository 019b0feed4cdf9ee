"""Google's generateContent answers, streams and errors in OpenAI's chat format."""

from typing import Any

import msgspec

from services.edge.providers.base import ErrorSaid, Options, UnreadableAnswerError
from services.edge.providers.call_ids import SIGNATURE
from services.edge.providers.translate import wire
from services.edge.providers.translate.wire import DONE, Chunks, EventStream, encode
from shared.decoding import UNREADABLE

FINISH = {"STOP": "stop", "MAX_TOKENS": "length", "FINISH_REASON_UNSPECIFIED": "stop"} | dict.fromkeys(
    (
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_RECITATION", "MODEL_ARMOR", "ESCALATION",
    ),
    "content_filter",
)  # fmt: skip
"""Any other reason (a malformed call ...) is `stop`: OpenAI has no word for it."""


class _Blob(msgspec.Struct, rename="camel"):
    mime_type: str = ""
    data: str = ""


class _FunctionCall(msgspec.Struct):
    name: str = ""
    args: msgspec.Raw = msgspec.Raw(b"{}")


class _Part(msgspec.Struct, rename="camel"):
    text: str | None = None
    thought: bool = False
    thought_signature: str | None = None
    function_call: _FunctionCall | None = None
    inline_data: _Blob | None = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Chosen(msgspec.Struct, rename="camel"):
    token: str = ""
    log_probability: float = 0.0


class _Top(msgspec.Struct):
    candidates: list[_Chosen] | None = None


class _Logprobs(msgspec.Struct, rename="camel"):
    chosen_candidates: list[_Chosen] | None = None
    top_candidates: list[_Top] | None = None


class _Grounding(msgspec.Struct, rename="camel"):
    web_search_queries: list[str] | None = None


class _Candidate(msgspec.Struct, rename="camel"):
    index: int = 0
    content: _Content | None = None
    finish_reason: str | None = None
    logprobs_result: _Logprobs | None = None
    grounding_metadata: _Grounding | None = None


class _Modality(msgspec.Struct, rename="camel"):
    modality: str = ""
    token_count: int = 0


class Usage(msgspec.Struct, rename="camel"):
    prompt_token_count: int | None = None
    cached_content_token_count: int | None = None
    candidates_token_count: int | None = None
    tool_use_prompt_token_count: int | None = None
    thoughts_token_count: int | None = None
    total_token_count: int | None = None
    prompt_tokens_details: list[_Modality] | None = None
    cache_tokens_details: list[_Modality] | None = None
    candidates_tokens_details: list[_Modality] | None = None
    service_tier: str | None = None

    def openai(self, searches: int = 0) -> dict[str, Any]:
        """Google's total is what everything adds up to; some models count thoughts among the
        candidates' tokens already.
        """
        prompt = (self.prompt_token_count or 0) + (self.tool_use_prompt_token_count or 0)
        said, thoughts = self.candidates_token_count or 0, self.thoughts_token_count or 0
        inclusive = self.total_token_count == prompt + said and thoughts <= said
        taken, cached, given = (
            _by_modality(details)
            for details in (self.prompt_tokens_details, self.cache_tokens_details, self.candidates_tokens_details)
        )
        prompt_details: dict[str, Any] = {f"{name}_tokens": count for name, count in taken.items()}
        if cached.get("audio"):
            prompt_details["cached_tokens_details"] = {"audio_tokens": cached["audio"]}
        more: dict[str, Any] = {}
        if searches:
            more["server_tool_use"] = {"web_search_requests": searches}
        if self.service_tier:
            more["service_tier"] = self.service_tier.lower()
        return wire.usage(
            prompt,
            said if inclusive else said + thoughts,
            cached=self.cached_content_token_count or 0,
            reasoning=thoughts,
            total=self.total_token_count,
            prompt_details=prompt_details,
            completion_details={f"{name}_tokens": count for name, count in given.items()},
            more=more,
        )


def _by_modality(details: list[_Modality] | None) -> dict[str, int]:
    """Audio and images, which cost something else; text and the rest are what is left."""
    found: dict[str, int] = {}
    for detail in details or ():
        name = detail.modality.lower()
        if name in ("audio", "image") and detail.token_count:
            found[name] = found.get(name, 0) + detail.token_count
    return found


class _Feedback(msgspec.Struct, rename="camel"):
    block_reason: str | None = None


class _Error(msgspec.Struct):
    code: int = 500
    message: str = ""
    status: str = ""


class _Answer(msgspec.Struct, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: _Feedback | None = None
    usage_metadata: Usage | None = None
    model_version: str = ""
    response_id: str = ""
    error: _Error | None = None


class _ErrorBody(msgspec.Struct):
    error: _Error


_answer = msgspec.json.Decoder(_Answer).decode
_error = msgspec.json.Decoder(_ErrorBody | list[_ErrorBody]).decode


def answer(body: bytes, options: Options) -> bytes:
    try:
        found = _answer(body)
    except UNREADABLE as problem:
        raise UnreadableAnswerError(f"no answer of Gemini's: {problem}") from None
    if not found.candidates and (found.prompt_feedback is None or not found.prompt_feedback.block_reason):
        raise UnreadableAnswerError("no answer of Gemini's: it has neither candidates nor a reason for none")
    response_id = found.response_id or options.response_id
    choices = [_choice(candidate, response_id) for candidate in found.candidates or ()]
    if not choices:
        message = {"role": "assistant", "content": None}
        choices = [{"index": 0, "message": message, "finish_reason": "content_filter"}]
    usage = None
    if found.usage_metadata is not None:
        model = found.model_version or options.model
        usage = found.usage_metadata.openai(_searches(found.candidates, model))
    return wire.completions(response_id, found.model_version or options.model, options.now_s, choices, usage)


def _choice(candidate: _Candidate, response_id: str) -> dict[str, Any]:
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[dict[str, Any]] = []
    images: list[dict[str, Any]] = []
    for part in (candidate.content.parts if candidate.content is not None else None) or ():
        if part.function_call is not None:
            arguments = _compact(part.function_call.args)
            call_id = _call_id(response_id, candidate.index, len(calls), part.thought_signature)
            calls.append(wire.tool_call(call_id, part.function_call.name, arguments))
        elif part.inline_data is not None:
            images.append(_image(part.inline_data))
        elif part.text:
            (thoughts if part.thought else texts).append(part.text)
    message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
    if calls:
        message["tool_calls"] = calls
    if thoughts:
        message["reasoning_content"] = "".join(thoughts)
    if images:
        message["images"] = images
    finish = FINISH.get(candidate.finish_reason or "STOP", "stop")
    choice: dict[str, Any] = {
        "index": candidate.index,
        "message": message,
        "finish_reason": "tool_calls" if calls and finish == "stop" else finish,
    }
    if candidate.logprobs_result is not None:
        choice["logprobs"] = _logprobs(candidate.logprobs_result)
    return choice


def _compact(arguments: msgspec.Raw) -> str:
    """Google indents its answers."""
    compact = msgspec.json.format(bytes(arguments), indent=-1).decode()
    return "{}" if compact == "null" else compact


def _call_id(response_id: str, choice: int, n: int, signature: str | None) -> str:
    """Gemini's calls have no id."""
    made = f"call_{response_id.removeprefix('chatcmpl-')}_{choice}_{n}"
    return f"{made}{SIGNATURE}{signature}" if signature else made


def _image(blob: _Blob) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{blob.mime_type};base64,{blob.data}"}}


def _logprobs(found: _Logprobs) -> dict[str, Any]:
    content = []
    for i, chosen in enumerate(found.chosen_candidates or ()):
        tops = found.top_candidates[i].candidates if i < len(found.top_candidates or ()) else None  # type: ignore[index]
        content.append({**_logprob(chosen), "top_logprobs": [_logprob(top) for top in tops or ()]})
    return {"content": content, "refusal": None}


def _logprob(chosen: _Chosen) -> dict[str, Any]:
    return {"token": chosen.token, "logprob": chosen.log_probability, "bytes": list(chosen.token.encode())}


def _searches(candidates: list[_Candidate] | None, model: str) -> int:
    """Gemini 3 bills each query; models before it a grounded answer, whatever it asked."""
    queries = sum(
        len(candidate.grounding_metadata.web_search_queries or ())
        for candidate in candidates or ()
        if candidate.grounding_metadata is not None
    )
    return min(queries, 1) if model.startswith(("gemini-1", "gemini-2")) else queries


_CODES = {
    "RESOURCE_EXHAUSTED": "rate_limit_exceeded",
    "UNAUTHENTICATED": "invalid_api_key",
    "NOT_FOUND": "model_not_found",
}


def error(body: bytes, status: int) -> ErrorSaid | None:
    try:
        found = _error(body)
    except UNREADABLE:
        return None
    if isinstance(found, list):  # how a stream's address says it
        if not found:
            return None
        found = found[0]
    return _said(found.error, status)


def _said(found: _Error, status: int) -> ErrorSaid:
    said = wire.said(status, found.message, None, wire.kind_of(status, found.message)[1] or _CODES.get(found.status))
    if status == 400 and "API key not valid" in found.message:  # a wrong key is nobody's bad request
        return ErrorSaid(said.message, "authentication_error", "invalid_api_key", None, 401)
    return said


class Stream(EventStream):
    def __init__(self, options: Options) -> None:
        self._options = options
        super().__init__()
        self._chunks: Chunks | None = None
        self._response_id = options.response_id
        self._model = options.model
        self._usage: Usage | None = None
        self._searches = 0
        self._calls: dict[int, int] = {}
        """Choice -> calls so far."""
        self._roles: set[int] = set()
        self._ended = False
        """A candidate said why it stopped, or the prompt was blocked."""
        self._failed = False

    def finish(self) -> list[bytes]:
        out = super().finish()
        if self._ended and not self._failed and self._chunks is not None:
            if self._usage is not None:
                out.append(self._chunks.usage(self._usage.openai(self._searches)))
            out.append(DONE)
        return out

    def _read(self, data: bytes, out: list[bytes]) -> None:
        if self._failed:
            return
        try:
            found = _answer(data)
        except UNREADABLE as problem:
            raise UnreadableAnswerError(f"no event of Gemini's: {problem}") from None
        if found.error is not None:
            out.append(wire.error_event(_said(found.error, found.error.code)))
            self._failed = True
            return
        if self._chunks is None:
            self._response_id = found.response_id or self._options.response_id
            self._model = found.model_version or self._options.model
            self._chunks = Chunks(self._response_id, self._model, self._options.now_s)
        if found.usage_metadata is not None:
            self._usage = found.usage_metadata
        for candidate in found.candidates or ():
            self._candidate(candidate, self._chunks, out)
        self._searches = max(self._searches, _searches(found.candidates, self._model))
        if not found.candidates and found.prompt_feedback is not None and found.prompt_feedback.block_reason:
            out.append(self._chunks.role())
            out.append(self._chunks.delta(b"{}", "content_filter"))
            self._ended = True

    def _candidate(self, candidate: _Candidate, chunks: Chunks, out: list[bytes]) -> None:
        index = candidate.index
        if index not in self._roles:
            self._roles.add(index)
            out.append(chunks.role(index))
        for part in (candidate.content.parts if candidate.content is not None else None) or ():
            if part.function_call is not None:
                n = self._calls[index] = self._calls.get(index, 0) + 1
                call_id = _call_id(self._response_id, index, n - 1, part.thought_signature)
                arguments = _compact(part.function_call.args)
                out.append(chunks.tool(n - 1, call_id, part.function_call.name, arguments, index))
            elif part.inline_data is not None:
                out.append(chunks.delta(b'{"images":[%b]}' % encode(_image(part.inline_data)), choice=index))
            elif part.text:
                out.append(chunks.reasoning(part.text, index) if part.thought else chunks.text(part.text, index))
        if candidate.finish_reason:
            finish = FINISH.get(candidate.finish_reason, "stop")
            if finish == "stop" and self._calls.get(index):
                finish = "tool_calls"
            out.append(chunks.delta(b"{}", finish, index))
            self._ended = True

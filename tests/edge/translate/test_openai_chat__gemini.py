"""OpenAI chat to Google's generateContent, for AI Studio and Vertex AI: both discovery documents
must hold.
"""

import json
from typing import Any

import pytest

from services.edge.providers.base import UnreadableAnswerError
from services.edge.providers.translate import openai_chat__gemini as gemini
from shared.errors import RefusedError
from tests.edge.translate.translate_kit import (
    CONVERSATION,
    JSON_SCHEMA,
    PIXEL,
    SCHEMA,
    WEATHER,
    cut_everywhere,
    events,
    fields,
    fold,
    options,
    user,
    valid_completion,
    valid_discovery,
)

MODEL = "gemini-2.5-flash"
VERTEX = "GoogleCloudAiplatformV1"


def sent(request: dict[str, Any], model: str = MODEL, *, vertex: bool = True) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(gemini.request(fields(request), model, options()))
    valid_discovery(body, "gemini", "GenerateContentRequest")
    if vertex:
        valid_discovery(body, "vertex", f"{VERTEX}GenerateContentRequest")
    return body


def test_a_conversation_with_tools_and_an_image() -> None:
    assert sent({"messages": CONVERSATION, "tools": [WEATHER], "stop": ["a", "b"], "max_tokens": 9, "top_p": 0.5}) == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [
            {"role": "user", "parts": [
                {"text": "What is this, and the weather in Oslo and Rome?"},
                {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
            ]},
            {"role": "model", "parts": [
                {"text": "Let me see."},
                {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}},
                {"functionCall": {"name": "weather", "args": {"city": "Rome"}}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "weather", "response": {"content": "3 °C"}}},
                {"functionResponse": {"name": "weather", "response": {"content": "19 °C"}}},
            ]},
            {"role": "user", "parts": [{"text": "Thanks. And tomorrow?"}]},
        ],
        "tools": [{"functionDeclarations": [{
            "name": "weather", "description": "The weather somewhere", "parametersJsonSchema": WEATHER["function"]["parameters"],
        }]}],
        "generationConfig": {"stopSequences": ["a", "b"], "maxOutputTokens": 9, "topP": 0.5},
    }  # fmt: skip


def test_parameters_are_an_object() -> None:
    """Google refuses others; those of tools without any say nothing at all."""
    for given, made in (
        ({}, {"type": "object"}),
        ({"properties": {"a": {"type": "string"}}}, {"type": "object", "properties": {"a": {"type": "string"}}}),
    ):
        tool = {"type": "function", "function": {"name": "f", "parameters": given}}
        body = sent({"messages": user(), "tools": [tool]})
        assert body["tools"][0]["functionDeclarations"][0]["parametersJsonSchema"] == made


def test_nothing_is_added() -> None:
    said = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert sent({"messages": user(), "stream": True, "user": "u", "service_tier": "auto"}) == said


def test_settings() -> None:
    request = {
        "messages": user(), "temperature": 1, "n": 2, "seed": 3, "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": True,
        "top_logprobs": 4, "top_k": 5, "max_completion_tokens": 6, "response_format": JSON_SCHEMA, "modalities": ["text", "image"],
        "safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
    }  # fmt: skip
    body = sent(request)
    assert body["generationConfig"] == {
        "temperature": 1, "candidateCount": 2, "seed": 3, "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseLogprobs": True,
        "logprobs": 4, "topK": 5, "maxOutputTokens": 6, "responseMimeType": "application/json", "responseJsonSchema": SCHEMA,
        "responseModalities": ["TEXT", "IMAGE"],
    }  # fmt: skip
    assert body["safetySettings"] == request["safety_settings"]


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ({"type": "function", "function": {"name": "weather"}}, {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tool_choice(choice: Any, made: Any) -> None:
    body = sent({"messages": user(), "tools": [WEATHER], "tool_choice": choice})
    assert body["toolConfig"] == {"functionCallingConfig": made}


def test_google_search_and_googles_own_tools() -> None:
    body = sent({"messages": user(), "tools": [{"codeExecution": {}}], "web_search_options": {}})
    assert body["tools"] == [{"codeExecution": {}}, {"googleSearch": {}}]


@pytest.mark.parametrize(
    ("model", "effort", "made"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128, "includeThoughts": False}),
        ("gemini-2.5-flash-lite", "minimal", {"thinkingBudget": 512, "includeThoughts": True}),
        ("gemini-2.5-pro", "high", {"thinkingBudget": 4096, "includeThoughts": True}),
        ("gemini-3-pro-preview", "low", {"thinkingLevel": "LOW", "includeThoughts": True}),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "LOW", "includeThoughts": False}),
        ("gemini-3-flash-preview", "minimal", {"thinkingLevel": "MINIMAL", "includeThoughts": True}),
    ],
)
def test_effort(model: str, effort: str, made: dict[str, Any]) -> None:
    body = sent({"messages": user(), "reasoning_effort": effort}, model)
    assert body["generationConfig"]["thinkingConfig"] == made


def test_a_signature_comes_back_in_the_calls_id() -> None:
    message = reply([{"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"}])
    answer = json.loads(gemini.answer(json.dumps(message).encode(), options()))
    turn = answer["choices"][0]["message"]
    result = {"role": "tool", "tool_call_id": turn["tool_calls"][0]["id"], "content": '{"degrees": 3}'}
    body = sent({"messages": [*user(), turn, result], "tools": [WEATHER]}, "gemini-3-pro-preview")
    assert body["contents"][1]["parts"] == message["candidates"][0]["content"]["parts"]
    response = {"name": "weather", "response": {"degrees": 3}}
    assert body["contents"][2]["parts"] == [{"functionResponse": response}]


def test_a_call_of_another_model_is_said_to_be_unsigned_to_those_who_ask() -> None:
    parts = sent({"messages": CONVERSATION, "tools": [WEATHER]}, "gemini-3-pro-preview")["contents"][1]["parts"]
    assert [part.get("thoughtSignature") for part in parts] == [None, gemini.UNSIGNED, None]


@pytest.mark.parametrize(
    ("part", "made"),
    [
        (
            {"type": "image_url", "image_url": "gs://b/a.webp"},
            {"fileData": {"mimeType": "image/webp", "fileUri": "gs://b/a.webp"}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "AA==", "format": "mp3"}},
            {"inlineData": {"mimeType": "audio/mp3", "data": "AA=="}},
        ),
        (
            {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA=="}},
            {"inlineData": {"mimeType": "application/pdf", "data": "AA=="}},
        ),
        (
            {"type": "file", "file": {"file_id": "https://x/a.mp4", "format": "video/mp4"}},
            {"fileData": {"mimeType": "video/mp4", "fileUri": "https://x/a.mp4"}},
        ),
    ],
)
def test_media(part: dict[str, Any], made: dict[str, Any]) -> None:
    assert sent({"messages": [{"role": "user", "content": [part]}]})["contents"][0]["parts"] == [made]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"messages": [{"role": "user", "content": [{"type": "video"}]}]}, "messages[0].content[0]"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "system", "content": "only"}]}, "messages"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "?"}]}, "messages[0].tool_call_id"),
        ({"modalities": "text"}, "modalities"),
        ({"web_search_options": 1}, "web_search_options"),
    ],
)
def test_what_cant_be_said_is_refused_by_its_place(change: dict[str, Any], param: str) -> None:
    with pytest.raises(RefusedError) as refused:
        gemini.request(fields({"messages": user(), **change}), MODEL, options())
    assert (refused.value.refusal.status, refused.value.refusal.param) == (400, param)


def reply(parts: list[dict[str, Any]], finish: str = "STOP", **usage: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": 10, "candidatesTokenCount": 20, "totalTokenCount": 30}
    answer = {
        "candidates": [{"index": 0, "content": {"role": "model", "parts": parts}, "finishReason": finish}],
        "usageMetadata": {**counts, **usage},
        "modelVersion": MODEL,
        "responseId": "abc",
    }
    valid_discovery(answer, "gemini", "GenerateContentResponse")
    return answer


def stream_of(answer: dict[str, Any]) -> bytes:
    """As Google streams it: a chunk a part, texts in two, the usage growing in each."""
    parts = []
    for part in answer["candidates"][0]["content"]["parts"]:
        if "text" in part and len(part["text"]) > 1:
            parts += [{**part, "text": part["text"][:1]}, {**part, "text": part["text"][1:]}]
        else:
            parts.append(part)
    out = []
    for i, part in enumerate(parts):
        last = i == len(parts) - 1
        candidate = {**answer["candidates"][0], "content": {"role": "model", "parts": [part]}}
        if not last:
            del candidate["finishReason"]
        usage = (
            answer["usageMetadata"]
            if last
            else {"promptTokenCount": 10, "candidatesTokenCount": i, "totalTokenCount": 10 + i}
        )
        out.append(f"data: {json.dumps({**answer, 'candidates': [candidate], 'usageMetadata': usage})}\r\n\r\n")
    return "".join(out).encode()


REPLIES = {
    "text": reply([{"text": "Grüße \U0001f642"}]),
    "cut": reply([{"text": "so"}], "MAX_TOKENS"),
    "safety": reply([{"text": "no"}], "SAFETY"),
    "thinking": reply([{"text": "hm", "thought": True}, {"text": "42"}], thoughtsTokenCount=7, totalTokenCount=37),
    "tools": reply(
        [
            {"text": "I ask."},
            {"functionCall": {"name": "weather", "args": {"city": "Oslo"}}, "thoughtSignature": "c2ln"},
            {"functionCall": {"name": "now", "args": {}}},
        ]
    ),
    "image": reply([{"text": "here"}, {"inlineData": {"mimeType": "image/png", "data": "AA=="}}]),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_stream_says_what_the_whole_answer_says_wherever_it_is_cut(name: str) -> None:
    answer = REPLIES[name]
    whole = valid_completion(gemini.answer(json.dumps(answer, indent=2).encode(), options()))
    folded = fold(cut_everywhere(lambda: gemini.Stream(options()), stream_of(answer)))
    choice = whole["choices"][0]
    images = choice["message"].pop("images", None)
    assert (images is not None) == (name == "image")
    assert folded["message"] == choice["message"]
    assert folded["finish_reason"] == choice["finish_reason"]
    assert (folded["usage"], folded["id"], folded["model"]) == (whole["usage"], "abc", MODEL)


def test_what_an_answer_says() -> None:
    choice = json.loads(gemini.answer(json.dumps(REPLIES["tools"]).encode(), options()))["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in choice["message"]["tool_calls"]] == [
        ("weather", '{"city":"Oslo"}'),
        ("now", "{}"),
    ]
    ends = {"text": "stop", "cut": "length", "safety": "content_filter"}
    for name, finish in ends.items():
        answer = json.loads(gemini.answer(json.dumps(REPLIES[name]).encode(), options()))
        assert answer["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize(
    ("counts", "usage"),
    [
        ({}, (10, 20, 30, 0, 0)),
        ({"thoughtsTokenCount": 7, "totalTokenCount": 37}, (10, 27, 37, 7, 0)),
        ({"thoughtsTokenCount": 7}, (10, 20, 30, 7, 0)),  # among the candidates' already
        ({"cachedContentTokenCount": 4}, (10, 20, 30, 0, 4)),
        ({"toolUsePromptTokenCount": 5, "totalTokenCount": 35}, (15, 20, 35, 0, 0)),
    ],
)
def test_usage(counts: dict[str, int], usage: tuple[int, ...]) -> None:
    said = json.loads(gemini.answer(json.dumps(reply([{"text": "x"}], **counts)).encode(), options()))["usage"]
    details = said.get("prompt_tokens_details", {}), said.get("completion_tokens_details", {})
    reasoning, cached = details[1].get("reasoning_tokens", 0), details[0].get("cached_tokens", 0)
    assert (said["prompt_tokens"], said["completion_tokens"], said["total_tokens"], reasoning, cached) == usage


def test_audio_and_image_tokens_are_told_apart() -> None:
    answer = reply(
        [{"text": "x"}],
        promptTokensDetails=[{"modality": "AUDIO", "tokenCount": 6}, {"modality": "TEXT", "tokenCount": 4}],
        cacheTokensDetails=[{"modality": "AUDIO", "tokenCount": 2}],
        candidatesTokensDetails=[{"modality": "IMAGE", "tokenCount": 15}],
        cachedContentTokenCount=2,
    )
    usage = json.loads(gemini.answer(json.dumps(answer).encode(), options()))["usage"]
    assert usage["prompt_tokens_details"] == {
        "cached_tokens": 2,
        "audio_tokens": 6,
        "cached_tokens_details": {"audio_tokens": 2},
    }
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 0, "image_tokens": 15}


def test_a_grounded_answer_is_one_search_before_gemini_3() -> None:
    for model, searches in ((MODEL, 1), ("gemini-3-pro", 2)):
        answer = reply([{"text": "x"}])
        answer["candidates"][0]["groundingMetadata"] = {"webSearchQueries": ["a", "b"]}
        answer["modelVersion"] = model
        usage = json.loads(gemini.answer(json.dumps(answer).encode(), options()))["usage"]
        assert usage["server_tool_use"] == {"web_search_requests": searches}


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    answer = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 5, "totalTokenCount": 5},
    }
    whole = valid_completion(gemini.answer(json.dumps(answer).encode(), options()))
    assert whole["choices"][0]["finish_reason"] == "content_filter" and whole["usage"]["prompt_tokens"] == 5
    folded = fold(cut_everywhere(lambda: gemini.Stream(options()), b"data: %b\n\n" % json.dumps(answer).encode()))
    assert folded["finish_reason"] == "content_filter"


def test_two_candidates_are_two_choices() -> None:
    answer = reply([{"text": "a"}])
    answer["candidates"].append({**answer["candidates"][0], "index": 1, "content": {"parts": [{"text": "b"}]}})
    whole = valid_completion(gemini.answer(json.dumps(answer).encode(), options()))
    assert [choice["message"]["content"] for choice in whole["choices"]] == ["a", "b"]
    out = cut_everywhere(lambda: gemini.Stream(options()), b"data: %b\n\n" % json.dumps(answer).encode())
    texts = [
        (c["index"], c["delta"].get("content"))
        for e in events(out)[:-1]
        for c in e["choices"]
        if c["delta"].get("content")
    ]
    assert texts == [(0, "a"), (1, "b")]


def test_logprobs() -> None:
    answer = reply([{"text": "a"}])
    chosen = {"token": "a", "logProbability": -0.5}
    answer["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [chosen],
        "topCandidates": [{"candidates": [chosen]}],
    }
    choice = valid_completion(gemini.answer(json.dumps(answer).encode(), options()))["choices"][0]
    said = {"token": "a", "logprob": -0.5, "bytes": [97]}
    assert choice["logprobs"] == {"content": [{**said, "top_logprobs": [said]}], "refusal": None}


@pytest.mark.parametrize(
    ("status", "word", "message", "code", "seen"),
    [
        (400, "INVALID_ARGUMENT", "The input token count (2) exceeds the maximum number of tokens allowed (1)", "context_length_exceeded", None),
        (429, "RESOURCE_EXHAUSTED", "Quota", "rate_limit_exceeded", None),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", "invalid_api_key", 401),
        (404, "NOT_FOUND", "models/x is not found", "model_not_found", None),
        (503, "UNAVAILABLE", "overloaded", None, None),
    ],
)  # fmt: skip
def test_errors(status: int, word: str, message: str, code: str | None, seen: int | None) -> None:
    body = {"error": {"code": status, "message": message, "status": word}}
    for shape in (body, [body]):
        said = gemini.error(json.dumps(shape).encode(), status)
        assert said is not None and (said.message, said.code, said.status) == (message, code, seen)


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", b'{"error":{}}', b'{"candidates":[]}', b"[" * 5000])
def test_a_200_without_an_answer_is_none(body: bytes) -> None:
    with pytest.raises(UnreadableAnswerError):
        gemini.answer(body, options())


def test_an_error_within_a_stream_is_its_last_event_and_a_short_stream_never_says_done() -> None:
    raw = stream_of(REPLIES["text"])
    first = raw[: raw.index(b"\r\n\r\n") + 4]
    assert "[DONE]" not in events(cut_everywhere(lambda: gemini.Stream(options()), first))
    broken = first + b'data: {"error":{"code":503,"message":"overloaded","status":"UNAVAILABLE"}}\n\n'
    said = events(cut_everywhere(lambda: gemini.Stream(options()), broken))
    assert said[-1]["error"]["message"] == "overloaded"

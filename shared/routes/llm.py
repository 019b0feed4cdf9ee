"""Calls to models, and which models there are. Each path also exists with /v1 before it."""

from typing import Any

from shared.routes.route import Parameter, Route


def _text(description: str = "") -> dict[str, Any]:
    return {"type": "string", **({"description": description} if description else {})}


_MESSAGES = {
    "type": "array",
    "items": {"type": "object", "properties": {"role": _text(), "content": {}}, "required": ["role"]},
}
_TEXTS = {"anyOf": [_text(), {"type": "array"}]}
_USAGE = {
    "type": "object",
    "properties": {name: {"type": "integer"} for name in ("prompt_tokens", "completion_tokens", "total_tokens")},
}


def _body(required: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {
            "model": _text("A model's public name: see /v1/models"),
            required: schema,
            "user": _text("The end user that the call is made for"),
            "metadata": {"type": "object", "description": "tags, spend_logs_metadata, and what else your calls carry"},
        },
        "required": ["model", required],
    }


def _list_of(item: dict[str, Any], *more: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"object": _text(), "data": {"type": "array", "items": item}},
        "required": ["data", "object", *more],
    }


def _answer(choice: str) -> dict[str, Any]:
    item = {"type": "object", "properties": {"index": {"type": "integer"}, choice: {}, "finish_reason": {}}}
    return {
        "type": "object",
        "properties": {
            "id": _text(),
            "object": _text(),
            "created": {"type": "integer"},
            "model": _text(),
            "choices": {"type": "array", "items": item},
            "usage": _USAGE,
        },
    }


_MODEL = {
    "type": "object",
    "properties": {"id": _text(), "object": _text(), "created": {"type": "integer"}, "owned_by": _text()},
    "required": ["id", "object"],
}


def _call(name: str, call_type: str, required: str, schema: Any, answer: Any, summary: str, *also: str) -> Route:
    return Route(
        name=name,
        methods=("POST",),
        paths=(name, "/v1" + name, "/openai/deployments/{model:path}" + name, "/engines/{model:path}" + name, *also),
        surface="llm",
        model_from="body",
        call_type=call_type,
        summary=summary,
        request=_body(required, schema),
        answer=answer,
        required=required,
        upstream_path=name,
    )


def _relayed(name: str, call_type: str, required: str, schema: Any, summary: str) -> Route:
    """A route whose wire only its maker's providers speak: no translation (the edge's surface
    `relayed`).
    """
    return Route(
        name=name,
        methods=("POST",),
        paths=(name, "/v1" + name),
        surface="relayed",
        groups=frozenset({"llm_api_routes"}),  # LiteLLM's list lacks some of them
        model_from="body",
        call_type=call_type,
        summary=summary,
        request=_body(required, schema),
        answer=None if "audio" in name else {"type": "object"},
        required=required,
        upstream_path=name,
    )


def _of_response(name: str, method: str, call_type: str, summary: str, *query: Parameter) -> Route:
    """About a response that its provider keeps: the model is the one that made it."""
    path = name.rpartition(" ")[2]
    return Route(
        name=name,
        methods=(method,),
        paths=(path, "/v1" + path),
        surface="relayed",
        groups=frozenset({"llm_api_routes"}),
        model_from="id",
        call_type=call_type,
        summary=summary,
        query=query,
        answer={"type": "object"},
    )


_FILE: dict[str, Any] = {}
"""Of a form."""

COMPLETIONS = ("/chat/completions", "/completions")
"""Routes whose every call goes to `completion_model`, where there is one."""
ROWS = (
    _call("/chat/completions", "acompletion", "messages", _MESSAGES, _answer("message"), "One turn of a conversation"),
    _call("/completions", "atext_completion", "prompt", _TEXTS, _answer("text"), "Go on with a text"),
    _call(
        "/embeddings",
        "aembedding",
        "input",
        _TEXTS,
        _list_of({"type": "object", "properties": {"embedding": {}, "index": {"type": "integer"}}}),
        "A vector for each text",
    ),
    _call(
        "/moderations",
        "amoderation",
        "input",
        _TEXTS,
        {
            "type": "object",
            "properties": {"id": _text(), "model": _text(), "results": {"type": "array", "items": {"type": "object"}}},
            "required": ["results"],
        },
        "Whether a text is fit to be said",
    ),
    _call(
        "/images/generations",
        "aimage_generation",
        "prompt",
        _text(),
        _list_of({"type": "object", "properties": {"url": _text(), "b64_json": _text()}}),
        "Images from a description",
    ),
    _call(
        "/rerank",
        "arerank",
        "query",
        _text(),
        {
            "type": "object",
            "properties": {"id": _text(), "results": {"type": "array", "items": {"type": "object"}}},
            "required": ["results"],
        },
        "Documents by how well they answer a query",
        "/v2/rerank",
    ),
    _relayed("/messages", "anthropic_messages", "messages", _MESSAGES, "Anthropic's Messages, at Anthropic's models"),
    _relayed(
        "/messages/count_tokens", "acount_tokens", "messages", _MESSAGES, "How many tokens a message is, by Anthropic"
    ),
    _relayed("/responses", "aresponses", "input", _TEXTS, "OpenAI's Responses"),
    _relayed("/responses/compact", "acompact_responses", "input", _TEXTS, "A conversation of Responses, made shorter"),
    _relayed("/responses/input_tokens", "acount_tokens", "input", _TEXTS, "How many tokens a Response would read"),
    _of_response(
        "/responses/{response_id}",
        "GET",
        "aget_responses",
        "A Response of the caller's that its provider keeps",
        Parameter("include"),
        Parameter("stream", type="boolean"),
        Parameter("starting_after", "The number of a stream's event", type="integer"),
        Parameter("include_obfuscation", type="boolean"),
    ),
    _of_response("DELETE /responses/{response_id}", "DELETE", "adelete_responses", "Have it forgotten"),
    _of_response(
        "/responses/{response_id}/input_items",
        "GET",
        "alist_input_items",
        "What it was asked",
        Parameter("limit", type="integer"),
        Parameter("order", "asc or desc"),
        Parameter("after", "An item's id"),
        Parameter("before", "An item's id"),
        Parameter("include"),
    ),
    _of_response("/responses/{response_id}/cancel", "POST", "acancel_responses", "End one that runs in the background"),
    _relayed("/audio/speech", "aspeech", "input", _text(), "A text, spoken"),
    _relayed("/audio/transcriptions", "atranscription", "file", _FILE, "What is said in a recording"),
    _relayed("/audio/translations", "atranslation", "file", _FILE, "The same in English"),
    _relayed("/images/edits", "aimage_edit", "image", _FILE, "An image, changed as a text says"),
    _relayed("/images/variations", "aimage_variation", "image", _FILE, "An image, varied"),
    Route(
        name="/models",
        methods=("GET",),
        paths=("/models", "/v1/models", "/models/{model:path}", "/v1/models/{model:path}"),
        surface="models",
        summary="The models that this caller may use, or one of them",
        answer=_list_of(_MODEL),
    ),
)

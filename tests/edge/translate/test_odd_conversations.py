"""Requests and answers that users of LLM gateways reported: kinds, not the one input."""

import base64
import json
import re
from typing import Any

import msgspec
import pytest

from services.edge.providers import params
from services.edge.providers.translate import openai_chat__anthropic as anthropic
from services.edge.providers.translate import openai_chat__bedrock as bedrock
from services.edge.providers.translate import openai_chat__cohere as cohere
from services.edge.providers.translate import openai_chat__gemini as gemini
from services.edge.providers.translate import openai_chat__ollama as ollama
from shared.errors import Refusal, RefusedError
from tests.edge.translate.translate_kit import events, fields, options, valid_completion

CLAUDE = "claude-sonnet-4-5-20250929"
ON_BEDROCK = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
GEMINI = "gemini-2.5-flash"
WIRES = {
    "anthropic": (anthropic, CLAUDE), "bedrock": (bedrock, ON_BEDROCK), "gemini": (gemini, GEMINI), "cohere": (cohere, "command-a-03-2025"),
    "ollama": (ollama, "qwen3"),
}  # fmt: skip
EVERYWHERE = pytest.mark.parametrize("wire", WIRES)
CLAUDES = pytest.mark.parametrize("wire", ["anthropic", "bedrock"])
TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"at": {"type": "string"}}}},
}
HI = {"role": "user", "content": "hi"}


def sent(wire: str, *messages: dict[str, Any], model: str | None = None, mend: bool = False, **more: Any) -> Any:
    module, usual = WIRES[wire]
    request = fields({"messages": messages, **more})
    return json.loads(module.request(request, model or usual, options(modify_params=mend)))


def refusal(wire: str, *messages: dict[str, Any], **more: Any) -> Refusal:
    with pytest.raises(RefusedError) as refused:
        sent(wire, *messages, **more)
    return refused.value.refusal


def call(id: str = "call_1", arguments: str = "{}", name: str = "look") -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def called(*calls: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(id: str = "call_1", content: Any = "seen") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id, "content": content}


def ids(wire: str, body: dict[str, Any]) -> list[tuple[str, str]]:
    """(of the calls, of the results), in their order."""
    blocks = [block for turn in body["messages"] for block in turn["content"]]
    if wire == "anthropic":
        uses = [block["id"] for block in blocks if block["type"] == "tool_use"]
        answers = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
    else:
        uses = [block["toolUse"]["toolUseId"] for block in blocks if "toolUse" in block]
        answers = [block["toolResult"]["toolUseId"] for block in blocks if "toolResult" in block]
    return list(zip(uses, answers, strict=True))


# ── conversations that began at another provider ──

FOREIGN = [
    "functions.look:0", "call_abc__thought__CiQBVKhc7m+/x==", "chatcmpl-tool-9f8e7d", "9 spaces here", "tool.1/a", "ü", "x" * 300,
    "call_" + "A" * 500 + "__thought__" + "b+/=" * 200,
]  # fmt: skip


@CLAUDES
@pytest.mark.parametrize("id", FOREIGN)
def test_a_calls_id_of_another_provider_is_one_that_claude_takes(wire: str, id: str) -> None:
    other = id + "2"
    body = sent(wire, HI, called(call(id), call(other)), result(id), result(other), tools=[TOOL])
    (first, of_first), (second, of_second) = ids(wire, body)
    assert first == of_first and second == of_second and first != second
    for each in (first, second):
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each), each
    again = sent(wire, HI, called(call(id), call(other)), result(id), result(other), tools=[TOOL])
    assert ids(wire, again) == ids(wire, body), "a prompt cache goes by the same bytes"


@CLAUDES
def test_an_id_that_it_takes_stays(wire: str) -> None:
    for id in ("toolu_01A09q90qw90lq917835lq9", "call_1", "tooluse_kZJMlvQmRJ6eAyJE5GIl7Q"):
        assert ids(wire, sent(wire, HI, called(call(id)), result(id), tools=[TOOL])) == [(id, id)]


# ── texts that are none ──


@CLAUDES
@pytest.mark.parametrize("blank", [" ", "\n", "\n\n  \t"])
def test_a_blank_text_beside_calls_isnt_said(wire: str, blank: str) -> None:
    body = sent(wire, HI, called(call(), content=blank), result(), tools=[TOOL])
    assert "text" not in body["messages"][1]["content"][0]


@CLAUDES
def test_a_blank_part_and_a_blank_system_message_arent_said(wire: str) -> None:
    parts = [{"type": "text", "text": "\n"}, {"type": "text", "text": "hello"}]
    body = sent(wire, {"role": "system", "content": " "}, {"role": "user", "content": parts})
    assert [block["text"] for block in body["messages"][0]["content"]] == ["hello"]
    assert not body.get("system")


@CLAUDES
def test_who_says_nothing_but_blanks_is_told(wire: str) -> None:
    assert "empty message" in refusal(wire, {"role": "user", "content": " \n"}).message
    assert sent(wire, {"role": "user", "content": " \n"}, mend=True)["messages"][0]["content"]


@EVERYWHERE
def test_a_call_without_words(wire: str) -> None:
    contents: list[Any] = [None, "", []]
    for content in contents:
        assert sent(wire, HI, called(call(), content=content), result(), tools=[TOOL])


@EVERYWHERE
@pytest.mark.parametrize("arguments", ["", "{}", " ", "null"])
def test_arguments_that_are_none(wire: str, arguments: str) -> None:
    body = json.dumps(sent(wire, HI, called(call(arguments=arguments)), result(), tools=[TOOL]))
    assert "null" not in body
    assert "{}" in body


@EVERYWHERE
def test_arguments_that_broke_off_are_named(wire: str) -> None:
    refused = refusal(wire, HI, called(call(arguments='{"at": "x')), result(), tools=[TOOL])
    assert refused.param == "messages[1].tool_calls[0].function.arguments"


@EVERYWHERE
def test_fields_that_clients_fill_with_null(wire: str) -> None:
    said: dict[str, Any] = {
        "role": "assistant", "content": "yes", "tool_calls": None, "function_call": None, "refusal": None, "audio": None, "name": None,
        "annotations": [], "reasoning_content": None, "thinking_blocks": None,
    }  # fmt: skip
    part = {
        "type": "text",
        "text": "go on",
        "image_url": None,
        "input_audio": None,
        "file": None,
        "cache_control": None,
    }
    body = sent(
        wire, HI, said, {"role": "user", "content": [part]}, tools=None, tool_choice=None, stop=None, max_tokens=None,
        response_format=None, reasoning_effort=None, parallel_tool_calls=None,
    )  # fmt: skip
    assert "go on" in json.dumps(body)


@EVERYWHERE
def test_empty_lists_that_clients_send(wire: str) -> None:
    body = sent(wire, HI, {"role": "assistant", "content": "yes", "tool_calls": []}, HI, tools=[], stop=[])
    assert "tools" not in body and "toolConfig" not in body


# ── results of calls ──


@CLAUDES
def test_results_of_parallel_calls_stand_in_one_turn_before_what_is_said_then(wire: str) -> None:
    body = sent(
        wire,
        HI,
        called(call("a"), call("b")),
        result("a"),
        result("b"),
        {"role": "user", "content": "and?"},
        tools=[TOOL],
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    kinds = [block.get("type") or next(iter(block)) for block in body["messages"][2]["content"]]
    assert kinds[:2] in (["tool_result"] * 2, ["toolResult"] * 2) and kinds[2] == "text"


@CLAUDES
def test_what_a_user_says_before_the_results_stands_behind_them(wire: str) -> None:
    """An interjection while a tool ran: Claude takes results only first."""
    body = sent(wire, HI, called(call("a")), {"role": "user", "content": "wait"}, result("a"), tools=[TOOL])
    kinds = [block.get("type") or next(iter(block)) for block in body["messages"][2]["content"]]
    assert kinds in (["tool_result", "text"], ["toolResult", "text"])


@EVERYWHERE
@pytest.mark.parametrize("content", ["", None, [], [{"type": "text", "text": ""}], "[1, 2]", "3", '{"a": NaN}', '"x"'])
def test_odd_results(wire: str, content: Any) -> None:
    body = sent(wire, HI, called(call()), result(content=content), tools=[TOOL])
    if wire == "gemini":
        assert isinstance(body["contents"][2]["parts"][0]["functionResponse"]["response"], dict)


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini"])
def test_an_image_as_a_result(wire: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
    body = sent(wire, HI, called(call()), result(content=[image]), tools=[TOOL])
    assert "iVBORw0KGgo=" in json.dumps(body)


# ── images and documents ──


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini"])
def test_jpg_is_jpeg(wire: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/jpg;base64,/9j/4AAQ"}}
    body = json.dumps(sent(wire, {"role": "user", "content": [image]}))
    assert "jpeg" in body and "image/jpg" not in body


@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini"])
def test_a_media_type_in_capitals(wire: str) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:IMAGE/PNG;BASE64,iVBORw0KGgo="}}
    body = json.dumps(sent(wire, {"role": "user", "content": [image]}))
    assert "iVBORw0KGgo=" in body and "IMAGE" not in body


def test_a_document_of_plain_words_is_given_as_words() -> None:
    """Anthropic takes base64 of PDFs alone."""
    for media, said in (
        ("text/plain", "Grüße"),
        ("text/markdown", "# x"),
        ("text/csv", "a,b"),
        ("application/json", "{}"),
    ):
        data = base64.b64encode(said.encode()).decode()
        file = {"type": "file", "file": {"filename": "notes", "file_data": f"data:{media};base64,{data}"}}
        body = sent("anthropic", {"role": "user", "content": [file, {"type": "text", "text": "what?"}]})
        source = body["messages"][0]["content"][0]["source"]
        assert source == {"type": "text", "media_type": "text/plain", "data": said}
    broken = {"type": "file", "file": {"file_data": "data:text/plain;base64,/w=="}}
    assert refusal("anthropic", {"role": "user", "content": [broken]}).param == "messages[0].content[0].file.file_data"


def test_a_documents_name_is_its_title() -> None:
    file = {"type": "file", "file": {"filename": "offer.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}}
    (block,) = sent("anthropic", {"role": "user", "content": [file]})["messages"][0]["content"]
    assert (block["type"], block["title"]) == ("document", "offer.pdf")


# ── thinking ──


@pytest.mark.parametrize(("wire", "where"), [("anthropic", None), ("bedrock", "additionalModelRequestFields")])
def test_an_effort_isnt_asked_in_a_turn_that_lost_its_thoughts(wire: str, where: str | None) -> None:
    """Clients of OpenAI's don't bring Claude's signed thoughts back; without them Claude refuses
    the turn that goes on after a call.
    """

    def thinking(*messages: dict[str, Any], **more: Any) -> Any:
        body = sent(wire, *messages, tools=[TOOL], max_tokens=8000, **more)
        return (body if where is None else body.get(where, {})).get("thinking")

    lost = (HI, called(call()), result())
    signed = called(call(), thinking_blocks=[{"type": "thinking", "thinking": "hm", "signature": "s"}])
    assert thinking(*lost, reasoning_effort="low") is None
    assert thinking(HI, signed, result(), reasoning_effort="low")["type"] == "enabled"
    assert thinking(*lost, {"role": "assistant", "content": "done"}, HI, reasoning_effort="low")["type"] == "enabled"
    asked = {"type": "enabled", "budget_tokens": 2000}
    assert thinking(*lost, thinking=asked) == asked, "who asks for it by Claude's own name knows what that takes"
    assert thinking(*lost, thinking=asked, mend=True) is None


# ── tools ──


@CLAUDES
def test_old_calls_whose_tools_arent_given_any_more(wire: str) -> None:
    body = sent(wire, HI, called(call()), result(), HI, mend=True)
    assert "look" in json.dumps(body.get("tools") or body.get("toolConfig"))


@pytest.mark.parametrize(
    "parameters", [{"properties": {}}, {}, {"type": None}, {"$schema": "x", "properties": {"a": {}}}]
)
@pytest.mark.parametrize("wire", ["anthropic", "bedrock", "gemini"])
def test_parameters_that_dont_say_that_they_are_an_object(wire: str, parameters: dict[str, Any]) -> None:
    body = sent(wire, HI, tools=[{"type": "function", "function": {"name": "look", "parameters": parameters}}])
    found = json.dumps(body.get("tools") or body.get("toolConfig"))
    assert '"type": "object"' in found


@EVERYWHERE
@pytest.mark.parametrize("number", ["100.0", "1e2"])
def test_whole_numbers_as_floats(wire: str, number: str) -> None:
    module, model = WIRES[wire]
    request = {**fields({"messages": [HI]}), "max_tokens": msgspec.Raw(number.encode())}
    assert re.search(
        rb'"(max_tokens|maxTokens|maxOutputTokens|num_predict)":100[,}]', module.request(request, model, options())
    )


# ── answers ──


def answered(wire: str, body: dict[str, Any]) -> Any:
    return valid_completion(WIRES[wire][0].answer(json.dumps(body).encode(), options()))["choices"][0]


@pytest.mark.parametrize(
    ("given", "arguments"), [('{"at":"x"}', {"at": "x"}), ({"at": "x"}, {"at": "x"}), (None, {}), ("", {})]
)
def test_arguments_of_ollamas_that_are_a_string_already(given: Any, arguments: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "look", "arguments": given}}]}
    body = {
        "model": "m",
        "message": message,
        "done": True,
        "done_reason": "stop",
        "prompt_eval_count": 1,
        "eval_count": 1,
    }
    assert json.loads(answered("ollama", body)["message"]["tool_calls"][0]["function"]["arguments"]) == arguments
    stream = ollama.Stream(options())
    chunks = events(stream.feed(json.dumps(body).encode() + b"\n") + stream.finish())
    said = "".join(
        one["function"].get("arguments", "")
        for chunk in chunks if isinstance(chunk, dict) for choice in chunk["choices"] for one in choice["delta"].get("tool_calls", ())
    )  # fmt: skip
    assert json.loads(said) == arguments


def test_arguments_that_other_servers_of_these_wires_leave_null() -> None:
    usage = {"input_tokens": 1, "output_tokens": 1}
    block = {"type": "tool_use", "id": "t", "name": "look", "input": None}
    body: dict[str, Any] = {
        "type": "message",
        "id": "m",
        "role": "assistant",
        "model": "c",
        "content": [block],
        "stop_reason": "tool_use",
        "usage": usage,
    }
    assert answered("anthropic", body)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"
    part = {"functionCall": {"name": "look", "args": None}}
    body = {
        "candidates": [{"content": {"parts": [part]}, "finishReason": "STOP"}],
        "modelVersion": "g",
        "responseId": "r",
    }
    assert answered("gemini", body)["message"]["tool_calls"][0]["function"]["arguments"] == "{}"


def test_a_call_of_geminis_that_went_wrong_is_no_empty_success() -> None:
    for reason in ("MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL"):
        body = {"candidates": [{"content": {}, "finishReason": reason}], "modelVersion": "g", "responseId": "r"}
        choice = answered("gemini", body)
        assert choice["finish_reason"] == "stop" and choice["message"]["content"] == ""


def test_an_empty_end_of_turn_is_an_answer() -> None:
    body = {
        "type": "message", "id": "m", "role": "assistant", "model": "c", "content": [], "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }  # fmt: skip
    choice = answered("anthropic", body)
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-4o"), ("azure", "gpt-5"), ("openai", "o3"), ("azure", "our-deployment")]
)
def test_an_id_that_carries_geminis_signature_is_short_at_openai(provider: str, model: str) -> None:
    """OpenAI takes 40 characters; a conversation that began at Gemini goes on there."""
    signed = "call_r8xZ_0_0__thought__CiQBVKhc7m+/x==" + "b+/=" * 100
    text = f'{{"id": "{signed}"}}'
    said = [
        {"role": "user", "content": text},
        called(call(signed), call("call_2")),
        result(signed),
        result("call_2", text),
    ]
    made = params.of(provider, model)
    assert made is not None
    for body in (json.dumps(said), json.dumps(said).replace("/", "\\/")):
        sent = made.apply({"messages": msgspec.Raw(body.encode())})
        first, turn, one, two = json.loads(bytes(sent["messages"]))
        ids = [each["id"] for each in turn["tool_calls"]]
        assert ids[0] == one["tool_call_id"] and len(ids[0]) <= 40 and ids[1] == two["tool_call_id"] == "call_2"
        assert first["content"] == two["content"] == text, "only ids are ids"
    other = params.of("groq", "llama")
    same = {"messages": msgspec.Raw(json.dumps(said).encode())}
    assert other is not None and other.apply(same) is same, "another gateway may need them as they are"
    plain = {"messages": msgspec.Raw(json.dumps([HI]).encode())}
    assert made.apply(plain) is plain

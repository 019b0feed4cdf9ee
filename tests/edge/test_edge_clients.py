"""Clients as they are: browsers, SDKs with a slash too many, Azure's paths, HEAD, and header lines
that come twice.
"""

import json
from typing import Any
from urllib.parse import unquote

import pytest

from services.edge import paths
from services.edge.cors import lines
from shared import errors
from shared.grant import Denial
from shared.requests import DecideReply, DecideRequest
from tests.edge.conftest import Start
from tests.edge.fakes import Answer, always, completion, delta, response
from tests.edge.harness import Edge, stream, told

ORIGIN = "http://app.example"


async def ask(edge: Edge, line: str, body: bytes = b"", **headers: str) -> Answer:
    given = {"Host": "e", "Authorization": "Bearer sk-client-key", **headers}
    if body:
        given["Content-Length"] = str(len(body))
    async with await edge.connect() as caller:
        head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in given.items())
        await caller.send(f"{line} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = await caller.head()
        if not line.startswith("HEAD") and answer.status != 204:
            if answer.headers.get("transfer-encoding") == "chunked":
                while piece := await caller.chunk():
                    answer.body += piece
            else:
                answer.body = await caller.reader.readexactly(int(answer.headers["content-length"]))
        return answer


def chat(model: str = "m", **fields: Any) -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "Hi"}], **fields}).encode()


# ── browsers ──


async def test_a_preflight_is_answered_without_a_key_and_never_with_credentials(start: Start) -> None:
    edge = await start(always(response(completion())))
    answer = await ask(
        edge,
        "OPTIONS /v1/chat/completions",
        Origin=ORIGIN,
        Access_Control_Request_Method="POST",
        Access_Control_Request_Headers="authorization,content-type,x-stainless-os",
    )
    assert answer.status == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "authorization" in answer.headers["access-control-allow-headers"]
    assert answer.headers["access-control-allow-methods"] == answer.headers["allow"] == "POST, OPTIONS"
    assert "access-control-allow-credentials" not in answer.headers
    assert not edge.bus.asked


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_answer_may_be_read_by_the_page_that_asked(start: Start, streaming: bool) -> None:
    script = stream(delta("Hi"), b"data: [DONE]\n\n") if streaming else always(response(completion()))
    edge = await start(script)
    answer = await ask(edge, "POST /v1/chat/completions", chat(stream=streaming), Origin=ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
    without = await ask(edge, "POST /v1/chat/completions", chat())
    assert "access-control-allow-origin" not in without.headers


async def test_a_refusal_may_be_read_too(start: Start) -> None:
    edge = await start(always(response(completion())))
    answer = await ask(edge, "POST /v1/chat/completions", b"{}", Origin=ORIGIN)
    assert (answer.status, answer.headers["access-control-allow-origin"]) == (400, "*")


async def test_only_those_origins_that_are_allowed(start: Start) -> None:
    edge = await start(always(response(completion())), edge_cors_origins=f"{ORIGIN}, http://b.example")
    answer = await ask(edge, "POST /v1/chat/completions", chat(), Origin=ORIGIN)
    assert (answer.headers["access-control-allow-origin"], answer.headers["vary"]) == (ORIGIN, "Origin")
    other = await ask(edge, "POST /v1/chat/completions", chat(), Origin="http://evil.example")
    assert "access-control-allow-origin" not in other.headers


@pytest.mark.parametrize("origin", ["", "a\r\nSet-Cookie: x", "\u20ac", "x" * 5_000])
def test_whatever_an_origin_is_it_ends_no_line(origin: str) -> None:
    for allowed in ("*", "", origin, f"{origin},http://b"):
        assert lines(origin, allowed).count("\r\n") == lines(origin, allowed).count(": ") <= 3


# ── methods and paths ──


async def test_a_wrong_method_is_told_the_right_ones(start: Start) -> None:
    edge = await start(always(response(completion())))
    answer = await ask(edge, "GET /v1/chat/completions")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    answer.error()
    assert (await ask(edge, "OPTIONS /v1/models")).headers["allow"] == "GET, OPTIONS"
    assert (await ask(edge, "OPTIONS /v1/nothing")).status == 404


async def test_head_is_get_without_a_body(start: Start) -> None:
    edge = await start(always(response(completion())))
    head, get = await ask(edge, "HEAD /v1/models"), await ask(edge, "GET /v1/models")
    assert (head.status, head.headers["content-length"]) == (200, get.headers["content-length"])


@pytest.mark.parametrize(
    "path",
    [
        "//v1/chat/completions", "/v1//chat/completions", "/v1/chat/completions/", "/v1/chat/completions?api-version=2024-10-21",
        "/v1/%63hat/completions", "/chat/completions", "http://edge:1/v1/chat/completions",
    ],
)  # fmt: skip
async def test_a_path_written_otherwise_is_the_same_path(start: Start, path: str) -> None:
    edge = await start(always(response(completion())))
    assert (await ask(edge, f"POST {path}", chat())).status == 200


@pytest.mark.parametrize(
    "path", ["/v1%2Fchat/completions", "/v1/chat%2fcompletions", "/v1/../v1/chat/completions", "/v1/./chat/completions"]
)
async def test_what_could_be_another_path_is_none(start: Start, path: str) -> None:
    edge = await start(always(response(completion())))
    assert (await ask(edge, f"POST {path}", chat())).status == 404


@pytest.mark.parametrize(
    "path",
    [
        "/engines/a%20model%2Fwith%3Av1%20%C3%A9/chat/completions",
        "/engines/a%2520/chat/completions",
        "/engines/a%2Fb/chat/completions",
        "/engines/a%20b/chat/completions",
    ],
)
async def test_a_name_in_a_path_is_read_whatever_is_escaped_in_it(start: Start, path: str) -> None:
    edge = await start(always(response(completion())))
    answer = await ask(edge, f"POST {path}", chat())
    assert unquote(path.split("/")[2]) in answer.error_message()


def test_the_usual_form_is_its_own_usual_form() -> None:
    for path in ("/a//b/%63/", "///", "/", "/%2525", "/%2e%2e/x", "/a%2Fb//"):
        found = paths.usual(path)
        assert found is None or paths.usual(found) == found
    assert paths.usual("/%2e%2e/x") is None


@pytest.mark.parametrize(
    "path",
    [
        "/openai/deployments/m/chat/completions?api-version=2024-02-01",
        "/engines/m/chat/completions",
        "/openai/deployments/m/chat/completions",
    ],
)
@pytest.mark.parametrize("named", [{}, {"model": "ignored"}])
async def test_azures_and_the_oldest_paths_name_the_model(start: Start, path: str, named: dict[str, str]) -> None:
    edge = await start(always(response(completion())))
    body = json.dumps({"messages": [{"role": "user", "content": "Hi"}], **named}).encode()
    answer = await ask(edge, f"POST {path}", body)
    assert answer.status == 200
    opened, _ = await told(edge)
    assert opened.model == "m"
    (provider,) = edge.providers
    assert json.loads(provider.bodies[0])["model"] == "m-upstream"


# ── models ──


async def test_one_model_is_shown_to_who_may_call_it(start: Start) -> None:
    edge = await start(always(response(completion())))
    known = await ask(edge, "GET /v1/models/m")
    assert (known.status, known.json()["id"], known.json()["object"]) == (200, "m", "model")

    def decide(asked: DecideRequest) -> DecideReply:
        if asked.model == "other/x":
            return DecideReply(Denial(errors.unknown_model("/chat/completions", asked.model), 1, []))
        return DecideReply(edge.grant(asked))

    edge.bus.answers["policy.decide"] = decide
    by_pattern = await ask(edge, "GET /v1/models/openai/gpt-4o")
    assert (by_pattern.status, by_pattern.json()["id"]) == (200, "openai/gpt-4o")
    unknown = await ask(edge, "GET /v1/models/other/x")
    assert (unknown.status, unknown.error()["param"]) == (404, "model")


# ── header lines ──


async def test_two_lines_of_tags_are_one_list(start: Start) -> None:
    edge = await start(always(response(completion())))
    body = chat()
    async with await edge.connect() as caller:
        await caller.send(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: e\r\nAuthorization: Bearer sk-a\r\nx-litellm-tags: one-a\r\n"
            b"x-litellm-tags: two-b\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        assert (await caller.answer()).status == 200
    assert (await told(edge))[0].tags == ["one-a", "two-b"]


@pytest.mark.parametrize("name", ["x-litellm-customer-id", "x-litellm-end-user-id"])
async def test_a_header_may_name_the_customer_and_the_body_goes_before_it(start: Start, name: str) -> None:
    edge = await start(always(response(completion())))
    await ask(edge, "POST /v1/chat/completions", chat(), **{name: "cust-9"})
    assert (await told(edge))[0].customer_id == "cust-9"


async def test_what_a_provider_says_of_limits_reaches_the_client(start: Start) -> None:
    extra = (
        "x-ratelimit-remaining-requests: 99\r\nx-request-id: req_up_1\r\nopenai-processing-ms: 17\r\n"
        "x-should-retry: false\r\nset-cookie: a=b\r\nx-ratelimit-odd: \xff\r\n"
    )
    edge = await start(always(response(completion(), extra=extra)))
    answer = await edge.chat()
    assert answer.headers["x-ratelimit-remaining-requests"] == "99"
    assert answer.headers["llm_provider-x-ratelimit-remaining-requests"] == "99"
    assert answer.headers["x-request-id"] == answer.headers["llm_provider-x-request-id"] == "req_up_1"
    assert (answer.headers["openai-processing-ms"], answer.headers["x-should-retry"]) == ("17", "false")
    assert not {"set-cookie", "x-ratelimit-odd"} & set(answer.headers)


async def test_no_proxy_should_hold_a_stream_back(start: Start) -> None:
    edge = await start(stream(delta("Hi"), b"data: [DONE]\n\n"))
    assert (await edge.chat(stream=True)).headers["x-accel-buffering"] == "no"


# ── what is LiteLLM's stays here ──


async def test_litellms_own_request_fields_never_reach_a_provider(start: Start) -> None:
    edge = await start(always(response(completion())))
    ours = {
        "litellm_session_id": "s1", "litellm_trace_id": "t1", "timeout": 30, "drop_params": True, "mock_testing_fallbacks": False,
        "context_window_fallbacks": [], "num_retries": 1, "fallbacks": [], "cache": {"no-cache": True}, "guardrails": [],
        "no-log": False, "tags": ["a"], "allowed_openai_params": ["x"], "litellm_metadata": {}, "caching": False,
        "stream_timeout": 3, "disable_fallbacks": True, "additional_drop_params": [], "max_retries": 1,
    }  # fmt: skip
    assert (await edge.chat(**ours)).status == 200
    assert set(json.loads(edge.providers[0].bodies[0])) == {"model", "messages"}


async def test_litellm_metadata_counts_as_metadata_does(start: Start) -> None:
    edge = await start(always(response(completion())))
    await edge.chat(
        litellm_metadata={"tags": [42, "a"], "spend_logs_metadata": {"job": "j7"}}, metadata={"tags": "b,c"}
    )
    opened, _ = await told(edge)
    assert (opened.tags, opened.spend_logs_metadata) == (["b", "c", "42", "a"], {"job": "j7"})


async def test_what_a_client_stores_at_its_provider_goes_there(start: Start) -> None:
    edge = await start(always(response(completion())))
    await edge.chat(store=True, metadata={"tags": "a,b", "topic": "x", "spend_logs_metadata": {}})
    assert json.loads(edge.providers[0].bodies[0])["metadata"] == {"tags": "a,b", "topic": "x"}


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"m","messages":[{"role":"user","content":"emoji \\ud83d"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"user":"\\ud83d"}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"tags":["\\ud83d"]}}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"metadata":{"spend_logs_metadata":{"a":"\\udc00"}}}',
        b'\xef\xbb\xbf{"model":"m","messages":[{"role":"user","content":"x"}]}',
        b'{"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":100.0,"n":1.0}',
    ],
)
async def test_what_javascript_and_dotnet_write_is_served(start: Start, raw: bytes) -> None:
    edge = await start(always(response(completion())))
    async with await edge.connect() as caller:
        await caller.post("/v1/chat/completions", raw)
        assert (await caller.answer()).status == 200
    json.loads(edge.providers[0].bodies[0])
    await told(edge)

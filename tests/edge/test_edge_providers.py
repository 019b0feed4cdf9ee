"""Deployments made ready: nothing in the configuration can end a line of the request, and mocks
look like the real thing.
"""

import json
from typing import Any

import pytest

from services.edge.failures import provider_error
from services.edge.formats.base import Hints
from services.edge.formats.events import Reader
from services.edge.formats.openai import CHAT, COMPLETIONS, EMBEDDINGS, OpenAI
from services.edge.formats.wire import answer_head
from services.edge.providers.base import Target
from services.edge.providers.table import build
from services.edge.usage import openai as usages
from shared import config
from shared.config import ConfigError, Deployment

SECRET = "sk-of-the-provider-0123456789"


def deployment(**params: Any) -> Deployment:
    params = {"model": "openai/gpt-x", "api_base": "https://p.example/v1", "api_key": SECRET, **params}
    entry = {"model_name": "public", "litellm_params": {k: v for k, v in params.items() if v is not None}}
    return config.parse(json.dumps({"model_list": [entry]}), {}).deployments[0]


def target(**params: Any) -> Target:
    (found,) = build([deployment(**params)], "tollgate").values()
    return found


def headers(found: Target) -> dict[str, str]:
    lines = found.headers.decode("latin-1").split("\r\n")
    assert lines.pop() == ""
    pairs = [tuple(line.split(": ", 1)) for line in lines]
    assert len(dict(pairs)) == len(pairs), "a header twice"
    return dict(pairs)


def test_a_deployment_has_its_address_and_all_its_headers() -> None:
    found = target(organization="org", extra_headers={"X-Team": "a b"}, timeout=3)
    assert found.origin is not None
    assert (found.origin.authority, found.provider.path(found, CHAT.name, "gpt-x", stream=False)) == (
        "p.example",
        "/v1/chat/completions",
    )
    assert headers(found) == {
        "content-type": "application/json",
        "accept": "*/*",
        "accept-encoding": "identity",
        "user-agent": "tollgate",
        "authorization": f"Bearer {SECRET}",
        "openai-organization": "org",
        "x-team": "a b",
    }
    assert (found.deadlines.connect_ms, found.deadlines.total_ms) == (3_000, 3_000)


def test_an_entry_says_whose_certificates_its_provider_may_have() -> None:
    usual, off = target().origin, target(ssl_verify=False).origin
    assert usual is not None and off is not None
    assert usual.verify is None and off.verify is False and usual != off  # connections aren't shared
    with pytest.raises(ConfigError, match="ssl_verify: /nowhere"):
        target(ssl_verify="/nowhere/authority.pem")


def test_an_extra_header_replaces_ours_and_framing_and_encoding_stay_ours() -> None:
    extra = {
        "Authorization": "Basic x",
        "User-Agent": "me",
        "Accept-Encoding": "gzip",
        "Host": "evil",
        "Content-Length": "5",
    }
    found = headers(target(extra_headers=extra))
    assert (found["authorization"], found["user-agent"], found["accept-encoding"]) == ("Basic x", "me", "identity")
    assert not {"host", "content-length"} & set(found)


def test_without_a_key_none_is_sent() -> None:
    assert "authorization" not in headers(target(api_key=None))


@pytest.mark.parametrize(
    "params",
    [
        {"extra_headers": {"x": "a\r\nhost: evil"}},
        {"extra_headers": {"x": "a\nb"}},
        {"extra_headers": {"x": "a\x00b"}},
        {"extra_headers": {"x\r\ny": "a"}},
        {"extra_headers": {"x y": "a"}},
        {"extra_headers": {"x:y": "a"}},
        {"extra_headers": {"": "a"}},
        {"extra_headers": {"x": "\u20ac"}},
        {"api_key": f"{SECRET}\r\nx: y"},
        {"api_key": f"{SECRET}\u20ac"},
        {"organization": "a\nb"},
        {"api_base": "p.example/v1"},
        {"api_base": "ftp://p.example"},
        {"api_base": f"http://user:{SECRET}@p.example"},
        {"api_base": f"http://p.example/?key={SECRET}"},
        {"api_base": "http://p.example:99999"},
        {"api_base": "http://p exa"},
        {"api_base": "http://"},
    ],
)
def test_what_cannot_be_sent_is_refused_at_start_naming_the_model_and_no_secret(params: dict[str, Any]) -> None:
    params = {"model": "openai/gpt-x", "api_base": "https://p.example/v1", "api_key": SECRET, **params}
    entry = {"model_name": "public", "litellm_params": params}
    found = config.parse(json.dumps({"model_list": [entry]}), {})
    if found.left_out:
        said, named = found.left_out[0].reason, found.left_out[0].model_name == "public"
    else:
        with pytest.raises(ConfigError) as refused:
            build(found.deployments, "tollgate")
        said, named = str(refused.value), "'public'" in str(refused.value)
    assert named
    assert SECRET not in said


# ── mocks ──


def played(format: OpenAI, text: str, **fields: Any) -> list[bytes]:
    """What a mock answers, in pieces."""
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "prompt": "Hi", "input": "Hi", **fields}
    call = format.read(json.dumps(body).encode(), Hints())
    found = target(mock_response=text, api_base=None)
    return list(found.provider.play(found, format.name, call, "id-1", 5))


def test_a_mock_needs_no_address() -> None:
    assert target(mock_response="hi", api_base=None).origin is None


@pytest.mark.parametrize(
    ("route", "kind"), [(CHAT, "chat.completion"), (COMPLETIONS, "text_completion"), (EMBEDDINGS, "list")]
)
def test_a_mocks_answer_is_in_its_routes_shape_with_usage(route: Any, kind: str) -> None:
    (said,) = played(route, "Hello you")
    answer = json.loads(said)
    assert (answer["object"], answer["model"]) == (kind, "gpt-x")
    if route is CHAT:
        assert answer["choices"][0]["message"] == {"role": "assistant", "content": "Hello you"}
    elif route is COMPLETIONS:
        assert answer["choices"][0]["text"] == "Hello you"
    else:
        assert isinstance(answer["data"][0]["embedding"][0], float)
    usage = usages.read(answer_head(json.dumps(answer).encode()))
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens) == (10, 0 if route is EMBEDDINGS else 20)


@pytest.mark.parametrize("text", ["Hello you there", "one", "", "a  b"])
@pytest.mark.parametrize("route", [CHAT, COMPLETIONS])
def test_a_mocks_stream_says_the_same(route: Any, text: str) -> None:
    reader = Reader(hide_usage=True)
    out = b"".join(reader.feed(event) for event in played(route, text, stream=True))
    events = [json.loads(event[6:]) for event in out.split(b"\n\n") if event]
    said = "".join(
        choice["delta"].get("content", "") if route is CHAT else choice["text"]
        for e in events
        for choice in e["choices"]
    )
    assert said.rstrip() == text.rstrip()
    assert events[-1]["choices"][0]["finish_reason"] == "stop"
    assert reader.done
    assert (reader.response_id, reader.response_model) == ("id-1", "gpt-x")
    assert reader.usage is not None
    assert reader.usage.output_tokens == 20


# ── what a provider's error becomes ──

LEAK = json.dumps(
    {"error": {"message": f"Incorrect API key provided: {SECRET}", "type": "x", "param": None, "code": "y"}}
).encode()


@pytest.mark.parametrize("status", [401, 403])
def test_what_a_provider_says_of_our_key_stays_here(status: int) -> None:
    error = json.loads(provider_error(LEAK, status, "openai"))["error"]
    assert SECRET not in str(error)
    assert error == {
        "message": f"openai answered with status {status}",
        "type": "api_error",
        "param": None,
        "code": str(status),
    }


def test_an_error_in_openais_shape_passes_as_it_was_said() -> None:
    body = b'{ "error": {"message":"Rate limit", "type":"requests","param":null,"code":"rate_limit_exceeded"} }'
    assert provider_error(body, 429, "openai") is body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>bad gateway</html>",
        b"<!DOCTYPE html><title>502</title>",
        b"[]",
        b"null",
        b'{"error":null}',
        b'{"error":{}}',
        b'{"\xff":1,"error":{}}',
        b'{"error":' * 5000,
        b'{"error":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b'{"error":{"message":"' + b"x" * 70_000 + b'"}}',
        b"\x0b\x02\x80\x00\x00\x00\x03",
    ],
)
def test_an_error_without_a_reason_names_the_provider(body: bytes) -> None:
    assert json.loads(provider_error(body, 502, "groq"))["error"]["message"] == "groq answered with status 502"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"detail":"x"}', "x"),
        (b'{"detail":[{"loc":["body","n"],"msg":"Input should be less","type":"v"}]}', "Input should be less"),
        (b'{"error":"text"}', "text"),
        (b'{"code":"The caller","error":"Incorrect"}', "Incorrect"),
        (b'{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}', "too long"),
        (b'[{"error":{"code":400,"message":"API key","status":"INVALID"}}]', "API key"),
        (b'{"errors":[{"message":"a"},{"message":"b"}]}', "a; b"),
        (b'{"error":{"message":"\xff"}}', "\ufffd"),
        (b'{"error":{"error":{"message":"inner"}}}', "inner"),
        (b'{"fault":{"faultstring":"Quota exceeded"}}', "Quota exceeded"),
        (b'{"ok":false,"error":{"message":null,"details":"no such model"}}', "no such model"),
        (
            b'{"error_msg":"Open api daily request limit reached","error_code":17}',
            "Open api daily request limit reached",
        ),
        (b"upstream connect error", "upstream connect error"),
        (b'{"message":"a\\u0000b\\ud800"}', "a\ufffdb\ufffd"),
    ],
)
def test_a_reason_is_kept_in_whatever_shape_it_comes(body: bytes, reason: str) -> None:
    error = json.loads(provider_error(body, 422, "groq"))["error"]
    assert error == {"message": reason, "type": "invalid_request_error", "param": None, "code": "422"}

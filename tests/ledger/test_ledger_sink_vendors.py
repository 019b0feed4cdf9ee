"""Phoenix, Logfire, MLflow, LangSmith, Datadog: each is asked where and as its own documentation
says.
"""

import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from services.ledger.sinks import choose, otlp, records, targets
from services.ledger.sinks.errors import SinkError
from shared import sealing
from shared.config import callbacks, parse
from shared.entities import callbacks as of_entities
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.sealing import Keyring
from tests.ledger.ledger_kit import Book, opened, settled
from tests.support.serving import handled_by, serving

SPAN: dict[str, Any] = {
    "traceId": "4bf92f3577b34da6a3ce929d0e0e4736", "spanId": "00f067aa0ba902b7", "parentSpanId": "0102030405060708", "name": "chat é",
    "kind": 3, "startTimeUnixNano": "1700000000123000000", "endTimeUnixNano": "1700000001123000000",
    "attributes": [
        {"key": "a", "value": {"stringValue": "x" * 200}}, {"key": "n", "value": {"intValue": "-5"}},
        {"key": "big", "value": {"intValue": "300000000000"}}, {"key": "zero", "value": {"intValue": "0"}},
        {"key": "l", "value": {"arrayValue": {"values": [{"stringValue": "t"}, {"stringValue": ""}]}}},
    ],
    "status": {"code": 2},
}  # fmt: skip


def test_spans_are_the_bytes_that_opentelemetrys_own_library_writes() -> None:
    """The digest is of opentelemetry-proto 1.45.2's serialization of the same request."""
    made = otlp.request({"service.name": "tollgate", "p": "q"}, [SPAN, {**SPAN, "parentSpanId": ""}])
    assert hashlib.sha256(made).hexdigest() == "c17082e139e302a083b01aa1a09af0318506195ab1ddbc2d2e8f4dac0e654942"


class There:
    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.url = ""
        self.said = b"{}"

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.got.append((request.path, headers, await request.read()))
        return web.Response(body=self.said, content_type="application/json")


@pytest.fixture
async def there() -> AsyncIterator[There]:
    made = There()
    async with serving(handled_by(made.answer, "POST")) as made.url:
        yield made


@pytest.fixture
async def row(book: Book) -> Any:
    call = opened(customer_id="c1", tags=["t", "Odd, tag"])
    await book.post(settled(call, response_id="chatcmpl-1", response_model="gpt-4o-mini"))
    found = dict((await book.fetch("SELECT * FROM request_log"))[0])
    return {**found, "content": {"messages": [{"role": "user", "content": "hello"}], "response": {"choices": []}}}


Checked = Callable[[dict[str, str], bytes, Any], None]


def test_a_span_of_a_time_that_64_bits_cant_say_is_written_all_the_same() -> None:
    late = str(253_402_300_799_999 * 1_000_000)
    assert b"\xff" * 8 in otlp.request({}, [{**SPAN, "startTimeUnixNano": late, "endTimeUnixNano": late}])


def _otlp(**headers: str) -> Checked:
    def check(got: dict[str, str], body: bytes, row: Any) -> None:
        assert got["content-type"] == "application/x-protobuf"
        assert {name: got.get(name) for name in headers} == headers
        for part in (row["id"].bytes, b"openinference.span.kind", b"llm.token_count.prompt", b'"hello"', b"tollgate"):
            assert part in body

    return check


def _phoenix(got: dict[str, str], body: bytes, row: Any) -> None:
    _otlp(authorization="Bearer pk")(got, body, row)
    assert b"openinference.project.name" in body and b"mine" in body


def _langsmith(got: dict[str, str], body: bytes, row: Any) -> None:
    (run,) = msgspec.json.decode(body)["post"]
    assert got["x-api-key"] == "lk" and run["session_name"] == "litellm-completion"
    assert run["id"] == run["trace_id"] == str(row["id"]) and run["dotted_order"].endswith("Z" + run["id"])
    assert run["run_type"] == "llm" and run["inputs"]["messages"][0]["content"] == "hello" and run["error"] is None
    assert run["outputs"]["usage_metadata"] == {"input_tokens": 10, "output_tokens": 20, "total_tokens": 30}


def _datadog(got: dict[str, str], body: bytes, _row: Any) -> None:
    (log,) = msgspec.json.decode(body)
    assert got["dd-api-key"] == "dk" and log["status"] == "info" and log["ddsource"] == "litellm"
    assert log["ddtags"].startswith("env:prod,service:litellm-server,request_tag:t,request_tag:odd__tag")
    assert msgspec.json.decode(log["message"])["model_group"] == "gpt"


CASES: dict[str, tuple[dict[str, str], str, Checked]] = {
    "arize_phoenix": (
        {"PHOENIX_COLLECTOR_ENDPOINT": "{url}", "PHOENIX_API_KEY": "pk", "PHOENIX_PROJECT_NAME": "mine"}, "/v1/traces", _phoenix
    ),
    "logfire": ({"LOGFIRE_BASE_URL": "{url}", "LOGFIRE_TOKEN": "lt"}, "/v1/traces", _otlp(authorization="lt")),
    "mlflow": (
        {"MLFLOW_TRACKING_URI": "{url}/", "MLFLOW_EXPERIMENT_ID": "7"}, "/v1/traces", _otlp(**{"x-mlflow-experiment-id": "7"})
    ),
    "langsmith": ({"LANGSMITH_BASE_URL": "{url}", "LANGSMITH_API_KEY": "lk"}, "/api/v1/runs/batch", _langsmith),
    "datadog": ({"DD_BASE_URL": "{url}", "DD_API_KEY": "dk", "DD_ENV": "prod"}, "/api/v2/logs", _datadog),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_each_gets_a_call_where_and_as_it_takes_it(name: str, there: There, row: Any) -> None:
    environ, path, check = CASES[name]
    environ = {variable: value.format(url=there.url) for variable, value in environ.items()}
    (sink,) = choose.of_config({"callbacks": [name]})
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    await targets.make(sink, environ, outbound).send([row])
    await outbound.close()
    ((asked, headers, body),) = there.got
    assert asked == path
    check(headers, body, row)
    if name != "arize_phoenix":  # one's own needs nothing
        with pytest.raises(SinkError, match="is needed"):
            targets.make(sink, {}, outbound)


# Secrets are long: two letters stand in what is sealed by chance.
OF_TEAM: dict[str, tuple[dict[str, str], str, dict[str, str]]] = {
    "arize_phoenix": (
        {"phoenix_collector_endpoint": "{url}", "phoenix_api_key": "their-phoenix"}, "/v1/traces", {"authorization": "Bearer their-phoenix"}
    ),
    "logfire": ({"logfire_base_url": "{url}", "logfire_token": "their-logfire"}, "/v1/traces", {"authorization": "their-logfire"}),
    "mlflow": (
        {"mlflow_tracking_uri": "{url}", "mlflow_experiment_id": "7", "mlflow_tracking_token": "their-mlflow"}, "/v1/traces",
        {"x-mlflow-experiment-id": "7", "authorization": "Bearer their-mlflow"},
    ),
    "langsmith": (
        {"langsmith_base_url": "{url}", "langsmith_api_key": "their-langsmith", "langsmith_tenant_id": "T"}, "/api/v1/runs/batch",
        {"x-api-key": "their-langsmith", "x-tenant-id": "T"},
    ),
    "datadog": ({"dd_agent_host": "127.0.0.1", "dd_agent_port": "{port}"}, "/api/v2/logs", {}),
}  # fmt: skip
OURS = {
    "PHOENIX_COLLECTOR_ENDPOINT": "https://ours", "PHOENIX_API_KEY": "ours", "LOGFIRE_TOKEN": "ours", "MLFLOW_TRACKING_URI": "https://ours",
    "MLFLOW_TRACKING_TOKEN": "ours", "LANGSMITH_API_KEY": "ours", "LANGSMITH_TENANT_ID": "ours", "DD_API_KEY": "ours", "DD_SITE": "ours",
}  # fmt: skip


@pytest.mark.parametrize("name", OF_TEAM)
async def test_a_team_has_its_own_with_its_own_credentials_sealed(name: str, there: There, row: Any) -> None:
    ring = Keyring(["a salt of sixteen characters"])
    variables, path, wanted = OF_TEAM[name]
    given = {key: value.format(url=there.url, port=there.url.rpartition(":")[2]) for key, value in variables.items()}
    logging = {"callback_name": name, "callback_vars": given}
    of_entities.read_entry("logging[0]", logging)
    assert callbacks.lacks(name, given) == ""
    sealed = of_entities.rewritten(
        {"logging": [logging]}, lambda *at: sealing.text_of(ring.seal(at[2], of_entities.place(*at[:2])))
    )
    kept = str(sealed)
    assert not any(value in kept for key, value in given.items() if callbacks.is_secret(key))
    (sink,) = choose.of_entity("team", "t", sealed)
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    await targets.make(sink, OURS, outbound, ring).send([row])
    await outbound.close()
    ((asked, headers, body),) = there.got
    assert asked == path and (row["id"].bytes in body or str(row["id"]).encode() in body)
    assert {key: headers.get(key) for key in wanted} == wanted
    assert "ours" not in str(headers)


@pytest.mark.parametrize("name", OF_TEAM)
async def test_a_team_that_says_too_little_never_gets_the_operators(name: str) -> None:
    (sink,) = choose.of_entity("team", "t", {"logging": [{"callback_name": name, "callback_vars": {}}]})
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    with pytest.raises(SinkError, match="is needed"):
        targets.make(sink, OURS, outbound)
    assert callbacks.lacks(name, {}).startswith(f"{name} needs ")


def test_what_may_be_said_of_a_callback_and_what_it_needs_are_variables_that_its_sink_reads() -> None:
    """A credential is a secret by its name."""
    needed = {each for groups in callbacks.NEEDED.values() for group in groups for each in group}
    assert needed <= callbacks.VARIABLES.keys()
    for name, is_secret in callbacks.VARIABLES.items():
        assert is_secret or not name.endswith(("_key", "_token", "_secret")) or name == "langfuse_public_key", name


def test_the_file_says_that_calls_are_sent_there() -> None:
    for name in CASES:
        assert name in callbacks.SENT and choose.KINDS[name]
        config = parse(f"litellm_settings: {{success_callback: [{name}]}}", {})
        assert not config.warnings and {key.verdict for key in config.keys} == {"acts"}


async def test_langfuse_gets_the_tags_that_the_file_names(row: Any) -> None:
    settings = {
        "callbacks": ["langfuse"],
        "langfuse_default_tags": ["user_api_key_alias", "cache_key", "user_api_key_team_id"],
    }
    (sink,) = choose.of_config(settings)
    shown = frozenset(dict(sink.variables)[choose.DEFAULT_TAGS].split(","))
    named = {**row, "key_alias": "team-a", "team_id": "t9"}
    trace = records.langfuse(named, shown)[0]["body"]
    assert trace["tags"] == ["t", "Odd, tag", "user_api_key_alias:team-a", "user_api_key_team_id:t9"]
    assert records.langfuse(named)[0]["body"]["tags"] == ["t", "Odd, tag"]


@pytest.mark.parametrize("said", [b'{"errors": "\xff"}', b'{"errors":' + b"[" * 5_000, b"[]", b"<html>", b""])
async def test_what_langfuse_says_and_nobody_can_read_is_tried_again(there: There, row: Any, said: bytes) -> None:
    there.said = said
    (sink,) = choose.of_config({"callbacks": ["langfuse"]})
    environ = {"LANGFUSE_HOST": there.url, "LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    with pytest.raises(SinkError, match="can't be read"):
        await targets.make(sink, environ, outbound).send([row])
    await outbound.close()

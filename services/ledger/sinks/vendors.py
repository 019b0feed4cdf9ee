"""Who has an address and a wire of their own: each reads the variables that LiteLLM reads for
it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from services.ledger.sinks import otlp, records
from services.ledger.sinks.choose import Sink
from services.ledger.sinks.errors import SinkError
from services.ledger.sinks.http import Http, value
from shared.outbound import Outbound

Rows = Sequence[Mapping[str, Any]]
Environ = Mapping[str, str]
PROTOBUF = {"content-type": "application/x-protobuf"}
TRACES = "/v1/traces"


def _needed(sink: Sink, environ: Environ, *names: str) -> str:
    found = value(sink, environ, *names)
    if not found:
        raise SinkError(f"{sink.name}: {' or '.join(names)} is needed", lasting=True)
    return found


def _spans(outbound: Outbound, url: str, headers: Mapping[str, str], resource: Mapping[str, str] | None = None) -> Http:
    """OTLP in protobuf, with OpenInference's names beside the GenAI ones."""
    said = {"service.name": "tollgate", **(resource or {})}

    def body(rows: Rows) -> bytes:
        return otlp.request(said, (records.open_inference(row) for row in rows))

    return Http(outbound, url, {**headers, **PROTOBUF}, body)


def phoenix(sink: Sink, environ: Environ, outbound: Outbound) -> Http:
    """Arize Phoenix, one's own or its cloud."""
    named = ("PHOENIX_COLLECTOR_HTTP_ENDPOINT", "PHOENIX_COLLECTOR_ENDPOINT")
    base = value(sink, environ, *named)
    if not base and sink.scope == "config":  # what listens on this machine is nobody's but the operator's
        base = "http://localhost:6006"
    key = value(sink, environ, "PHOENIX_API_KEY")
    project = value(sink, environ, "PHOENIX_PROJECT_NAME") or "default"
    base = (base or _needed(sink, environ, *named)).rstrip("/")
    url = base if base.endswith(TRACES) else base.removesuffix("/v1") + TRACES
    headers = {"authorization": f"Bearer {key}"} if key else {}
    return _spans(outbound, url, headers, {"openinference.project.name": project})


def logfire(sink: Sink, environ: Environ, outbound: Outbound) -> Http:
    base = value(sink, environ, "LOGFIRE_BASE_URL") or "https://logfire-api.pydantic.dev"
    return _spans(
        outbound, base.rstrip("/") + TRACES, {"authorization": _needed(sink, environ, "LOGFIRE_TOKEN")}
    )  # fmt: skip


def mlflow(sink: Sink, environ: Environ, outbound: Outbound) -> Http:
    """MLflow 3.6 and later, whose tracking server takes OTLP."""
    base = _needed(sink, environ, "MLFLOW_TRACKING_URI")
    headers = {"x-mlflow-experiment-id": value(sink, environ, "MLFLOW_EXPERIMENT_ID") or "0"}
    token = value(sink, environ, "MLFLOW_TRACKING_TOKEN")
    if token:
        headers["authorization"] = f"Bearer {token}"
    return _spans(outbound, base.rstrip("/") + TRACES, headers)


def langsmith(sink: Sink, environ: Environ, outbound: Outbound) -> Http:
    base = (value(sink, environ, "LANGSMITH_BASE_URL") or "https://api.smith.langchain.com").rstrip("/")
    project = value(sink, environ, "LANGSMITH_PROJECT") or "litellm-completion"
    headers = {"x-api-key": _needed(sink, environ, "LANGSMITH_API_KEY")}
    tenant = value(sink, environ, "LANGSMITH_TENANT_ID")
    if tenant:
        headers["x-tenant-id"] = tenant

    def body(rows: Rows) -> bytes:
        return msgspec.json.encode({"post": [records.langsmith(row, project) for row in rows]})

    return Http(outbound, f"{base if '/api/v1' in base else base + '/api/v1'}/runs/batch", headers, body)


def datadog(sink: Sink, environ: Environ, outbound: Outbound) -> Http:
    """Its intake of logs, or an agent's."""
    base = value(sink, environ, "DD_BASE_URL").rstrip("/")
    agent = value(sink, environ, "LITELLM_DD_AGENT_HOST", "DD_AGENT_HOST")
    headers: dict[str, str] = {}
    if not base and agent:
        base = f"http://{agent}:{value(sink, environ, 'LITELLM_DD_AGENT_PORT', 'DD_AGENT_PORT') or '10518'}"
    else:
        headers["dd-api-key"] = _needed(sink, environ, "DD_API_KEY")
        base = base or f"https://http-intake.logs.{_needed(sink, environ, 'DD_SITE')}"
    source = value(sink, environ, "DD_SOURCE") or "litellm"
    service = value(sink, environ, "DD_SERVICE") or "litellm-server"
    tags = f"env:{value(sink, environ, 'DD_ENV') or 'unknown'},service:{service}"

    def body(rows: Rows) -> bytes:
        return msgspec.json.encode([records.datadog(row, source, service, tags) for row in rows])

    return Http(outbound, base + "/api/v2/logs", headers, body)


MAKERS: dict[str, Callable[[Sink, Environ, Outbound], Http]] = {
    "phoenix": phoenix, "logfire": logfire, "mlflow": mlflow, "langsmith": langsmith, "datadog": datadog,
}  # fmt: skip

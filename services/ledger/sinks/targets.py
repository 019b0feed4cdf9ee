"""How a sink's records are sent. Each target takes some rows, and returns when the other side has
them; else it raises SinkError.
"""

import asyncio
import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from services.ledger.export_target import TargetError, open_target
from services.ledger.sinks import choose, python, records, vendors
from services.ledger.sinks.choose import KINDS, Sink
from services.ledger.sinks.errors import SinkError
from services.ledger.sinks.http import Http, headers_of, value
from shared import sealing
from shared.decoding import UNREADABLE
from shared.entities import callbacks
from shared.outbound import Answer, Outbound
from shared.sealing import Keyring, SealingError

PUTS_MAX = 16
"""Objects on their way at a time."""


class SinkTarget(Protocol):
    async def send(self, rows: Sequence[Mapping[str, Any]]) -> None: ...


def make(sink: Sink, environ: Mapping[str, str], outbound: Outbound, keyring: Keyring | None = None) -> SinkTarget:
    """Raises SinkError where it lacks something to be reached."""
    if sink.scope == "config" and sink.name not in KINDS:
        return python.make(sink.name, dict(sink.variables).get(choose.DIRECTORY, "."))
    kind = KINDS[sink.name]
    sink = sink._replace(variables=tuple((name, _opened(sink, name, value, keyring)) for name, value in sink.variables))
    made: dict[str, Callable[[], SinkTarget]] = {
        "langfuse": lambda: _langfuse(sink, environ, outbound),
        "otel": lambda: _otel(sink, environ, outbound),
        "webhook": lambda: _webhook(sink, environ, outbound),
        "bucket": lambda: _bucket(sink, environ),
        **{name: lambda: vendors.MAKERS[kind](sink, environ, outbound) for name in vendors.MAKERS},
    }
    return made[kind]()


def _opened(sink: Sink, name: str, value: str, keyring: Keyring | None) -> str:
    sealed = sealing.sealed_of(value)
    if sealed is None:
        return value
    if keyring is None:
        raise SinkError(f"{sink.name}: no key to open its {name} with: set LITELLM_SALT_KEY", lasting=True)
    try:
        return keyring.open(sealed, callbacks.place(sink.sealed_as or sink.name, name)).reveal()
    except SealingError as error:
        raise SinkError(f"{sink.name}: {name}: {error}", lasting=True) from None


def _langfuse(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    public, secret = (
        value(sink, environ, "LANGFUSE_PUBLIC_KEY"),
        value(sink, environ, "LANGFUSE_SECRET_KEY", "LANGFUSE_SECRET"),
    )
    host = value(sink, environ, "LANGFUSE_HOST") or "https://cloud.langfuse.com"
    if not public or not secret:
        raise SinkError(f"{sink.name}: LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are needed", lasting=True)
    headers = {"authorization": "Basic " + base64.b64encode(f"{public}:{secret}".encode()).decode()}

    shown = frozenset(filter(None, dict(sink.variables).get(choose.DEFAULT_TAGS, "").split(",")))

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        return msgspec.json.encode({"batch": [event for row in rows for event in records.langfuse(row, shown)]})

    def check(answer: Answer) -> None:
        """207: each event has an answer of its own."""
        try:
            wrong = msgspec.json.decode(answer.body).get("errors") or []
        except (*UNREADABLE, AttributeError):
            raise SinkError("langfuse: an answer that can't be read") from None
        if any(error.get("status", 500) not in (409,) for error in wrong if isinstance(error, dict)):
            raise SinkError(f"langfuse: {len(wrong)} events were refused")

    return Http(outbound, host.rstrip("/") + "/api/public/ingestion", headers, body, check)


def _otel(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    endpoint = value(sink, environ, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_ENDPOINT")
    if not endpoint:
        raise SinkError(f"{sink.name}: OTEL_EXPORTER_OTLP_ENDPOINT is needed", lasting=True)
    url = endpoint.rstrip("/") + ("" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces")
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tollgate"}}]}

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        spans = [records.span(row) for row in rows]
        return msgspec.json.encode(
            {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "tollgate"}, "spans": spans}]}]}
        )

    return Http(outbound, url, headers_of(value(sink, environ, "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_HEADERS")), body)


def _webhook(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    url = value(sink, environ, "GENERIC_LOGGER_ENDPOINT", "WEBHOOK_URL")
    if not url:
        raise SinkError(f"{sink.name}: GENERIC_LOGGER_ENDPOINT is needed", lasting=True)
    headers = headers_of(value(sink, environ, "GENERIC_LOGGER_HEADERS"))
    secret = value(sink, environ, "GENERIC_LOGGER_SIGNING_SECRET")

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        return msgspec.json.encode([records.payload(row) for row in rows])

    return Http(outbound, url, headers, body, secret=secret)


def _bucket(sink: Sink, environ: Mapping[str, str]) -> SinkTarget:
    if not sink.from_file:
        raise SinkError(f"{sink.name}: a bucket is named in the configuration only", lasting=True)
    variables: dict[str, str] = dict(sink.variables)
    options: dict[str, Any] = {}
    if sink.name == "gcs_bucket":
        where = f"gs://{value(sink, environ, 'GCS_BUCKET_NAME')}"
    elif sink.name == "azure_storage":
        where = f"az://{value(sink, environ, 'AZURE_STORAGE_FILE_SYSTEM')}"
    else:
        where = f"s3://{variables.get('s3_bucket_name', '')}/{variables.get('s3_path', '').strip('/')}"
        named = {"s3_region_name": "region", "s3_endpoint_url": "endpoint", "s3_aws_access_key_id": "access_key_id",
                 "s3_aws_secret_access_key": "secret_access_key", "s3_aws_session_token": "session_token"}  # fmt: skip
        options = {option: variables[name] for name, option in named.items() if variables.get(name)}
        if options.get("endpoint", "").startswith("http://"):
            options["client_options"] = {"allow_http": True}
    if where.endswith((":///", "://")):
        raise SinkError(f"{sink.name}: the bucket's name is needed", lasting=True)
    try:
        return Objects(open_target(where.rstrip("/"), environ, **options))
    except TargetError as error:
        raise SinkError(str(error), lasting=True) from None


class Objects:
    """One object a call, under a name made of the call: sent again, it is the same one."""

    def __init__(self, target: Any) -> None:
        self._target = target

    async def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        for start in range(0, len(rows), PUTS_MAX):
            try:
                async with asyncio.TaskGroup() as group:
                    for row in rows[start : start + PUTS_MAX]:
                        group.create_task(self._put(row))
            except* TargetError as errors:
                raise SinkError(str(errors.exceptions[0])) from None

    async def _put(self, row: Mapping[str, Any]) -> None:
        at = datetime.fromtimestamp(row["at_ms"] / 1000, UTC)
        path = f"{at:%Y-%m-%d}/time-{at:%H-%M-%S-%f}_{row['id']}.json"
        await self._target.put(path, msgspec.json.encode(records.payload(row)))

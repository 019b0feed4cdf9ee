"""How a sink's records are sent. Each target takes some rows, and returns when the other side has them; else it raises SinkError."""

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from services.ledger.export_target import TargetError, open_target
from services.ledger.sinks import choose, python, records
from services.ledger.sinks.choose import KINDS, Sink
from services.ledger.sinks.errors import SinkError
from shared import sealing
from shared.entities import callbacks
from shared.outbound import Answer, Outbound, OutboundError
from shared.sealing import Keyring, SealingError

DEADLINE_MS = 15_000
ANSWER_BYTES_MAX = 1024 * 1024
PUTS_MAX = 16
"""Objects on their way at a time."""
JSON = {"content-type": "application/json"}


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


def _value(sink: Sink, environ: Mapping[str, str], *names: str) -> str:
    """Of the sink's own variables, or of the environment: that of the configuration alone, so that no team uses ours."""
    own = dict(sink.variables)
    for name in names:
        found = own.get(name.lower()) or (environ.get(name) if sink.scope == "config" else None)
        if found:
            return found
    return ""


def _langfuse(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    public, secret = (
        _value(sink, environ, "LANGFUSE_PUBLIC_KEY"),
        _value(sink, environ, "LANGFUSE_SECRET_KEY", "LANGFUSE_SECRET"),
    )
    host = _value(sink, environ, "LANGFUSE_HOST") or "https://cloud.langfuse.com"
    if not public or not secret:
        raise SinkError(f"{sink.name}: LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY are needed", lasting=True)
    headers = {"authorization": "Basic " + base64.b64encode(f"{public}:{secret}".encode()).decode()}

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        return msgspec.json.encode({"batch": [event for row in rows for event in records.langfuse(row)]})

    def check(answer: Answer) -> None:
        """207: each event has an answer of its own."""
        try:
            wrong = msgspec.json.decode(answer.body).get("errors") or []
        except (msgspec.DecodeError, AttributeError):
            raise SinkError("langfuse: an answer that can't be read") from None
        if any(error.get("status", 500) not in (409,) for error in wrong if isinstance(error, dict)):
            raise SinkError(f"langfuse: {len(wrong)} events were refused")

    return Http(outbound, host.rstrip("/") + "/api/public/ingestion", headers, body, check)


def _otel(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    endpoint = _value(sink, environ, "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_ENDPOINT")
    if not endpoint:
        raise SinkError(f"{sink.name}: OTEL_EXPORTER_OTLP_ENDPOINT is needed", lasting=True)
    url = endpoint.rstrip("/") + ("" if endpoint.rstrip("/").endswith("/v1/traces") else "/v1/traces")
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": "tollgate"}}]}

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        spans = [records.span(row) for row in rows]
        return msgspec.json.encode(
            {"resourceSpans": [{"resource": resource, "scopeSpans": [{"scope": {"name": "tollgate"}, "spans": spans}]}]}
        )

    return Http(outbound, url, _headers(_value(sink, environ, "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_HEADERS")), body)


def _webhook(sink: Sink, environ: Mapping[str, str], outbound: Outbound) -> SinkTarget:
    url = _value(sink, environ, "GENERIC_LOGGER_ENDPOINT", "WEBHOOK_URL")
    if not url:
        raise SinkError(f"{sink.name}: GENERIC_LOGGER_ENDPOINT is needed", lasting=True)
    headers = _headers(_value(sink, environ, "GENERIC_LOGGER_HEADERS"))
    secret = _value(sink, environ, "GENERIC_LOGGER_SIGNING_SECRET")

    def body(rows: Sequence[Mapping[str, Any]]) -> bytes:
        return msgspec.json.encode([records.payload(row) for row in rows])

    return Http(outbound, url, headers, body, secret=secret)


def _headers(text: str) -> dict[str, str]:
    """`name=value,name=value`, as OpenTelemetry and LiteLLM write them."""
    pairs = (part.partition("=") for part in text.split(",") if "=" in part)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


class Http:
    """
    Args:
        body: of some rows; the same for the same rows.
        check: what a 2xx must say. Raises SinkError.
        secret: signs the body: `x-tollgate-signature: t=<unix s>,v1=<hex HMAC-SHA256 of "t.body">`.
    """

    def __init__(
        self, outbound: Outbound, url: str, headers: Mapping[str, str], body: Callable[[Sequence[Mapping[str, Any]]], bytes],
        check: Callable[[Answer], None] = lambda _answer: None, secret: str = "",
    ) -> None:  # fmt: skip
        self._outbound = outbound
        self._url = url
        self._headers = {**JSON, **headers}
        self._body = body
        self._check = check
        self._secret = secret

    async def send(self, rows: Sequence[Mapping[str, Any]]) -> None:
        body = self._body(rows)
        named = hashlib.sha256("".join(f"{row['id']}{row['outcome']}" for row in rows).encode()).hexdigest()
        headers = {**self._headers, "idempotency-key": named}
        if self._secret:
            stamp = str(int(time.time()))
            signature = hmac.new(self._secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
            headers["x-tollgate-signature"] = f"t={stamp},v1={signature}"
        try:
            answer = await self._outbound.send(
                "POST",
                self._url,
                headers=headers,
                body=body,
                deadline_ms=DEADLINE_MS,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
        except OutboundError as error:
            raise SinkError(str(error), lasting=error.code in ("bad_address", "refused_address")) from None
        if not 200 <= answer.status < 300:
            raise SinkError(f"answered {answer.status}", lasting=answer.status in (400, 401, 403, 404, 405, 410))
        self._check(answer)


def _bucket(sink: Sink, environ: Mapping[str, str]) -> SinkTarget:
    if not sink.from_file:
        raise SinkError(f"{sink.name}: a bucket is named in the configuration only", lasting=True)
    variables: dict[str, str] = dict(sink.variables)
    options: dict[str, Any] = {}
    if sink.name == "gcs_bucket":
        where = f"gs://{_value(sink, environ, 'GCS_BUCKET_NAME')}"
    elif sink.name == "azure_storage":
        where = f"az://{_value(sink, environ, 'AZURE_STORAGE_FILE_SYSTEM')}"
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

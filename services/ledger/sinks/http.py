"""Records sent in requests of HTTP: what they share, whoever gets them."""

import hashlib
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from services.ledger.sinks.choose import Sink
from services.ledger.sinks.errors import SinkError
from shared.outbound import Answer, Outbound, OutboundError

DEADLINE_MS = 15_000
ANSWER_BYTES_MAX = 1024 * 1024
JSON = {"content-type": "application/json"}


def value(sink: Sink, environ: Mapping[str, str], *names: str) -> str:
    """Of the sink's own variables, or of the environment: that of the configuration alone, so that
    no team uses ours.
    """
    own = dict(sink.variables)
    for name in names:
        found = own.get(name.lower()) or (environ.get(name) if sink.scope == "config" else None)
        if found:
            return found
    return ""


def headers_of(text: str) -> dict[str, str]:
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

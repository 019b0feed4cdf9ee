"""What a call asked and was answered, kept aside where its grant says so (shared/payloads.py).
Bounded; a call whose grant doesn't say so never comes here.
"""

import asyncio

import msgspec
import structlog
from prometheus_client import Counter, Gauge

from services.edge.asked import Asked
from services.edge.formats.fields import says_true
from services.edge.group_commit import FactBatch, GroupCommit
from services.edge.metrics import RecorderMetrics
from services.edge.parts import Parts
from shared import payloads
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.ids import RequestId

log = structlog.get_logger()

REDACTION = "x-litellm-enable-message-redaction"


class PayloadMetrics(RecorderMetrics):
    """What the recorder of facts counts, of payloads."""

    journaled = Counter("tollgate_edge_payloads_journaled", "Prompts and answers that went to the journal.")
    publish_failures = Counter(
        "tollgate_edge_payload_publish_failures", "Messages of them that the broker didn't take."
    )
    journal_bytes = Gauge("tollgate_edge_payload_journal_bytes", "In the journal.")
    healthy = Gauge("tollgate_edge_payloads_healthy", "0: they are neither with the broker nor in the journal.")
    kept = Counter("tollgate_edge_payloads", "Prompts and answers that were kept.")

    def committed(self, facts: int) -> None:
        self.kept.inc(facts)


class Content:
    """Of one call, while it runs."""

    __slots__ = ("_bytes_max", "_kept", "cut", "pieces", "size")

    def __init__(self, bytes_max: int, *, kept: bool) -> None:
        self._bytes_max = bytes_max
        self._kept = kept
        self.pieces: list[bytes] = []
        self.size = 0
        self.cut = False

    def add(self, data: bytes) -> None:
        """Of the answer, as the client gets it."""
        room = self._bytes_max - self.size
        if len(data) > room:
            self.cut = True
            data = data[: max(0, room)]
        if data:
            self.size += len(data)
            self.pieces.append(data)

    def record(self, parts: Parts, asked: Asked, call_id: RequestId, at_ms: int) -> FactBatch | None:
        """To be called once, before the call's end is appended."""
        if parts.payloads is None:
            return None
        request, cut = _request(asked, self._bytes_max)
        names = [name for name, is_cut in (("request", cut), ("answer", self.cut)) if is_cut]
        payload = payloads.Payload(
            call_id,
            at_ms,
            asked.permit.grant.caller,
            self._kept,
            request,
            b"".join(self.pieces),
            names,
            asked.call.stream,
        )
        return parts.payloads.append(payloads.encode(payload))


def _request(asked: Asked, bytes_max: int) -> tuple[bytes, bool]:
    call = asked.call
    try:
        raw = msgspec.json.encode(asked.format.upstream_fields(call))
    except (*UNREADABLE, RefusedError, TypeError, ValueError):
        raw = b""
    return (raw, False) if len(raw) <= bytes_max else (raw[:bytes_max], True)


def of(parts: Parts, asked: Asked) -> Content | None:
    """Of a call whose grant wants it. None where the request itself wants it neither kept nor
    sent.
    """
    grant, call = asked.permit.grant, asked.call
    if says_true(call.fields, "no-log"):
        return None
    if (asked.request.header(REDACTION) or "").strip().lower() in ("true", "1"):
        return None
    bytes_max = min(parts.settings.edge_payload_bytes_max, payloads.FIELDS_BYTES_MAX)
    return Content(bytes_max, kept=grant.content == payloads.KEPT)


async def settled(batch: FactBatch) -> None:
    """Wait until it is safe. Past the recorder's patience the answer goes out all the same: it is
    no evidence.
    """
    try:
        await batch.wait_durable()
    except TimeoutError:
        log.error("payload_not_durable_in_time")


async def stop(recorder: GroupCommit, flush_s: float, drain_s: float) -> None:
    try:
        await asyncio.wait_for(recorder.flush(), flush_s)
    except TimeoutError:
        log.error("payloads_not_flushed")
    if not await recorder.drained(drain_s):
        log.error("payload_journal_left_behind")
    await recorder.close()

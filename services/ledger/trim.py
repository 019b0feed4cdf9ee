"""Remove from TRAFFIC what the book has and nobody needs any more.

Recorded messages stay `traffic_keep_hours`, for the day the book must be restored from a backup;
when the stream is half full they go at once, because a full stream would refuse new facts. The
message at the position always stays: it is how the recorder knows its stream again.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from services.ledger import metrics
from services.ledger.ordered_consumer import API_TIMEOUT_S, BUS_ERRORS
from services.ledger.writer import Writer
from shared import streams
from shared.waiting import set_within

log = structlog.get_logger()

CHECK_S = 2.0
"""How long a full stream may go on refusing when the book has it all."""
EVERY_S = 3600.0
FULL_SHARE = 0.5
PROBE_INACTIVE_S = 10


class Trimmer:
    """Runs beside the recorder of its shard, in the same process."""

    def __init__(
        self,
        client: Client,
        recorder: Writer[Any],
        stream: str,
        subject: str,
        keep_hours: float,
        stopping: asyncio.Event,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._stream = stream
        self._subject = subject
        self._keep_ms = int(keep_hours * 3_600_000)
        self._stopping = stopping
        self._now_ms = now_ms
        self._trimmed_at: float | None = None

    async def run(self) -> None:
        while not self._stopping.is_set():
            if await set_within(self._stopping, CHECK_S):
                return
            try:
                await self.look()
            except BUS_ERRORS as error:
                log.warning("trim_interrupted", error=type(error).__name__, detail=str(error)[:120])

    async def look(self) -> int | None:
        """Trim if it is time. Returns the first sequence kept, None when nothing was asked for."""
        session = self._recorder.session
        if session is None or session.position.seq == 0:
            return None
        position_seq = session.position.seq
        state = await streams.state(self._client, self._stream)
        full = state.bytes_max > 0 and state.bytes > state.bytes_max * FULL_SHARE
        due = self._trimmed_at is None or time.monotonic() - self._trimmed_at >= EVERY_S
        if not (full or due):
            return None
        keep_from = position_seq if full else min(position_seq, await self._first_younger())
        self._trimmed_at = time.monotonic()
        if keep_from <= state.first_seq:
            return None
        await self._client.jetstream(timeout=API_TIMEOUT_S).purge_stream(
            self._stream, seq=keep_from, subject=self._subject
        )
        metrics.TRIMMED.inc()
        log.info("stream_trimmed", stream=self._stream, kept_from=keep_from, because="half full" if full else "age")
        return keep_from

    async def _first_younger(self) -> int:
        """Sequence of the first message that must stay: where a consumer that begins at that time
        would begin.
        """
        since = datetime.fromtimestamp((self._now_ms() - self._keep_ms) / 1000, UTC)
        js = self._client.jetstream(timeout=API_TIMEOUT_S)
        info = await js.add_consumer(
            self._stream,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_TIME,
                opt_start_time=since,
                ack_policy=AckPolicy.NONE,
                filter_subject=self._subject,
                inactive_threshold=PROBE_INACTIVE_S,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        await js.delete_consumer(self._stream, info.name)
        return (info.delivered.stream_seq if info.delivered else 0) + 1

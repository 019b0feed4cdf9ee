"""Read a stream in order from a given place, none missed, none twice.

Theory. A pull consumer without acknowledgements: the truth about what is recorded is the position
in PostgreSQL, so there is nothing to tell the broker. The broker numbers what it delivers; a hole
in the numbers, or silence where heartbeats are due, breaks the consumer (`ConsumerError`), and the
recorder starts a new one behind its position. At most two requests' worth of messages wait here, so
a slow database stops the reading, not the memory.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress

import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from services.ledger.message import Message, first_of
from shared.waiting import set_within

REQUEST_MESSAGES = 500
REQUEST_BYTES = 8 * 1024**2
REQUEST_EXPIRES_S = 30
HEARTBEAT_S = 0.5
SILENCE_S_MAX = 2.0
"""Four heartbeats: then the consumer is presumed dead."""
WAITING_BYTES_MAX = 8 * 1024**2
"""Past that nothing more is asked for."""
API_TIMEOUT_S = 2
INACTIVE_S = 30
"""The broker removes an abandoned consumer after this."""

BUS_ERRORS = (nats.errors.Error, nats.js.errors.Error, OSError, TimeoutError)

_ENDS = ("Batch Completed", "Message Size Exceeds MaxBytes")
"""What a 409 may say that is no trouble."""
_NS_PER_S = 1_000_000_000


class ConsumerError(Exception):
    """The consumer is broken; start a new one behind the last message recorded."""


class OrderedConsumer:
    """
    Args:
        start_seq: where to begin; the first message may come later, when that one is gone.
    """

    def __init__(self, client: Client, stream: str, subject: str, start_seq: int) -> None:
        self._client = client
        self._stream = stream
        self._subject = subject
        self._start_seq = start_seq
        self._subscription: Subscription | None = None
        self._consumer = ""
        self._inbox = ""
        self._waiting: deque[Message] = deque()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._broken: str | None = None
        self._expected_delivery = 1
        self._asked = 0
        """Messages the running request may still bring; 0: no request is running."""
        self._request = 0
        """Its number: last token of its inbox, so that the end of an older request isn't taken for
        its own.
        """
        self._heard_at = 0.0
        self.behind = 0
        """Messages the broker still has for us, by its last word."""

    async def open(self) -> None:
        """Raises one of BUS_ERRORS."""
        js = self._client.jetstream(timeout=API_TIMEOUT_S)
        self._inbox = self._client.new_inbox()
        self._subscription = await self._client.subscribe(f"{self._inbox}.*", cb=self._receive)
        info = await js.add_consumer(
            self._stream,
            ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=max(1, self._start_seq),
                ack_policy=AckPolicy.NONE,
                filter_subject=self._subject,
                inactive_threshold=INACTIVE_S,
                max_deliver=1,
                mem_storage=True,
                num_replicas=1,
            ),
        )
        self._consumer = info.name
        self.behind = info.num_pending or 0
        await self._ask()

    async def close(self) -> None:
        subscription, self._subscription = self._subscription, None
        with suppress(*BUS_ERRORS):
            if subscription is not None:
                await subscription.unsubscribe()
            if self._consumer and self._client.is_connected:
                await self._client.jetstream(timeout=API_TIMEOUT_S).delete_consumer(self._stream, self._consumer)

    @property
    def waiting_bytes(self) -> int:
        return self._waiting_bytes

    async def wait(self) -> None:
        """Until a message is here. Raises ConsumerError. Cancelling it loses nothing."""
        while not self._waiting:
            if self._broken is not None:
                raise ConsumerError(self._broken)
            self._arrived.clear()
            if not await set_within(self._arrived, HEARTBEAT_S) and time.monotonic() - self._heard_at > SILENCE_S_MAX:
                raise ConsumerError("silence")

    async def take(self, messages_max: int, bytes_max: int) -> list[Message]:
        """What is here, at least one message once `wait` has returned."""
        taken, size = first_of(self._waiting, messages_max, bytes_max)
        self._waiting_bytes -= size
        if self._asked == 0:
            await self._ask()
        return taken

    async def pending(self) -> int:
        """Messages of this consumer that `take` hasn't returned, by asking the broker. Raises
        ConsumerError or one of BUS_ERRORS.
        """
        info = await self._client.jetstream(timeout=API_TIMEOUT_S).consumer_info(self._stream, self._consumer)
        delivered = info.delivered.consumer_seq if info.delivered else 0
        on_the_way = delivered - (self._expected_delivery - 1)
        return (info.num_pending or 0) + max(0, on_the_way) + len(self._waiting)

    async def _ask(self) -> None:
        """Ask for more, unless a request is running or enough is waiting here."""
        if self._broken is not None or self._waiting_bytes > WAITING_BYTES_MAX:
            return
        self._asked = REQUEST_MESSAGES
        self._request += 1
        self._heard_at = time.monotonic()
        request = {
            "batch": REQUEST_MESSAGES,
            "max_bytes": REQUEST_BYTES,
            "expires": REQUEST_EXPIRES_S * _NS_PER_S,
            "idle_heartbeat": int(HEARTBEAT_S * _NS_PER_S),
        }
        await self._client.publish(
            f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}",
            msgspec.json.encode(request),
            reply=f"{self._inbox}.{self._request}",
        )

    async def _receive(self, message: Msg) -> None:
        if self._subscription is None:
            return
        self._heard_at = time.monotonic()
        if message.reply.startswith("$JS.ACK."):
            self._delivered(message)
        else:
            self._status(message)
        if self._asked == 0:
            with suppress(*BUS_ERRORS):  # silence will tell
                await self._ask()

    def _delivered(self, message: Msg) -> None:
        # $JS.ACK.<stream>.<consumer>.<deliveries>.<stream seq>.<consumer seq>.<time>.<pending>;
        # newer servers put <domain>.<account> before the stream, and may put a token behind.
        tokens = message.reply.split(".")
        first = 5 if len(tokens) == 9 else 7
        seq, delivery, at_ns, self.behind = (int(token) for token in tokens[first : first + 4])
        if delivery != self._expected_delivery:
            self._break(f"delivery {delivery} came where {self._expected_delivery} was due")
            return
        self._expected_delivery += 1
        self._asked -= 1
        self._waiting.append(Message(seq, at_ns, message.subject, message.data))
        self._waiting_bytes += len(message.data)
        self._arrived.set()

    def _status(self, message: Msg) -> None:
        """The end of a request, or a heartbeat."""
        headers = message.headers or {}
        status, description = headers.get("Status", ""), headers.get("Description", "")
        if status == "100":
            return
        if status in ("404", "408") or (status == "409" and description in _ENDS):
            if message.subject.rpartition(".")[2] == str(self._request):
                self._asked = 0
        else:
            self._break(f"{status} {description}")

    def _break(self, reason: str) -> None:
        if self._broken is None:
            self._broken = reason
            self._arrived.set()

"""What a format is: everything the edge knows of one wire that clients speak to it. Sans-I/O; no
clock, no ids of its own.

Names of formats, as in the names of translators (`providers/translate/<format>__<provider>.py`):
`openai_chat`, `openai_completions`, `openai_embeddings`; later `openai_responses`, `openai_images`,
`openai_speech`, `openai_transcriptions`, `openai_moderations`, `rerank`, `anthropic_messages`.

A request's top level is split once into raw slices; values nobody here needs are never decoded, and
reach a provider of the same wire byte for byte.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from services.edge.formats.wire import AnswerHead

Address = tuple[str | int, ...]
"""Where a text stands: `("messages", 0, "content", 1, "text")`."""


class Call(msgspec.Struct):
    """One request to a model, as far as we read it."""

    body: bytes
    """As the client sent it, decompressed."""
    fields: dict[str, msgspec.Raw]
    """The top level, split: a name and the bytes of its value."""
    model: str
    stream: bool = False
    wants_usage: bool = False
    """The client itself asked for the usage chunk of a stream."""
    customer_id: str | None = None
    tags: list[str] = []
    spend_logs_metadata: dict[str, Any] = {}
    max_output_tokens: int | None = None
    """All choices together; None where the request sets no bound."""
    plain: bool = False
    """It says nothing of its own to the gateway: none of the gateway's fields, no end user, no
    hints.
    """
    exact: dict[str, msgspec.Raw] | None = None
    """`fields`, where `body` says them and nothing else: only then it may go on byte for byte.
    Others in their place aren't these.
    """


class Hints(msgspec.Struct, frozen=True):
    """What a request's headers say about its body's meaning."""

    tags: str | None = None
    spend_logs_metadata: str | None = None
    customer_id: str | None = None
    """Where the body names none."""
    routing: bool = False
    """They say something of retries or deadlines."""


NO_HINTS = Hints()


class Judged(msgspec.Struct, frozen=True):
    """What a provider's 200 really is."""

    head: AnswerHead
    problem: str | None = None
    """A cause of routing/causes.py: `error_answer`, `empty`, `unreadable`; None: it is an
    answer.
    """


class Text(msgspec.Struct, frozen=True):
    """One text of a request, an answer or an event: what guardrails read."""

    address: Address
    text: str
    role: str = ""
    """system, user, assistant, tool; "" where the wire has none."""
    kind: str = "text"
    """text, arguments (of a tool call, JSON), result (of a tool), reasoning, name, schema, url,
    tokens (ids), unknown.
    """


Replacements = Mapping[Address, str]
"""Address -> the text to put there. Every address comes from the `content` of the same request,
answer or event.
"""


class Format(Protocol):
    """One client wire. Instances are made once and hold nothing of a request."""

    name: str
    streams: bool
    """Whether `stream: true` means server-sent events here."""
    makes_images: bool
    """What its answers hold are images: each is a unit of usage."""

    # ── the request ──

    def read(self, body: bytes, hints: Hints, model: str | None = None, default_model: str = "") -> Call:
        """Raises RefusedError with what is wrong and where. `model`: where the path names it;
        `default_model`: where nobody does.
        """

    def upstream_fields(self, call: Call, *, ask_usage: bool = True) -> dict[str, msgspec.Raw]:
        """What of a request is the provider's, without the gateway's own fields: what translators
        read.
        """

    def upstream_body(self, call: Call, model: str, *, ask_usage: bool = True) -> bytes:
        """The bytes for a provider of the same wire; the client's own where nothing has to
        change.
        """

    def content(self, call: Call) -> list[Text]:
        """Every text a model may read. Raises RefusedError where one can't be read: a model might
        read it.
        """

    def replace(self, call: Call, texts: Replacements) -> Call:
        """A call with other texts, rebuilt: `call` stays as it is."""

    # ── the answer ──

    def judge(self, body: bytes) -> Judged:
        """What a provider's 200 really is: an answer in this wire, or which failure."""

    def as_events(self, body: bytes) -> bytes:
        """A whole answer as the stream a client asked for."""

    def as_whole(self, events: bytes) -> bytes:
        """A stream as the whole answer a client asked for. Raises GatheringError."""

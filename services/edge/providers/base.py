"""What a provider is: the upstream's side of a call. Sans-I/O, but for `credentials`, which may have to fetch a token.

A provider that speaks the client's format gets the client's bytes (`wires`). For any other pair of format and provider there
is one translator: a module `translate/<format>__<provider>.py` with the functions of `Translator`, listed in the provider's row
(table.py). A pair without a translator is refused with a sentence before anything is opened.
"""

from collections.abc import Mapping
from typing import Protocol

import msgspec

from shared.config import Deployment


class Options(msgspec.Struct, frozen=True):
    """What a translator needs besides the request's fields; everything that isn't a function of the bytes is passed in."""

    deployment: Deployment
    """With the entry's settings (`drop_params`, defaults ...) as `shared.config` has them."""
    stream: bool = False
    response_id: str = ""
    """For wires that have no id of their own: `chatcmpl-<our request id>`."""
    now_s: int = 0
    """Unix seconds: `created` in OpenAI's wires."""
    model: str = ""
    """The upstream model, for answers that don't name it."""
    base64: bool = False
    """Embeddings: the client asked for `encoding_format: base64`, as OpenAI's own client does."""
    modify_params: bool = False
    """LiteLLM's `modify_params`: a conversation the provider would refuse is mended, not passed on to be refused."""


class UnreadableAnswerError(Exception):
    """What a provider sent is no answer in its wire. The call failed, and the text says why, without quoting it."""


class ErrorSaid(msgspec.Struct, frozen=True):
    """A provider's error, in OpenAI's words. `message` is the provider's own."""

    message: str
    type: str | None = None
    code: str | None = None
    """OpenAI's where the meaning is known (`context_length_exceeded`, `content_filter`: what fallbacks go by)."""
    param: str | None = None
    status: int | None = None
    """Where the provider's own status isn't one that OpenAI's clients know (Anthropic's 529); None: as it was."""


class StreamTranslator(Protocol):
    """Of one stream. `feed` and `finish` raise UnreadableAnswerError."""

    def feed(self, data: bytes) -> list[bytes]:
        """What arrived (cut anywhere) → whole events in the format's wire, each `data: ...` with its blank line.

        The last event before the end has the usage, in a chunk without choices as OpenAI sends it; who reads the events hides it
        where the client didn't ask. An error of the provider is an event `data: {"error": {...}}`, the last. `[DONE]` is said
        when the provider's own end was seen.
        """

    def finish(self) -> list[bytes]:
        """The provider's bytes are over. Without `[DONE]` so far the stream counts as cut off."""


class Translator(Protocol):
    """A module: one format into one provider's wire and back. Pure."""

    def request(self, fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
        """The body for the provider. Raises RefusedError (400, with the parameter) for what can't be said in its wire."""

    def answer(self, body: bytes, options: Options) -> bytes:
        """A whole answer in the format's wire, with its usage. Raises UnreadableAnswerError."""

    def error(self, body: bytes, status: int) -> ErrorSaid | None:
        """What an answer of `status` >= 400 (or a 200 that holds an error) says; None when it isn't in the provider's shape."""

    def Stream(self, options: Options) -> StreamTranslator: ...

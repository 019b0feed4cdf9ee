"""What a provider is: the upstream's side of a call. Sans-I/O, but for `Credentials`, which may
have to fetch a token.

A provider that speaks the client's format gets the client's bytes (`Provider.wires`). For any other
pair of format and provider there is one translator: a module `translate/<format>__<provider>.py`
with the functions of `Translator`, listed in the provider's row (table.py). A pair without a
translator is refused with a sentence before anything is opened.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import msgspec

from services.edge.formats.base import Call
from services.edge.providers.params import Parameters
from services.edge.upstream import Deadlines, Origin, render_headers
from services.edge.upstream.tls import context
from shared.config import ConfigError, Deployment
from shared.settings import SettingsError


class Options(msgspec.Struct, frozen=True):
    """What a translator needs besides the request's fields; everything that isn't a function of the
    bytes is passed in.
    """

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
    """LiteLLM's `modify_params`: a conversation the provider would refuse is mended, not passed on
    to be refused.
    """


class UnreadableAnswerError(Exception):
    """What a provider sent is no answer in its wire. The call failed, and the text says why,
    without quoting it.
    """


class ErrorSaid(msgspec.Struct, frozen=True):
    """A provider's error, in OpenAI's words. `message` is the provider's own."""

    message: str
    type: str | None = None
    code: str | None = None
    """OpenAI's where the meaning is known (`context_length_exceeded`, `content_filter`: what
    fallbacks go by).
    """
    param: str | None = None
    status: int | None = None
    """Where the provider's own status isn't one that OpenAI's clients know (Anthropic's 529); None:
    as it was.
    """


class StreamTranslator(Protocol):
    """Of one stream. `feed` and `finish` raise UnreadableAnswerError."""

    def feed(self, data: bytes) -> list[bytes]:
        """What arrived (cut anywhere) → whole events in the format's wire, each `data: ...` with
        its blank line.

        The last event before the end has the usage, in a chunk without choices as OpenAI sends it;
        who reads the events hides it where the client didn't ask. An error of the provider is an
        event `data: {"error": {...}}`, the last. `[DONE]` is said when the provider's own end was
        seen.
        """

    def finish(self) -> list[bytes]:
        """The provider's bytes are over. Without `[DONE]` so far the stream counts as cut off."""


class Translator(Protocol):
    """A module: one format into one provider's wire and back. Pure."""

    def request(self, fields: Mapping[str, msgspec.Raw], model: str, options: Options) -> bytes:
        """The body for the provider. Raises RefusedError (400, with the parameter) for what can't
        be said in its wire.
        """

    def answer(self, body: bytes, options: Options) -> bytes:
        """A whole answer in the format's wire, with its usage. Raises UnreadableAnswerError."""

    def error(self, body: bytes, status: int) -> ErrorSaid | None:
        """What an answer of `status` >= 400 (or a 200 that holds an error) says; None when it isn't
        in the provider's shape.
        """

    def Stream(self, options: Options) -> StreamTranslator: ...


class Credentials(Protocol):
    """Of a deployment whose every request needs something made for it: a token that ends, a
    signature.
    """

    async def headers(self, method: str, path: str, body: bytes) -> bytes:
        """A block of header lines. Raises CredentialsError."""


class CredentialsError(Exception):
    """There is no credential to call with; the text names no secret. Nothing was sent."""


class Target(msgspec.Struct, frozen=True):
    """A deployment, ready to be called: a request adds only its body."""

    deployment: Deployment
    provider: "Provider"
    origin: Origin | None
    """None: it answers by itself (`Provider.play`)."""
    base_path: str
    headers: bytes
    """All headers a provider gets, rendered once. None of them is the caller's."""
    deadlines: Deadlines
    stream_deadlines: Deadlines
    credentials: Credentials | None = None
    parameters: Parameters | None = None
    """What is added to a request's parameters or taken from them; None: nothing ever."""
    modify_params: bool = False
    parallel_max: int | None = None
    """Calls it may have at once, from this edge; None: any number."""


class Provider(Protocol):
    """One kind of upstream. Instances are made once and hold nothing of a request."""

    wires: Mapping[str, str]
    """Formats it speaks itself, byte for byte, each with the path it is asked at."""
    translators: Mapping[str, Translator]
    """The others, by format."""

    def target(self, deployment: Deployment, user_agent: str) -> Target:
        """Raises ConfigError."""

    def path(self, target: Target, format: str, model: str, *, stream: bool) -> str:
        """The request's target at the origin."""

    def play(self, target: Target, format: str, call: Call, response_id: str, now_s: int) -> Iterator[bytes]:
        """What it answers where it needs no upstream: whole, or as a stream's events."""


def deadlines(timeout_ms: int) -> Deadlines:
    return Deadlines(
        connect_ms=min(5_000, timeout_ms),
        first_byte_ms=timeout_ms,
        idle_ms=min(300_000, timeout_ms),
        total_ms=timeout_ms,
    )


def target(
    provider: Provider,
    deployment: Deployment,
    user_agent: str,
    headers: Mapping[str, str],
    credentials: Credentials | None = None,
    api_base: str | None = None,
) -> Target:
    """A Target with the provider's own headers, then the entry's. Raises ConfigError naming the
    model, and no secret.
    """
    where = f"model {deployment.model_name!r}"
    merged = {"content-type": "application/json", "accept": "*/*", "user-agent": user_agent, **headers}
    merged.update((name.lower(), value) for name, value in deployment.extra_headers.items())
    merged["accept-encoding"] = "identity"  # a stream is read while it passes
    try:
        rendered = render_headers(merged.items())
    except ValueError as error:
        raise ConfigError(f"{where}: a header can't be sent: {error}") from None
    try:
        origin, base_path = Origin.parse(deployment.api_base if api_base is None else api_base)
    except ValueError as error:
        raise ConfigError(f"{where}: api_base: {error}") from None
    if deployment.params.ssl_verify is not None:
        try:
            context(deployment.params.ssl_verify)
        except SettingsError as error:
            raise ConfigError(f"{where}: {error}") from None
        origin = msgspec.structs.replace(origin, verify=deployment.params.ssl_verify)
    usual = deadlines(deployment.timeout_ms)
    streaming = usual
    if deployment.stream_timeout_ms is not None:
        streaming = msgspec.structs.replace(
            usual,
            first_byte_ms=deployment.stream_timeout_ms,
            idle_ms=min(usual.idle_ms, deployment.stream_timeout_ms),
        )
    return Target(deployment, provider, origin, base_path, rendered, usual, streaming, credentials)


def no_play(*_: Any) -> Iterator[bytes]:
    raise NotImplementedError("only a provider without an upstream plays")

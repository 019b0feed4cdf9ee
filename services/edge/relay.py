"""From a provider's answer to the client's: in one piece, or events as they come. Both look at what
an answer is, not at how it is labelled.

Until something of an answer has come, a failure is raised (failures.Failure) and the call may go on
elsewhere; the client has nothing yet. From then on the answer is this provider's, and whatever
happens is told to the client and settled here. `[DONE]` and the last byte go out only once the end
is recorded.
"""

import asyncio
from typing import Final

import msgspec

from services.edge import answers, counting, failures, size_checks, texts
from services.edge.account import Account
from services.edge.failures import Failure
from services.edge.formats import events
from services.edge.formats.gathered import GatheringError
from services.edge.formats.openai import images_in
from services.edge.formats.wire import BOM
from services.edge.http import Answer
from services.edge.parts import Parts
from services.edge.providers.base import Options, Target, Translator, UnreadableAnswerError
from services.edge.sizes import MB
from services.edge.sources import DRAIN_S, Chunks, Source, chunks_of
from services.edge.streaming import Streaming, named
from services.edge.upstream import UpstreamError
from services.edge.usage import openai as usages
from services.edge.usage.reconcile import filled, is_half
from shared import errors
from shared.billing import Usage
from shared.decoding import UNREADABLE
from shared.errors import RefusedError

SNIFF_BYTES_MAX: Final = 65_536
HELD_FROM_BYTES: Final = 4096
"""A smaller answer is covered by its connection's flat share (http/budget.py)."""
_NOT_EVENTS: Final = b'{["<'
"""No line of an event stream begins with one of these."""
_SPACE: Final = b" \t\r\n"


class Relay:
    """One attempt's answer on its way. Made when the provider's head is there.

    Args:
        translator, options: None: the provider speaks the client's format.
    """

    __slots__ = ("_account", "_options", "_parts", "_source", "_target", "_translator", "draining", "reader")

    def __init__(
        self,
        parts: Parts,
        account: Account,
        source: Source,
        target: Target,
        translator: Translator | None,
        options: Options | None,
    ) -> None:
        self._parts = parts
        self._account = account
        self._source = source
        self._target = target
        self._translator = translator
        self._options = options
        self.reader: events.Reader | None = None
        """Of a stream: what has been read, should the client leave."""
        self.draining = False
        """The rest of the body is read by a task of its own."""

    @property
    def _provider(self) -> str:
        return self._account.candidate.provider

    async def pass_on(self) -> Answer:
        """Raises Failure while the client has nothing; RefusedError where a guardrail says no."""
        source, asked = self._source, self._account.asked
        if source.status >= 300:
            raise await self._failure()
        if not asked.call.stream:
            clock = self._parts.clock
            before = None if source.complete else clock.seconds()  # mostly it is all here
            try:
                body = await source.read(
                    self._parts.settings.edge_answer_bytes_max, asked.request.hold, HELD_FROM_BYTES
                )
            except UpstreamError as error:
                raise failures.of_upstream(error, self._provider) from None
            finally:
                if before is not None:
                    self._account.provider_s += clock.seconds() - before
            return await self._whole(body)
        try:
            chunks = chunks_of(source)
            start = await self._start(chunks)
            if self._is_whole(start):
                return await self._whole(await self._read_on(start, chunks))
        except UpstreamError as error:
            raise failures.of_upstream(error, self._provider) from None
        return await self._events(start, chunks)

    # ── what it is ──

    async def _start(self, chunks: Chunks) -> bytes:
        """Enough of a stream to see what it is; b"" where it ended before that."""
        start = b""
        while not start.removeprefix(BOM).strip(_SPACE) and len(start) < SNIFF_BYTES_MAX:
            chunk = await self._next(chunks)
            if not chunk:
                return start
            start += chunk
        return start

    def _is_whole(self, start: bytes) -> bool:
        """Whether what was asked for as a stream comes in one piece (or as an error page) all the
        same.
        """
        if self._translator is not None:
            kind = (self._source.header(b"content-type") or b"").lower()
            return kind.startswith((b"application/json", b"text/html")) and b"stream" not in kind
        return start.removeprefix(BOM).lstrip(_SPACE)[:1] in _NOT_EVENTS if start.strip(_SPACE) else False

    async def _failure(self) -> Failure:
        """What the provider refused. What can't be read still has a status."""
        source = self._source
        try:
            body = await source.read(failures.ERROR_BYTES_MAX)
        except UpstreamError:
            body = b""
        return failures.of_status(source.status, body, source.headers, self._provider, self._translator)

    # ── in one piece ──

    async def _read_on(self, start: bytes, chunks: Chunks) -> bytes:
        pieces, size = [start], len(start)
        while chunk := await self._next(chunks):
            size += len(chunk)
            if size > self._parts.settings.edge_answer_bytes_max:
                self._source.abort()
                raise Failure("too_large", self._provider)
            if not self._account.asked.request.hold(len(chunk)):
                self._source.abort()
                raise Failure("no_room", self._provider)
            pieces.append(chunk)
        return b"".join(pieces)

    async def _whole(self, body: bytes) -> Answer:
        parts, account = self._parts, self._account
        asked = account.asked
        format, content_type = asked.format, self._source.header(b"content-type")
        if self._translator is not None:
            body, content_type = self._translated(self._translator, body), None
        judged = format.judge(body)
        if judged.problem == "unreadable" and format.streams and events.BEGINNING.match(body.removeprefix(BOM)):
            body = self._gathered(body)
            judged = format.judge(body)
        if judged.problem == "error_answer":
            raise failures.of_error_answer(body, self._provider)
        if judged.problem is not None:
            raise failures.of_nothing(judged.problem, body, self._provider)
        if format.one_each and format.lacks(asked.call, judged.head):
            raise Failure("too_few", self._provider)
        if asked.call.stream:
            return await self._as_events(body)
        head = judged.head
        usage = usages.read(head, generates=format.output_bound, provider=self._target.deployment.provider)
        if format.makes_images:
            usage = msgspec.structs.replace(usage or Usage(source="provider"), images=images_in(head))
        elif usage is None or is_half(usage, generates=format.output_bound):
            counted = await counting.count(parts, account, texts.of_answer(body), "estimated")
            usage = counted if usage is None else filled(usage, counted)
        grant = asked.permit.grant
        mb = size_checks.response_mb(parts, grant)
        if mb is not None and len(body) > mb * MB:
            too_large = size_checks.response_refusal(parts, grant, asked.route.name, asked.head.ip, len(body), mb)
            await account.settle_durably("blocked", too_large.status, usage, head, too_large.code)
            raise RefusedError(too_large)
        refusal = None
        if parts.own_hooks is not None and parts.own_hooks.change_answers:
            caller = asked.permit.grant.caller
            body, refusal = await parts.own_hooks.answered(body, asked.call, asked.route, caller, asked.request)
        if asked.permit.guardrails and refusal is None:
            refusal = await asked.screening.beside()
            if refusal is None and asked.screening.has("post_call"):
                body, refusal = await asked.screening.answer(body)
        if refusal is not None:
            await account.settle_durably("blocked", refusal.status, usage, head, refusal.code)
            raise RefusedError(refusal)
        if account.content is not None:
            account.content.add(body)
        cost = account.settle("success", self._source.status, usage, head)
        await account.durable()
        said = named(account, self._source)
        return answers.whole(said, body, self._source.status, content_type, cost, account.shares)

    def _gathered(self, body: bytes) -> bytes:
        """Of a provider that streams although nobody asked for it. Raises Failure."""
        try:
            return self._account.asked.format.as_whole(body.removeprefix(BOM))
        except GatheringError as error:
            if error.error:
                raise failures.of_error_answer(error.error, self._provider) from None
            raise Failure(error.cause, self._provider) from None

    def _translated(self, translator: Translator, body: bytes) -> bytes:
        """In the client's wire. What is in it already stays as it is: some relays speak OpenAI's
        whoever they stand for.
        """
        try:
            assert self._options is not None
            return translator.answer(body, self._options)
        except UnreadableAnswerError:
            if self._account.asked.format.judge(body).problem is None:
                return body
            said = translator.error(body, 502)
            if said is not None:
                body = failures.as_openai(said, said.status or 502)
            return body

    # ── events ──

    async def _as_events(self, body: bytes) -> Answer:
        """A whole answer as the stream that was asked for."""
        try:
            made = self._account.asked.format.as_events(body)
        except (*UNREADABLE, AttributeError, TypeError):
            raise Failure("unreadable", self._provider) from None
        self._translator = None
        return await self._events(made, _Nothing())

    async def _events(self, start: bytes, chunks: Chunks) -> Answer:
        """Events as they come."""
        translating = None
        if self._translator is not None:
            assert self._options is not None
            translating = self._translator.Stream(self._options)
        parts, account, said_by = self._parts, self._account, self._target.deployment.provider
        mb = size_checks.response_mb(parts, account.asked.permit.grant)
        streaming = Streaming(parts, account, self._source, chunks, translating, said_by, mb)
        self.reader = streaming.reader
        await streaming.pass_on(start)
        return await self._end(streaming)

    async def _next(self, chunks: Chunks) -> bytes:
        clock, account = self._parts.clock, self._account
        before = clock.seconds()
        try:
            return await chunks.next_chunk()
        finally:
            account.provider_s += clock.seconds() - before

    async def _end(self, streaming: Streaming) -> Answer:
        parts, account, source = self._parts, self._account, self._source
        out, reader, failure = streaming.out, streaming.reader, streaming.failure
        usage = reader.usage
        if usage is None or is_half(usage, generates=True):
            counted = await counting.count_stream(
                parts, account, reader, "estimated" if failure is None else "lower_bound"
            )
            usage = counted if usage is None else filled(usage, counted)
        status, code = (200, None) if failure is None else (failure.status, failure.code)
        await account.settle_durably(streaming.outcome, status, usage, reader.head(), code)
        if failure is None:
            await out.write(events.DONE)
        elif not reader.failed or streaming.outcome != "provider_error":
            await out.write(events.error_event(errors.render(failure)))
        await out.end()
        if failure is None and not source.complete:
            # [DONE] is here but the body's end isn't: wait a moment for it, so that the connection
            # can be used again.
            self.draining = True
            parts.tasks.start(drain(source))
        return out


class _Nothing:
    async def next_chunk(self) -> bytes:
        return b""

    async def arrived(self, within_s: float) -> bool:
        return True


async def drain(source: Source) -> None:
    """Read what is left of a body that is over, for a moment; past that the connection is
    closed.
    """
    try:
        async with asyncio.timeout(DRAIN_S):
            while await source.next_chunk():
                pass
    except (UpstreamError, TimeoutError):
        pass
    finally:
        if not source.complete:
            source.abort()

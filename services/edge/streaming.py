"""A provider's events on their way to the client, as they come.

Held back until one of them says something: until then the client has nothing, and a failure is
raised (failures.Failure), so that the call may go on elsewhere. From then on whatever happens is
told to the client. How it ended is in `outcome` and `failure`; relay.py settles it.
"""

from typing import Final

from services.edge import answers, failures, size_checks
from services.edge.account import Account
from services.edge.failures import Failure
from services.edge.formats import events
from services.edge.http import StreamAnswer
from services.edge.parts import Parts
from services.edge.providers.base import StreamTranslator, UnreadableAnswerError
from services.edge.screening import StreamWindow
from services.edge.sizes import MB
from services.edge.sources import Chunks, Source
from services.edge.upstream import UpstreamError
from shared import errors
from shared.errors import Refusal

HOLD_S: Final = 10.0
"""Longer than this a stream's comments and empty events aren't held back for its first content: a
client's proxy would tire.
"""


def named(account: Account, source: Source) -> str:
    """What an answer says of its call: the provider's own lines, and the guardrails that ran,
    too.
    """
    passed = failures.passed_lines(source.headers)
    if account.asked.permit.guardrails:
        passed += account.asked.screening.header()
    return account.named(passed)


class Streaming:
    """
    Args:
        said_by: whose usage is read: LiteLLM's name of the provider.
        response_mb: how much may be answered; None: all.
    """

    def __init__(
        self,
        parts: Parts,
        account: Account,
        source: Source,
        chunks: Chunks,
        translating: StreamTranslator | None,
        said_by: str,
        response_mb: float | None,
    ) -> None:
        asked = account.asked
        self._clock = parts.clock
        self._parts = parts
        self._account = account
        self._source = source
        self._chunks = chunks
        self._translating = translating
        self._provider = account.candidate.provider
        self._mb = response_mb
        self._window = StreamWindow(asked.screening) if asked.screening.has("post_call") else None
        self._is_watched = self._window is not None or response_mb is not None or account.content is not None
        """Somebody looks at what goes out."""
        self._said_bytes = 0
        self._held: list[bytes] = []
        self._out: StreamAnswer | None = None
        self.reader = events.Reader(hide_usage=not (asked.call.wants_usage or parts.show_usage), provider=said_by)
        self.failure: Refusal | None = None
        self.outcome = "success"

    @property
    def out(self) -> StreamAnswer:
        """The answer. There is one once `pass_on` has returned."""
        assert self._out is not None
        return self._out

    async def pass_on(self, start: bytes) -> None:
        """All but what says that it is over. Raises Failure while the client has nothing;
        RefusedError where a guardrail says no.

        Args:
            start: what has been read already; b"": nothing.
        """
        try:
            await self._pass_on(start or await self._first())
        except UpstreamError as error:
            if self._out is None:
                raise Failure("early_timeout" if error.kind == "timeout" else "early_end", self._provider) from None
            said = failures.of_upstream(error, self._provider)
            self.failure, self.outcome = said.refusal(), said.row.outcome
        except (events.EventTooLargeError, UnreadableAnswerError):
            if self._out is None:
                raise Failure("unreadable", self._provider) from None
            self._broke(errors.provider_broke_off(self._provider))
        reader = self.reader
        if self.failure is None and (reader.failed or not (reader.done or reader.finished)):
            # An error event, or a clean end of the connection in the middle of what was being said.
            self._broke(errors.provider_broke_off(self._provider))
        elif self.failure is None and not reader.begun:
            self._broke(errors.provider_bad_answer(self._provider))

    async def _pass_on(self, data: bytes) -> None:
        reader, translating, clock, account = self.reader, self._translating, self._clock, self._account
        next_chunk = self._chunks.next_chunk
        hold_until = clock.seconds() + HOLD_S
        while data:
            if translating is not None:
                data = b"".join(translating.feed(data))
            whole = reader.feed(data) if data else b""
            if self._out is None and (reader.begun or clock.seconds() > hold_until):
                await self._begin()
                if self.failure is not None:
                    return
            if self._out is None:
                self._held.append(whole)
                if reader.failed:
                    break
            elif not self._is_watched and not self._held:
                if whole and not self._out.put(whole):
                    await self._out.drained()
            elif not await self._say(whole):
                return
            if reader.done:
                break
            before = clock.seconds()
            try:
                if self._out is None and not await self._chunks.arrived(hold_until - before):
                    await self._begin()  # silence behind comments and a role: the client hears of them
                    if self.failure is not None or not await self._say(b""):
                        return
                data = await next_chunk()
            finally:
                account.provider_s += clock.seconds() - before
        rest = self._rest()
        if self._out is None:
            if not reader.begun or reader.failed:
                self._never_began()
            await self._begin()
        if self.failure is None:
            await self._say(rest, last=True)

    async def _begin(self) -> None:
        """The client gets its head: this provider's answer it is. Unless a guardrail beside the
        call says no.
        """
        asked = self._account.asked
        if asked.permit.guardrails:
            self._blocked(await asked.screening.beside())
        out = self._out = answers.stream(named(self._account, self._source))
        await out.start(asked.request)

    async def _say(self, whole: bytes, *, last: bool = False) -> bool:
        """What was held back, and this, as far as it may go out. False: it may not, and nothing
        more is said.
        """
        if self._held:
            whole = b"".join((*self._held, whole))
            self._held = []
        window = self._window
        if window is not None:
            if whole:
                whole, refusal = await window.feed(whole)
                self._blocked(refusal)
            if last and self.failure is None:
                rest, refusal = await window.end()
                self._blocked(refusal)
                whole += rest
        if self.failure is None and whole:
            self._blocked(self._too_much(whole))
        if self.failure is not None:
            return False
        await self.out.write(whole)
        return True

    def _too_much(self, data: bytes) -> Refusal | None:
        """Counts, and keeps where it is wanted, what goes out; the refusal where that is more than
        may be.
        """
        self._said_bytes += len(data)
        account, mb = self._account, self._mb
        if account.content is not None:
            account.content.add(data)
        if mb is None or self._said_bytes <= mb * MB:
            return None
        asked = account.asked
        grant, route, ip = asked.permit.grant, asked.route.name, asked.head.ip
        return size_checks.response_refusal(self._parts, grant, route, ip, self._said_bytes, mb)

    def _rest(self) -> bytes:
        """What is left when the provider's bytes are over."""
        reader, rest = self.reader, b""
        if self._translating is not None and not reader.done:
            data = b"".join(self._translating.finish())
            rest = reader.feed(data) if data else b""
        return rest if reader.done else rest + reader.finish()

    def _never_began(self) -> None:
        """Raises what a stream is that said nothing of an answer."""
        if self.reader.failed:
            raise failures.of_error_answer(self.reader.error, self._provider)
        raise failures.of_nothing("empty", events.last_data(b"".join(self._held)), self._provider)

    async def _first(self) -> bytes:
        before = self._clock.seconds()
        try:
            return await self._chunks.next_chunk()
        except UpstreamError as error:
            raise failures.of_upstream(error, self._provider) from None
        finally:
            self._account.provider_s += self._clock.seconds() - before

    def _blocked(self, refusal: Refusal | None) -> None:
        if refusal is not None:
            self.failure, self.outcome = refusal, "blocked"

    def _broke(self, refusal: Refusal) -> None:
        self.failure, self.outcome = refusal, "provider_error"

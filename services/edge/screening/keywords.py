"""Texts that hold none of an operator's keywords, seen here without asking.

Moderation decides what may be said; that a text holds no keyword is all that is seen here, by the
matcher and the list that moderation goes by, and nearly every text holds none. So the texts of most
calls needn't cross the bus. Anything else is asked: a text that holds one, a stream, a long text.

A copy of a list counts for FRESH_S after a question whose answer said the same version; the first
call after that asks, which confirms it again or shows that there is another list.
"""

import asyncio
import time
import weakref
from collections.abc import Callable

import msgspec
import structlog

from services.edge.formats.base import Text
from services.edge.screening.slices import groups_of
from shared import bus, subjects
from shared.bus import BusClient
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.guardrails import EVERYTHING
from shared.keywords.matching import Matcher, effort
from shared.requests import KeywordsReply, KeywordsRequest

log = structlog.get_logger()

FRESH_S = 0.5
"""As long as moderation itself may not have seen that a file changed."""
AGAIN_S = 60.0
"""Until a guardrail that told no list is asked for one again."""
KEYWORDS_TIMEOUT_MS = 2_000
EFFORT_MAX = 400_000
"""Of the texts of a call that are looked at here, times the lists: 1 ms of ASCII, at most some
20 ms of odd letters. More, and what isn't seen in one step, is moderation's work: it has threads.
"""
TEXTS_MAX = 500
LISTS_MAX = 32
"""Guardrails whose lists are kept."""


class _Copy(msgspec.Struct):
    matcher: Matcher
    confirmed_at: float
    """When the last question was sent whose answer said this version."""


class Keywords:
    def __init__(self, client: BusClient, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._copies: dict[str, _Copy] = {}
        self._not_before: dict[str, float] = {}
        """When a guardrail's list may be asked for again; inf: it is being asked for."""
        self._asking: set[asyncio.Task[None]] = set()

    def clear(self, refs: list[GuardrailRef], stage: str, texts: list[Text]) -> list[GuardrailOutcome] | None:
        """What the guardrails say, where all of them go by lists known here, and no text holds a
        word of them. None: ask.
        """
        fresh = self._clock() - FRESH_S
        copies = [copy for ref in refs if (copy := self._copies.get(ref.name)) and copy.confirmed_at >= fresh]
        if len(copies) < len(refs) or len(texts) > TEXTS_MAX:
            return None
        if sum(effort(text.text) for text in texts) * len(refs) > EFFORT_MAX:
            return None
        outcomes, messages = [], _messages(texts)
        for ref, copy in zip(refs, copies, strict=True):
            started = time.perf_counter()
            if not all(map(copy.matcher.clear_at_once, messages)):
                return None
            took_ms = (time.perf_counter() - started) * 1000
            outcomes.append(GuardrailOutcome(ref.name, stage, "allow", took_ms, rules=copy.matcher.version))
        return outcomes

    def heard(self, refs: list[GuardrailRef], asked_at: float, outcomes: list[GuardrailOutcome]) -> None:
        """What an answer says of the versions that moderation goes by.

        Args:
            asked_at: by this object's clock, before the question was sent.
        """
        rules = {outcome.name: outcome.rules for outcome in outcomes if outcome.action != "error"}
        for ref in refs:
            version = rules.get(ref.name)
            if not version or not ref.at_once:
                continue
            copy = self._copies.get(ref.name)
            if copy is not None and copy.matcher.version == version:
                copy.confirmed_at = max(copy.confirmed_at, asked_at)
            else:
                self._copies.pop(ref.name, None)
                self._fetch(ref.name)

    def now(self) -> float:
        return self._clock()

    def _fetch(self, name: str) -> None:
        not_before = self._not_before.get(name, 0.0 if len(self._not_before) < LISTS_MAX else float("inf"))
        if self._clock() < not_before:
            return
        self._not_before[name] = float("inf")
        task = asyncio.create_task(self._fetched(name))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _fetched(self, name: str) -> None:
        wait_s = AGAIN_S
        try:
            asked_at = self._clock()
            question = KeywordsRequest(name)
            reply = await bus.ask(
                self._client, subjects.MODERATION_KEYWORDS, question, KeywordsReply, KEYWORDS_TIMEOUT_MS
            )
            if reply.version:
                matcher = await asyncio.to_thread(_matcher, reply)
                if matcher.version == reply.version:  # or its matcher is of another release
                    self._copies[name] = _Copy(matcher, asked_at)
                    wait_s = FRESH_S
        except bus.BusError as error:
            log.info("keywords_not_told", error=error.code)
        finally:
            self._not_before[name] = self._clock() + wait_s


def _matcher(reply: KeywordsReply) -> Matcher:
    return Matcher(reply.keywords, homoglyphs=reply.homoglyphs)


def _messages(texts: list[Text]) -> list[list[str]]:
    """As moderation reads them: parts of one message together."""
    messages: list[list[str]] = []
    last = 0
    for text, group in zip(texts, groups_of(texts), strict=True):
        if text.kind not in EVERYTHING:
            continue
        if group and group == last:
            messages[-1].append(text.text)
        else:
            messages.append([text.text])
        last = group
    return messages


_of: "weakref.WeakKeyDictionary[BusClient, Keywords]" = weakref.WeakKeyDictionary()


def of(client: BusClient) -> Keywords:
    """This connection's: what one moderation says isn't another's."""
    known = _of.get(client)
    if known is None:
        known = _of[client] = Keywords(client)
    return known

"""Asking moderation, and what the edge does with a verdict.

Texts go in slices that fit a bus message; a text too long for one is cut with an overlap of the guardrail's window, so that
nothing can hide at the cut.
"""

from collections.abc import Iterator

import structlog

from services.edge import texts
from services.edge.sse import data_of, split_events
from shared import bus, errors, subjects
from shared.bus import BusClient
from shared.errors import Refusal
from shared.facts import GuardrailOutcome
from shared.grant import GuardrailRef
from shared.requests import CountReply, CountRequest, ScreenRequest, Verdict

log = structlog.get_logger()

SLICE_CHARACTERS_MAX = 200_000
"""Of one question: at most 4 bytes a character, under NATS's 1 MB default."""
OVERLAP_CHARACTERS_MAX = SLICE_CHARACTERS_MAX // 2
COUNT_TIMEOUT_MS = 1_000
CHARACTERS_PER_TOKEN = 4
"""The rule of thumb where even moderation can't count."""


class Screening:
    """Collects what the guardrails said of one request."""

    def __init__(
        self, client: BusClient, guardrails: list[GuardrailRef], call_type: str, customer_id: str | None
    ) -> None:
        self._client = client
        self._guardrails = guardrails
        self._call_type = call_type
        self._customer_id = customer_id
        self.outcomes: list[GuardrailOutcome] = []

    def names(self) -> list[str]:
        return [guardrail.name for guardrail in self._guardrails]

    def has(self, stage: str) -> bool:
        return any(stage in guardrail.stages for guardrail in self._guardrails)

    def window(self) -> int:
        """Characters a stream must be held back by."""
        return max((g.window_characters for g in self._guardrails if "post_call" in g.stages), default=0)

    async def screen(self, stage: str, said: list[str]) -> Refusal | None:
        """None: it may be said. Asks the guardrails of the stage; never raises."""
        refs = [guardrail for guardrail in self._guardrails if stage in guardrail.stages]
        if not refs:
            return None
        overlap = max(ref.window_characters for ref in refs)
        for part in slices(said, overlap):
            refusal = await self._ask(stage, refs, part)
            if refusal is not None:
                return refusal
        return None

    async def _ask(self, stage: str, refs: list[GuardrailRef], part: list[str]) -> Refusal | None:
        question = ScreenRequest([ref.name for ref in refs], stage, part, self._call_type, self._customer_id)
        deadline_ms = max(ref.deadline_ms for ref in refs)
        at_once = all(ref.at_once for ref in refs)
        try:
            verdict = await bus.ask(
                self._client, subjects.MODERATION_SCREEN, question, Verdict, deadline_ms, together=at_once
            )
        except bus.BusError as error:
            log.warning("screening_failed", stage=stage, error=error.code)
            verdict = Verdict("error", [GuardrailOutcome(ref.name, stage, "error") for ref in refs])
        self._note(verdict.outcomes)
        if verdict.action == "block":
            return errors.blocked_content(verdict.message, verdict.status)
        for outcome in verdict.outcomes:
            # A redaction nobody applied would let through what a guardrail objected to: treated as no answer.
            if outcome.action in ("error", "redact") and self._blocks_on_error(outcome.name):
                return errors.guardrail_unavailable(outcome.name)
        return None

    def _blocks_on_error(self, name: str) -> bool:
        return all(ref.on_error == "block" for ref in self._guardrails if ref.name == name)

    def _note(self, outcomes: list[GuardrailOutcome]) -> None:
        """One line a guardrail and stage: what a stream's many screenings found, the worst of them last."""
        for outcome in outcomes:
            self.outcomes = [
                o for o in self.outcomes if (o.name, o.stage) != (outcome.name, outcome.stage) or o.action != "allow"
            ]
            if outcome.action != "allow" or all(
                (o.name, o.stage) != (outcome.name, outcome.stage) for o in self.outcomes
            ):
                self.outcomes.append(outcome)


class StreamWindow:
    """Holds a stream's events back until what they say, and `window` characters more, has been allowed.

    Keeps per channel (a choice's field) the tail of what was screened, so that a finding across chunk borders is seen whole
    before its last part goes out, and in a stream of one channel before its first.
    """

    def __init__(self, screening: Screening) -> None:
        self._screening = screening
        self._window = max(1, screening.window())
        self._tails: dict[str, str] = {}
        self._held: list[tuple[bytes, int]] = []
        """(event, characters it adds)."""
        self._held_characters = 0

    async def feed(self, whole_events: bytes) -> tuple[bytes, Refusal | None]:
        """What may go out now, or why nothing more may."""
        said: dict[str, str] = {}
        for event in split_events(whole_events):
            added = 0
            for channel, text in texts.of_chunk(data_of(event)):
                said[channel] = said.get(channel, self._tails.get(channel, "")) + text
                added += len(text)
            self._held.append((event, added))
            self._held_characters += added
        if said:
            refusal = await self._screening.screen("post_call", list(said.values()))
            if refusal is not None:
                return b"", refusal
            for channel, text in said.items():
                self._tails[channel] = text[-self._window :]
        return self._release(self._window), None

    def end(self) -> bytes:
        """The stream is over and everything was allowed: what is still held."""
        return self._release(0)

    def _release(self, keep_characters: int) -> bytes:
        out = []
        while self._held and self._held_characters - self._held[0][1] >= keep_characters:
            event, added = self._held.pop(0)
            self._held_characters -= added
            out.append(event)
        return b"".join(out)


def slices(said: list[str], overlap: int) -> Iterator[list[str]]:
    """Lists of texts, each list small enough for one question."""
    overlap = min(overlap, OVERLAP_CHARACTERS_MAX)
    part: list[str] = []
    room = SLICE_CHARACTERS_MAX
    for text in said:
        start = 0
        while True:
            piece = text[start : start + SLICE_CHARACTERS_MAX]
            if part and len(piece) > room:
                yield part
                part, room = [], SLICE_CHARACTERS_MAX
            part.append(piece)
            room -= len(piece) + 16
            if start + SLICE_CHARACTERS_MAX >= len(text):
                break
            start += SLICE_CHARACTERS_MAX - overlap
    if part:
        yield part


async def count_tokens(client: BusClient, model: str, said: list[str]) -> int:
    """How many tokens these texts are: counted by moderation, by a rule of thumb when it can't. Never raises."""
    total = 0
    for part in slices(said, 0):
        try:
            reply = await bus.ask(
                client, subjects.MODERATION_COUNT, CountRequest(model, part), CountReply, COUNT_TIMEOUT_MS
            )
            total += sum(reply.tokens)
        except bus.BusError as error:
            log.warning("count_failed", error=error.code)
            total += sum(-(-len(text) // CHARACTERS_PER_TOKEN) for text in part)
    return total

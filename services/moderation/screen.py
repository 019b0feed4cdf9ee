"""One question, start to finish: the named guardrails look at the texts in the table's order, each
with its deadline.

Those that only object run side by side; what redacts goes alone, and those after it see its work: a
secret that one guardrail hides isn't shown to the next, nor to the service it asks.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterable
from typing import Protocol, runtime_checkable

import structlog

from services.moderation.guardrails import Finding, asked
from services.moderation.guardrails.loaded import Loaded
from services.moderation.inspection import Inspection
from services.moderation.metrics import UNKNOWN, GuardrailMetrics
from services.moderation.verdict import Result, compose, decide
from shared.requests import (
    KeywordsReply,
    KeywordsRequest,
    Redaction,
    ScreenRequest,
    ServicesReply,
    ServiceState,
    Verdict,
)

log = structlog.get_logger()


@runtime_checkable
class Lists(Protocol):
    """A guardrail that goes by a list of keywords alone."""

    def told(self) -> KeywordsReply: ...


class Screen:
    """Holds the loaded guardrails and answers `moderation.screen`."""

    def __init__(self, guardrails: Iterable[Loaded]) -> None:
        """`guardrails`: in the order they run."""
        self._metrics = {UNKNOWN: GuardrailMetrics(UNKNOWN)}
        self._guardrails: dict[str, Loaded] = {}
        self._use(guardrails)

    async def replace(self, guardrails: Iterable[Loaded]) -> None:
        """From the next question on; what runs goes on with those it began with, whose connections
        end after it.
        """
        before = self._guardrails
        self._use(guardrails)
        for circuit in (circuit for loaded in before.values() for circuit in loaded.circuits):
            if circuit.ending is not None:
                await circuit.ending()

    def _use(self, guardrails: Iterable[Loaded]) -> None:
        self._guardrails = {loaded.name: loaded for loaded in guardrails}
        for name in self._guardrails:
            self._metrics.setdefault(name, GuardrailMetrics(name))

    def services(self) -> ServicesReply:
        """How the services that guardrails ask are doing, as this replica sees it."""
        return ServicesReply(
            [
                ServiceState(name, loaded.enabled.spec.needs, c.state, c.failures, c.error, c.seconds_ago)
                for name, loaded in self._guardrails.items()
                for c in loaded.circuits
            ]
        )

    def keywords(self, request: KeywordsRequest) -> KeywordsReply:
        loaded = self._guardrails.get(request.guardrail)
        return (
            loaded.guardrail.told() if loaded is not None and isinstance(loaded.guardrail, Lists) else KeywordsReply()
        )

    def screen(self, request: ScreenRequest) -> Verdict | Awaitable[Verdict]:
        """At once where every guardrail answers at once.

        Never raises: a guardrail that can't answer, or that isn't here, is an outcome `error`, not
        silence.
        """
        asked = dict.fromkeys(request.guardrails)
        known = [loaded for name, loaded in self._guardrails.items() if name in asked]
        unknown = [name for name in asked if name not in self._guardrails]
        if unknown:
            log.warning("unknown_guardrails", count=len(unknown), first=unknown[0][:80])
        run = _Run(Inspection.of(request), [Result(name, None) for name in unknown])
        rounds = _rounds(known)
        for i, together in enumerate(rounds):
            looks = [_inspect(loaded, run.inspection) for loaded in together]
            done = [look for look in looks if isinstance(look, Result)]
            if len(done) < len(looks):
                return self._wait(run, rounds[i + 1 :], looks, known)
            run.take(done)
            if run.blocked:
                break
        return self._verdict(run, known)

    async def _wait(
        self, run: "_Run", left: list[list[Loaded]], looks: list[Result | Awaitable[Result]], known: list[Loaded]
    ) -> Verdict:
        run.take(await asyncio.gather(*(_awaited(look) for look in looks)))
        for together in left:
            if run.blocked:
                break
            found = [_inspect(loaded, run.inspection) for loaded in together]
            run.take(await asyncio.gather(*(_awaited(look) for look in found)))
        return self._verdict(run, known)

    def _verdict(self, run: "_Run", known: list[Loaded]) -> Verdict:
        results = sorted(run.results, key=lambda result: _place(result.name, known))
        for result in results:
            metrics = self._metrics.get(result.name) or self._metrics[UNKNOWN]
            metrics.observe(result.recorded, result.duration_ms)
        open_from = None
        if run.asked.partial:
            open_from = (
                [min(_open_from(loaded, text) for loaded in known) for text in run.asked.texts] if known else None
            )
        return decide(results, run.asked.stage, run.redactions, open_from)


class _Run:
    """One question while it is worked on."""

    def __init__(self, inspection: Inspection, results: list[Result]) -> None:
        self.asked = self.inspection = inspection
        self.results = results
        self.redactions: list[Redaction] = []
        """Of the texts as they were asked about."""
        self.blocked = False

    def take(self, results: list[Result]) -> None:
        self.results += results
        for result in results:
            if result.shadow:
                continue
            self.blocked = self.blocked or result.action == "block"
            new = result.redactions()
            if new and not self.blocked:
                self.redactions = compose(self.redactions, new)
                self.inspection = self.asked.with_redactions(self.redactions)


def _rounds(known: list[Loaded]) -> list[list[Loaded]]:
    """What may look side by side; each that redacts is a round of its own."""
    rounds: list[list[Loaded]] = []
    alone = True
    for loaded in known:
        redacts = loaded.enabled.spec.redacts and not loaded.enabled.shadow
        if redacts or alone:
            rounds.append([loaded])
        else:
            rounds[-1].append(loaded)
        alone = redacts
    return rounds


def _place(name: str, known: list[Loaded]) -> int:
    return next((i for i, loaded in enumerate(known) if loaded.name == name), len(known))


def _open_from(loaded: Loaded, text: str) -> int:
    found = loaded.guardrail.open_from(text)
    return max(0, len(text) - loaded.enabled.spec.window_characters) if found is None else found


def _inspect(loaded: Loaded, inspection: Inspection) -> Result | Awaitable[Result]:
    started = time.perf_counter()
    try:
        if inspection.stage not in loaded.enabled.spec.may:
            raise LookupError("not made for this stage")
        found = loaded.guardrail.inspect(inspection)
    except Exception as error:
        return _failed(loaded, inspection.stage, error, started)
    if isinstance(found, list):
        return _result(loaded, found, started)
    return _wait(loaded, inspection.stage, found, started)


async def _wait(loaded: Loaded, stage: str, finding: Awaitable[list[Finding]], started: float) -> Result:
    questions = asked.counted()
    try:
        async with asyncio.timeout(loaded.enabled.deadline_ms / 1000):
            return _result(loaded, await finding, started, questions.count)
    except Exception as error:
        return _failed(loaded, stage, error, started, questions.count)


async def _awaited(look: Result | Awaitable[Result]) -> Result:
    return look if isinstance(look, Result) else await look


def _failed(loaded: Loaded, stage: str, error: Exception, started: float, questions: int = 0) -> Result:
    """Whatever a guardrail raises, the answer is "error"; its text may quote what was said."""
    log.warning("guardrail_failed", guardrail=loaded.name, stage=stage[:20], error=type(error).__name__)
    return _result(loaded, None, started, questions)


def _result(loaded: Loaded, findings: list[Finding] | None, started: float, questions: int = 0) -> Result:
    """`questions`: how many its service was asked."""
    cost = questions * loaded.enabled.question_picousd
    rules = getattr(loaded.guardrail, "rules", "")
    return Result(loaded.name, findings, _ms_since(started), cost, rules, loaded.enabled.shadow)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000

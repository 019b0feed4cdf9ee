"""One question, start to finish: the named guardrails look at the texts side by side, each with its deadline."""

import asyncio
import time
from collections.abc import Awaitable, Iterable

import structlog

from services.moderation.guardrails import Finding, Guardrail
from services.moderation.metrics import UNKNOWN, GuardrailMetrics
from services.moderation.verdict import Inspection, decide
from shared.requests import ScreenRequest, Verdict

log = structlog.get_logger()


class Screen:
    """Holds the loaded guardrails and answers `moderation.screen`."""

    def __init__(self, guardrails: Iterable[Guardrail]) -> None:
        """`guardrails`: in the order of the table."""
        self._guardrails = {guardrail.name: guardrail for guardrail in guardrails}
        self._metrics = {name: GuardrailMetrics(name) for name in (*self._guardrails, UNKNOWN)}

    def screen(self, request: ScreenRequest) -> Verdict | Awaitable[Verdict]:
        """At once where every guardrail answers at once.

        Never raises: a guardrail that can't answer, or that isn't here, is an outcome `error`, not silence.
        """
        asked = dict.fromkeys(request.guardrails)
        known = [name for name in self._guardrails if name in asked]
        unknown = [name for name in asked if name not in self._guardrails]
        if unknown:
            log.warning("unknown_guardrails", count=len(unknown), first=unknown[0][:80])
        looks = [self._inspect(self._guardrails[name], request) for name in known]
        looks += [Inspection(name, None) for name in unknown]
        done = [look for look in looks if isinstance(look, Inspection)]
        if len(done) == len(looks):
            return self._verdict(done, request.stage)
        return self._when_all_have(looks, request.stage)

    async def _when_all_have(self, looks: list[Inspection | Awaitable[Inspection]], stage: str) -> Verdict:
        return self._verdict(await asyncio.gather(*(_awaited(look) for look in looks)), stage)

    def _verdict(self, inspections: list[Inspection], stage: str) -> Verdict:
        for inspection in inspections:
            metrics = self._metrics.get(inspection.name) or self._metrics[UNKNOWN]
            metrics.note(inspection.action, inspection.duration_ms)
        return decide(inspections, stage)

    def _inspect(self, guardrail: Guardrail, request: ScreenRequest) -> Inspection | Awaitable[Inspection]:
        started = time.perf_counter()
        try:
            if request.stage not in guardrail.stages:
                raise LookupError("not made for this stage")
            found = guardrail.inspect(request.texts, request.stage)
        except Exception as error:
            return _failed(guardrail, request.stage, error, started)
        if isinstance(found, list):
            return Inspection(guardrail.name, found, _ms_since(started))
        return self._wait(guardrail, request.stage, found, started)

    async def _wait(
        self, guardrail: Guardrail, stage: str, finding: Awaitable[list[Finding]], started: float
    ) -> Inspection:
        try:
            async with asyncio.timeout(guardrail.deadline_ms / 1000):
                return Inspection(guardrail.name, await finding, _ms_since(started))
        except Exception as error:
            return _failed(guardrail, stage, error, started)


async def _awaited(look: Inspection | Awaitable[Inspection]) -> Inspection:
    return look if isinstance(look, Inspection) else await look


def _failed(guardrail: Guardrail, stage: str, error: Exception, started: float) -> Inspection:
    """Whatever a guardrail raises, the answer is "error"; its text may quote what was said."""
    log.warning("guardrail_failed", guardrail=guardrail.name, stage=stage[:20], error=type(error).__name__)
    return Inspection(guardrail.name, None, _ms_since(started))


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1000

"""One question, start to finish: the named guardrails look at the texts side by side, each with its deadline."""

import asyncio
import time
from collections.abc import Iterable

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

    async def screen(self, request: ScreenRequest) -> Verdict:
        """Never raises: a guardrail that can't answer, or that isn't here, is an outcome `error`, not silence."""
        asked = dict.fromkeys(request.guardrails)
        known = [name for name in self._guardrails if name in asked]
        unknown = [name for name in asked if name not in self._guardrails]
        inspections = await asyncio.gather(*(self._inspect(self._guardrails[name], request) for name in known))
        inspections += [Inspection(name, None) for name in unknown]
        if unknown:
            log.warning("unknown_guardrails", count=len(unknown), first=unknown[0][:80])
        for inspection in inspections:
            metrics = self._metrics.get(inspection.name) or self._metrics[UNKNOWN]
            metrics.note(inspection.action, inspection.duration_ms)
        return decide(inspections, request.stage)

    async def _inspect(self, guardrail: Guardrail, request: ScreenRequest) -> Inspection:
        started = time.perf_counter()
        findings: list[Finding] | None = None
        try:
            if request.stage not in guardrail.stages:
                raise LookupError("not made for this stage")
            async with asyncio.timeout(guardrail.deadline_ms / 1000):
                findings = await guardrail.inspect(request.texts, request.stage)
        except (
            Exception
        ) as error:  # whatever a guardrail raises, the answer is "error"; its text may quote what was said
            log.warning(
                "guardrail_failed", guardrail=guardrail.name, stage=request.stage[:20], error=type(error).__name__
            )
        return Inspection(guardrail.name, findings, (time.perf_counter() - started) * 1000)

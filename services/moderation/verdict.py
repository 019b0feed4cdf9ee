"""Findings become one verdict. Pure.

Precedence: block beats error beats redact beats allow. With `error` the redactions of the others are given too: where the caller's
`on_error` lets the text pass, it still passes redacted. Of several that block, the first in the table speaks to the client.
"""

import msgspec

from services.moderation.guardrails import Finding
from shared.facts import GuardrailOutcome
from shared.requests import Redaction, Verdict


class Inspection(msgspec.Struct, frozen=True):
    """How one guardrail's look at the texts ended."""

    name: str
    findings: list[Finding] | None
    """None: it could not answer (it failed, was too slow, doesn't exist, or isn't made for the stage)."""
    duration_ms: float = 0.0

    @property
    def action(self) -> str:
        if self.findings is None:
            return "error"
        if any(finding.block for finding in self.findings):
            return "block"
        return "redact" if any(finding.redactions for finding in self.findings) else "allow"


def decide(inspections: list[Inspection], stage: str) -> Verdict:
    """The verdict on what the guardrails said, in the table's order."""
    outcomes = [GuardrailOutcome(i.name, stage, i.action, i.duration_ms) for i in inspections]
    findings = [finding for i in inspections for finding in i.findings or ()]
    for finding in findings:
        if finding.block:
            return Verdict("block", outcomes, finding.message, finding.status)
    redactions = merge([redaction for finding in findings for redaction in finding.redactions])
    failed = any(outcome.action == "error" for outcome in outcomes)
    action = "error" if failed else "redact" if redactions else "allow"
    return Verdict(action, outcomes, redactions=redactions)


def merge(redactions: list[Redaction]) -> list[Redaction]:
    """Sorted by text and start; spans that overlap become one, with the replacement of the one that starts first (then: the longest)."""
    merged: list[Redaction] = []
    for redaction in sorted(redactions, key=lambda r: (r.text, r.start, -r.end)):
        last = merged[-1] if merged else None
        if last is not None and last.text == redaction.text and redaction.start < last.end:
            merged[-1] = Redaction(last.text, last.start, max(last.end, redaction.end), last.replacement)
        else:
            merged.append(redaction)
    return merged

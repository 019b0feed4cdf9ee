"""Findings become one verdict. Pure.

Precedence: block beats error beats redact beats allow. With `error` the redactions of the others
are given too: where the caller's `on_error` lets the text pass, it still passes redacted. Of
several that block, the first in the table speaks to the client.
"""

import msgspec

from services.moderation.inspection import Finding
from shared.facts import GuardrailOutcome
from shared.requests import Redaction, Verdict


class Result(msgspec.Struct, frozen=True):
    """How one guardrail's look at the texts ended."""

    name: str
    findings: list[Finding] | None
    """None: it could not answer (it failed, was too slow, doesn't exist, or isn't made for the
    stage).
    """
    duration_ms: float = 0.0
    cost_picousd: int = 0
    rules: str = ""
    shadow: bool = False
    """It ran to be watched only: recorded, without effect."""

    @property
    def recorded(self) -> str:
        """The action as it is recorded; what only would have had an effect is told apart."""
        action = self.action
        return f"would_{action}" if self.shadow and action in ("block", "redact") else action

    @property
    def action(self) -> str:
        if self.findings is None:
            return "error"
        if any(finding.block for finding in self.findings):
            return "block"
        return "redact" if any(finding.redactions for finding in self.findings) else "allow"

    def redactions(self) -> list[Redaction]:
        """Of the texts as this guardrail saw them."""
        return merge([redaction for finding in self.findings or () for redaction in finding.redactions])


def decide(
    results: list[Result], stage: str, redactions: list[Redaction] | None = None, open_from: list[int] | None = None
) -> Verdict:
    """The verdict on what the guardrails said, in the order they ran.

    Args:
        redactions: of the texts as they were asked about, where guardrails saw each other's work;
            None: of `results`, which all saw the same.
    """
    outcomes = [GuardrailOutcome(r.name, stage, r.recorded, r.duration_ms, r.cost_picousd, r.rules) for r in results]
    results = [result for result in results if not result.shadow]
    for result in results:
        for finding in result.findings or ():
            if finding.block:
                return Verdict("block", outcomes, finding.message, finding.status)
    if redactions is None:
        redactions = merge([redaction for result in results for redaction in result.redactions()])
    failed = any(result.action == "error" for result in results)
    action = "error" if failed else "redact" if redactions else "allow"
    return Verdict(action, outcomes, redactions=redactions, open_from=open_from or [])


def merge(redactions: list[Redaction]) -> list[Redaction]:
    """Sorted by text and start; spans that overlap become one, with the replacement of the one that
    starts first (then: the longest).
    """
    merged: list[Redaction] = []
    for redaction in sorted(redactions, key=lambda r: (r.text, r.start, -r.end)):
        last = merged[-1] if merged else None
        if last is not None and last.text == redaction.text and redaction.start < last.end:
            merged[-1] = Redaction(last.text, last.start, max(last.end, redaction.end), last.replacement)
        else:
            merged.append(redaction)
    return merged


def compose(first: list[Redaction], then: list[Redaction]) -> list[Redaction]:
    """Redactions of a text, then redactions of what that made: as redactions of the text before
    both.

    A later span that touches an earlier replacement takes all of it: what was hidden once is never
    shown again.
    """
    if not first or not then:
        return merge([*first, *then])
    out: list[Redaction] = []
    for index in sorted({r.text for r in (*first, *then)}):
        out += _compose([r for r in first if r.text == index], [r for r in then if r.text == index], index)
    return out


def _compose(first: list[Redaction], then: list[Redaction], index: int) -> list[Redaction]:
    # Where each earlier replacement stands in the text that the later ones are of.
    placed: list[tuple[int, int, Redaction]] = []
    shift = 0
    for redaction in first:
        start = redaction.start + shift
        placed.append((start, start + len(redaction.replacement), redaction))
        shift += len(redaction.replacement) - (redaction.end - redaction.start)

    def before(position: int) -> int:
        """A position outside every replacement, in the text before."""
        moved = 0
        for _, end, redaction in placed:
            if end > position:
                break
            moved += (redaction.end - redaction.start) - len(redaction.replacement)
        return position + moved

    out, used = [], set()
    for later in then:
        start, end = later.start, later.end
        touched = [i for i, (at, to, _) in enumerate(placed) if at < end and to > start]
        used.update(touched)
        first_start = min([before(start), *(placed[i][2].start for i in touched)]) if touched else before(start)
        last_end = before(end)
        if touched:
            inside_start = placed[touched[0]][0] < start
            first_start = placed[touched[0]][2].start if inside_start else before(start)
            last = placed[touched[-1]]
            last_end = last[2].end if last[1] > end else before(end)
        out.append(Redaction(index, first_start, last_end, later.replacement))
    out += [redaction for i, redaction in enumerate(first) if i not in used]
    return merge(out)

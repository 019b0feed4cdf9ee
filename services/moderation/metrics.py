"""What moderation counts. Label values come from the table and closed sets only."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

UNKNOWN = "unknown"
"""Stands for every name that isn't a loaded guardrail's."""

_outcomes = Counter("tollgate_guardrail_outcomes_total", "What guardrails said", ["guardrail", "action"])
_seconds = Histogram("tollgate_guardrail_seconds", "How long a guardrail took", ["guardrail"], buckets=_SECONDS)
questions_running = Gauge("tollgate_moderation_questions_running", "Questions being answered")
tokens_counted = Counter("tollgate_moderation_counted_texts_total", "Texts whose tokens were counted")


ACTIONS = ("allow", "redact", "block", "error", "would_redact", "would_block")


class GuardrailMetrics:
    """Children of one guardrail, made once."""

    __slots__ = ("_actions", "_seconds")

    def __init__(self, name: str) -> None:
        self._actions = {
            action: _outcomes.labels(name, action)
            for action in ("allow", "redact", "block", "error", "would_redact", "would_block")
        }
        self._seconds = _seconds.labels(name)

    def observe(self, action: str, duration_ms: float) -> None:
        self._actions[action].inc()
        self._seconds.observe(duration_ms / 1000)

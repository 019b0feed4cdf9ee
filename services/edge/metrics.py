"""What the edge counts. Label values come from closed sets only; children are made once, not per request."""

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

_requests = Counter("tollgate_requests_total", "Requests answered", ["route", "outcome"])
_seconds = Histogram("tollgate_request_seconds", "From head to last byte", ["route"], buckets=_SECONDS)
_overhead = Histogram("tollgate_overhead_seconds", "Our own part of it", ["route"], buckets=_OVERHEAD)
_tokens = Counter("tollgate_tokens_total", "Tokens", ["route", "direction"])
_grants = Counter("tollgate_grants_total", "Where a decision came from", ["source"])
_refusals = Counter("tollgate_refusals_total", "Refusals by code", ["code"])
_journaled = Counter("tollgate_journaled_facts_total", "Facts that went to the journal")
_publish_failures = Counter("tollgate_publish_failures_total", "Messages the broker did not acknowledge in time")
_facts = Counter("tollgate_facts_total", "Facts made durable")
_messages = Counter("tollgate_messages_total", "Group commits")
_journal_bytes = Gauge("tollgate_journal_bytes", "Waiting in the journal")
_healthy = Gauge("tollgate_recorder_healthy", "1 when facts can be recorded")
_healthy.set(1)
running = Gauge("tollgate_requests_running", "Requests being served")

OUTCOMES = (
    "success",
    "provider_error",
    "client_gone",
    "blocked",
    "timeout",
    "edge_error",
    "refused",
    "bad_request",
    "answered",
)


class RouteMetrics:
    """Children of one route, cached."""

    __slots__ = ("input_tokens", "outcomes", "output_tokens", "overhead", "seconds")

    def __init__(self, route: str) -> None:
        self.outcomes = {outcome: _requests.labels(route, outcome) for outcome in OUTCOMES}
        self.seconds = _seconds.labels(route)
        self.overhead = _overhead.labels(route)
        self.input_tokens = _tokens.labels(route, "input")
        self.output_tokens = _tokens.labels(route, "output")


class GrantMetrics:
    cached = _grants.labels("cached")
    asked = _grants.labels("asked")
    failed = _grants.labels("failed")


class RecorderMetrics:
    journaled = _journaled
    publish_failures = _publish_failures
    journal_bytes = _journal_bytes
    healthy = _healthy

    def committed(self, facts: int) -> None:
        _facts.inc(facts)
        _messages.inc()


def refused(code: str) -> None:
    """`code` is of shared.errors' closed list."""
    _refusals.labels(code).inc()

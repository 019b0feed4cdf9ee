"""What the edge counts. Label values come from closed sets only; children are made once, not per
request.

What every request counts is kept in plain numbers and only becomes metrics when it is asked for:
the library's locks would cost a request more than its credential does. One thread writes them; a
scrape may see one request half counted.
"""

import collections
from collections.abc import Iterator

from prometheus_client import Counter, Gauge
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import REGISTRY, Collector

from services.edge.tallies import ENDED, Columns, Times

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_OVERHEAD = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)

_refusals = Counter("tollgate_refusals_total", "Refusals by code", ["code"])
_journaled = Counter("tollgate_journaled_facts_total", "Facts that went to the journal")
_publish_failures = Counter("tollgate_publish_failures_total", "Messages the broker did not acknowledge in time")
_facts = Counter("tollgate_facts_total", "Facts made durable")
_messages = Counter("tollgate_messages_total", "Group commits")
_journal_bytes = Gauge("tollgate_journal_bytes", "Waiting in the journal")
_healthy = Gauge("tollgate_recorder_healthy", "1 when facts can be recorded")
_healthy.set(1)
feed_stale = Gauge(
    "tollgate_control_feed_stale_seconds",
    "Since the control stream was last seen; kept grants end by themselves meanwhile",
)
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
    """The numbers of one route."""

    __slots__ = ("input_tokens", "outcomes", "output_tokens", "overhead", "seconds")

    def __init__(self) -> None:
        self.outcomes = dict.fromkeys(OUTCOMES, 0)
        self.seconds = Times(_SECONDS)
        self.overhead = Times(_OVERHEAD)
        self.input_tokens = self.output_tokens = 0

    def add(self, ended: Columns) -> None:
        """Calls to models have ended."""
        for outcome, count in collections.Counter(ended.outcome).items():
            self.outcomes[outcome] += count
        self.seconds.add_all(ended.elapsed_s)
        self.overhead.add_all(ended.overhead_s)
        self.input_tokens += sum(usage.input_tokens for usage in ended.usage)
        self.output_tokens += sum(usage.output_tokens for usage in ended.usage)

    def note_answered(self, seconds: float) -> None:
        """One answer of our own."""
        self.outcomes["answered"] += 1
        self.seconds.add(seconds)


class _Numbers(Collector):
    """What every request counts."""

    def __init__(self) -> None:
        self.by_route: dict[str, RouteMetrics] = {}
        self.grants = {"cached": 0, "asked": 0, "failed": 0}

    def collect(self) -> Iterator[CounterMetricFamily | HistogramMetricFamily]:
        ENDED.add_up()
        requests = CounterMetricFamily("tollgate_requests", "Requests answered", labels=["route", "outcome"])
        seconds = HistogramMetricFamily("tollgate_request_seconds", "From head to last byte", labels=["route"])
        overhead = HistogramMetricFamily("tollgate_overhead_seconds", "Our own part of it", labels=["route"])
        tokens = CounterMetricFamily("tollgate_tokens", "Tokens", labels=["route", "direction"])
        for route, counted in list(self.by_route.items()):
            for outcome, count in counted.outcomes.items():
                requests.add_metric([route, outcome], count)
            for family, spread in ((seconds, counted.seconds), (overhead, counted.overhead)):
                family.add_metric([route], spread.buckets(), spread.sum)
            tokens.add_metric([route, "input"], counted.input_tokens)
            tokens.add_metric([route, "output"], counted.output_tokens)
        grants = CounterMetricFamily("tollgate_grants", "Where a decision came from", labels=["source"])
        for source, count in self.grants.items():
            grants.add_metric([source], count)
        yield from (requests, seconds, overhead, tokens, grants)


_numbers = _Numbers()
REGISTRY.register(_numbers)


def of_route(route: str) -> RouteMetrics:
    """`route` is one of the route table's names."""
    found = _numbers.by_route.get(route)
    if found is None:
        found = _numbers.by_route[route] = RouteMetrics()
    return found


def note_grant(source: str) -> None:
    """`source`: cached, asked, failed."""
    _numbers.grants[source] += 1


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

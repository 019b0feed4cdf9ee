"""Calls, as LiteLLM's Prometheus metrics name and label them (`litellm_*`), counted from the facts
of this edge.

Labels come from closed sets: who called is what policy knows, a model's name is one that is
configured. What a caller could make up (a model nobody serves, an end user, an address, a user
agent) has no label of its own: it is `other`, or empty where LiteLLM has it empty. Even so there
are at most `SERIES_MAX` combinations, past which everything is counted under `other`, and
`tollgate_series_capped_total` says how often.

Each edge exposes its own counts, since its start: `sum()` over all edges is the total. Plain
numbers until they are scraped.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from services.edge.exposition import Family, Plain, Spreads, Sums
from services.edge.fallen import Fallen
from services.edge.tallies import ENDED, TOKENS, Calls, Times, Totals
from shared import service
from shared.facts import Caller, GuardrailOutcome, Refused, Settled

SERIES_MAX = 1_000
SPREADS_MAX = 200
"""Combinations that have histograms of their own: one is a hundred lines. Those after have theirs
with the caller's labels `other`.
"""
PICOUSD_PER_USD = 1e12
OTHER = "other"


class _Who(NamedTuple):
    hashed_api_key: str
    api_key_alias: str
    team: str
    team_alias: str
    user: str


class _Key(NamedTuple):
    who: _Who
    route: str
    requested_model: str
    model: str
    model_id: str
    api_provider: str


_OTHERS = _Key(_Who(OTHER, OTHER, OTHER, OTHER, OTHER), OTHER, OTHER, OTHER, OTHER, OTHER)


class Series(Collector):
    """
    Args:
        models: the names that are configured, which a label may show.
    """

    def __init__(self, models: Iterable[str] = ()) -> None:
        self.models = frozenset(models)
        self.capped = 0
        self._calls: dict[_Key, Calls] = {}
        self._guardrails: dict[tuple[str, str, str], tuple[int, Times]] = {}
        """(name, stage, action) -> how often, how long."""
        self.fallen = Fallen()
        self.in_flight: Callable[[], int] = lambda: 0
        self.resting: Callable[[], list[tuple[str, str, str, bool, int]]] = list
        """(model, deployment, provider, whether it rests, how often this edge made it)."""

    def settled(self, fact: Settled, elapsed_s: float, provider_s: float, *also: Totals) -> None:
        """One opened call has ended.

        Args:
            also: what else it is added to.
        """
        opened = fact.opened
        calls = self.calls_of(
            opened.caller, opened.route, opened.model, opened.upstream_model, opened.deployment_id, opened.provider
        )
        first_token_s = None
        if opened.stream and fact.first_byte_at_ms is not None:
            first_token_s = max(0, fact.first_byte_at_ms - opened.at_ms) / 1000
        ENDED.put(
            (
                (calls, *also), fact.outcome, fact.status, fact.error_code, fact.usage, fact.cost_picousd, elapsed_s,
                max(0.0, elapsed_s - provider_s), provider_s if fact.attempts else None, first_token_s,
            )
        )  # fmt: skip
        if fact.guardrail_outcomes:
            self.checked(fact.guardrail_outcomes)

    def refused(self, fact: Refused) -> None:
        """One request was refused before it was opened."""
        calls = self.calls_of(fact.caller, fact.route, fact.model, "", "", "")
        status = fact.status, fact.error_code
        calls.by_status[status] = calls.by_status.get(status, 0) + 1
        if fact.guardrail_outcomes:
            self.checked(fact.guardrail_outcomes)

    def checked(self, outcomes: list[GuardrailOutcome]) -> None:
        for outcome in outcomes:
            key = outcome.name, outcome.stage, outcome.action
            count, times = self._guardrails.get(key) or (0, Times())
            times.add(outcome.duration_ms / 1000)
            self._guardrails[key] = count + 1, times

    def calls_of(self, caller: Caller, route: str, requested: str, model: str, model_id: str, provider: str) -> Calls:
        """The numbers of calls of one kind: whoever makes many of them asks once."""
        who = _Who(
            caller.key_sha256 or "",
            caller.key_alias or "",
            caller.team_id or "",
            caller.team_alias or "",
            caller.user_id or "",
        )
        requested = requested if requested in self.models or not requested else OTHER
        key = _Key(who, route, requested, model if requested != OTHER else OTHER, model_id, provider)
        calls = self._calls.get(key)
        if calls is None:
            if len(self._calls) >= SERIES_MAX:
                self.capped += 1
                key = _OTHERS
            calls = self._calls.get(key)
            if calls is None:
                calls = self._calls[key] = Calls()
        return calls

    # ── the scrape, in a thread of its own ──

    def collect(self) -> Iterator[Metric]:
        """As the client library has it."""
        for each in self.families():
            yield each.family()

    def render(self) -> Iterator[str]:
        """The text of a scrape, in pieces."""
        for each in self.families():
            yield from each.text()

    def families(self) -> Iterator[Family]:
        ENDED.add_up()
        calls = list(self._calls.items())
        yield from self._requests(calls)
        yield from self._usage(calls)
        yield from self._times(calls)
        yield from self._deployments(calls)
        yield from self.fallen.families(self.models)
        yield from self._guards()
        capped = CounterMetricFamily(
            "tollgate_series_capped", "Calls counted under `other`: too many combinations of labels"
        )
        capped.add_metric([], self.capped)
        yield Plain(capped)
        flight = GaugeMetricFamily("litellm_in_flight_requests", "Requests being served")
        flight.add_metric([], self.in_flight())
        yield Plain(flight)

    def _requests(self, calls: list[tuple[_Key, Calls]]) -> Iterator[Family]:
        names = [
            "end_user", "hashed_api_key", "api_key_alias", "requested_model", "team", "team_alias", "user", "status_code",
            "user_email", "route", "client_ip", "user_agent", "model_id", "api_provider",
        ]  # fmt: skip
        failed_names = [*names[:7], "user_email", "exception_status", "exception_class", *names[9:]]
        total = Sums("litellm_proxy_total_requests_metric", "Requests to LLM routes", names)
        failed = Sums("litellm_proxy_failed_requests_metric", "Requests that failed", failed_names)
        for key, numbers in calls:
            who = key.who
            before = (
                "",
                who.hashed_api_key,
                who.api_key_alias,
                key.requested_model,
                who.team,
                who.team_alias,
                who.user,
            )
            after = (key.route, "", "", key.model_id, key.api_provider)
            for (status, reason), count in list(numbers.by_status.items()):
                total.add((*before, str(status), "", *after), count)
                if reason:
                    failed.add((*before, "", str(status), reason, *after), count)
        yield total
        yield failed

    def _usage(self, calls: list[tuple[_Key, Calls]]) -> Iterator[Family]:
        spend_names = [
            "end_user", "hashed_api_key", "api_key_alias", "model", "team", "team_alias", "user", "user_email", "client_ip",
            "user_agent", "requested_model", "model_id", "api_provider", "service_tier",
        ]  # fmt: skip
        token_names = [*spend_names[:8], "requested_model", "model_id", "api_provider"]
        spend = Sums("litellm_spend_metric", "Spend in USD", spend_names)
        requests = Sums("litellm_requests_metric", "Calls to models", spend_names[:-1])
        total = Sums("litellm_total_tokens_metric", "Tokens in and out", token_names)
        parts = [
            (Sums(f"litellm_{name}_metric", f"{name.replace('_', ' ')}", token_names), field) for name, field in TOKENS
        ]
        for key, numbers in calls:
            who = key.who
            if not key.model_id:
                continue  # refused: never a call to a model
            before = ("", who.hashed_api_key, who.api_key_alias, key.model, who.team, who.team_alias, who.user, "")
            after = (key.requested_model, key.model_id, key.api_provider)
            spend.add((*before, "", "", *after, ""), numbers.spend_picousd / PICOUSD_PER_USD)
            requests.add((*before, "", "", *after), sum(numbers.by_status.values()))
            total.add((*before, *after), numbers.tokens["input"] + numbers.tokens["output"])
            for sums, field in parts:
                if numbers.tokens[field]:
                    sums.add((*before, *after), numbers.tokens[field])
        yield from (spend, requests, total, *(sums for sums, _ in parts))
        yield from self._looks(calls)

    def _looks(self, calls: list[tuple[_Key, Calls]]) -> Iterator[Family]:
        """Into the cache; and what no provider answered, as older dashboards ask for it."""
        names = [
            "model", "hashed_api_key", "api_key_alias", "team", "team_alias", "end_user", "user", "model_id", "api_provider",
        ]  # fmt: skip
        hits = Sums("litellm_cache_hits_metric", "Calls answered from the cache", names)
        misses = Sums("litellm_cache_misses_metric", "Calls that the cache had no answer for", names)
        tokens = Sums("litellm_cached_tokens_metric", "Tokens of the answers from the cache", names)
        failed = Sums(
            "litellm_llm_api_failed_requests_metric", "Calls that providers failed",
            ["end_user", "hashed_api_key", "api_key_alias", "model", "team", "team_alias", "user", "model_id"],
        )  # fmt: skip
        for key, numbers in calls:
            who = key.who
            caller = (who.hashed_api_key, who.api_key_alias)
            for sums, value in (
                (hits, numbers.cache_hits), (misses, numbers.cache_misses), (tokens, numbers.cached_tokens),
            ):  # fmt: skip
                if value:
                    after = ("", who.user, key.model_id, key.api_provider)
                    sums.add((key.model, *caller, who.team, who.team_alias, *after), value)
            if key.model_id and numbers.failures:
                failed.add(("", *caller, key.model, who.team, who.team_alias, who.user, key.model_id), numbers.failures)
        yield from (hits, misses, tokens, failed)

    def _times(self, calls: list[tuple[_Key, Calls]]) -> Iterator[Family]:
        names = [
            "model_group", "end_user", "hashed_api_key", "api_key_alias", "requested_model", "team", "team_alias", "user", "model",
            "model_id", "api_provider", "service_tier",
        ]  # fmt: skip
        llm_names = [
            "model_group", "model", "hashed_api_key", "api_key_alias", "team", "team_alias", "requested_model", "end_user", "user",
            "model_id", "api_provider", "service_tier",
        ]  # fmt: skip
        over_names = [
            "model_group", "api_provider", "api_base", "litellm_model_name", "hashed_api_key", "api_key_alias", "model_id",
        ]  # fmt: skip
        per_token_names = [
            "model_group", "litellm_model_name", "model_id", "api_base", "api_provider", "hashed_api_key", "api_key_alias", "team",
            "team_alias",
        ]  # fmt: skip
        families = [
            Spreads("litellm_request_total_latency_metric", "From head to last byte, in seconds", names),
            Spreads("litellm_llm_api_latency_metric", "Waiting for the provider, in seconds", llm_names),
            Spreads("litellm_llm_api_time_to_first_token_metric", "Of streams, in seconds", llm_names),
            Spreads("litellm_overhead_latency_metric", "Our own part, in seconds", over_names),
            Spreads("litellm_deployment_latency_per_output_token", "In seconds", per_token_names),
        ]
        for at, (key, numbers) in enumerate(calls):
            who = key.who if at < SPREADS_MAX else _OTHERS.who
            if not key.model_id:
                continue
            caller = (who.hashed_api_key, who.api_key_alias)
            llm = (
                key.requested_model, key.model, *caller, who.team, who.team_alias, key.requested_model, "", who.user, key.model_id,
                key.api_provider, "",
            )  # fmt: skip
            families[0].add(
                (
                    key.requested_model, "", *caller, key.requested_model, who.team, who.team_alias, who.user, key.model, key.model_id,
                    key.api_provider, "",
                ), numbers.latency,
            )  # fmt: skip
            families[1].add(llm, numbers.provider)
            families[2].add(llm, numbers.first_token)
            families[3].add(
                (key.requested_model, key.api_provider, "", key.model, *caller, key.model_id), numbers.overhead
            )
            families[4].add(
                (key.requested_model, key.model, key.model_id, "", key.api_provider, *caller, who.team, who.team_alias),
                numbers.per_token,
            )
        yield from families

    def _deployments(self, calls: list[tuple[_Key, Calls]]) -> Iterator[Family]:
        names = [
            "model_group", "requested_model", "litellm_model_name", "model_id", "api_base", "api_provider", "hashed_api_key",
            "api_key_alias", "team", "team_alias", "client_ip", "user_agent",
        ]  # fmt: skip
        failed_names = [*names[:6], "exception_status", "exception_class", *names[6:]]
        total = Sums("litellm_deployment_total_requests", "Calls to a deployment", names)
        good = Sums("litellm_deployment_success_responses", "Those it answered", names)
        failed = Sums("litellm_deployment_failure_responses", "Those it failed", failed_names)
        for key, numbers in calls:
            who = key.who
            if not key.model_id:
                continue
            before = (key.requested_model, key.requested_model, key.model, key.model_id, "", key.api_provider)
            after = (who.hashed_api_key, who.api_key_alias, who.team, who.team_alias, "", "")
            total.add((*before, *after), numbers.successes + numbers.failures)
            good.add((*before, *after), numbers.successes)
            for (status, reason), count in list(numbers.by_status.items()):
                if reason and numbers.failures:
                    failed.add((*before, str(status), reason, *after), count)
        yield from (total, good, failed)
        state = GaugeMetricFamily(
            "litellm_deployment_state", "0 healthy, 2 resting after failures",
            labels=["litellm_model_name", "model_id", "api_base", "api_provider"],
        )  # fmt: skip
        rested = Sums(
            "litellm_deployment_cooled_down", "How often this edge found that it has to rest",
            ["litellm_model_name", "model_id", "api_base", "api_provider", "exception_status"],
        )  # fmt: skip
        for model, deployment, provider, rests, often in self.resting():
            state.add_metric([model, deployment, "", provider], 2 if rests else 0)
            if often:
                rested.add((model, deployment, "", provider, ""), often)
        yield Plain(state)
        yield rested

    def _guards(self) -> Iterator[Family]:
        total = Sums("litellm_guardrail_requests", "Checks", ["guardrail_name", "status", "hook_type"])
        errors = Sums(
            "litellm_guardrail_errors", "Checks without an answer", ["guardrail_name", "error_type", "hook_type"]
        )
        times = Spreads(
            "litellm_guardrail_latency_seconds", "Of a check", ["guardrail_name", "status", "error_type", "hook_type"]
        )
        for (name, stage, action), (count, spread) in list(self._guardrails.items()):
            status = "error" if action == "error" else "success"
            total.add((name, status, stage), count)
            if action == "error":
                errors.add((name, "unavailable", stage), count)
            times.add((name, status, "unavailable" if action == "error" else "", stage), spread)
        yield from (total, errors, times)


SERIES = Series()
"""This process's."""
service.RENDERED.append(SERIES.render)

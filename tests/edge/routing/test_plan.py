"""Which step follows a failure: every cause, with and without others left, within budget and
deadline.
"""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.edge.routing import plan
from services.edge.routing.causes import CAUSES, of_status
from services.edge.routing.health import Health, RetryBudget
from services.edge.routing.plan import Failed, Group, Rules, Step
from services.edge.routing.strategies import STRATEGIES, ordered
from shared.billing import Price
from shared.grant import Candidate
from shared.ids import DeploymentId

NOBODY: frozenset[str] = frozenset()
FIRST, USUAL = Step(0, 0), Rules()
SENT_NOTHING = {"connect", "tls", "no_connection"}


def candidate(name: str, **fields: Any) -> Candidate:
    return Candidate(DeploymentId(name), "openai", "gpt", **fields)


def group(*names: str, model: str = "m", reason: str = "") -> Group:
    return Group(model, [candidate(name) for name in names], reason)


def after(
    cause: str,
    groups: list[Group],
    step: Step = FIRST,
    rules: Rules = USUAL,
    *,
    resting: frozenset[str] | set[str] = NOBODY,
    may_retry: bool = True,
    left_s: float = 100.0,
    **failed: Any,
) -> Step | None:
    return plan.after(
        step,
        Failed(cause, **failed),
        groups,
        rules,
        resting=lambda deployment: deployment in resting,
        may_retry=lambda: may_retry,
        left_s=left_s,
        random=lambda: 1.0,
    )


@pytest.mark.parametrize("cause", CAUSES)
def test_what_may_have_been_done_goes_on_only_where_that_is_allowed(cause: str) -> None:
    row = CAUSES[cause]
    pair = [group("a", "b")]
    assert (after(cause, pair) is not None) == (row.elsewhere and not row.unsafe)
    assert (after(cause, pair, rules=Rules(unsafe=True)) is not None) == row.elsewhere
    assert (after(cause, [group("a"), group("x", model="f")]) is not None) == (row.elsewhere and not row.unsafe)


@pytest.mark.parametrize("cause", CAUSES)
def test_one_deployment_is_asked_again_only_where_nothing_was_sent_or_somebody_said_so(cause: str) -> None:
    alone, row = [group("a")], CAUSES[cause]
    assert (after(cause, alone) is not None) == (cause in SENT_NOTHING)
    assert (after(cause, alone, rules=Rules(retries=2)) is not None) == row.again
    assert after(cause, alone, rules=Rules(retries=0)) is None


@pytest.mark.parametrize(
    "status", [400, 404, 401, 403, 402, 408, 409, 413, 415, 422, 425, 429, 500, 501, 502, 503, 504, 529, 302]
)
def test_what_is_wrong_with_a_request_is_wrong_everywhere(status: int) -> None:
    assert (after(of_status(status), [group("a", "b")]) is not None) == (status not in (400, 413, 415, 422))


def test_retries_are_counted_and_end() -> None:
    steps, step, groups = [], Step(0, 0), [group("a", "b", "c", "d", "e")]
    while (following := after("failed", groups, step, Rules(retries=3))) is not None:
        steps.append(following.position)
        step = following
    assert steps == [1, 2, 3]


def test_after_the_last_one_it_begins_anew_with_a_pause() -> None:
    groups = [group("a", "b")]
    following = after("failed", groups, Step(0, 1, 2), Rules(retries=5))
    assert following == Step(0, 0, 3, plan.backoff_s(2, lambda: 1.0))


def test_what_rests_is_passed_over_and_asked_only_when_all_do() -> None:
    groups = [group("a", "b", "c")]
    assert after("failed", groups, resting={"b"}) == Step(0, 2, 2)
    assert after("failed", groups, Step(0, 2, 2), resting={"b"}) is None
    assert after("failed", groups, resting={"a", "b", "c"}) == Step(0, 1, 2)


def test_a_pause_is_as_long_as_the_provider_says_and_no_longer_than_what_is_left() -> None:
    alone, rules = [group("a")], Rules(retries=2)
    following = after("limited", alone, rules=rules, retry_after_s=7)
    assert following is not None and following.wait_s == 7
    assert after("limited", alone, rules=rules, retry_after_s=7, left_s=6) is None
    assert after("limited", alone, rules=rules, retry_after_s=61) is None
    waits = after("failed", alone, rules=Rules(retries=1, wait_s=3))
    assert waits is not None and waits.wait_s == 3
    assert after("limited", [group("a", "b")], rules=rules, retry_after_s=7) == Step(0, 1, 2), "another needn't wait"


def test_retries_of_one_kind_of_failure_have_their_own_number() -> None:
    rules = Rules(retries=0, by_cause={"limited": 1})
    assert after("failed", [group("a")], rules=rules) is None
    assert after("limited", [group("a")], rules=rules) is not None


def test_without_budget_or_time_nothing_follows_but_another_model() -> None:
    assert after("failed", [group("a", "b")], may_retry=False) is None
    assert after("failed", [group("a", "b"), group("x", model="f")], may_retry=False) == Step(1, 0)
    assert after("failed", [group("a", "b"), group("x", model="f")], left_s=0) is None


def test_fallbacks_go_by_what_they_are_for() -> None:
    groups = [
        group("a", "b"), group("w", model="wide", reason="context_window"), group("c", model="calm", reason="content_policy"),
        group("x", model="any"),
    ]  # fmt: skip
    assert after("refused", groups, kind="context_window") == Step(1, 0)
    assert after("refused", groups, kind="content_policy") == Step(2, 0)
    assert after("refused", groups) is None
    assert after("failed", groups, Step(0, 1, 3)) == Step(3, 0)
    assert after("failed", groups, Step(3, 0)) is None
    assert after("refused", [groups[0], groups[3]], kind="context_window") == Step(1, 0)
    assert after("failed", groups, Step(0, 1, 3), Rules(fallbacks=False)) is None


def test_a_model_all_of_whose_deployments_rest_is_passed_over_where_another_follows() -> None:
    groups = [group("a", "b"), group("x", model="f")]
    assert plan.first(groups, lambda deployment: deployment in ("a", "b")) == Step(1, 0)
    assert plan.first(groups, lambda deployment: True) == Step(0, 0)
    assert plan.first(groups, lambda deployment: deployment == "a") == Step(0, 0)


@given(
    causes=st.lists(st.sampled_from(sorted(CAUSES)), min_size=60, max_size=60),
    sizes=st.lists(st.integers(1, 4), min_size=1, max_size=9),
    retries=st.none() | st.integers(0, 10),
    unsafe=st.booleans(),
    resting=st.sets(st.integers(0, 30)),
)
@settings(max_examples=200, deadline=None)
def test_whatever_fails_a_call_ends(
    causes: list[str], sizes: list[int], retries: int | None, unsafe: bool, resting: set[int]
) -> None:
    names = iter(range(100))
    groups = [group(*(f"d{next(names)}" for _ in range(size)), model=f"m{i}") for i, size in enumerate(sizes)]
    rests = {f"d{i}" for i in resting}
    step: Step | None = plan.first(groups, lambda deployment: deployment in rests)
    attempts = 0
    for cause in causes:
        assert step is not None
        attempts += 1
        assert groups[step.group].candidates[step.position]
        following = after(cause, groups, step, Rules(retries=retries, unsafe=unsafe), resting=rests)
        assert following is None or following.group >= step.group, "never back to a model that was given up"
        step = following
        if step is None:
            break
    assert attempts <= (1 + (plan.DEFAULT_RETRIES if retries is None else retries)) * (plan.FALLBACKS_MAX + 1)


# ── what an edge knows of its deployments ──

A, B, C = (DeploymentId(name) for name in "abc")


def test_a_dead_deployment_rests_at_once_and_wakes_by_itself() -> None:
    health = Health(cooldown_s=5)
    health.started(A, 0)
    assert health.failed(A, "connect", 0) == 5
    assert health.failed(A, "connect", 1) is None, "once a rest"
    health.ended(A)
    assert health.is_resting(A, 4.9) and not health.is_resting(A, 5.1)


def test_other_failures_are_allowed_a_few_times_a_minute() -> None:
    health = Health(cooldown_s=5, allowed_fails=3)
    found = []
    for now in range(10):
        for deployment in [A] + [B] * 3:
            health.started(deployment, now)
        found.append(health.failed(A, "failed", now))
        if found[-1]:
            break
    assert found == [None, None, None, 5]
    health.started(A, 100)
    assert health.failed(A, "failed", 100) == 5, "it was given another chance"
    health.started(A, 200)
    health.answered(A, 0.1)
    assert health.failed(A, "failed", 200) is None, "it was answered since, and another minute"


def test_more_than_half_of_its_calls_is_too_many() -> None:
    health = Health(cooldown_s=5, allowed_fails=100)
    for _ in range(6):
        health.started(A, 0)
    assert [health.failed(A, "failed", 0) for _ in range(4)] == [None, None, None, 5]


def test_a_rest_is_as_long_as_the_provider_says_within_reason() -> None:
    health = Health(cooldown_s=5)
    assert health.failed(A, "limited", 0, retry_after_s=20) == 20
    assert health.failed(B, "limited", 0, retry_after_s=1e9) == 300
    assert health.failed(C, "limited", 0, cooldown_s=1) == 1
    assert Health(cooldown_s=0).failed(A, "connect", 0) is None


def test_what_is_the_requests_fault_lets_nobody_rest() -> None:
    health = Health(allowed_fails=0)
    assert [health.failed(A, cause, 0) for cause in ("refused", "too_large", "no_room")] == [None] * 3


def test_what_another_edge_says_counts() -> None:
    health = Health()
    health.rest(A, 3, 10)
    assert health.is_resting(A, 12.9) and not health.is_resting(A, 13.1)
    health.rest(A, 1e12, 20)
    assert not health.is_resting(A, 20 + 301)


@pytest.mark.parametrize("calls", [50, 1_000, 10_000])
def test_retries_stay_within_the_budget_however_much_fails(calls: int) -> None:
    """A provider that is down: every call would be tried again."""
    budget, now, retries = RetryBudget(), 0.0, 0
    draw = random.Random(calls)
    for _ in range(calls):
        now += draw.random() * 0.01
        budget.call(now)
        while draw.random() < 0.9 and budget.take(now):
            retries += 1
    windows = now / 10 + 1
    assert retries <= 0.1 * calls + 10 * windows
    assert retries > 0


# ── the order of candidates ──


def test_each_strategy_orders_all_candidates_and_order_goes_first() -> None:
    candidates = [candidate("a", order=1), candidate("b"), candidate("c", weight=5.0)]
    for strategy in STRATEGIES:
        found = ordered(strategy, candidates, Health(), 0, random.Random(1).random)
        assert sorted(c.deployment_id for c in found) == ["a", "b", "c"]
        assert found[-1].deployment_id == "a", strategy


def test_what_rests_goes_last() -> None:
    health = Health(cooldown_s=5)
    health.failed(A, "connect", 0)
    for strategy in STRATEGIES:
        assert (
            ordered(strategy, [candidate("a"), candidate("b", order=9)], health, 1, random.random)[0].deployment_id
            == "b"
        )


def first_of(strategy: str, candidates: list[Candidate], health: Health, now: float = 0.0) -> str:
    return ordered(strategy, candidates, health, now, random.Random(3).random)[0].deployment_id


def test_the_least_busy_goes_first() -> None:
    health = Health()
    for _ in range(3):
        health.started(A, 0)
    health.started(B, 0)
    assert first_of("least-busy", [candidate("a"), candidate("b")], health) == "b"
    health.ended(B)
    for _ in range(3):
        health.ended(A)
    health.started(B, 0)
    assert first_of("least-busy", [candidate("a"), candidate("b")], health) == "a"


def test_the_fastest_goes_first_and_who_was_never_asked_before_it() -> None:
    health = Health()
    health.answered(A, 1.0)
    health.answered(B, 0.2)
    assert first_of("latency-based-routing", [candidate("a"), candidate("b")], health) == "b"
    assert first_of("latency-based-routing", [candidate("a"), candidate("b"), candidate("c")], health) == "c"


def test_the_least_used_goes_first_and_who_is_full_last() -> None:
    health = Health()
    for deployment, tokens in ((A, 900), (B, 5_000)):
        health.started(deployment, 0)
        health.used(deployment, tokens)
    small, large = candidate("a", tpm=1_000), candidate("b", tpm=100_000)
    assert first_of("usage-based-routing-v2", [small, large], health) == "b"
    health.used(A, 200)
    found = ordered(
        "usage-based-routing", [candidate("a", tpm=1_000), candidate("b", tpm=100_000)], health, 0, random.random
    )
    assert [c.deployment_id for c in found] == ["b", "a"]
    assert first_of("usage-based-routing", [small, large], health, now=61) in ("a", "b")


def test_the_cheapest_goes_first_and_who_has_no_price_last() -> None:
    dear, cheap = candidate("a", price=Price(10, 10)), candidate("b", price=Price(1, 1))
    assert first_of("cost-based-routing", [candidate("c"), dear, cheap], Health()) == "b"


def test_weights_are_shares() -> None:
    draw = random.Random(7)
    candidates = [candidate("a", weight=3.0), candidate("b", weight=1.0)]
    firsts = [ordered("simple-shuffle", candidates, Health(), 0, draw.random)[0].deployment_id for _ in range(4_000)]
    assert 0.71 < firsts.count(A) / 4_000 < 0.79


def test_latencies_end_and_what_is_within_the_buffer_is_as_fast() -> None:
    def first(health: Health, now: float) -> set[str]:
        pair = [candidate("slow"), candidate("fast")]
        draws = random.Random(1)
        score = STRATEGIES["latency-based-routing"]
        return {min(pair, key=lambda each: score(each, health, now, draws.random)).deployment_id for _ in range(40)}

    def asked(**settings: float) -> Health:
        health = Health(**settings)
        for name, latency_s in (("slow", 1.2), ("fast", 1.0)):
            health.started(DeploymentId(name), 1_000.0)
            health.ended(DeploymentId(name))
            health.answered(DeploymentId(name), latency_s)
        return health

    assert first(asked(), 1_001.0) == {"fast"}, "a fifth slower is slower than a tenth"
    assert first(asked(latency_buffer=0.5), 1_001.0) == {"slow", "fast"}
    health = asked(latency_ttl_s=120)
    health.started(DeploymentId("fast"), 1_130.0)
    health.ended(DeploymentId("fast"))
    assert first(health, 1_131.0) == {"slow"}, "nobody knows any more how slow it is"
    assert first(asked(), 1_131.0) == {"fast"}, "an hour where nothing is said"

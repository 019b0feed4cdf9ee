"""Budgets of the gateway, of providers and of deployments (services/policy/budgets.py)."""

from datetime import UTC, date, datetime
from typing import Any

import pytest

from services.policy import budgets
from services.policy.catalog import build
from shared import config
from shared.config.budgets import budget, why_not, window
from shared.grant import Denial, Grant
from tests.policy.world import CONFIG, NOW, World, key, secret

USD = 10**12
ENTRIES = """
model_list:
  - {model_name: gpt, litellm_params: {model: openai/a, api_key: k, max_budget: 5, budget_duration: 1d}, model_info: {id: one}}
  - {model_name: gpt, litellm_params: {model: groq/b, api_key: k}, model_info: {id: two}}
  - {model_name: lone, litellm_params: {model: groq/c, api_key: k}, model_info: {id: three}}
  - {model_name: other, litellm_params: {model: mistral/d, api_key: k}, model_info: {id: four}}
"""
LIMITED = (
    ENTRIES
    + """
router_settings:
  provider_budget_config: {groq: {budget_limit: 10, time_period: 30d}}
  fallbacks: FALLBACKS
litellm_settings: {max_budget: 100, budget_duration: 30d}
general_settings: {master_key: sk-master-of-this-world}
"""
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("term", "now", "first", "end"),
    [
        ("1d", "2026-11-27T23:59:59", "2026-11-27", "2026-11-28"),
        ("24h", "2026-11-27T00:00:00", "2026-11-27", "2026-11-28"),
        ("86400s", "2026-11-27T12:00:00", "2026-11-27", "2026-11-28"),
        ("7d", "2026-11-27T12:00:00", "2026-11-23", "2026-11-30"),
        ("1w", "2026-11-23T00:00:00", "2026-11-23", "2026-11-30"),
        ("30d", "2026-02-28T12:00:00", "2026-02-01", "2026-03-01"),
        ("1mo", "2026-12-31T23:59:59", "2026-12-01", "2027-01-01"),
        ("3mo", "2026-11-27T12:00:00", "2026-10-01", "2027-01-01"),
        ("monthly", "2026-11-27T12:00:00", "2026-11-01", "2026-12-01"),
        ("2d", "1970-01-04T12:00:00", "1970-01-03", "1970-01-05"),
    ],
)
def test_windows_begin_where_litellms_are_reset(term: str, now: str, first: str, end: str) -> None:
    assert window(term, ms(now)) == (date.fromisoformat(first), ms(end))
    assert window(term, ms(end)) != window(term, ms(now)), "at its end the next one begins"
    assert window(term, ms(end))[0] == date.fromisoformat(end)


def test_terms_that_nobody_can_hold_to_are_named() -> None:
    assert window("", NOW) == (None, None)
    assert not why_not("30d") and not why_not(None)
    for term in ("1h", "90m", "25h", "0d", "d", "1y", "99999d", "-1d", "99999h", "600w", "123mo", "99999999mo", " "):
        assert why_not(term), term
        assert budget("total", "", 1.0, term) is None
    for term in ("3660d", "522w", "122mo", "87840h"):
        first, end = window(term, NOW)
        assert not why_not(term) and first is not None and end is not None and end > NOW, term


def limited(fallbacks: str = "[]") -> World:
    return World(key("a"), text=LIMITED.replace("FALLBACKS", fallbacks))


def told(world: World, now_ms: int = NOW, **sums: float) -> bool:
    """What the book has of each, as policy hears it; whether that is a fact."""
    known = budgets.limits(world.catalog)
    of = {"total": "total:", "groq": "provider:groq", "one": "deployment:one"}
    values = {of[name]: int(usd * USD) for name, usd in sums.items()}
    change = budgets.planned(known, [values.get(each.name, 0) for each in known], now_ms, world.directory, now_ms)
    if change is not None:
        world.fold(change.kind, change.entity_id, change.after)
    return change is not None


def asked(decision: Grant | Denial) -> Any:
    return (
        decision.refusal.code
        if isinstance(decision, Denial)
        else [each.deployment_id for each in decision.candidates]
        + [f"{each.model}:{c.deployment_id}" for each in decision.fallbacks for c in each.candidates]
    )


def test_the_gateway_lets_nothing_in_once_its_budget_is_used_up() -> None:
    world = limited()
    assert not told(world, total=99.999999)
    assert asked(world.decide(secret("a"), model="gpt")) == ["one", "two"]
    assert told(world, total=100)
    for credential in (secret("a"), "sk-master-of-this-world"):
        denial = world.decide(credential, model="gpt")
        assert isinstance(denial, Denial)
        assert (denial.refusal.status, denial.refusal.type) == (422, "budget_exceeded")
        assert denial.refusal.message == "Budget has been exceeded! Current cost: 100, Max budget: 100"
        assert "control.setting.>" in denial.depends_on, "what ends it"
    assert isinstance(world.decide(secret("a"), route="/models"), Grant), "asking what there is costs nothing"
    assert isinstance(world.decide(secret("a"), route="/key/info"), Grant)
    assert not told(world, total=150), "one fact a window, not one a call"
    later = ms("2027-02-01T00:00:00")
    assert asked(world.decide(secret("a"), model="gpt", now_ms=later)) == ["one", "two"], "another month"
    assert told(world, later, total=0), "which edges must hear of"
    assert not told(world, later, total=0)
    assert not world.directory.settings["budgets_over"].value


def test_a_deployment_without_money_isnt_asked() -> None:
    world = limited()
    told(world, one=5)
    assert asked(world.decide(secret("a"), model="gpt")) == ["two"]
    told(world, one=5, groq=10)
    assert asked(world.decide(secret("a"), model="gpt")) == "no_deployment_in_budget"
    assert asked(world.decide(secret("a"), model="other")) == ["four"]
    told(world, one=5, groq=9)
    assert asked(world.decide(secret("a"), model="gpt")) == ["two"]


def test_a_model_without_money_goes_to_its_fallbacks() -> None:
    world = limited("[{lone: [other, gpt]}]")
    assert asked(world.decide(secret("a"), model="lone")) == ["three", "other:four", "gpt:one", "gpt:two"]
    told(world, groq=10)
    assert asked(world.decide(secret("a"), model="lone")) == ["other:four", "gpt:one"]


def test_what_was_told_is_measured_by_the_limits_of_now() -> None:
    world = limited()
    told(world, total=100, one=5)
    text = LIMITED.replace("FALLBACKS", "[]").replace("max_budget: 100", "max_budget: 200")
    raised = World(text=text.replace("max_budget: 5", "max_budget: 6"))
    raised.directory = world.directory
    assert asked(raised.decide(secret("a"), model="gpt")) == ["one", "two"]
    lowered = World(text=text.replace("max_budget: 200", "max_budget: 100.5"))
    lowered.directory = world.directory
    known = budgets.limits(lowered.catalog)
    change = budgets.planned(known, [int(100.6 * USD)] + [0] * (len(known) - 1), NOW, lowered.directory, NOW)
    assert change is not None and change.after is not None
    lowered.fold(change.kind, change.entity_id, change.after)
    assert asked(lowered.decide(secret("a"), model="gpt")) == "over_budget", "it was told of less than the new limit"


def test_policies_that_disagree_do_not_go_on_saying_so() -> None:
    """One has read another file: each fact of theirs has edges forget all they were told."""
    low = limited()
    text = LIMITED.replace("FALLBACKS", "[]").replace("max_budget: 100", "max_budget: 200")
    high = World(key("a"), text=text.replace("provider_budget_config: {groq", "provider_budget_config: {mistral"))
    high.directory = low.directory
    assert told(low, total=150, groq=10, one=5)
    for second in range(5):
        assert not told(high, NOW + 1_000 * second, total=150, one=5)
        assert not told(low, NOW + 1_000 * second, total=150, groq=10, one=5)
    assert asked(low.decide(secret("a"), model="gpt")) == "over_budget"
    assert asked(high.decide(secret("a"), model="gpt")) == ["two"]
    assert told(high, NOW + 1_000, total=200, one=5)
    assert not told(low, NOW + 1_000, total=201, groq=10, one=5)
    assert told(high, NOW + 1_000, total=149), "the book has less than that after all"
    assert set(low.directory.settings["budgets_over"].value) == {"provider:groq"}
    assert told(high, NOW + 100_000), "in the end nobody says so any more"
    assert not low.directory.settings["budgets_over"].value


def test_policies_that_differ_in_a_term_do_not_go_on_saying_so() -> None:
    """Each has a window of its own for one budget."""
    monthly = limited()
    text = LIMITED.replace("FALLBACKS", "[]").replace("budget_duration: 30d", "budget_duration: 1d")
    daily = World(key("a"), text=text)
    daily.directory = monthly.directory
    assert told(monthly, total=150) and told(daily, NOW + 1, total=100)
    for second in range(59):
        for world in (monthly, daily):
            assert not told(world, NOW + 1_000 * second, total=150)
            assert asked(world.decide(secret("a"), model="gpt")) == "over_budget"
    assert set(monthly.directory.settings["budgets_over"].value) == {"total:", "total:@2027-01-15"}
    assert told(monthly, NOW + 59_000, total=99), "its own window"
    assert asked(monthly.decide(secret("a"), model="gpt")) == ["one", "two"]
    assert asked(daily.decide(secret("a"), model="gpt")) == "over_budget"
    tomorrow = NOW + 86_400_000
    assert told(daily, tomorrow, total=0) and not daily.directory.settings["budgets_over"].value


def test_a_day_that_ends_just_after_its_limit_was_reached() -> None:
    world, midnight = limited(), ms("2026-11-28T00:00:00")
    assert told(world, midnight - 500, one=5)
    assert told(world, midnight + 500), "whoever was refused hears of it at once"
    assert not world.directory.settings["budgets_over"].value


def test_a_budget_that_never_begins_anew() -> None:
    general = "general_settings: {disable_reset_budget: true, "
    world = World(key("a"), text=LIMITED.replace("FALLBACKS", "[]").replace("general_settings: {", general))
    told(world, total=100)
    assert asked(world.decide(secret("a"), model="gpt", now_ms=ms("2036-02-01T00:00:00"))) == "over_budget"


def test_a_silent_book_changes_nothing_but_windows() -> None:
    world = limited()
    told(world, total=100, one=5)
    known = budgets.limits(world.catalog)
    assert budgets.planned(known, None, NOW, world.directory, NOW) is None
    tomorrow = NOW + 86_400_000
    change = budgets.planned(known, None, tomorrow, world.directory, tomorrow)
    assert change is not None and change.after is not None
    assert set(change.after["value"]) == {"total:"}, "the deployment's day is over"
    fresh = limited()
    assert budgets.planned(known, None, NOW, fresh.directory, NOW) is None


def test_nothing_at_all_needs_no_book() -> None:
    world = World(key("a"), text=CONFIG.replace("litellm_settings:\n", "litellm_settings:\n  max_budget: 0\n"))
    assert asked(world.decide(secret("a"), model="gpt")) == "over_budget"


@pytest.mark.parametrize(
    ("text", "place", "verdict"),
    [
        ("litellm_settings: {max_budget: 10, budget_duration: 30d}", "litellm_settings.max_budget", "differently"),
        ("litellm_settings: {max_budget: 10, budget_duration: 30d}", "litellm_settings.budget_duration", "acts"),
        ("litellm_settings: {max_budget: '10'}", "litellm_settings.max_budget", "differently"),
        ("litellm_settings: {max_budget: 10, budget_duration: 1h}", "litellm_settings.max_budget", "no effect"),
        ("litellm_settings: {budget_duration: 1d}", "litellm_settings.budget_duration", "no effect"),
        ("general_settings: {max_budget: 10, budget_duration: 1d}", "general_settings.max_budget", "differently"),
    ],
)
def test_what_is_said_of_them(text: str, place: str, verdict: str) -> None:
    found = config.parse(text, {})
    assert {each.place: each.verdict for each in found.keys}[place] == verdict
    assert bool(build(found, lambda *_: None).budgets) == ("max_budget" in text and verdict != "no effect")


def test_a_provider_that_nobody_is_called_is_named() -> None:
    limits = "{open-ai: {budget_limit: 1, time_period: 1d}, openai: {budget_limit: 1}}"
    found = config.parse(f"router_settings: {{provider_budget_config: {limits}}}", {})
    said = [each for each in found.warnings if "provider_budget_config" in each]
    assert len(said) == 1 and "provider_budget_config.open-ai" in said[0]


@pytest.mark.parametrize(
    "text",
    [
        "litellm_settings: {max_budget: -1}",
        "litellm_settings: {max_budget: .nan}",
        "litellm_settings: {max_budget: 0, budget_duration: 99999999mo}",
        "litellm_settings: {max_budget: 0, budget_duration: 1h}",
        "router_settings: {provider_budget_config: {openai: {time_period: 1d}}}",
        "router_settings: {provider_budget_config: {openai: {budget_limit: 1, time_period: 1h}}}",
        "router_settings: {provider_budget_config: {openai: 5}}",
    ],
)
def test_limits_that_are_none_refuse_the_start(text: str) -> None:
    with pytest.raises(config.ConfigError, match="budget"):
        config.parse(text, {})


def test_what_providers_may_spend_is_shown_with_what_they_have() -> None:
    text = LIMITED.replace("FALLBACKS", "[]").replace(
        "time_period: 30d}", "time_period: 30d}, mistral: {budget_limit: 0.5, time_period: 1d}"
    )
    call = World(key("a"), text=text).plan("/provider/budgets")
    assert call.answer == {
        "providers": {
            "groq": {
                "budget_limit": 10.0, "time_period": "30d", "spend": None, "budget_reset_at": "2027-02-01T00:00:00.000+00:00",
            },
            "mistral": {
                "budget_limit": 0.5, "time_period": "1d", "spend": None, "budget_reset_at": "2027-01-16T00:00:00.000+00:00",
            },
        }
    }  # fmt: skip
    assert [(each.dimension, each.values, each.since) for each in call.spend] == [
        ("provider", ["groq"], "2027-01-01"), ("provider", ["mistral"], "2027-01-15"),
    ]  # fmt: skip
    assert call.spend[0].row is call.answer["providers"]["groq"], "where what they have goes"
    assert World(key("a")).call("/provider/budgets") == {"providers": {}}

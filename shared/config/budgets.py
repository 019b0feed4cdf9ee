"""What the gateway, a provider or a deployment may spend in a term, as the file says. Pure.

Terms are those that LiteLLM resets by, in UTC: a day, a week from Monday, a calendar month (also
`30d`), else so many days since 1970. The book has its sums by the day, so no term is shorter.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from msgspec import Struct

from shared.config.errors import ConfigError
from shared.config.fields import Reading
from shared.config.providers import PROVIDERS
from shared.config.schema import LitellmSettings, RouterSettings
from shared.money import PICOUSD_PER_USD

OVER_SETTING = "budgets_over"
"""The control setting in which policy says which of them are used up: name → {"first": the first
day of its window, "spent_picousd"}. Where policies differ in a term, further windows stand by name
and first day, with the "name".
"""
UsedUp = dict[tuple[str, str], int]
"""(name of a budget, first day of its window) → pico-USD."""
EPOCH = date(1970, 1, 1)
_TERM = re.compile(r"([1-9][0-9]{0,7})(s|m|h|d|w|mo)")
_WEEK, _MONTH = 7, 30
_WORDS = {"daily": "1d", "weekly": "7d", "monthly": "30d"}
"""What people write; LiteLLM refuses it."""
_OF_A_DAY = {"h": 24, "m": 24 * 60, "s": 24 * 3600}
DAYS_MAX = 3_660
_PROVIDERS = "router_settings.provider_budget_config"


class Budget(Struct, frozen=True):
    """One of them."""

    dimension: str
    """Of the book's sums: total, provider, deployment."""
    value: str
    """Which provider or deployment; empty: the gateway."""
    max_picousd: int
    term: str = ""
    """Like `30d`; empty: it never begins anew."""

    @property
    def name(self) -> str:
        return f"{self.dimension}:{self.value}"


def window(term: str, now_ms: int) -> tuple[date | None, int | None]:
    """(its first day, the instant it ends as Unix milliseconds) of the window that `now_ms` is in.
    None: it has none.
    """
    if not term:
        return None, None
    number, unit = _days(term)
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    if unit == "mo":
        index = (today.year * 12 + today.month - 1) // number * number
        return _month(index), _instant(_month(index + number))
    first = EPOCH + timedelta(days=(today - EPOCH).days // number * number)
    if number == _WEEK:
        first = today - timedelta(days=today.weekday())
    return first, _instant(first + timedelta(days=number))


def why_not(term: str | None) -> str:
    """Why nobody can hold to this term; empty: it can be held to."""
    try:
        if term:
            _days(term)
    except ValueError as error:
        return str(error)
    return ""


def budget(dimension: str, value: str, usd: float | None, term: str | None) -> Budget | None:
    """None: there is no limit, or nobody can hold to its term."""
    if usd is None or why_not(term):
        return None
    return Budget(dimension, value, int((Decimal(repr(usd)) * PICOUSD_PER_USD).to_integral_value()), term or "")


def of_providers(given: Mapping[str, Any]) -> list[Budget]:
    """`provider_budget_config`. Raises ConfigError."""
    found = (budget("provider", name, *_of_provider(name, each)) for name, each in given.items())
    return [each for each in found if each is not None]


def check(litellm: LitellmSettings, router: RouterSettings, reading: Reading) -> None:
    """Says what of them does nothing. Raises ConfigError."""
    name_idle("litellm_settings", litellm.max_budget, litellm.budget_duration, reading)
    for name, each in router.provider_budget_config.items():
        if why := why_not(_of_provider(name, each)[1]):
            reading.unenforced("provider_budget_config", f"{_PROVIDERS}.{name} can't be enforced (its term {why})")
        if name not in PROVIDERS:
            reading.warn(f"{_PROVIDERS}.{name}: not used (no provider is called so)")


def name_idle(at: str, usd: float | None, term: str | None, reading: Reading) -> None:
    """Says of a limit and its term that they do nothing, where they don't."""
    why = why_not(term)
    if usd is None and term:
        reading.correct(f"{at}.budget_duration", "no effect", "there is no max_budget")
    elif usd is not None and why:
        for key in ("max_budget", "budget_duration"):
            reading.correct(f"{at}.{key}", "no effect", f"budget_duration {why}")
        reading.warn(f"{at}.max_budget: not used (budget_duration {why})")
        if not usd:
            reading.unenforced("max_budget", f"{at}.max_budget can't be enforced (budget_duration {why})")


def _of_provider(name: str, given: Any) -> tuple[float, str | None]:
    """(USD, term)."""
    at = f"{_PROVIDERS}.{name}"
    if not isinstance(given, dict):
        raise ConfigError(f"{at} must be a mapping with budget_limit and time_period")
    usd = given.get("budget_limit", given.get("max_budget"))
    term = given.get("time_period", given.get("budget_duration"))
    if isinstance(usd, str):
        try:
            usd = float(usd)
        except ValueError:
            usd = None
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 <= usd < 1e9:
        raise ConfigError(f"{at}.budget_limit must be an amount of USD")
    if term is not None and not isinstance(term, str):
        raise ConfigError(f"{at}.time_period must be a term, like 30d")
    return float(usd), term


def _days(term: str) -> tuple[int, str]:
    """(number, `d` or `mo`). Raises ValueError, a sentence without its subject."""
    word = term.strip().lower()
    found = _TERM.fullmatch(_WORDS.get(word, word))
    if found is None:
        raise ValueError("must be like 1d, 7d, 30d or 1mo")
    number, unit = int(found[1]), found[2]
    if unit in _OF_A_DAY:
        number, rest = divmod(number, _OF_A_DAY[unit])
        if rest or not number:
            raise ValueError("must be whole days: the book has its sums by the day")
    elif unit == "w":
        number *= _WEEK
    elif unit == "mo" or number == _MONTH:
        number, unit = (1 if unit == "d" else number), "mo"
    if number * (_MONTH if unit == "mo" else 1) > DAYS_MAX:
        raise ValueError(f"must be {DAYS_MAX} days at most")
    return number, "mo" if unit == "mo" else "d"


def _month(index: int) -> date:
    return date(index // 12, index % 12 + 1, 1)


def _instant(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def used_up(value: Any) -> UsedUp:
    """What OVER_SETTING says."""
    if not isinstance(value, dict):
        return {}
    return {(each.get("name", key), each["first"]): int(each["spent_picousd"]) for key, each in value.items()}


def over_setting(found: UsedUp) -> dict[str, dict[str, str]]:
    """OVER_SETTING of it."""
    said: dict[str, dict[str, str]] = {}
    for (name, first), spent_picousd in sorted(found.items()):
        entry = {"first": first, "spent_picousd": str(spent_picousd)}
        if name in said:
            said[f"{name}@{first}"] = {**entry, "name": name}
        else:
            said[name] = entry
    return said

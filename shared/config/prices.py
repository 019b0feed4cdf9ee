"""An entry's own prices: LiteLLM's `input_cost_per_token` and its kin, in USD, as a Price. Pure.

A key is a unit's name, perhaps with `_above_200k_tokens` (for calls with a longer prompt), perhaps
with `_flex`, `_priority` or `_batches` (the provider's service tier).
"""

import re
from collections.abc import Mapping
from typing import Any

from shared.billing import Price, Rate
from shared.config.errors import ConfigError
from shared.money import Exact, exact_from_usd

_UNITS = {
    "input_cost_per_token": "input",
    "output_cost_per_token": "output",
    "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write",
    "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "cache_read_input_audio_token_cost": "cache_read_audio",
    "input_cost_per_audio_token": "input_audio",
    "output_cost_per_audio_token": "output_audio",
    "input_cost_per_image_token": "input_image_token",
    "output_cost_per_image_token": "output_image_token",
    "output_cost_per_reasoning_token": "reasoning",
    "input_cost_per_character": "input_character",
    "output_cost_per_character": "output_character",
    "input_cost_per_second": "input_second",
    "input_cost_per_audio_per_second": "input_second",
    "output_cost_per_second": "output_second",
    "input_cost_per_image": "input_image",
    "output_cost_per_image": "image",
    "input_cost_per_pixel": "input_pixel",
    "output_cost_per_pixel": "pixel",
    "input_cost_per_request": "request",
    "search_context_size_low": "search_low",
    "search_context_size_medium": "search_medium",
    "search_context_size_high": "search_high",
    "input_cost_per_query": "request",
    "input_cost_per_token_cache_hit": "cache_read",
}
_KEY = re.compile(
    r"(?P<unit>[a-z_]+?(?:_above_1hr)?)(?:_above_(?P<above>\d{1,8})(?P<k>k?)_tokens)?(?:_(?P<service>flex|priority|batches))?"
)
_SERVICES = {"flex": "flex", "priority": "priority", "batches": "batch", None: ""}
_USUAL = {"input", "output", "cache_read", "cache_write", "request"}


_SEARCHES = "search_context_cost_per_query"
"""`{search_context_size_low: USD, ..._medium, ..._high}`: a search on the web, by how much it
brings back.
"""
_TIERS = "tiered_pricing"
"""`[{range: [0, 128000], input_cost_per_token: USD, ...}, ...]`: prices by the length of the
prompt.
"""
UNKNOWN = -1
"""OpenRouter's word for a price that nobody can say: no price."""


def is_price(key: str) -> bool:
    found = _KEY.fullmatch(key)
    return (found is not None and found["unit"] in _UNITS) or key in (_SEARCHES, _TIERS)


def _flat(values: Mapping[str, Any], at: str) -> dict[str, Any]:
    """The keys that hold several prices as keys of one each. Raises ConfigError."""
    flat = {key: value for key, value in values.items() if key not in (_SEARCHES, _TIERS)}
    searches = values.get(_SEARCHES)
    if searches is not None:
        if not isinstance(searches, dict):
            raise ConfigError(f"{at}.{_SEARCHES} must be a mapping")
        flat |= {str(size): usd for size, usd in searches.items()}
    tiers = values.get(_TIERS)
    if tiers is not None and not isinstance(tiers, list):
        raise ConfigError(f"{at}.{_TIERS} must be a list")
    for tier in tiers or ():
        start = (
            tier["range"][0]
            if isinstance(tier, dict) and isinstance(tier.get("range"), list) and tier["range"]
            else None
        )
        if not isinstance(start, int | float) or not 0 <= start < 10**5 * 1000:
            raise ConfigError(f"{at}.{_TIERS}: each tier has a range, like [0, 128000]")
        above = f"_above_{int(start)}_tokens" if start else ""
        flat |= {f"{key}{above}": usd for key, usd in tier.items() if key in _UNITS}
    return flat


def price(values: Mapping[str, Any], at: str) -> Price | None:
    """None where no key of `values` is a price. Raises ConfigError."""
    usual: dict[str, Exact] = {}
    rates: list[Rate] = []
    for key, value in _flat(values, at).items():
        found = _KEY.fullmatch(key)
        if value in (None, UNKNOWN) or found is None or found["unit"] not in _UNITS:
            continue
        try:
            amount = exact_from_usd(value)
        except ValueError as error:
            raise ConfigError(f"{at}.{key}: {error}") from None
        unit, service = _UNITS[found["unit"]], _SERVICES[found["service"]]
        above = int(found["above"] or 0) * (1000 if found["k"] else 1)
        if unit in _USUAL and not above and not service:
            usual[unit] = amount
        else:
            rates.append(Rate(unit, amount, above, service))
    if not usual and not rates:
        return None
    by_token = "input" in usual or "output" in usual
    return Price(
        input_picousd=usual.get("input", 0 if by_token or "request" in usual else None),
        output_picousd=usual.get("output", 0 if by_token or "request" in usual else None),
        cache_read_picousd=usual.get("cache_read"),
        cache_write_picousd=usual.get("cache_write"),
        request_picousd=usual.get("request", 0),
        source="config",
        rates=tuple(rates),
    )

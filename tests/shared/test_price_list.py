"""Money by another route: 47 models, every unit, tier and service they have a price for, summed
here in decimal USD.
"""

import re
from decimal import Decimal

import pytest

from services.edge.usage.reconcile import Counts, reconcile
from shared import prices
from shared.billing import Usage, cost
from tests.shared.price_list import PRICES

Listed = dict[tuple[str, int, str], Decimal]
_ITEM = re.compile(r"(?P<unit>\w+)(?:>(?P<above>\d+))?(?::(?P<service>\w+))? (?P<usd>[\d.]+)")


def listed(text: str) -> Listed:
    found: Listed = {}
    for item in text.split("; "):
        match = _ITEM.fullmatch(item)
        assert match is not None, item
        found[match["unit"], int(match["above"] or 0), match["service"] or ""] = Decimal(match["usd"])
    return found


def by_hand(table: Listed, usage: Usage) -> Decimal:
    """In USD: plain input, cached input, written input by how long it lives, audio, output; each at
    the price of its tier and service.
    """

    def price(unit: str, *others: str) -> Decimal:
        for name in (unit, *others):
            for service in dict.fromkeys((usage.service, "")):
                fitting = [
                    (above, usd)
                    for (of, above, how), usd in table.items()
                    if of == name and how == service and (above == 0 or usage.input_tokens > above)
                ]
                if fitting:
                    return max(fitting)[1]
        raise AssertionError(f"no price for {unit}")

    hour, written, cached, audio = (
        usage.cache_write_1h_tokens, usage.cache_write_tokens, usage.cached_tokens, usage.audio_input_tokens,
    )  # fmt: skip
    total = price("input") * (usage.input_tokens - cached - written - audio)
    total += price("cache_read", "input") * cached
    total += price("cache_write", "input") * (written - hour)
    total += price("cache_write_1h", "cache_write", "input") * hour
    if audio:
        total += price("input_audio") * audio
    if usage.output_tokens:
        total += price("output") * (usage.output_tokens - usage.audio_output_tokens)
    if usage.audio_output_tokens:
        total += price("output_audio") * usage.audio_output_tokens
    return total / 1_000_000


@pytest.mark.parametrize(("provider", "model", "text"), PRICES, ids=[f"{p}/{m}" for p, m, _ in PRICES])
def test_a_call_costs_what_the_price_list_says(provider: str, model: str, text: str) -> None:
    table = listed(text)
    price = prices.lookup(provider, model)
    assert price is not None
    units = {unit for unit, _, _ in table}
    compared = 0
    for service in sorted({service for _, _, service in table}):
        for size in (7, 1_003, 128_001, 200_000, 200_001, 272_000, 272_001, 999_983):
            for parts in (False, True):
                counts = Counts(size, 1_009 if "output" in units else 0, None, service=service)
                if parts:
                    counts.cached = size // 3 if "cache_read" in units else 0
                    counts.written = size // 5 if "cache_write" in units else 0
                    counts.written_1h = size // 11 if "cache_write_1h" in units else 0
                    counts.audio_input = size // 13 if "input_audio" in units else 0
                    counts.audio_output = 101 if "output_audio" in units else 0
                    counts.reasoning = 503 if "output" in units else 0
                usage = reconcile(counts, generates=True, provider=provider)
                assert usage is not None and not usage.flags
                found = cost(price, usage)
                expected = by_hand(table, usage)
                assert found.picousd == expected * 10**12, (usage, found)
                assert not found.flags
                compared += 1
    assert compared >= 16


def test_the_list_is_as_long_as_it_says() -> None:
    assert len(PRICES) == 47 and len({provider for provider, _, _ in PRICES}) >= 10

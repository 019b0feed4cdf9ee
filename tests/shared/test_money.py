"""Money is exact, or refused."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import billing
from shared.billing import Price, Rate, Usage, cost, cost_picousd, most_picousd
from shared.money import exact_from_usd, format_usd, picousd_from_usd, usd_from_picousd


@pytest.mark.parametrize(
    ("usd", "picousd"),
    [
        (0, 0), (0.0, 0), (-0.0, 0), ("0", 0), ("0E+999999", 0), ("0E-999999", 0), (1, 10**12), ("1.000000000000000", 10**12),
        (1.5e-07, 150_000), ("1.5e-07", 150_000), ("0.00000015", 150_000), (Decimal("0.00000015"), 150_000), (" 2 ", 2 * 10**12),
        (1e-12, 1), ("1e-12", 1), (0.1, 10**11), (2.5e-06, 2_500_000), ("1.875E-8", 18_750), (0.30000000000000004e-3, None),
        ("1e-13", None), (1e-13, None), ("0.0000000000015", None), ("1E-999999999", None), ("0.1234567890123", None),
        ("1.00000000000000000000000000000000001", None), ("1" + "0" * 40, None), ("1E+999999999", None), (10**400, None),
        (1_000_000, 10**18), ("1000000.000000000001", None), (1e22, None),
        (-1, None), ("-0.1", None), ("NaN", None), ("sNaN", None), ("Infinity", None), (float("nan"), None), (float("inf"), None),
        ("", None), ("free", None), ("1,5", None), ("$1", None), (None, None), (True, None), (False, None),
        ([0, [1], 0], None), ((0, (1,), 0), None), ({}, None), (b"1", None),
    ],
)  # fmt: skip
def test_from_usd(usd: Any, picousd: int | None) -> None:
    if picousd is None:
        with pytest.raises(ValueError, match=r"."):
            picousd_from_usd(usd)
    else:
        assert picousd_from_usd(usd) == picousd


picousds = st.integers(0, 10**18)


@given(picousds)
def test_what_is_written_is_read_back_exactly(picousd: int) -> None:
    assert picousd_from_usd(format_usd(picousd)) == picousd
    assert Fraction(format_usd(picousd)) == Fraction(picousd, 10**12)
    assert picousd_from_usd(f"{picousd}e-12") == picousd


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=0, max_value=10**6))
def test_an_amount_is_exact_or_refused(usd: Decimal) -> None:
    exact = Fraction(usd) * 10**12
    if exact.denominator == 1:
        assert picousd_from_usd(usd) == exact
    else:
        with pytest.raises(ValueError, match="finer"):
            picousd_from_usd(usd)


@given(st.floats(0, 1) | st.text(max_size=20) | st.integers() | st.none())
def test_anything_else_is_a_value_error(usd: Any) -> None:
    try:
        assert picousd_from_usd(usd) >= 0
    except ValueError as error:
        assert str(error)


def test_formatting() -> None:
    assert [format_usd(p) for p in (0, 1, 10**12, 25 * 10**11, 10**13, 100)] == [
        "0", "0.000000000001", "1", "2.5", "10", "0.0000000001",
    ]  # fmt: skip
    assert usd_from_picousd(50_000_000_000) == 0.05


tokens = st.integers(0, 10**7)
prices = st.builds(
    Price,
    st.integers(0, 10**9),
    st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.none() | st.integers(0, 10**9),
    st.integers(0, 10**11),
)


@given(prices, st.builds(Usage, tokens, tokens, tokens, tokens))
def test_cost_is_exact(price: Price, usage: Usage) -> None:
    """Against decimal arithmetic in USD per million tokens, as price lists and invoices have it."""
    with localcontext() as context:
        context.prec = 100
        per_million = {
            name: Decimal(value) / 10**6
            for name, value in {
                "input": price.input_picousd,
                "output": price.output_picousd,
                "read": price.input_picousd if price.cache_read_picousd is None else price.cache_read_picousd,
                "write": price.input_picousd if price.cache_write_picousd is None else price.cache_write_picousd,
            }.items()
        }
        read = min(usage.cached_tokens, usage.input_tokens)
        write = min(usage.cache_write_tokens, usage.input_tokens - read)
        usd = (
            (usage.input_tokens - read - write) * per_million["input"]
            + read * per_million["read"]
            + write * per_million["write"]
            + usage.output_tokens * per_million["output"]
        ) / 10**6 + Decimal(price.request_picousd) / 10**12
        assert cost_picousd(price, usage) == usd * 10**12


def test_a_provider_that_reports_more_cached_than_input_tokens_is_not_paid_for_more() -> None:
    price = Price(10, 1, 4, 7)
    assert cost_picousd(price, Usage(100, 0, 500)) == 400
    assert cost_picousd(price, Usage(100, 0, 60, 60)) == 60 * 4 + 40 * 7
    assert cost_picousd(price, Usage(0, 3, 5, 5)) == 3


CLAUDE = Price(
    3_000_000, 15_000_000, 300_000, 3_750_000,
    rates=(
        Rate("cache_write_1h", 6_000_000),
        Rate("input", 6_000_000, 200_000), Rate("output", 22_500_000, 200_000), Rate("cache_read", 600_000, 200_000),
        Rate("cache_write", 7_500_000, 200_000), Rate("cache_write_1h", 12_000_000, 200_000),
        Rate("search", 10_000_000_000),
    ),
)  # fmt: skip
"""3 / 15 / 0.30 / 3.75 (5 min) / 6 (1 h) USD a million; twice and one and a half times that above
200,000; 10 USD a thousand searches.
"""
AUDIO = Price(2_500_000, 10_000_000, rates=(Rate("input_audio", 40_000_000), Rate("output_audio", 80_000_000)))
FLEX = Price(
    1_250_000, 10_000_000, 125_000,
    rates=(
        Rate("input", 625_000, service="flex"), Rate("output", 5_000_000, service="flex"), Rate("input", 2_500_000, 272_000),
        Rate("cache_read", 62_500, service="flex"), Rate("input", 2_500_000, service="priority"),
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("price", "usage", "usd", "flags"),
    [
        # Anthropic's cache: 1,000 fresh, 5,000 read, 2,000 written for 5 minutes, 500 for an hour,
        # 300 out.
        (CLAUDE, Usage(8_500, 300, 5_000, 2_500, cache_write_1h_tokens=500), "0.0195", ()),
        # Exactly 200,000 is the lower tier; one more moves everything to the higher.
        (CLAUDE, Usage(200_000, 1_000), "0.615", ()),
        (CLAUDE, Usage(200_001, 1_000), "1.222506", ()),
        (CLAUDE, Usage(250_000, 0, 50_000, 100_000, cache_write_1h_tokens=100_000), "1.83", ()),
        (CLAUDE, Usage(10, 10, searches=3), "0.03018", ()),
        # OpenAI's audio: 20 text and 100 audio tokens in, 30 text and 400 audio out.
        (AUDIO, Usage(120, 430, audio_input_tokens=100, audio_output_tokens=400), "0.03635", ()),
        (Price(2_500_000, 10_000_000), Usage(120, 430, audio_input_tokens=100), "0.0046", ("unpriced:input_audio",)),
        # Reasoning is output unless priced apart.
        (Price(1_000_000, 2_000_000), Usage(0, 1_000, reasoning_tokens=400), "0.002", ()),
        (Price(1_000_000, 2_000_000, rates=(Rate("reasoning", 3_000_000),)), Usage(0, 1_000, reasoning_tokens=400), "0.0024", ()),
        # Service tiers.
        (FLEX, Usage(1_000, 100, service="flex"), "0.001125", ()),
        (FLEX, Usage(1_000, 100, 600, service="flex"), "0.0007875", ()),
        (FLEX, Usage(1_000, 100, service="priority"), "0.0035", ("service:output",)),
        (FLEX, Usage(300_000, 0, service="flex"), "0.1875", ("service:input",)),
        (FLEX, Usage(1_000, 100, service="batch"), "0.00225", ("service:input", "service:output")),
        # Not by token.
        (Price(None, None, rates=(Rate("image", 40_000_000_000),)), Usage(12, 0, images=2), "0.08", ()),
        (Price(None, None, rates=(Rate("input_second", 100_000_000),)), Usage(0, 20, input_ms=2_500), "0.00025", ()),
        (Price(None, None, rates=(Rate("input_character", 15_000_000),)), Usage(input_characters=1_000), "0.015", ()),
        (Price(None, None, request_picousd=5_000_000_000), Usage(7, 9), "0.005", ()),
        (Price(None, None, rates=(Rate("pixel", 19),)), Usage(pixels=1024 * 1024), "0.000019922944", ()),
        (Price(5_000_000, 40_000_000, rates=(Rate("input_image_token", 10_000_000),)),
         Usage(60, 100, image_input_tokens=50, images=1), "0.00455", ()),
        (Price(1_000_000, None), Usage(5, 5), "0.000005", ("unpriced:output",)),
        (Price(None, None, rates=(Rate("image", 1),)), Usage(5, 5), None, ("unpriced:input", "unpriced:output")),
        (Price(1, 1), Usage(searches=1), None, ("unpriced:search",)),
        (Price(1, 1), Usage(), "0", ()),
        # By how much a search brings back; medium where nobody says.
        *((Price(0, 0, rates=tuple(Rate(f"search_{size}", usd * 10**9) for size, usd in (("low", 30), ("medium", 35), ("high", 50)))),
           Usage(searches=2, search_context=size), usd, ()) for size, usd in (("low", "0.06"), ("high", "0.1"), ("", "0.07"))),
        # Parts that claim more than there is.
        (Price(10**6, 10**6, 10**5), Usage(100, 0, 500), "0.00001", ("parts:input",)),
        # 0.006 USD a minute by the second, 7 seconds; and a third of a pico-dollar a token, six of
        # them and four.
        (Price(None, None, rates=(Rate("input_second", exact_from_usd("0.006", per=60)),)), Usage(input_ms=7_000), "0.0007", ()),
        (Price((1, 3), 0), Usage(6), "0.000000000002", ()),
    ],
)  # fmt: skip
def test_units(price: Price, usage: Usage, usd: str | None, flags: tuple[str, ...]) -> None:
    """Worked out by hand, in USD."""
    picousd = None if usd is None else int(Decimal(usd) * 10**12)
    found = cost(price, usage)
    assert (found.picousd, found.flags) == (picousd, flags)


def test_rounding_is_once_and_to_even() -> None:
    half = Price((1, 2), (1, 2))
    assert [cost(half, Usage(n)).picousd for n in (1, 3, 5)] == [0, 2, 2]
    assert cost(half, Usage(1, 1)).picousd == 1, "two halves are one: the parts aren't rounded apart"


@pytest.mark.parametrize(
    ("usd", "per", "picousd"),
    [
        ("0.00000015", 1, 150_000), ("0.15", 10**6, 150_000), (1e-13, 1, (1, 10)), ("0.006", 60, 100_000_000), ("1", 3600, (2_500_000_000, 9)),
        (0, 7, 0), ("1e-40", 1, None), (-1, 1, None), ("0.0000000000000000000000000000000000001", 3, None), (None, 1, None),
    ],
)  # fmt: skip
def test_exact_prices(usd: Any, per: int, picousd: Any) -> None:
    if picousd is None:
        with pytest.raises(ValueError, match=r"."):
            exact_from_usd(usd, per)
    else:
        assert exact_from_usd(usd, per) == picousd


rate_values = st.integers(0, 10**9) | st.tuples(st.integers(0, 10**9), st.integers(1, 10**6))
rated = st.builds(
    Price,
    st.none() | rate_values, st.none() | rate_values, st.none() | rate_values, st.none() | rate_values, rate_values,
    rates=st.lists(
        st.builds(
            Rate, st.sampled_from(sorted(billing.UNIT_NAMES)), rate_values, st.sampled_from([0, 1000]),
            st.sampled_from(["", "flex"]),
        ), max_size=6,
    ).map(tuple),
)  # fmt: skip
some = st.sampled_from([0, 0, 1, 7, 999, 1000, 1001, 5000])
usages = st.builds(
    Usage,
    **{unit.quantity: some for unit in billing.UNITS if unit.quantity},
    service=st.sampled_from(["", "flex", "batch"]),
    search_context=st.sampled_from(["", "low"]),
)


@given(prices | rated, usages)
def test_the_short_way_and_the_bound_agree_with_the_bill(price: Price, usage: Usage) -> None:
    lines, flags = billing.bill(price, usage)
    total = sum((Fraction(line.picousd) for line in lines), Fraction(0))
    found = cost(price, usage)
    assert (found.picousd, found.flags) == (None if flags and not lines else round(total), flags)
    if found.picousd is not None:
        shares = dict(found.shares)
        assert {n: a for n, a in shares.items() if a} == {n: a for n, a in billing._shares(lines) if a}
        requests = sum(Fraction(line.picousd) for line in lines if line.unit == "request")
        assert abs(sum(a for n, a in shares.items() if n != "reasoning") + requests - total) <= 3, (
            "all of it, each rounded"
        )
    assert total <= most_picousd(price, usage), "the bound holds, whatever tier and service it turns out to be"
    left = {unit.name: 0 for unit in billing.UNITS}
    for line in lines:
        left["search" if line.unit.startswith("search") else line.unit] += line.quantity
    assert (
        sum(left[u.name] for u in billing.UNITS if u.quantity.endswith("_tokens"))
        <= usage.input_tokens + usage.output_tokens
    )


@pytest.mark.parametrize("unit", [unit for unit in billing.UNITS if unit.quantity], ids=lambda unit: unit.name)
def test_the_short_way_is_for_what_it_knows_of(unit: billing.Unit) -> None:
    """One thing more than the usual tokens is counted: the cost is the bill's, or says that it is a
    guess.
    """
    usage = msgspec.structs.replace(Usage(1_000, 100, 10, 10, 10), **{unit.quantity: 7})
    price = Price(3, 5, 2, 4)
    lines, flags = billing.bill(price, usage)
    found = cost(price, usage)
    assert (found.picousd, found.flags) == (round(sum(line.picousd for line in lines)), flags)


def test_the_bound_takes_the_dearest_tier_and_service() -> None:
    assert most_picousd(FLEX, Usage(1_000, 100)) == 1_000 * 2_500_000 + 100 * 10_000_000
    assert most_picousd(CLAUDE, Usage(10, 10, searches=1)) == 10 * 12_000_000 + 10 * 22_500_000 + 10_000_000_000
    assert most_picousd(Price((1, 3), 0), Usage(1)) == 1, "rounded up"


def test_the_reference_example() -> None:
    """Contract §11.7: 10 tokens at 0.001 and 20 at 0.002 USD."""
    price = Price(picousd_from_usd("0.001"), picousd_from_usd("0.002"))
    assert format_usd(cost_picousd(price, Usage(10, 20))) == "0.05"

"""Money is exact, or refused."""

from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.money import Price, Usage, cost_picousd, format_usd, picousd_from_usd, usd_from_picousd


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


def test_the_reference_example() -> None:
    """Contract §11.7: 10 tokens at 0.001 and 20 at 0.002 USD."""
    price = Price(picousd_from_usd("0.001"), picousd_from_usd("0.002"))
    assert format_usd(cost_picousd(price, Usage(10, 20))) == "0.05"

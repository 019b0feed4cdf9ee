"""Money: integers of pico-US-dollars (10^-12 USD), `_picousd` last in the name, everywhere.

Pico, not nano: listed prices go down to fractions of a nano-dollar per token (0.01875 USD per million tokens is
18.75 nano-USD). In pico-USD every price in the table is a whole number (`tests/shared/test_prices.py` proves it), so a
cost is tokens x price with no rounding anywhere. A 64-bit integer holds 9.2 million USD, ample for one request; sums
over many are `numeric` in the book.
"""

from decimal import Decimal, InvalidOperation

import msgspec

PICOUSD_PER_USD = 10**12
USD_MAX = 1_000_000
"""Of a price: it fits 64 bits as pico-USD."""
CALL_TOKENS_MAX = 10**10
"""Of one call, far above any real one (a provider may claim any number): a day's sum stays in 64 bits."""
CALL_PICOUSD_MAX = 10**18
"""Of one call: a million dollars. What would cost more isn't a cost, and is recorded as unpriced."""


def picousd_from_usd(usd: float | str | Decimal) -> int:
    """The exact number of pico-USD in a price as written ("0.00000015", 1.5e-07).

    A float is read through its shortest repr, which is what the writer of the configuration typed.
    Raises ValueError for an amount that is negative, non-finite, above USD_MAX, or finer than a pico-dollar.
    """
    if isinstance(usd, bool) or not isinstance(usd, int | float | str | Decimal):
        raise ValueError(f"{type(usd).__name__} is not an amount of money")
    try:
        amount = Decimal(repr(usd)) if isinstance(usd, float) else Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"{str(usd)[:40]!r} is not an amount of money") from None
    if not amount.is_finite() or not 0 <= amount <= USD_MAX:
        raise ValueError(f"{_shown(amount)} is not an amount of 0 to {USD_MAX} USD")
    if amount == 0:
        return 0
    # By hand: decimal arithmetic rounds to 28 digits, which would make a price that is too fine look exact.
    _, digits, exponent = amount.as_tuple()
    shift = int(exponent) + 12
    scaled = int("".join(map(str, digits)))
    if shift >= 0:
        return int(scaled * 10**shift)
    if -shift >= len(digits) or scaled % 10**-shift:
        raise ValueError(f"{_shown(amount)} USD is finer than a pico-dollar (1e-12)")
    return int(scaled // 10**-shift)


def _shown(amount: Decimal) -> str:
    return str(amount)[:40]


def usd_from_picousd(picousd: int) -> float:
    """For JSON answers in LiteLLM's shape, where spend is a float of USD. Never use the result in arithmetic."""
    return float(Decimal(picousd) / PICOUSD_PER_USD)


def format_usd(picousd: int) -> str:
    """Plain decimal notation without an exponent, exact: for headers."""
    whole, rest = divmod(abs(picousd), PICOUSD_PER_USD)
    text = f"{whole}.{rest:012d}".rstrip("0").rstrip(".") if rest else str(whole)
    return text if picousd >= 0 else f"-{text}"


class Price(msgspec.Struct, frozen=True, array_like=True):
    """What one token costs, in pico-USD. It travels in the grant and in the fact, so old spend stays reproducible.

    Fields are only ever appended.
    """

    input_picousd: int
    output_picousd: int
    cache_read_picousd: int | None = None
    """Per cached input token; None: the same as other input."""
    cache_write_picousd: int | None = None
    """Per input token written to the provider's cache; None: the same as other input."""
    request_picousd: int = 0
    """Per call, whatever its tokens."""
    source: str = "table"
    """`table`, or `config` where `litellm_params` sets the price."""
    version: str = ""
    """Which edition of the table, for the record."""


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Tokens of one call. `input_tokens` includes the cached and the cache-written ones. Fields are only ever appended."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of `output_tokens`."""
    source: str = "none"
    """`provider`; `estimated`: counted by us; `lower_bound`: counted by us on an answer that was cut off; `none`: nothing was used."""


def cost_picousd(price: Price, usage: Usage) -> int:
    """Exact cost of a call."""
    cached = min(usage.cached_tokens, usage.input_tokens)
    written = min(usage.cache_write_tokens, usage.input_tokens - cached)
    plain = usage.input_tokens - cached - written
    cached_price = price.input_picousd if price.cache_read_picousd is None else price.cache_read_picousd
    written_price = price.input_picousd if price.cache_write_picousd is None else price.cache_write_picousd
    return (
        price.request_picousd
        + plain * price.input_picousd
        + cached * cached_price
        + written * written_price
        + usage.output_tokens * price.output_picousd
    )

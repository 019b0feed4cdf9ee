"""Money: integers of pico-US-dollars (10^-12 USD), `_picousd` last in the name, everywhere.

Pico, not nano: listed prices go down to fractions of a nano-dollar per token (0.01875 USD per
million is 18.75 nano-USD). The few that are finer still (a price per hour, by the second) are
fractions: a price is always exact, and one call's cost is rounded once, to the even pico-dollar. 64
bits hold 9.2 million USD, ample for one request; sums over many are `numeric` in the book.

What is used and what it costs: shared/billing.py.
"""

import functools
from decimal import Decimal, InvalidOperation
from fractions import Fraction

PICOUSD_PER_USD = 10**12
USD_MAX = 1_000_000  # of a price: it fits 64 bits as pico-USD
CALL_TOKENS_MAX = 10**10
"""Of one call, far above any real one (a provider may claim any number): a day's sum stays in 64
bits.
"""
CALL_PICOUSD_MAX = 10**18
"""Of one call: a million dollars. What would cost more isn't a cost, and is recorded as
unpriced.
"""
INT_MAX = 2**63 - 1  # of what a fact carries

Exact = int | tuple[int, int]
"""An amount of pico-USD: whole, or (numerator, denominator) where it is finer."""


def picousd_from_usd(usd: float | str | Decimal) -> int:
    """The exact number of pico-USD in an amount as written ("0.00000015", 1.5e-07).

    A float is read through its shortest repr, which is what the writer of the configuration typed.
    Raises ValueError for an amount that is negative, non-finite, above USD_MAX, or finer than a
    pico-dollar.
    """
    scaled, shift = _digits(usd)
    if shift >= 0:
        return int(scaled * 10**shift)
    # By hand: decimal arithmetic rounds to 28 digits, which would make a price that is too fine
    # look exact.
    if -shift >= len(str(scaled)) or scaled % 10**-shift:
        raise ValueError(f"{_shown(usd)} USD is finer than a pico-dollar (1e-12)")
    return int(scaled // 10**-shift)


def exact_from_usd(usd: float | str | Decimal, per: int = 1) -> Exact:
    """What one unit costs where `per` of them cost `usd`, exactly, however fine.

    Raises ValueError for an amount that is negative, non-finite, above USD_MAX, or that 64 bits
    over 64 bits can't hold.
    """
    scaled, shift = _digits(usd)
    if shift < -36:
        raise ValueError(f"{_shown(usd)} USD has too many digits for a price")
    return exact(Fraction(scaled * 10**shift if shift >= 0 else Fraction(scaled, 10**-shift)) / per)


def exact(picousd: Fraction | int) -> Exact:
    """Raises ValueError where 64 bits can't hold it."""
    fraction = Fraction(picousd)
    if fraction.numerator > INT_MAX or fraction.denominator > INT_MAX:
        raise ValueError(f"a price of {float(fraction):g} pico-USD has too many digits")
    return fraction.numerator if fraction.denominator == 1 else (fraction.numerator, fraction.denominator)


def _digits(usd: float | str | Decimal) -> tuple[int, int]:
    """(n, e): the amount is n × 10^e pico-USD."""
    if isinstance(usd, bool) or not isinstance(usd, int | float | str | Decimal):
        raise ValueError(f"{type(usd).__name__} is not an amount of money")
    try:
        amount = Decimal(repr(usd)) if isinstance(usd, float) else Decimal(usd)
    except InvalidOperation:
        raise ValueError(f"{str(usd)[:40]!r} is not an amount of money") from None
    if not amount.is_finite() or not 0 <= amount <= USD_MAX:
        raise ValueError(f"{_shown(amount)} is not an amount of 0 to {USD_MAX} USD")
    if amount == 0:
        return 0, 0
    _, digits, exponent = amount.as_tuple()
    return int("".join(map(str, digits))), int(exponent) + 12


def _shown(amount: float | str | Decimal) -> str:
    return str(amount)[:40]


def usd_from_picousd(picousd: int) -> float:
    """For JSON answers in LiteLLM's shape, where spend is a float of USD. Never use the result in
    arithmetic.
    """
    return picousd / PICOUSD_PER_USD


@functools.lru_cache(maxsize=1024)
def format_usd(picousd: int) -> str:
    """Plain decimal notation without an exponent, exact: for headers."""
    if 0 < picousd < PICOUSD_PER_USD:  # most calls cost that
        return f"0.{picousd:012d}".rstrip("0")
    whole, rest = divmod(abs(picousd), PICOUSD_PER_USD)
    text = f"{whole}.{rest:012d}".rstrip("0").rstrip(".") if rest else str(whole)
    return text if picousd >= 0 else f"-{text}"

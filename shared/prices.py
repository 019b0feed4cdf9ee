"""What a call costs: a versioned table made from a public package's data by `tools/make_prices.py`.

Names match exactly, never by similarity: a name the table doesn't hold has no price, and its calls
are flagged unpriced. Only what is no part of a model's identity is looked through (`_names`): the
seller's prefix, a region, the date of a snapshot from before the table. What the table can't say
(hours of the day, searches in files ...) is named in `prices.json` under `simplified` and
`left_out`. An operator's own prices go before the table.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import date
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import msgspec

from shared.billing import Price, Rate
from shared.money import CALL_PICOUSD_MAX, PICOUSD_PER_USD, Exact, exact

FILE = Path(__file__).with_name("prices.json")

VERSION: str
"""Which edition of the table this is: the source's version and a digest of the file."""


class _Table(msgspec.Struct, frozen=True, gc=False):
    """The part of the file that is used; its notes are for people."""

    source: str
    as_of: str
    providers: dict[str, list[str]]
    """LiteLLM's provider prefix -> sections of `prices`, searched in order."""
    prices: dict[str, dict[str, list[Any] | None]]
    """Section -> model -> pico-USD: input, output, cache read, cache write (per token), per
    request, other rates; the last ones may be missing.

    None instead of a row: no price, and later sections aren't searched.
    """
    windows: dict[str, dict[str, int]]
    """Section -> model -> tokens that fit into it, those of the answer too."""


@cache
def _load() -> tuple[_Table, str, date]:
    data = FILE.read_bytes()
    table = msgspec.json.decode(data, type=_Table)
    return table, f"{table.source} {hashlib.sha256(data).hexdigest()[:12]}", date.fromisoformat(table.as_of)


WINDOWS_KEPT_MAX = 4096
"""Callers name the models behind a pattern: bounded."""


def lookup(provider: str, model: str, *, batch: bool = False) -> Price | None:
    """The price of a provider's model, both named as in LiteLLM's `provider/model`; None: not in
    the table.

    The first call of a process reads the table.

    Args:
        batch: with what batches cost, which no call of its own is billed at: a price travels with
            each call.
    """
    table, version, as_of = _load()
    provider, model = _seller(table, provider, model)
    for name in _names(provider, model, as_of):
        for section in table.providers.get(provider, ()):
            rows = table.prices[section]
            if name in rows:
                row = rows[name]
                if row is None:
                    return None
                return _price(row, version if name == model else f"{version} as {name}", batch=batch)
    return None


@lru_cache(maxsize=WINDOWS_KEPT_MAX)
def context_window(provider: str, model: str) -> int | None:
    """How many tokens fit into a model, named as for `lookup`. None: not in the table."""
    table, _, as_of = _load()
    provider, model = _seller(table, provider, model)
    sections = [table.windows.get(section, {}) for section in table.providers.get(provider, ())]
    return next((rows[name] for name in _names(provider, model, as_of) for rows in sections if name in rows), None)


def _seller(table: _Table, provider: str, model: str) -> tuple[str, str]:
    """Whose model it is: `base_model: azure/gpt-4o` says so itself."""
    prefix, slash, rest = model.partition("/")
    if slash and prefix in table.providers and not _is_listed(table, provider, model):
        return prefix, rest
    return provider, model


def _is_listed(table: _Table, provider: str, model: str) -> bool:
    return any(model in table.prices[section] for section in table.providers.get(provider, ()))


_REGION = re.compile(r"^(?:us|eu|apac|au|jp|ca|us-gov)\.")
_DATED = re.compile(r"[-@](20\d\d)-?([01]\d)-?([0-3]\d)(?:-v\d(?::\d)?)?$")
_FOLDERS = ("models/", "converse/", "accounts/fireworks/models/")


def _names(provider: str, model: str, as_of: date) -> Iterator[str]:
    """What a model may be listed as, the most exact first. Only names of the same thing at the same
    price.
    """
    yield model
    name = model.lower()
    for folder in _FOLDERS:
        name = name.removeprefix(folder)
    if provider.startswith("bedrock"):
        name = _REGION.sub("", name)
        yield name
        if not name.startswith("global."):
            yield f"regional.{name}"
    else:
        yield name
    if "@" in name:
        yield name.replace("@", "-")
    dated = _DATED.search(name)
    if dated is not None:
        try:
            day = date(*map(int, dated.groups()))
        except ValueError:
            return
        if day <= as_of:
            name = name[: dated.start()]
            yield name
            yield f"{name}-latest"
    elif name.endswith("-latest"):
        yield name.removesuffix("-latest")
    else:
        yield f"{name}-latest"


def _price(row: list[Any], version: str, *, batch: bool) -> Price:
    usual = [_exact(amount) for amount in row[:5]] + [None] * (5 - len(row[:5]))
    per_input, per_output, cache_read, cache_write, request = usual
    rates = tuple(Rate(unit, _exact(amount) or 0, *more) for unit, amount, *more in (row[5] if len(row) > 5 else ()))
    if not batch:
        rates = tuple(rate for rate in rates if rate.service != "batch")
    return Price(per_input, per_output, cache_read, cache_write, request or 0, "table", version, rates)


def _exact(amount: int | list[int] | None) -> Exact | None:
    return (amount[0], amount[1]) if isinstance(amount, list) else amount


def merged(own: Price | None, listed: Price | None) -> Price | None:
    """An entry's own prices before the table's. Where it prices what comes in or goes out, nothing
    of the table is left: its tiers and tiers of service belong to other prices. Where it sets only
    others (caches, searches), they are laid over the table's."""
    if own is None or listed is None:
        return own or listed
    if own.input_picousd is not None or own.output_picousd is not None or own.request_picousd:
        return own
    units = {rate.unit for rate in own.rates}
    by_input = {"input_second", "input_character", "image", "input_image", "pixel", "output_second", "output_character"}
    if units & by_input:
        return own
    return msgspec.structs.replace(
        listed,
        cache_read_picousd=listed.cache_read_picousd if own.cache_read_picousd is None else own.cache_read_picousd,
        cache_write_picousd=listed.cache_write_picousd if own.cache_write_picousd is None else own.cache_write_picousd,
        source="config",
        rates=(*(rate for rate in listed.rates if rate.unit not in units and not _is_overlaid(rate, own)), *own.rates),
    )


def _is_overlaid(rate: Rate, own: Price) -> bool:
    return (rate.unit == "cache_read" and own.cache_read_picousd is not None) or (
        rate.unit == "cache_write" and own.cache_write_picousd is not None
    )


class Adjustment(msgspec.Struct, frozen=True):
    """What an operator charges instead of what a provider does: `cost_discount_config`,
    `cost_margin_config`.
    """

    factor: Fraction = Fraction(1)
    fixed_usd: Fraction = Fraction(0)
    """A call."""

    def of(self, price: Price) -> Price:
        if self.factor == 1 and not self.fixed_usd:
            return price

        def scaled(amount: Exact | None) -> Exact | None:
            return None if amount is None else _fit(_fraction(amount) * self.factor)

        return msgspec.structs.replace(
            price,
            input_picousd=scaled(price.input_picousd),
            output_picousd=scaled(price.output_picousd),
            cache_read_picousd=scaled(price.cache_read_picousd),
            cache_write_picousd=scaled(price.cache_write_picousd),
            request_picousd=_fit(_fraction(price.request_picousd) * self.factor + self.fixed_usd * PICOUSD_PER_USD),
            rates=tuple(
                msgspec.structs.replace(
                    rate,
                    picousd=_fit(
                        _fraction(rate.picousd) * self.factor
                        + (self.fixed_usd * PICOUSD_PER_USD if rate.unit == "request" else 0)
                    ),
                )
                for rate in price.rates
            ),
        )


def _fit(amount: Fraction) -> Exact:
    """Exact; where a share of many digits makes more than 64 bits hold, to the thousandth of a
    pico-dollar.
    """
    try:
        return exact(amount)
    except ValueError:
        return exact(min(Fraction(round(amount * 1000), 1000), Fraction(CALL_PICOUSD_MAX)))


def _fraction(amount: Exact) -> Fraction:
    return Fraction(amount) if isinstance(amount, int) else Fraction(*amount)


def adjustment(provider: str, discounts: Mapping[str, Any], margins: Mapping[str, Any]) -> Adjustment:
    """For a provider's calls; discount first, margin on what is left. Raises ValueError for what is
    no share of a price.
    """
    factor = 1 - _share(discounts.get(provider, 0), most=1)
    margin = margins.get(provider, margins.get("global", 0))
    percentage, fixed = margin, 0
    if isinstance(margin, Mapping):
        percentage, fixed = margin.get("percentage", 0), margin.get("fixed_amount", 0)
    return Adjustment(factor * (1 + _share(percentage, most=1000)), _share(fixed, most=1000))


def _share(value: Any, *, most: int) -> Fraction:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{type(value).__name__} is not a number")
    try:
        found = Fraction(repr(value) if isinstance(value, float) else value)
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{str(value)[:40]!r} is not a number") from None
    if not 0 <= found <= most:
        raise ValueError(f"{str(value)[:40]} is not between 0 and {most}")
    return found


def __getattr__(name: str) -> Any:
    if name == "VERSION":
        return _load()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

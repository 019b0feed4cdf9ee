"""What a call costs: a versioned table made from a public package's data by `tools/make_prices.py`.

Names match exactly, never by similarity: a name the table doesn't hold has no price, and its calls are flagged unpriced. Only what
is no part of a model's identity is looked through (`_names`): the seller's prefix, a region, the date of a snapshot from before
the table. What the table can't say (hours of the day, searches in files ...) is named in `prices.json` under `simplified`
and `left_out`. An operator's own prices go before the table.
"""

import hashlib
import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from shared.money import Exact, Price, Rate

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
    """Section -> model -> pico-USD: input, output, cache read, cache write (per token), per request, other rates; the last ones may be
    missing.

    None instead of a row: no price, and later sections aren't searched.
    """


@cache
def _load() -> tuple[_Table, str, date]:
    data = FILE.read_bytes()
    table = msgspec.json.decode(data, type=_Table)
    return table, f"{table.source} {hashlib.sha256(data).hexdigest()[:12]}", date.fromisoformat(table.as_of)


def lookup(provider: str, model: str, *, batch: bool = False) -> Price | None:
    """The price of a provider's model, both named as in LiteLLM's `provider/model`; None: not in the table.

    The first call of a process reads the table.

    Args:
        batch: with what batches cost, which no call of its own is billed at: a price travels with each call.
    """
    table, version, as_of = _load()
    prefix, slash, rest = model.partition("/")
    if slash and prefix in table.providers and not _is_listed(table, provider, model):
        provider, model = prefix, rest  # `base_model: azure/gpt-4o`
    for name in _names(provider, model, as_of):
        for section in table.providers.get(provider, ()):
            rows = table.prices[section]
            if name in rows:
                row = rows[name]
                if row is None:
                    return None
                return _price(row, version if name == model else f"{version} as {name}", batch=batch)
    return None


def _is_listed(table: _Table, provider: str, model: str) -> bool:
    return any(model in table.prices[section] for section in table.providers.get(provider, ()))


_REGION = re.compile(r"^(?:us|eu|apac|au|jp|ca|us-gov)\.")
_DATED = re.compile(r"[-@](20\d\d)-?([01]\d)-?([0-3]\d)(?:-v\d(?::\d)?)?$")
_FOLDERS = ("models/", "converse/", "accounts/fireworks/models/")


def _names(provider: str, model: str, as_of: date) -> Iterator[str]:
    """What a model may be listed as, the most exact first. Only names of the same thing at the same price."""
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
            yield name[: dated.start()]


def _price(row: list[Any], version: str, *, batch: bool) -> Price:
    usual = [_exact(amount) for amount in row[:5]] + [None] * (5 - len(row[:5]))
    per_input, per_output, cache_read, cache_write, request = usual
    rates = tuple(Rate(unit, _exact(amount) or 0, *more) for unit, amount, *more in (row[5] if len(row) > 5 else ()))
    if not batch:
        rates = tuple(rate for rate in rates if rate.service != "batch")
    return Price(per_input, per_output, cache_read, cache_write, request or 0, "table", version, rates)


def _exact(amount: int | list[int] | None) -> Exact | None:
    return (amount[0], amount[1]) if isinstance(amount, list) else amount


def __getattr__(name: str) -> Any:
    if name == "VERSION":
        return _load()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

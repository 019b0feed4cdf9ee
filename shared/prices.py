"""What a token costs: a versioned table made from a public package's data by `tools/make_prices.py`.

Names match exactly, never by similarity: a name the table doesn't hold has no price, and its calls are flagged unpriced. The table holds each
provider's standard price per text token; what it doesn't say (tiers for long prompts, batch and priority rates, hours of the
day, audio and search extras) is named in `prices.json` under `simplified` and `left_out`. An operator's `input_cost_per_token`
goes before the table.
"""

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from shared.money import Price

FILE = Path(__file__).with_name("prices.json")

VERSION: str
"""Which edition of the table this is: the source's version and a digest of the file."""


class _Table(msgspec.Struct, frozen=True, gc=False):
    """The part of the file that is used; its notes are for people."""

    source: str
    providers: dict[str, list[str]]
    """LiteLLM's provider prefix -> sections of `prices`, searched in order."""
    prices: dict[str, dict[str, list[int | None] | None]]
    """Section -> model -> pico-USD: input, output, cache read, cache write (per token), per request; the last ones may be missing.

    None instead of a row: no price, and later sections aren't searched.
    """


@cache
def _load() -> tuple[_Table, str]:
    data = FILE.read_bytes()
    table = msgspec.json.decode(data, type=_Table)
    return table, f"{table.source} {hashlib.sha256(data).hexdigest()[:12]}"


def lookup(provider: str, model: str) -> Price | None:
    """The price of a provider's model, both named as in LiteLLM's `provider/model`; None: not in the table.

    The first call of a process reads the table.
    """
    table, version = _load()
    for section in table.providers.get(provider, ()):
        rows = table.prices[section]
        if model in rows:
            row = rows[model]
            if row is None:
                return None
            per_input, per_output, cache_read, cache_write, request = row + [None] * (5 - len(row))
            return Price(per_input or 0, per_output or 0, cache_read, cache_write, request or 0, "table", version)
    return None


def __getattr__(name: str) -> Any:
    if name == "VERSION":
        return _load()[1]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

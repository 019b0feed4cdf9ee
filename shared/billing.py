"""What is used and what it costs, by the same *units* (`UNITS`). `bill` has one line a unit."""

from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

import msgspec

from shared.money import INT_MAX, Exact


class Unit(NamedTuple):
    """Something that can be counted and priced."""

    name: str
    """In `Rate.unit`."""
    quantity: str
    """Field of Usage that counts it; empty: there is one a call."""
    part_of: str = ""
    """Unit whose quantity includes this one's; its rest is charged at its own price."""
    plain: bool = False
    """Needs no price of its own: then it costs what the unit costs that it is part of, or nothing.
    Others are flagged.
    """
    side: str = ""
    """input or output: measures of one thing. Where one of them has a price, the others needn't
    have one.
    """
    per: int = 1
    """How many of the quantity make one unit."""


UNITS = (
    Unit("input", "input_tokens", side="input"),
    Unit("cache_read", "cached_tokens", "input", plain=True),
    Unit("cache_read_audio", "cached_audio_tokens", "cache_read"),
    Unit("cache_write", "cache_write_tokens", "input", plain=True),
    Unit("cache_write_1h", "cache_write_1h_tokens", "cache_write"),
    Unit("input_audio", "audio_input_tokens", "input"),
    Unit("input_image_token", "image_input_tokens", "input", plain=True),
    Unit("output", "output_tokens", side="output"),
    Unit("reasoning", "reasoning_tokens", "output", plain=True),
    Unit("output_audio", "audio_output_tokens", "output"),
    Unit("output_image_token", "image_output_tokens", "output"),
    Unit("input_character", "input_characters", side="input"),
    Unit("output_character", "output_characters", side="output"),
    Unit("input_second", "input_ms", side="input", per=1000),
    Unit("output_second", "output_ms", side="output", per=1000),
    Unit("input_image", "input_images", side="input"),
    Unit("image", "images", side="output"),
    Unit("input_pixel", "input_pixels", side="input"),
    Unit("pixel", "pixels", side="output"),
    Unit("request", "", plain=True),
    Unit("search", "searches"),
)
"""Parts come after what they are part of. Where parts claim more than their whole, the first in
this order are believed.
"""

SEARCH_CONTEXTS = ("low", "medium", "high")
"""A search may cost by what it brings back: `search_low`, `search_medium`, `search_high`."""

UNIT_NAMES = frozenset((*(unit.name for unit in UNITS), *(f"search_{size}" for size in SEARCH_CONTEXTS)))


class Rate(msgspec.Struct, frozen=True, array_like=True):
    """What one unit costs under some conditions. Fields are only ever appended."""

    unit: str
    """One of UNIT_NAMES."""
    picousd: Exact
    above_tokens: int = 0
    """For a call with more input tokens than this: then for all of the call's units, not only those
    above.
    """
    service: str = ""
    """`flex`, `priority`, `batch`; empty: the standard service."""


class Price(msgspec.Struct, frozen=True, array_like=True, cache_hash=True):
    """What a call costs, by units, in pico-USD. It travels in the grant and in the fact, so old
    spend stays reproducible.

    Fields are only ever appended. The first five are the usual rates (standard service, no tier);
    the others are in `rates`.
    """

    input_picousd: Exact | None
    """Per token. None: the price names none, it goes by another unit."""
    output_picousd: Exact | None
    cache_read_picousd: Exact | None = None
    """Per cached input token; None: the same as other input."""
    cache_write_picousd: Exact | None = None
    """Per input token written to the provider's cache; None: the same as other input."""
    request_picousd: Exact = 0
    """Per call, whatever its tokens."""
    source: str = "table"
    """`table`, or `config` where `litellm_params` sets the price."""
    version: str = ""
    """Which edition of the table, for the record."""
    rates: tuple[Rate, ...] = ()


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What one call used. Fields are only ever appended; each is counted by one of UNITS."""

    input_tokens: int = 0
    """All of them: the cached, the cache-written, those of audio and images included."""
    output_tokens: int = 0
    """All of them, the reasoning included."""
    cached_tokens: int = 0
    """Read from the provider's cache."""
    cache_write_tokens: int = 0
    """Written to the provider's cache, for whatever time."""
    reasoning_tokens: int = 0
    source: str = "none"
    """`provider`; `estimated`: counted by us; `lower_bound`: counted by us on an answer that was
    cut off; `none`: nothing was used.
    """
    cache_write_1h_tokens: int = 0
    """Part of `cache_write_tokens`: those kept an hour instead of five minutes."""
    audio_input_tokens: int = 0
    """Part of `input_tokens`, read afresh."""
    cached_audio_tokens: int = 0
    """Part of `cached_tokens` (and not of `audio_input_tokens`)."""
    image_input_tokens: int = 0
    """Part of `input_tokens`, read afresh."""
    audio_output_tokens: int = 0
    """Part of `output_tokens`."""
    image_output_tokens: int = 0
    """Part of `output_tokens`."""
    input_characters: int = 0
    output_characters: int = 0
    input_ms: int = 0
    """Milliseconds of audio or video taken."""
    output_ms: int = 0
    input_images: int = 0
    images: int = 0
    """Made."""
    input_pixels: int = 0
    pixels: int = 0
    """Of all images made."""
    searches: int = 0
    """On the web, by the provider."""
    search_context: str = ""
    """How much each brings back: one of SEARCH_CONTEXTS, or empty."""
    service: str = ""
    """As the provider says it was served: `flex`, `priority`, `batch`; empty: standard."""
    flags: tuple[str, ...] = ()
    """What the reader couldn't reconcile, by the names of the fields: `total_tokens` where the
    parts don't add up to it.
    """


class Line(NamedTuple):
    """Of a bill."""

    unit: str
    quantity: int
    """In the unit's field of Usage: milliseconds for seconds."""
    picousd: Fraction | int
    """Of the whole line."""


class Cost(msgspec.Struct, frozen=True):
    picousd: int | None
    """None: nothing of what was used has a price."""
    flags: tuple[str, ...]
    """Why the cost is a guess; empty where it isn't one. They go on the row.

    unpriced:<unit>  was used and has no price: charged as what it is part of, or, where it is part of nothing, not at all
    service:<unit>   has no price for the service the provider says it gave (flex ...): charged as the standard service
    parts:<unit>     the parts claim more than the whole: charged up to the whole
    """  # noqa: W505
    shares: tuple[tuple[str, int], ...] = ()
    """(what for, pico-USD), by LiteLLM's names: input, output, cache-read, cache-creation,
    tool-usage; and `reasoning`, which is part of output. Each is rounded by itself."""


def cost(price: Price, usage: Usage) -> Cost:
    """What a call costs, rounded once, half to even."""
    tariff = _tariff(price)
    if tariff is not None and usage.input_tokens <= tariff.until and not _is_odd(usage):
        plain = usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens
        if plain >= 0:
            taken, made = plain * tariff.input, usage.output_tokens * tariff.output
            shares: tuple[tuple[str, int], ...] = ("input", taken), ("output", made)
            amount = tariff.request + taken + made
            if usage.cached_tokens or usage.cache_write_tokens:
                read, written = usage.cached_tokens * tariff.cache_read, usage.cache_write_tokens * tariff.cache_write
                amount += read + written
                shares += ("cache-read", read), ("cache-creation", written)
            if usage.reasoning_tokens:
                shares += (("reasoning", usage.reasoning_tokens * tariff.output),)
            return Cost(amount, (), shares)
    lines, flags = bill(price, usage)
    if flags and not lines:
        return Cost(None, flags)
    return Cost(round(sum(line.picousd for line in lines)), flags, _shares(lines))


_SHARES = {"cache_read": "cache-read", "cache_write": "cache-creation", "search": "tool-usage"}


def _shares(lines: list[Line]) -> tuple[tuple[str, int], ...]:
    sums: dict[str, Fraction | int] = {}
    for line in lines:
        unit = _BY_NAME["search" if line.unit.startswith("search_") else line.unit]
        if unit.name == "reasoning":
            sums["reasoning"] = line.picousd
        while unit.part_of and unit.name not in _SHARES:
            unit = _BY_NAME[unit.part_of]
        name = _SHARES.get(unit.name) or unit.side
        if name:
            sums[name] = sums.get(name, 0) + line.picousd
    return tuple((name, round(amount)) for name, amount in sums.items())


def cost_picousd(price: Price, usage: Usage) -> int:
    """As `cost`, where only the amount matters; 0 where nothing has a price."""
    return cost(price, usage).picousd or 0


def most_picousd(price: Price, most: Usage) -> int:
    """An upper bound of what a call costs that uses no more than `most`, whatever its parts, tier
    and service turn out to be.
    """
    total: Fraction | int = 0
    for quantity, picousd in _dearest(price):
        total += (getattr(most, quantity) if quantity else 1) * picousd
    return -int(-total // 1)


def bill(price: Price, usage: Usage) -> tuple[list[Line], tuple[str, ...]]:
    """What a call costs, one line a unit, and the flags (see Cost)."""
    quantities, flags = _quantities(usage)
    rates, other_service = _rates(price, usage)
    lines: list[Line] = []
    without: list[Unit] = []
    """Units that are part of nothing, and have no rate."""
    for unit, quantity in quantities:
        name = unit.name if unit.name != "search" else _search(usage, rates)
        rate, unit, odd = _find(unit, name, rates)
        if odd:
            flags.append(f"unpriced:{name}")
        if rate is None:
            if not unit.plain:
                without.append(unit)
            continue
        if other_service and unit.name in other_service:
            flags.append(f"service:{name}")
        amount = quantity * rate if isinstance(rate, int) else Fraction(quantity * rate[0], rate[1])
        lines.append(Line(name, quantity, amount if unit.per == 1 else Fraction(amount, unit.per)))
    sides = {_BY_NAME[line.unit].side for line in lines if line.unit in _BY_NAME}
    by_tokens = "input" in rates or "output" in rates
    for unit in without:
        # Fine where the price goes by something other than tokens, and that was counted; or where
        # the same was measured otherwise.
        elsewhere = unit.name in _TOKENS and not by_tokens and lines
        if not (elsewhere or (unit.side and unit.side in sides)):
            flags.append(f"unpriced:{unit.name}")
    return lines, tuple(dict.fromkeys(flags))


@lru_cache(maxsize=1024)
def _dearest(price: Price) -> list[tuple[str, Fraction | int]]:
    """The highest rate of every unit that is part of nothing, per one of its quantity."""
    found: dict[str, Fraction] = {}
    for rate in (*_usual(price), *price.rates):
        unit = _BY_NAME["search" if rate.unit.startswith("search_") else rate.unit]
        while unit.part_of:
            unit = _BY_NAME[unit.part_of]
        amount = Fraction(rate.picousd) if isinstance(rate.picousd, int) else Fraction(*rate.picousd)
        found[unit.name] = max(found.get(unit.name, amount), amount)
    each = [(_BY_NAME[name].quantity, amount / _BY_NAME[name].per) for name, amount in found.items()]
    return [(quantity, int(amount) if amount.denominator == 1 else amount) for quantity, amount in each]


class _Tariff(msgspec.Struct, frozen=True):
    """What `bill` comes to for most calls: tokens in and out, at whole pico-dollars."""

    until: int
    """Up to how many input tokens the usual rates are all that a usual usage needs."""
    input: int
    cache_read: int
    cache_write: int
    output: int
    request: int


@lru_cache(maxsize=1024)
def _tariff(price: Price) -> _Tariff | None:
    """None: each call's bill has to be made. Reasoning costs what output does here, and no tier is
    reached.
    """
    standard = [rate for rate in price.rates if not rate.service]
    if any(
        rate.unit in ("reasoning", "request") or (rate.unit in _USUAL and not rate.above_tokens) for rate in standard
    ):
        return None
    until = min((rate.above_tokens for rate in standard if rate.above_tokens), default=INT_MAX)
    at_input, at_output, at_request = price.input_picousd, price.output_picousd, price.request_picousd
    at_cached = at_input if price.cache_read_picousd is None else price.cache_read_picousd
    at_written = at_input if price.cache_write_picousd is None else price.cache_write_picousd
    rates = (at_input, at_cached, at_written, at_output, at_request)
    whole = [rate for rate in rates if type(rate) is int]
    return _Tariff(until, *whole) if len(whole) == len(rates) else None


_USUAL = frozenset({"input", "output", "cache_read", "cache_write"})


def _is_odd(usage: Usage) -> bool:
    """Whether it counts what most calls don't; or parts that can't be."""
    return (
        _fields_of(usage)[_USUAL_FIELDS:_FLAGS] != _NO_MORE
        or usage.cached_tokens < 0
        or usage.cache_write_tokens < 0
        or not 0 <= usage.reasoning_tokens <= usage.output_tokens
    )


_fields_of = msgspec.structs.astuple
_USUAL_FIELDS, _FLAGS = (Usage.__struct_fields__.index(name) for name in ("cache_write_1h_tokens", "flags"))
_NO_MORE = _fields_of(Usage())[_USUAL_FIELDS:_FLAGS]
"""Of what most calls use: they only have tokens."""


_BY_NAME = {unit.name: unit for unit in UNITS}
_TOKENS = frozenset(unit.name for unit in UNITS if unit.quantity.endswith("_tokens"))


def _search(usage: Usage, rates: dict[str, Exact]) -> str:
    sized = f"search_{usage.search_context or 'medium'}"
    return sized if sized in rates else "search"


def _find(unit: Unit, name: str, rates: dict[str, Exact]) -> tuple[Exact | None, Unit, bool]:
    """The rate of a unit, or of the nearest it is part of; whose rate that is; whether it had to
    have one of its own.
    """
    rate = rates.get(name)
    odd = False
    while rate is None and unit.part_of:
        odd = odd or not unit.plain
        unit = _BY_NAME[unit.part_of]
        rate = rates.get(unit.name)
    return rate, unit, odd


def _quantities(usage: Usage) -> tuple[list[tuple[Unit, int]], list[str]]:
    """What is left of each unit when its parts are taken out of it; the request itself is one."""
    left: dict[str, int] = {}
    flags: list[str] = []
    for unit in UNITS:
        quantity = getattr(usage, unit.quantity) if unit.quantity else 1
        if quantity <= 0:
            continue
        if unit.part_of:
            whole = left.get(unit.part_of, 0)
            if quantity > whole:
                flags.append(f"parts:{unit.part_of}")
                quantity = whole
            left[unit.part_of] = whole - quantity
        left[unit.name] = quantity
    return [(_BY_NAME[name], quantity) for name, quantity in left.items() if quantity], flags


def _usual(price: Price) -> list[Rate]:
    named = (("input", price.input_picousd), ("output", price.output_picousd), ("cache_read", price.cache_read_picousd),
             ("cache_write", price.cache_write_picousd), ("request", price.request_picousd or None))  # fmt: skip
    return [Rate(name, picousd) for name, picousd in named if picousd is not None]


def _rates(price: Price, usage: Usage) -> tuple[dict[str, Exact], set[str]]:
    """Rate by unit for this call, and which of them (of those by token) aren't of the service it
    was served as.

    The service's own rates go before the standard ones; within each, the highest tier that the call
    reaches.
    """
    best: dict[str, tuple[bool, int, Exact]] = {}
    standard_tier: dict[str, int] = {}
    for rate in (*_usual(price), *price.rates):
        if rate.service not in ("", usage.service) or (rate.above_tokens and usage.input_tokens <= rate.above_tokens):
            continue
        own = bool(rate.service)
        if not own:
            standard_tier[rate.unit] = max(standard_tier.get(rate.unit, 0), rate.above_tokens)
        known = best.get(rate.unit)
        if known is None or (own, rate.above_tokens) >= known[:2]:
            best[rate.unit] = (own, rate.above_tokens, rate.picousd)
    other_service = set()
    if usage.service:
        for name, (own, above, _) in best.items():
            if name in _TOKENS and (not own or above < standard_tier.get(name, 0)):
                other_service.add(name)
    return {name: picousd for name, (_, _, picousd) in best.items()}, other_service

"""A fact as a row of `request_log`. Pure, and the ledger's hottest code: one tuple a request, in
the order of COLUMNS.

COLUMNS is the one table of what a row holds: where each cell comes from and what is done to make it
storable follow from it. A refused and an expired call are written as the ends they are, so that
there is one way from an end to a row.
"""

import operator
from collections.abc import Callable, Iterable
from datetime import date
from typing import Any, NamedTuple, cast

import msgspec

from services.ledger import price as references
from services.ledger import sanitize
from shared.billing import Price, Usage
from shared.facts import GuardrailOutcome, Opened, Refused, Settled
from shared.ids import RequestId
from shared.money import CALL_PICOUSD_MAX, CALL_TOKENS_MAX, Exact

REFUSED = "refused"
EXPIRED = "expired"
SUCCESS = "success"

ROUTE_EXPIRES_MS = 3_600_000
"""For an opened fact that doesn't say when it expires."""
EXPIRES_MS_MAX = 24 * 3_600_000
"""From now. Every opened request ends."""

Row = tuple[Any, ...]


class Column(NamedTuple):
    name: str
    kind: str = "plain"
    """How its cells are made storable: plain (as they are), text, ms, small (an integer of 32
    bits), count, money, units (a count, NULL for zero), word (a text, NULL when empty), words (a
    list of texts), maybe_words (NULL when empty), json, outcomes, price."""
    field: str = ""
    """Of the struct, where it isn't the column's name."""


def _named(kind: str, names: str) -> tuple[Column, ...]:
    return tuple(Column(name, kind) for name in names.split())


_PLACE = _named("plain", "day id provisional")
_OPENED = (
    Column("at_ms", "ms"), *_named("text", "edge_id call_type route model deployment_id provider upstream_model"),
    Column("stream"), Column("customer_id", "text"), Column("tags", "words"), Column("spend_logs_metadata", "json"),
    Column("requester_ip", "text"), Column("user_agent", "text"), Column("guardrails", "json"),
    Column("max_cost_picousd", "money"), Column("litellm_call_id", "text"), Column("price", "price"),
    Column("session_id", "text"), Column("log_off", "maybe_words"),
)  # fmt: skip
_CALLER = _named("text", "key_sha256 key_alias team_id team_alias user_id organization_id role")
_SETTLED = (
    Column("outcome", "text"), Column("status", "small"), Column("first_byte_at_ms", "ms"), Column("ended_at_ms", "ms"),
    Column("response_model", "text"), Column("response_id", "text"), Column("attempts", "small"), Column("error_code", "text"),
    Column("guardrail_outcomes", "outcomes"), Column("cost_picousd", "money"), Column("flags", "maybe_words"),
    Column("provider_request_id", "text"),
)  # fmt: skip
_USAGE = (
    *_named("count", "input_tokens output_tokens cached_tokens cache_write_tokens reasoning_tokens"),
    Column("usage_source", "text", "source"),
)
_SELDOM = (
    *_named(
        "units",
        "cache_write_1h_tokens audio_input_tokens cached_audio_tokens image_input_tokens audio_output_tokens image_output_tokens"
        " input_characters output_characters input_ms output_ms input_images images input_pixels pixels searches",
    ),
    Column("search_context", "word"),
    Column("service", "word"),
)
_MADE = (Column("refused_by", "text"), Column("fact_sha256"), Column("stream_seq"), Column("altered"))

SPEC = (*_PLACE, *_OPENED, *_CALLER, *_SETTLED, *_USAGE, *_SELDOM, *_MADE)
COLUMNS = tuple(column.name for column in SPEC)


def _getter(columns: Iterable[Column]) -> Callable[[Any], tuple[Any, ...]]:
    return operator.attrgetter(*(column.field or column.name for column in columns))


_of_opened, _of_caller, _of_settled, _of_usage, _of_seldom = map(_getter, (_OPENED, _CALLER, _SETTLED, _USAGE, _SELDOM))
_NOTHING_SELDOM = (None,) * len(_SELDOM)


def _at(*names: str) -> tuple[int, ...]:
    return tuple(COLUMNS.index(name) for name in names)


class Share(NamedTuple):
    """What of a row decides where it is counted. Rows with the same share are added up before
    anything else is done.
    """

    day: date
    key_sha256: str | None
    team_id: str | None
    user_id: str | None
    customer_id: str | None
    model: str
    deployment_id: str | None
    provider: str | None
    tags: tuple[str, ...]
    outcome: str


share_of = operator.itemgetter(*_at(*Share._fields))
"""A row's Share, as a plain tuple: this is done for every row."""

counts_of = operator.itemgetter(*_at("cost_picousd", "input_tokens", "output_tokens"))
"""A row's cost in pico-USD (None: unknown), input and output tokens."""


def settled_row(
    fact: Settled,
    request_id: str,
    day: date,
    sha256: bytes,
    stream_seq: int | None,
    *,
    refused_by: str | None = None,
    provisional: bool = False,
) -> Row:
    opened, usage = fact.opened, fact.usage
    seldom = _of_seldom(usage)
    return _checked(
        (
            day, request_id, provisional, *_of_opened(opened), *_of_caller(opened.caller), *_of_settled(fact), *_of_usage(usage),
            *(tuple(cell or None for cell in seldom) if any(seldom) else _NOTHING_SELDOM),
            refused_by, sha256, stream_seq, None,
        )
    )  # fmt: skip


def expired_row(opened: Opened, request_id: str, day: date, sha256: bytes, now_ms: int) -> Row:
    """The provisional end of a call nobody ended. What it cost isn't known."""
    end = Settled(opened, now_ms, EXPIRED, 0, Usage(), None, attempts=0, error_code=EXPIRED)
    return settled_row(end, request_id, day, sha256, None, provisional=True)


def refused_row(fact: Refused, request_id: str, day: date, sha256: bytes, stream_seq: int | None) -> Row:
    nowhere = cast("Any", None)
    opened = Opened(
        id=RequestId(request_id), at_ms=fact.at_ms, edge_id=fact.edge_id, caller=fact.caller, call_type=fact.call_type,
        route=fact.route, model=fact.model, deployment_id=nowhere, provider=nowhere, upstream_model=nowhere, price=None,
        customer_id=fact.customer_id, tags=fact.tags, spend_logs_metadata=fact.spend_logs_metadata,
        requester_ip=fact.requester_ip, user_agent=fact.user_agent, max_cost_picousd=0, litellm_call_id=fact.litellm_call_id,
    )  # fmt: skip
    end = Settled(
        opened, fact.at_ms, REFUSED, fact.status, Usage(), 0, attempts=0, error_code=fact.error_code,
        guardrail_outcomes=fact.guardrail_outcomes,
    )  # fmt: skip
    return settled_row(end, request_id, day, sha256, stream_seq, refused_by=fact.refused_by)


def expires_ms(opened: Opened, now_ms: int) -> int:
    """When an opened call is given up: what it says itself, within bounds."""
    wanted = opened.expires_at_ms if opened.expires_at_ms > 0 else opened.at_ms + ROUTE_EXPIRES_MS
    return sanitize.bounded(wanted, 0, now_ms + EXPIRES_MS_MAX)


# What follows turns a row as it came into one PostgreSQL can't refuse. `_checked` sees at once that
# nearly every row already is.


def _of_kind(*kinds: str) -> tuple[int, ...]:
    return tuple(index for index, column in enumerate(SPEC) if column.kind in kinds)


_TEXTS = _of_kind("text", "word")
_WORDS, _MAYBE_WORDS = _of_kind("words"), _of_kind("maybe_words")
_JSON, _OUTCOMES, PRICE = _of_kind("json"), _of_kind("outcomes")[0], _of_kind("price")[0]
_TAGS = COLUMNS.index("tags")
ALTERED = COLUMNS.index("altered")
_MAXIMA = {
    "ms": sanitize.MS_MAX, "small": sanitize.INT_MAX, "count": CALL_TOKENS_MAX, "money": CALL_PICOUSD_MAX, "units": CALL_TOKENS_MAX,
}  # fmt: skip
_NUMBERS = tuple((index, _MAXIMA[column.kind]) for index, column in enumerate(SPEC) if column.kind in _MAXIMA)
_texts_of = operator.itemgetter(*_TEXTS)
_counts_of = operator.itemgetter(*_of_kind("small", "count"))
_rest_of = operator.itemgetter(*_at("at_ms", "ended_at_ms", "first_byte_at_ms", "cost_picousd", "max_cost_picousd"))
_seldom_from, _seldom_to = _at("cache_write_1h_tokens", "refused_by")
MONEY_FIELDS = frozenset(("input_tokens", "output_tokens", "cost_picousd"))
"""A row where one of these had to be altered is an anomaly: clients can't cause it."""


def _checked(row: Row) -> Row:
    """Every text, number and JSON value storable; `altered` names what was changed."""
    cells = list(row)
    altered: list[str] = []
    if not sanitize.storable((*_texts_of(row), *row[_TAGS])):
        _clean_texts(cells, altered)
    if not _ordinary(row):
        _clean_numbers(cells, altered)
    for column in _JSON:
        value = row[column]
        if value:
            cells[column], changed = sanitize.json_text(value)
            if changed:
                altered.append(COLUMNS[column])
        else:
            cells[column] = "{}" if type(value) is dict else "[]"
    outcomes = row[_OUTCOMES]
    if outcomes:
        cells[_OUTCOMES], changed = sanitize.json_text([_outcome_object(outcome) for outcome in outcomes])
        if changed:
            altered.append("guardrail_outcomes")
    else:
        cells[_OUTCOMES] = "[]"
    cells[PRICE] = _price_reference(row[PRICE])
    cells[_TAGS] = tuple(cells[_TAGS])
    for column in _MAYBE_WORDS:
        cells[column] = _maybe_words(row[column], column, altered) if row[column] else None
    if altered:
        cells[ALTERED] = altered
    return tuple(cells)


def _ordinary(row: Row) -> bool:
    """Whether every number is within its limit, and then some: one look at what is nearly always
    so.
    """
    counts = _counts_of(row)
    at_ms, ended_at_ms, first_byte_at_ms, cost_picousd, max_cost_picousd = _rest_of(row)
    return (
        min(counts) >= 0
        and max(counts) <= sanitize.INT_MAX
        and 0 <= at_ms <= sanitize.MS_MAX
        and 0 <= ended_at_ms <= sanitize.MS_MAX
        and 0 <= (first_byte_at_ms or 0) <= sanitize.MS_MAX
        and 0 <= (cost_picousd or 0) <= CALL_PICOUSD_MAX
        and 0 <= (max_cost_picousd or 0) <= CALL_PICOUSD_MAX
        and row[_seldom_from:_seldom_to] == _NOTHING_SELDOM
    )


def _clean_numbers(cells: list[Any], altered: list[str]) -> None:
    for column, high in _NUMBERS:
        number = cells[column]
        if number is not None and not 0 <= number <= high:
            # A cost out of range isn't a cost: unknown is true, zero or a million would be a lie.
            cells[column] = None if COLUMNS[column] == "cost_picousd" else sanitize.bounded(number, 0, high)
            altered.append(COLUMNS[column])


def _clean_texts(cells: list[Any], altered: list[str]) -> None:
    for column in _TEXTS:
        value = cells[column]
        if value is not None and not sanitize.storable((value,)):
            cells[column] = sanitize.text(value)
            altered.append(COLUMNS[column])
    for column in _WORDS:
        words = tuple(cells[column])
        if not sanitize.storable(words):
            cells[column] = tuple(sanitize.text(value) for value in words)
            altered.append(COLUMNS[column])


def _maybe_words(words: Iterable[str], column: int, altered: list[str]) -> tuple[str, ...]:
    found = tuple(words)
    if not sanitize.storable(found):
        found = tuple(map(sanitize.text, found))
        altered.append(COLUMNS[column])
    return found


def _outcome_object(outcome: GuardrailOutcome) -> dict[str, Any]:
    """As it was before it had more to say, where it hasn't."""
    shown = msgspec.structs.asdict(outcome)
    for name in ("cost_picousd", "rules"):
        if not shown[name]:
            del shown[name]
    return shown


_price_references: dict[Price, str] = {}
PRICES_KEPT_MAX = 4096


def _price_reference(price: Price | None) -> str | None:
    """Few prices, many calls: each is encoded once."""
    if price is None:
        return None
    found = _price_references.get(price)
    if found is None:
        if len(_price_references) >= PRICES_KEPT_MAX:
            _price_references.clear()
        found = _price_references[price] = references.reference(references.digest_of(price_body(price)))
    return found


def price_body(price: Price) -> str:
    """As the table `price` has it."""
    return sanitize.json_text(price_object(price))[0]


def price_object(price: Price) -> dict[str, Any]:
    """Fractions as "n/d"; `rates` only where there are any."""
    shown: dict[str, Any] = {name: _exact_text(value) for name, value in msgspec.structs.asdict(price).items()}
    if not price.rates:
        del shown["rates"]
        return shown
    shown["rates"] = [
        {name: _exact_text(value) for name, value in msgspec.structs.asdict(rate).items() if value or name == "picousd"}
        for rate in price.rates
    ]
    return shown


def _exact_text(value: Exact | Any) -> Any:
    return f"{value[0]}/{value[1]}" if isinstance(value, tuple) and value and isinstance(value[0], int) else value

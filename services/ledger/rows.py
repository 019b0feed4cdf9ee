"""A fact as a row of `request_log`. Pure, and the ledger's hottest code: one tuple a request, in the order of COLUMNS."""

import operator
from datetime import date
from typing import Any, NamedTuple

import msgspec

from services.ledger import clean
from shared.facts import GuardrailOutcome, Opened, Refused, Settled
from shared.money import CALL_PICOUSD_MAX, CALL_TOKENS_MAX, Price

COLUMNS = (
    "day", "id", "provisional", "outcome", "status", "at_ms", "first_byte_at_ms", "ended_at_ms", "edge_id",
    "key_sha256", "key_alias", "team_id", "team_alias", "user_id", "organization_id", "role", "customer_id",
    "call_type", "route", "model", "deployment_id", "provider", "upstream_model", "response_model", "response_id",
    "litellm_call_id", "stream", "attempts", "error_code", "refused_by",
    "input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "usage_source",
    "cost_picousd", "max_cost_picousd", "price", "tags", "spend_logs_metadata", "requester_ip", "user_agent",
    "guardrails", "guardrail_outcomes", "altered", "fact_sha256", "stream_seq",
)  # fmt: skip

REFUSED = "refused"
EXPIRED = "expired"
SUCCESS = "success"

ROUTE_EXPIRES_MS = 3_600_000
"""For an opened fact that doesn't say when it expires."""
EXPIRES_MS_MAX = 24 * 3_600_000
"""From now. Every opened request ends."""

Row = tuple[Any, ...]


class Share(NamedTuple):
    """What of a row decides where it is counted. Rows with the same share are added up before anything else is done."""

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


share_of = operator.itemgetter(*(COLUMNS.index(name) for name in Share._fields))
"""A row's Share, as a plain tuple: this is done for every row."""

counts_of = operator.itemgetter(*(COLUMNS.index(name) for name in ("cost_picousd", "input_tokens", "output_tokens")))
"""A row's cost in pico-USD (None: unknown), input and output tokens."""


def settled_row(fact: Settled, request_id: str, day: date, sha256: bytes, stream_seq: int | None) -> Row:
    opened, usage = fact.opened, fact.usage
    caller = opened.caller
    row: Row = (
        day, request_id, False, fact.outcome, fact.status, opened.at_ms, fact.first_byte_at_ms, fact.ended_at_ms, opened.edge_id,
        caller.key_sha256, caller.key_alias, caller.team_id, caller.team_alias, caller.user_id, caller.organization_id,
        caller.role, opened.customer_id,
        opened.call_type, opened.route, opened.model, opened.deployment_id, opened.provider, opened.upstream_model,
        fact.response_model, fact.response_id, opened.litellm_call_id, opened.stream, fact.attempts, fact.error_code, None,
        usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens,
        usage.source,
        fact.cost_picousd, opened.max_cost_picousd, _price_json(opened.price), tuple(opened.tags), opened.spend_logs_metadata,
        opened.requester_ip, opened.user_agent, opened.guardrails, fact.guardrail_outcomes, None, sha256, stream_seq,
    )  # fmt: skip
    return _checked(row)


def expired_row(opened: Opened, request_id: str, day: date, sha256: bytes, now_ms: int) -> Row:
    """The provisional end of a call nobody ended. What it cost isn't known."""
    caller = opened.caller
    row: Row = (
        day, request_id, True, EXPIRED, 0, opened.at_ms, None, now_ms, opened.edge_id,
        caller.key_sha256, caller.key_alias, caller.team_id, caller.team_alias, caller.user_id, caller.organization_id,
        caller.role, opened.customer_id,
        opened.call_type, opened.route, opened.model, opened.deployment_id, opened.provider, opened.upstream_model,
        None, None, opened.litellm_call_id, opened.stream, 0, EXPIRED, None,
        0, 0, 0, 0, 0, "none",
        None, opened.max_cost_picousd, _price_json(opened.price), tuple(opened.tags), opened.spend_logs_metadata,
        opened.requester_ip, opened.user_agent, opened.guardrails, [], None, sha256, None,
    )  # fmt: skip
    return _checked(row)


def refused_row(fact: Refused, request_id: str, day: date, sha256: bytes, stream_seq: int | None) -> Row:
    caller = fact.caller
    row: Row = (
        day, request_id, False, REFUSED, fact.status, fact.at_ms, None, fact.at_ms, fact.edge_id,
        caller.key_sha256, caller.key_alias, caller.team_id, caller.team_alias, caller.user_id, caller.organization_id,
        caller.role, fact.customer_id,
        fact.call_type, fact.route, fact.model, None, None, None,
        None, None, fact.litellm_call_id, False, 0, fact.error_code, fact.refused_by,
        0, 0, 0, 0, 0, "none",
        0, 0, None, tuple(fact.tags), fact.spend_logs_metadata,
        fact.requester_ip, fact.user_agent, [], fact.guardrail_outcomes, None, sha256, stream_seq,
    )  # fmt: skip
    return _checked(row)


def expires_ms(opened: Opened, now_ms: int) -> int:
    """When an opened call is given up: what it says itself, within bounds."""
    wanted = opened.expires_at_ms if opened.expires_at_ms > 0 else opened.at_ms + ROUTE_EXPIRES_MS
    return clean.bounded(wanted, 0, now_ms + EXPIRES_MS_MAX)


# What follows turns a row as it came into one PostgreSQL can't refuse. `_checked` sees at once that nearly every row already is.

_TAGS, _METADATA, _OUTCOMES, _GUARDRAILS, ALTERED = (
    COLUMNS.index(name) for name in ("tags", "spend_logs_metadata", "guardrail_outcomes", "guardrails", "altered")
)
_TEXT_COLUMNS = (
    *range(COLUMNS.index("edge_id"), COLUMNS.index("stream")),
    *(
        COLUMNS.index(name)
        for name in ("outcome", "error_code", "refused_by", "usage_source", "requester_ip", "user_agent")
    ),
)
_texts_of = operator.itemgetter(*_TEXT_COLUMNS)
_LIMITS = {
    **dict.fromkeys(("at_ms", "first_byte_at_ms", "ended_at_ms"), clean.MS_MAX),
    **dict.fromkeys(("status", "attempts"), clean.INT_MAX),
    **dict.fromkeys(
        ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"), CALL_TOKENS_MAX
    ),
    **dict.fromkeys(("cost_picousd", "max_cost_picousd"), CALL_PICOUSD_MAX),
}
_NUMBER_COLUMNS = tuple((COLUMNS.index(name), high) for name, high in _LIMITS.items())
_numbers_of = operator.itemgetter(*(column for column, _ in _NUMBER_COLUMNS))
MONEY_FIELDS = frozenset(("input_tokens", "output_tokens", "cost_picousd"))
"""A row where one of these had to be altered is an anomaly: clients can't cause it."""


def _checked(row: Row) -> Row:
    """Every text, number and JSON value storable; `altered` names what was changed."""
    cells = list(row)
    altered: list[str] = []
    if not clean.storable((*_texts_of(row), *row[_TAGS])):
        _clean_texts(cells, altered)
    if not _ordinary(*_numbers_of(row)):
        _clean_numbers(cells, altered)
    metadata, outcomes = row[_METADATA], row[_OUTCOMES]
    if metadata:
        cells[_METADATA], changed = clean.json_text(metadata)
        if changed:
            altered.append("spend_logs_metadata")
    else:
        cells[_METADATA] = "{}"
    if outcomes:
        cells[_OUTCOMES], changed = clean.json_text([_outcome_object(outcome) for outcome in outcomes])
        if changed:
            altered.append("guardrail_outcomes")
    else:
        cells[_OUTCOMES] = "[]"
    if row[_GUARDRAILS]:
        cells[_GUARDRAILS], changed = clean.json_text(row[_GUARDRAILS])
        if changed:
            altered.append("guardrails")
    else:
        cells[_GUARDRAILS] = "[]"
    if altered:
        cells[ALTERED] = altered
    return tuple(cells)


def _ordinary(
    at_ms: int, first_byte_at_ms: int | None, ended_at_ms: int, status: int, attempts: int,
    input_tokens: int, output_tokens: int, cached: int, written: int, reasoning: int,
    cost_picousd: int | None, max_cost_picousd: int | None,
) -> bool:  # fmt: skip
    """Whether every number is within its limit, and then some: one look at what is nearly always so."""
    return (
        0 <= at_ms <= clean.MS_MAX
        and 0 <= (first_byte_at_ms or 0) <= clean.MS_MAX
        and 0 <= ended_at_ms <= clean.MS_MAX
        and 0 <= status <= 999
        and 0 <= attempts <= 999
        and 0 <= input_tokens <= CALL_TOKENS_MAX
        and 0 <= output_tokens <= CALL_TOKENS_MAX
        and 0 <= cached <= CALL_TOKENS_MAX
        and 0 <= written <= CALL_TOKENS_MAX
        and 0 <= reasoning <= CALL_TOKENS_MAX
        and 0 <= (cost_picousd or 0) <= CALL_PICOUSD_MAX
        and 0 <= (max_cost_picousd or 0) <= CALL_PICOUSD_MAX
    )


def _clean_numbers(cells: list[Any], altered: list[str]) -> None:
    for column, high in _NUMBER_COLUMNS:
        number = cells[column]
        if number is not None and not 0 <= number <= high:
            # A cost out of range isn't a cost: unknown is true, zero or a million would be a lie.
            cells[column] = None if COLUMNS[column] == "cost_picousd" else clean.bounded(number, 0, high)
            altered.append(COLUMNS[column])


def _clean_texts(cells: list[Any], altered: list[str]) -> None:
    for column in _TEXT_COLUMNS:
        value = cells[column]
        if value is not None and not clean.storable((value,)):
            cells[column] = clean.text(value)
            altered.append(COLUMNS[column])
    if not clean.storable(cells[_TAGS]):
        cells[_TAGS] = tuple(clean.text(value) for value in cells[_TAGS])
        altered.append("tags")


def _outcome_object(outcome: GuardrailOutcome) -> dict[str, Any]:
    return msgspec.structs.asdict(outcome)


_price_texts: dict[Price, str] = {}
PRICES_KEPT_MAX = 4096


def _price_json(price: Price | None) -> str | None:
    """Few prices, many calls: each is encoded once."""
    if price is None:
        return None
    found = _price_texts.get(price)
    if found is None:
        if len(_price_texts) >= PRICES_KEPT_MAX:
            _price_texts.clear()
        found = _price_texts[price] = clean.json_text(msgspec.structs.asdict(price))[0]
    return found

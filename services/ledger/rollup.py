"""Rows as what they add to the rollups. Pure, and done for every row, so it must be quick.

The seven sums of a place are kept as one integer, a lane of 64 bits each, the spend above them all:
adding two vectors is then one addition, whatever their signs (`_lanes` takes them apart again).
`sql/queries.sql: rollup_again` says the same as this module in SQL, and the two must agree.
"""

import struct
from collections import defaultdict
from datetime import date
from typing import Any, NamedTuple

from services.ledger.rows import REFUSED, SUCCESS, Row, Share, counts_of, share_of

DIMENSIONS = ("customer", "deployment", "key", "model", "provider", "tag", "team", "total", "user")
"""In the order of the rollups' keys."""


class SumChange(NamedTuple):
    """What is added to one row of the rollups."""

    dimension: str
    day: date
    value: str
    requests: int
    successes: int
    failures: int
    input_tokens: int
    output_tokens: int
    unpriced: int
    spend_picousd: int


_LANE = 64
_ONE_SUCCESS = 1 | 1 << _LANE
_ONE_FAILURE = 1 | 1 << (2 * _LANE)
_INPUT, _OUTPUT, _UNPRICED, _SPEND = (lane * _LANE for lane in (3, 4, 5, 6))
_ONE_UNPRICED = 1 << _UNPRICED
_LIFT = sum(1 << (lane * _LANE + _LANE - 1) for lane in range(6))
_BELOW_SPEND = (1 << _SPEND) - 1
_unpack = struct.Struct("<6q").unpack


class Rollup:
    """What a transaction adds to the rollups."""

    def __init__(self) -> None:
        self._days: defaultdict[date, tuple[defaultdict[str, int], ...]] = defaultdict(_values)
        """By day, the sums of each of DIMENSIONS by value."""

    def add(self, row: Row) -> None:
        cost_picousd, input_tokens, output_tokens = counts_of(row)
        self._add(share_of(row), cost_picousd, input_tokens, output_tokens, 1)

    def take_out(self, share: Share, cost_picousd: int | None, input_tokens: int, output_tokens: int) -> None:
        """A provisional row that has been outranked."""
        self._add(share, cost_picousd, input_tokens, output_tokens, -1)

    def changes(self) -> list[SumChange]:
        """In the order of the keys, so that two recorders can't wait for each other's rows."""
        return [
            SumChange(dimension, day, value, *_lanes(sums))
            for number, dimension in enumerate(DIMENSIONS)
            for day in sorted(self._days)
            for value, sums in sorted(self._days[day][number].items())
            if sums
        ]

    def _add(
        self, share: tuple[Any, ...], cost_picousd: int | None, input_tokens: int, output_tokens: int, sign: int
    ) -> None:
        """Only what policy vouches for is counted of a refusal: anybody can send any tag or model
        name.
        """
        day, key_sha256, team_id, user_id, customer_id, model, deployment_id, provider, tags, outcome = share
        sums = _ONE_SUCCESS if outcome == SUCCESS else _ONE_FAILURE
        sums += (input_tokens << _INPUT) + (output_tokens << _OUTPUT)
        sums += _ONE_UNPRICED if cost_picousd is None else cost_picousd << _SPEND
        sums *= sign
        customers, deployments, keys, models, providers, by_tag, teams, total, users = self._days[day]
        total[""] += sums
        if key_sha256 is not None:
            keys[key_sha256] += sums
        if team_id is not None:
            teams[team_id] += sums
        if user_id is not None:
            users[user_id] += sums
        if outcome == REFUSED:
            return
        models[model] += sums
        if customer_id is not None:
            customers[customer_id] += sums
        if deployment_id is not None:
            deployments[deployment_id] += sums
        if provider is not None:
            providers[provider] += sums
        for tag in set(tags):
            by_tag[tag] += sums


def _values() -> tuple[defaultdict[str, int], ...]:
    return tuple(defaultdict(int) for _ in DIMENSIONS)


def _lanes(sums: int) -> list[int]:
    """The sums in their order: requests, successes, failures, input_tokens, output_tokens,
    unpriced, spend_picousd.
    """
    lifted = (
        sums + _LIFT
    )  # no lane is negative now, so none borrows from the next; and what was lifted is two's complement without it
    return [*_unpack(((lifted ^ _LIFT) & _BELOW_SPEND).to_bytes(_SPEND // 8, "little")), lifted >> _SPEND]

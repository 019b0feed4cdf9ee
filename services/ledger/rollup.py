"""Rows as what they add to the rollups. Pure.

Rows that are counted in the same places are added up first (there are few kinds of rows in a batch), and only then spread over
the dimensions. `sql/queries.sql: rollup_differences` says the same in SQL, and the two must agree.
"""

from collections.abc import Iterator
from datetime import date

from services.ledger.rows import REFUSED, SUCCESS, Row, Share, counts_of, share_of

RollupKey = tuple[str, str, date, str]
"""scope, dimension, day, value."""

Sums = list[int]
"""requests, successes, failures, input_tokens, output_tokens, unpriced, spend_picousd."""


class Rollup:
    """What a transaction adds to the rollups."""

    def __init__(self) -> None:
        self._by_share: dict[Share, Sums] = {}

    def add(self, row: Row) -> None:
        self._add(share_of(row), *counts_of(row), 1)

    def take_out(self, share: Share, cost_picousd: int | None, input_tokens: int, output_tokens: int) -> None:
        """A provisional row that has been outranked."""
        self._add(share, cost_picousd, input_tokens, output_tokens, -1)

    def _add(self, share: Share, cost_picousd: int | None, input_tokens: int, output_tokens: int, sign: int) -> None:
        sums = self._by_share.get(share)
        if sums is None:
            sums = self._by_share[share] = [0, 0, 0, 0, 0, 0, 0]
        sums[0] += sign
        sums[1 if share.outcome == SUCCESS else 2] += sign
        sums[3] += sign * input_tokens
        sums[4] += sign * output_tokens
        if cost_picousd is None:
            sums[5] += sign
        else:
            sums[6] += sign * cost_picousd

    def changes(self) -> list[tuple[RollupKey, Sums]]:
        """In the order of the keys, so that two recorders can't wait for each other's rows."""
        found: dict[RollupKey, Sums] = {}
        for share, sums in self._by_share.items():
            for key in _places(share):
                known = found.get(key)
                if known is None:
                    found[key] = sums.copy()
                else:
                    for i in range(7):
                        known[i] += sums[i]
        return sorted(item for item in found.items() if any(item[1]))


def _places(share: Share) -> Iterator[RollupKey]:
    """Where a row is counted. Only what policy vouches for is counted of a refusal: anybody can send any tag or model name."""
    day = share.day
    yield "", "total", day, ""
    for dimension, value in (("key", share.key_sha256), ("team", share.team_id), ("user", share.user_id)):
        if value is not None:
            yield "", dimension, day, value
    if share.outcome == REFUSED:
        return
    for dimension, value in (
        ("customer", share.customer_id),
        ("model", share.model),
        ("deployment", share.deployment_id),
        ("provider", share.provider),
    ):
        if value is not None:
            yield "", dimension, day, value
    if share.tags:
        scopes = tag_scopes(share.key_sha256, share.user_id, share.team_id)
        for tag in dict.fromkeys(share.tags):
            for scope in scopes:
                yield scope, "tag", day, tag


def tag_scopes(key_sha256: str | None, user_id: str | None, team_id: str | None) -> list[str]:
    """Whose spend by tag a row is part of: everybody's, its key's (also of calls without a key), its user's, its team's."""
    scopes = ["", key_scope(key_sha256)]
    if user_id is not None:
        scopes.append(user_scope(user_id))
    if team_id is not None:
        scopes.append(f"team:{team_id}")
    return scopes


def key_scope(key_sha256: str | None) -> str:
    return f"key:{key_sha256 or ''}"


def user_scope(user_id: str) -> str:
    return f"user:{user_id}"

"""A question as SQL that grows with its arguments, and who may see which rows of it. Pure.

Texts of the asker go into arguments, never into the statement.
"""

from collections.abc import Sequence
from typing import Any

from services.ledger.asking import Scope

SUMS = ("requests", "successes", "failures", "input_tokens", "output_tokens", "unpriced", "spend_picousd")
CACHE_SUMS = ("cached_tokens", "cache_write_tokens")
"""Only the cube has these beside."""
_WEIGHTS = ("requests", "spend_picousd")
"""What decides who is among the top, and whether there is anything."""


class Statement:
    """SQL and its arguments, growing together. `sums`: those that it adds up, of SUMS and
    CACHE_SUMS.
    """

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        self.arguments: list[Any] = []
        self.sums = tuple(name for name in (*SUMS, *CACHE_SUMS) if name in {*wanted, *_WEIGHTS})

    def add(self, value: Any) -> str:
        self.arguments.append(value)
        return f"${len(self.arguments)}"


def of_scope(made: Statement, scope: Scope, table: str) -> list[str]:
    """Conditions on a table of calls, or of their sums: which rows the asker may see."""
    if scope.everything:
        return []
    if scope.user_id is not None:
        return [f"{table}.user_id = {made.add(scope.user_id)}"]
    key = "IS NULL" if scope.key_sha256 is None else f"= {made.add(scope.key_sha256)}"
    return [f"{table}.key_sha256 {key}", f"{table}.user_id IS NULL"]

"""What retention took must be in the audit log: the fact before a run names what is due, the fact
after it what went. Pure.

So nobody who can only write the database passes off rows that he took out as a day whose term was
over: the facts are policy's.
"""

from collections.abc import Mapping
from typing import Any

from services.ledger.evidence import Mismatch

CLOCKS_MS = 60_000
"""How much the clocks of two ledgers may differ."""
_NAMED = {
    "request_log": "request_log_{day:%Y%m%d}",
    "audit_log": "audit_log_{day:%Y%m}",
    "audit_empty": "audit_log_{day:%Y%m}",
}
"""Source → the partition as the fact before a run names it."""


class Announced:
    def __init__(self) -> None:
        self._drops: list[Mapping[str, Any]] = []
        self._out_of_order: set[int] = set()
        self._due: set[str] = set()
        self._told: dict[int, Mapping[str, Any]] = {}
        self.since_ms = 0
        """Facts from before that are gone themselves, because their term was over; 0: none is."""

    def drop(self, row: Mapping[str, Any]) -> None:
        """A row of retention_drop, in their order."""
        if self._drops and row["at_ms"] < self._drops[-1]["at_ms"] - CLOCKS_MS:
            self._out_of_order.add(row["n"])  # it says that it is old, so that nobody asks for its fact
        self._drops.append(row)

    def fact(self, action: str, after: Any) -> None:
        """Of kind `retention`, in the order of the audit log."""
        if not isinstance(after, dict):
            return
        if action == "created" and isinstance(after.get("due"), list):
            self._due.update(name for name in after["due"] if isinstance(name, str))
        if action == "updated" and isinstance(after.get("drops"), list):
            for told in after["drops"]:
                if isinstance(told, dict) and isinstance(told.get("n"), int):
                    self._told[told["n"]] = told

    def conclude(self) -> list[Mismatch]:
        findings = []
        for row in self._drops:
            where = f"retention_drop n {row['n']}"
            told = self._told.pop(row["n"], None)
            if told is not None:
                here = {"source": row["source"], "day": row["day"].isoformat(), "rows": row["rows"], "unsound": row["unsound"],
                        "sha256": row["sha256"].hex() if row["sha256"] else None}  # fmt: skip
                wrong = [name for name, value in here.items() if told.get(name) != value]
                if wrong:
                    findings.append(Mismatch("changed", where, f"{', '.join(wrong)}: not what the control fact says"))
            elif row["source"] in _NAMED and not self._was_due(row):
                findings.append(Mismatch("unannounced", where, f"no control fact says that {row['day']} was due"))
        findings += [
            Mismatch("missing", f"retention_drop n {n}", "a control fact tells of it") for n in sorted(self._told)
        ]
        return findings

    def _was_due(self, row: Mapping[str, Any]) -> bool:
        if row["at_ms"] < self.since_ms and row["n"] not in self._out_of_order:
            return True
        names = {_NAMED[row["source"]].format(day=row["day"]), f"{row['source']}_default"}
        return bool(names & self._due)

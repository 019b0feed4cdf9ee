"""What an import writes: each row against what is there already. Pure.

Idempotent: what is there as the row has it is left alone, and so is what differs, unless it is to
be overwritten. So an import that was stopped goes on when it is run again.
"""

from collections import Counter
from typing import Any

import msgspec

from services.policy.directory import Directory
from services.policy.importing.rows import Found
from services.policy.importing.secrets import Secrets
from services.policy.plan import Change, change
from shared import subjects
from shared.entities import ALIAS, KEY, Alias, EntityKind, Key, callbacks

ACTION = "imported"
BALANCE = "opening_balance"
"""The kind of fact that says what somebody had spent before. The ledger adds it to what its own
book has.
"""
_TIMES = frozenset({"created_at_ms", "updated_at_ms", "created_by", "updated_by"})


class Tally:
    """What came of the rows, by kind."""

    def __init__(self) -> None:
        self.counts: dict[str, Counter[str]] = {}
        self.remarks: list[str] = []

    def count(self, kind: str, outcome: str) -> None:
        self.counts.setdefault(kind, Counter())[outcome] += 1

    def remark(self, place: str, text: str) -> None:
        self.remarks.append(f"{place}: {text}")

    def add(self, other: "Tally") -> None:
        for kind, counts in other.counts.items():
            self.counts.setdefault(kind, Counter()).update(counts)
        self.remarks += other.remarks

    @property
    def refused(self) -> int:
        return sum(each["refused"] for each in self.counts.values())


def planned(
    directory: Directory, secrets: Secrets, found: Found, place: str, taken: set[str], tally: Tally, *, overwrite: bool
) -> list[Change]:
    """The changes of one row, all or none to be written.

    Args:
        place: names the row in remarks.
        taken: aliases that rows of the same batch have reserved; added to.
    """
    changes: list[Change] = []
    for remark in found.remarks:
        tally.remark(place, remark)
    if found.kind is not None:
        changes += _entity(directory, secrets, found, place, taken, tally, overwrite=overwrite)
    for dimension, value, ever, window in found.balances:
        entity_id = f"{dimension}:{value}"
        known = directory.expected_seq(subjects.control(BALANCE, entity_id))
        tally.count("balance", "present" if known else "new")
        if not known:
            after = {"dimension": dimension, "value": value, "picousd": ever, "window_picousd": window}
            changes.append(Change(BALANCE, entity_id, ACTION, None, after, known))
    return changes


def _entity(
    directory: Directory, secrets: Secrets, found: Found, place: str, taken: set[str], tally: Tally, *, overwrite: bool
) -> list[Change]:
    kind = found.kind
    assert kind is not None
    before = directory.tables[kind.name].get(kind.id_of(found.entity))
    entity = _sealed(secrets, kind, found, before)
    aliased: list[Change] = []
    if isinstance(entity, Key) and entity.key_alias is not None:
        entity, aliased = _named(directory, entity, before, place, taken, tally)
    if before is not None:
        differing = differences(before, entity)
        if not differing:
            tally.count(kind.name, "present")
            return []
        if not overwrite:
            tally.count(kind.name, "kept")
            tally.remark(place, f"is there already, and kept as it is; it differs in {', '.join(differing)}")
            return []
        tally.remark(place, f"is overwritten in {', '.join(differing)}")
    elif directory.expected(kind.name, kind.id_of(entity)) and not overwrite:
        tally.count(kind.name, "kept")
        tally.remark(place, "was deleted here, and stays so")
        return []
    if isinstance(entity, Key) and entity.replaced_by is not None and entity.replaced_by not in directory.keys:
        tally.count(kind.name, "refused")
        tally.remark(place, "its successor isn't there")
        return []
    tally.count(kind.name, "new" if before is None else "overwritten")
    return [change(directory, kind, ACTION, before, entity), *aliased]


def _sealed(secrets: Secrets, kind: EntityKind[Any], found: Found, before: Any) -> Any:
    """Nothing leaves with a credential in the clear; what is sealed already with the same in it
    stays as it is.
    """
    entity = found.entity
    if found.secrets:
        at = f"{kind.name}/{kind.id_of(entity)}"
        sealed = secrets.sealed(found.secrets, at, {} if before is None else before.sealed)
        return msgspec.structs.replace(entity, sealed=sealed)
    if callbacks.secrets(getattr(entity, "metadata", None)):
        known = None if before is None else before.metadata
        return msgspec.structs.replace(entity, metadata=secrets.sealed_metadata(entity.metadata, known))
    return entity


def _named(
    directory: Directory, key: Key, before: Any, place: str, taken: set[str], tally: Tally
) -> tuple[Key, list[Change]]:
    """LiteLLM doesn't hold two keys off one alias: the first has it, another goes without."""
    alias = key.key_alias
    assert alias is not None
    owner = directory.alias_owner(alias)
    if alias in taken or (owner is not None and owner.token != key.token):
        if before is None:
            tally.remark(place, f"its alias {alias!r} is another key's; it goes without, and its metadata says so")
        metadata = {**key.metadata, "litellm_key_alias": alias}
        return msgspec.structs.replace(key, key_alias=None, metadata=metadata), []
    taken.add(alias)
    reserved = directory.reservations.get(alias)
    if reserved is not None and reserved.token == key.token:
        return key, []
    return key, [change(directory, ALIAS, ACTION, reserved, Alias(alias, key.token))]


def differences(before: Any, after: Any) -> list[str]:
    """The fields in which two entities differ, but for when and by whom they were made."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    names = [
        name for name in {**old, **new} if name not in _TIMES and name != "extra" and old.get(name) != new.get(name)
    ]
    extra = {**old.get("extra", {}), **new.get("extra", {})}
    return names + [name for name in extra if old.get("extra", {}).get(name) != new.get("extra", {}).get(name)]


def summary(tally: Tally) -> list[str]:
    """Lines for people."""
    lines = []
    for kind in (*_SHOWN, *sorted(set(tally.counts) - set(_SHOWN))):
        if kind in tally.counts:
            said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(tally.counts[kind].items()))
            lines.append(f"{kind:<14} {said}")
    return lines


_SHOWN = (
    "budget",
    "organization",
    "team",
    "project",
    "user",
    "customer",
    "tag",
    KEY.name,
    "jwt_mapping",
    "credential",
    "model",
    "balance",
)

"""The directory: what the control stream says now, as the fold of its facts.

Theory. A subject has one entity, and a fact's `after` is that entity whole, so folding is
assignment: the last fact of a subject decides, whatever came before. That is why a replica may
start with the last fact of every subject, and why every replica ends with the same directory. No
I/O, no clock; each fact costs O(1). Tables and indexes are those of the kinds (shared/entities).
"""

import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

import msgspec

from services.policy.ordering import Names, Order, Ordered
from shared import subjects
from shared.entities import KINDS, Alias, Customer, EntityKind, Key, Setting, Team, User, same_email
from shared.entities.key import DELEGATED
from shared.facts import ControlFact
from shared.ids import KeyDigest

UNREADABLE_MAX = 1_000
ROTATIONS_MAX = 64
"""How many rotations within their grace periods are followed from an old key to its present one."""


class Directory:
    """The mutable state is these dictionaries; `apply`, `unreadable` and `clear` alone change them,
    and never await.
    """

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Any]] = {name: {} for name in KINDS}
        """Kind -> id -> entity."""
        self.keys: dict[KeyDigest, Key] = self.tables["key"]  # type: ignore[assignment]
        self.teams: dict[str, Team] = self.tables["team"]
        self.users: dict[str, User] = self.tables["user"]
        self.customers: dict[str, Customer] = self.tables["customer"]
        self.settings: dict[str, Setting] = self.tables["setting"]
        self.reservations: dict[str, Alias] = self.tables["alias"]
        """Reserved key alias -> the key it was reserved for. See `alias_owner` for whether it still
        holds.
        """
        self._listed: dict[str, dict[str, Any]] = {**self.tables, "key": {}}
        """What lists show: of keys those that don't stand for others, and are no sign-ins."""
        self._orders: dict[tuple[str, str], Order] = {}
        self._names: dict[tuple[str, str], Names] = {}
        self.watchers: list[Callable[[str, str], None]] = []
        """Told (kind, id) of whatever changed, once it stands; empty strings: everything is
        gone.
        """
        self.unread: dict[str, int] = {}
        """Subject -> sequence of a fact on it that can't be read: the entity is as the fact before
        it left it.
        """
        self._seqs: dict[str, int] = {}
        self._indexes: dict[tuple[str, str], dict[str, dict[str, None]]] = {
            (kind.name, attribute): {} for kind in KINDS.values() for attribute in kind.indexes
        }

    def apply(self, subject: str, fact: ControlFact, seq: int) -> None:
        """Fold one fact. Raises msgspec.ValidationError, with the directory as it was, when `after`
        isn't its kind's entity.
        """
        kind = KINDS.get(fact.kind)
        if kind is not None:  # else a kind of a later version: its sequence still counts
            after = None if fact.after is None else _lean(kind, msgspec.convert(fact.after, kind.struct))
            self._put(fact.kind, fact.entity_id, after)
        self._seqs[subject] = seq
        if self.unread:
            self.unread.pop(subject, None)
        for watch in self.watchers:
            watch(fact.kind, fact.entity_id)

    def unreadable(self, subject: str, seq: int) -> None:
        """A fact on `subject` that can't be read: what it was about stays as it was, and is named
        in `unread`.
        """
        self._seqs[subject] = seq
        if len(self.unread) < UNREADABLE_MAX:
            self.unread[subject] = seq

    def clear(self) -> None:
        """The stream is another one: nothing we know holds."""
        for known in (*self.tables.values(), *self._indexes.values(), self._seqs, self.unread):
            known.clear()
        self._listed["key"].clear()
        self._orders.clear()
        self._names.clear()
        for watch in self.watchers:
            watch("", "")

    def expire(self, kind: str, keep: Callable[[Any], bool]) -> None:
        """Drop the oldest entities of a kind while they aren't to be kept: the broker has dropped
        their facts.
        """
        table = self.tables[kind]
        while table:
            entity_id = next(iter(table))
            if keep(table[entity_id]):
                return
            self._put(kind, entity_id, None)
            self._seqs.pop(subjects.control(kind, entity_id), None)

    def expected_seq(self, subject: str) -> int:
        """Sequence of the last fact on a subject; 0: there never was one. What the next fact's
        publisher must expect.
        """
        return self._seqs.get(subject, 0)

    def expected(self, kind: str, entity_id: str) -> int:
        return self.expected_seq(subjects.control(kind, entity_id))

    def find(self, kind: str, attribute: str, value: str) -> list[Any]:
        """The entities with this value in an indexed attribute, the oldest first."""
        table = self.tables[kind]
        return [table[entity_id] for entity_id in self._indexes[kind, attribute].get(value, ())]

    def ordered(self, kind: str, attribute: str, *, descending: bool = False) -> Ordered:
        """The entities that lists show, by an attribute."""
        return self.order(kind, attribute).page(descending=descending)

    def order(self, kind: str, attribute: str) -> Order:
        found = self._orders.get((kind, attribute))
        if found is None:
            found = self._orders[kind, attribute] = Order(self._listed[kind], attrgetter(attribute))
        return found

    def containing(self, kind: str, attribute: str, part: str) -> list[Any]:
        """The entities that lists show which have this string in an attribute."""
        found = self._names.get((kind, attribute))
        if found is None:
            found = self._names[kind, attribute] = Names(self._listed[kind], attrgetter(attribute))
        listed = self._listed[kind]
        return [listed[entity_id] for entity_id in found.containing(part)]

    def alias_owner(self, alias: str) -> Key | None:
        """The key that has this alias. None: free, also where a reservation outlived its key or its
        key's alias.
        """
        reserved = self.reservations.get(alias)
        key = None if reserved is None else self.keys.get(reserved.token)
        return key if key is not None and key.key_alias == alias else None

    def stands_for(self, token: str) -> tuple[Key | None, list[str]]:
        """(the key, or the one it was rotated into: blocked, and made by another, where any between
        is; the digests that were looked at).
        """
        walked = list(self.successors(token))
        key, seen = walked[-1][1], [each for each, _ in walked]
        if key is None or key.replaced_by is not None:
            return None, seen
        between = [each for _, each in walked if each is not None]
        extra = {**key.extra, DELEGATED: True} if any(each.delegated for each in between) else key.extra
        return msgspec.structs.replace(key, blocked=any(each.blocked for each in between), extra=extra), seen

    def successors(self, token: str) -> Iterator[tuple[str, Key | None]]:
        """The key, and each that it was rotated into, ROTATIONS_MAX at most: digests, and None for
        the last where it isn't there.
        """
        key = self.keys.get(KeyDigest(token))
        yield token, key
        for _ in range(ROTATIONS_MAX):
            if key is None or key.replaced_by is None:
                return
            token = key.replaced_by
            key = self.keys.get(KeyDigest(token))
            yield token, key

    def user_of(self, email: str) -> User | None:
        """The user with this address, however it is spelt; of several (who were made at one
        instant, or by tokens) the oldest.
        """
        return next(iter(self.find("user", "email_key", same_email(email))), None)

    def team_keys(self, team_id: str) -> list[Key]:
        return self.find("key", "team_id", team_id)

    def _put(self, kind: str, entity_id: str, entity: Any) -> None:
        table = self.tables[kind]
        old = table.get(entity_id)
        for attribute, read in KINDS[kind].indexes.items():
            index = self._indexes[kind, attribute]
            before = () if old is None else _values(read(old))
            now = () if entity is None else _values(read(entity))
            if before == now:
                continue
            for value in before:
                having = index[value]
                having.pop(entity_id, None)
                if not having:
                    del index[value]
            for value in now:
                index.setdefault(value, {})[entity_id] = None
        self._relist(kind, entity_id, entity)
        if entity is None:
            table.pop(entity_id, None)
        else:
            table[entity_id] = entity

    def _relist(self, kind: str, entity_id: str, entity: Any) -> None:
        """Before the table changes."""
        listed = self._listed[kind]
        shown = None if kind == "key" and entity is not None and not entity.is_listed else entity
        kept: list[Order | Names] = [order for (of, _), order in self._orders.items() if of == kind]
        kept += [names for (of, _), names in self._names.items() if of == kind]
        old = listed.get(entity_id)
        if old is not None:
            for each in kept:
                each.remove(entity_id, old)
        if shown is None:
            listed.pop(entity_id, None)
        else:
            listed[entity_id] = shown
            for each in kept:
                each.insert(entity_id, shown)


def _lean(kind: EntityKind[Any], entity: Any) -> Any:
    """The same, with what many entities have alike held once: empty lists and objects, and names
    that come again.
    """
    for name in entity.__struct_fields__:
        value = getattr(entity, name)
        if value == [] or value == {}:
            msgspec.structs.force_setattr(entity, name, getattr(kind.empty, name))
        elif name in _REPEATED and isinstance(value, str):
            msgspec.structs.force_setattr(entity, name, sys.intern(value))
        elif name in _REPEATED and isinstance(value, list) and all(isinstance(item, str) for item in value):
            value[:] = [sys.intern(item) for item in value]
    return entity


_REPEATED = frozenset({"team_id", "user_id", "organization_id", "created_by", "updated_by", "models", "allowed_routes"})


def _values(value: Any) -> tuple[str, ...]:
    if value is None or value is False:
        return ()
    if value is True:
        return ("True",)
    return (value,) if isinstance(value, str) else tuple(dict.fromkeys(value))

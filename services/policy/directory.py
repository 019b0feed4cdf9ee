"""The directory: what the control stream says now, as the fold of its facts.

Theory. A subject has one entity, and a fact's `after` is that entity whole, so folding is assignment: the last fact of a
subject decides, whatever came before. That is why a replica may start with the last fact of every subject, and why every
replica ends with the same directory. No I/O, no clock; each fact costs O(1).
"""

from typing import Any

import msgspec

from shared import subjects
from shared.entities import Key, Team
from shared.facts import ControlFact
from shared.ids import KeyDigest


class Directory:
    """The mutable state is these dictionaries; `apply`, `forget` and `clear` alone change them, and never await."""

    def __init__(self) -> None:
        self.keys: dict[KeyDigest, Key] = {}
        self.teams: dict[str, Team] = {}
        self.aliases: dict[str, KeyDigest] = {}
        """Reserved key alias -> the key it was reserved for. See `alias_owner` for whether it still holds."""
        self._seqs: dict[str, int] = {}
        self._team_keys: dict[str, dict[KeyDigest, None]] = {}

    def apply(self, subject: str, fact: ControlFact, seq: int) -> None:
        """Fold one fact. Raises msgspec.ValidationError, with the directory as it was, when `after` isn't its kind's entity."""
        after = fact.after
        match fact.kind:
            case "key":
                self._put_key(KeyDigest(fact.entity_id), None if after is None else msgspec.convert(after, Key))
            case "team":
                self._put(self.teams, fact.entity_id, None if after is None else msgspec.convert(after, Team))
            case "alias":
                self._put(self.aliases, fact.entity_id, None if after is None else msgspec.convert(after, _Alias).token)
            case _:
                pass  # a kind of a later version: its sequence still counts
        self._seqs[subject] = seq

    def forget(self, subject: str, seq: int) -> None:
        """A fact on `subject` that can't be read: whatever it was about is no longer known, so it has no rights. O(n), rare."""
        for digest in [d for d in self.keys if subjects.control("key", d) == subject]:
            self._put_key(digest, None)
        for team_id in [t for t in self.teams if subjects.control("team", t) == subject]:
            del self.teams[team_id]
        self._seqs[subject] = seq

    def clear(self) -> None:
        """The stream is another one: nothing we know holds."""
        for known in (self.keys, self.teams, self.aliases, self._seqs, self._team_keys):
            known.clear()

    def expected_seq(self, subject: str) -> int:
        """Sequence of the last fact on a subject; 0: there never was one. What the next fact's publisher must expect."""
        return self._seqs.get(subject, 0)

    def alias_owner(self, alias: str) -> Key | None:
        """The key that has this alias. None: free, also where a reservation outlived its key or its key's alias."""
        token = self.aliases.get(alias)
        key = None if token is None else self.keys.get(token)
        return key if key is not None and key.key_alias == alias else None

    def team_keys(self, team_id: str) -> list[Key]:
        return [self.keys[digest] for digest in self._team_keys.get(team_id, ())]

    def _put_key(self, digest: KeyDigest, key: Key | None) -> None:
        old = self.keys.get(digest)
        if old is not None and old.team_id is not None:
            of_team = self._team_keys[old.team_id]
            del of_team[digest]
            if not of_team:
                del self._team_keys[old.team_id]
        self._put(self.keys, digest, key)
        if key is not None and key.team_id is not None:
            self._team_keys.setdefault(key.team_id, {})[digest] = None

    @staticmethod
    def _put(entities: dict[Any, Any], entity_id: str, entity: object | None) -> None:
        if entity is None:
            entities.pop(entity_id, None)
        else:
            entities[entity_id] = entity


class _Alias(msgspec.Struct, frozen=True):
    """The entity of kind `alias`."""

    alias: str
    token: KeyDigest

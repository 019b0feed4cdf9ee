"""What a command takes and gives, and how a change of an entity is written down."""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from services.policy.catalog import Catalog
from services.policy.directory import Directory
from shared import subjects
from shared.entities import SETTING, EntityKind, Setting
from shared.facts import Caller
from shared.requests import DecideRequest

Entity = TypeVar("Entity", bound=msgspec.Struct)

ADMINS = frozenset({"proxy_admin", "proxy_admin_viewer"})
"""Roles that see everybody's entities."""


class Call(msgspec.Struct, frozen=True):
    directory: Directory
    query: dict[str, str]
    body: dict[str, Any]
    actor: Caller
    now_ms: int
    """The one instant of this call, Unix milliseconds."""
    new_id: Callable[[], str]
    catalog: Catalog
    route: str = ""
    """Its name in the table of routes."""
    params: dict[str, str] = {}
    """Of the path."""
    book: Mapping[tuple[str, ...], int] = {}
    """(dimension, values) -> pico-USD that the book has: what this command wanted to know when it
    was run before.
    """
    credential: DecideRequest | None = None
    """What the caller came with, as they were asked about. None: nobody came, or for a command
    given by another.
    """

    @property
    def sees_all(self) -> bool:
        return self.actor.role in ADMINS

    @property
    def is_admin(self) -> bool:
        return self.actor.role == "proxy_admin"

    def spent_picousd(self, dimension: str, values: list[str]) -> int:
        """What the book has of these. Raises Wanted, and the command is run again once that is
        known.
        """
        found = self.book.get((dimension, *values))
        if found is None:
            raise Wanted(dimension, values)
        return found


class Wanted(Exception):
    """A command can't be planned without what the book has."""

    def __init__(self, dimension: str, values: list[str]) -> None:
        super().__init__(dimension)
        self.dimension, self.values = dimension, values


class Change(msgspec.Struct, frozen=True):
    """A control fact to be: everything of it but its id, instant and actor, and where it must
    land.
    """

    kind: str
    entity_id: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    expected_seq: int
    """The subject's last sequence this change was planned on; the broker refuses it on any
    other.
    """

    @property
    def subject(self) -> str:
        return subjects.control(self.kind, self.entity_id)


class Spent(msgspec.Struct, frozen=True):
    """A row of an answer that shows what an entity spent: the book knows it."""

    row: dict[str, Any]
    """Its `spend` is to be filled in."""
    dimension: str
    """key, team, user, customer."""
    values: list[str]
    """Whose sums together are its spend."""
    offset_picousd: int = 0
    """Added to them."""
    since: str = ""
    """The first day that counts, in ISO 8601; empty: all."""


class Plan(msgspec.Struct, frozen=True):
    answer: Any
    """The JSON answer, once the changes stand."""
    changes: list[Change] = []
    """In the order they must land; none for a question."""
    unknown: list[str] = []
    """Fields nobody knows; kept, and named in a header."""
    not_enforced: list[str] = []
    """Fields that were set and don't bind yet; named in a header."""
    spend: list[Spent] = []


def change(
    directory: Directory, kind: EntityKind[Entity], action: str, before: Entity | None, after: Entity | None
) -> Change:
    some = after if after is not None else before
    assert some is not None
    entity_id = kind.id_of(some)
    return Change(
        kind.name,
        entity_id,
        action,
        None if before is None else msgspec.to_builtins(before),
        None if after is None else msgspec.to_builtins(after),
        directory.expected(kind.name, entity_id),
    )


def setting(directory: Directory, name: str, value: Any, source: str, now_ms: int) -> Change:
    """A setting has this value from now on.

    Args:
        source: where it comes from: `api`, or what policy itself found changed.
    """
    before = directory.settings.get(name)
    after = Setting(name=name, value=value, source=source, updated_at_ms=now_ms)
    return change(directory, SETTING, "created" if before is None else "updated", before, after)

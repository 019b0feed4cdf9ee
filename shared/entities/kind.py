"""What a kind of entity is: its struct, its id, its fields, and everything that follows from them.

An entity is the fold of its control facts, and the `after` of the last one. Commands, answer rows,
OpenAPI schemas, audit names and the directory's indexes are made from its `EntityKind`: a new kind
is one file here, a new field one row in it.

Three kinds of field: what stands in an attribute of its own (`column`), what is kept in `extra`
because LiteLLM knows it (`kept`), and what only we write (`read_only`, dropped when somebody sends
it). A field nobody knows is kept as it came, and named in the answer's header. Merging is
LiteLLM's: what is absent stays, null clears.
"""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from shared import errors
from shared.entities import readers
from shared.entities.readers import Reader
from shared.errors import RefusedError
from shared.money import usd_from_picousd

ENTITY_BYTES_MAX = 256 * 1024
"""Of one entity as JSON: a fact carries it twice (before, after) and must fit into one message of
the bus.
"""

Entity = TypeVar("Entity", bound=msgspec.Struct)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One field, by the name that requests and answers have for it."""

    name: str
    read: Reader | None
    """None: nobody may set it."""
    column: str = ""
    """The struct's attribute; empty: it is kept in `extra`."""
    inside: str = ""
    """Kept inside this other field instead (`tags` in `metadata`); null then leaves it."""
    empty: Any = None
    """What an answer shows where it isn't set."""
    show: Callable[[Any], Any] | None = None
    """The attribute as answers show it."""
    enforced: bool = True
    """False: kept and shown, but nothing acts on it yet. An answer that sets one says so in a
    header.
    """
    shown: bool = True
    """Whether rows have it at all while it isn't set."""
    in_metadata: bool = False
    """Whether LiteLLM has it in `metadata`: rows show it there too, and who changes it there
    changes it.
    """


def column(name: str, read: Reader | None, attribute: str = "", **more: Any) -> Field:
    return Field(name=name, read=read, column=attribute or name, **more)


def kept(name: str, read: Reader, **more: Any) -> Field:
    return Field(name=name, read=read, shown="empty" in more, **more)


def later(name: str, read: Reader, **more: Any) -> Field:
    """Kept, and not acted on yet."""
    return kept(name, read, enforced=False, **more)


def ours(name: str, empty: Any = None) -> Field:
    """A column of LiteLLM's row that nobody may set; what we say in it is kept in `extra`."""
    return Field(name=name, read=None, empty=empty)


def iso(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def usd(picousd: int | None) -> float | None:
    return None if picousd is None else usd_from_picousd(picousd)


def max_budget() -> Field:
    return column("max_budget", readers.picousd, "max_budget_picousd", show=usd, enforced=False)


def times(*names: str) -> tuple[Field, ...]:
    """`created_at` and the like: attributes in milliseconds, shown as instants."""
    return tuple(column(name, None, f"{name}_ms", show=iso) for name in names)


def who() -> tuple[Field, ...]:
    """When an entity was made and changed, and by whom."""
    return (*times("created_at"), column("created_by", None), *times("updated_at"), column("updated_by", None))


class Merged(msgspec.Struct, Generic[Entity], frozen=True):
    """An entity with a body's fields, and what is to be said about them."""

    entity: Entity
    unknown: list[str]
    """Names nobody knows; kept."""
    not_enforced: list[str]
    """Names that were set and don't bind yet."""


class EntityKind(Generic[Entity]):
    """
    Args:
        name: of the kind, in subjects and facts.
        struct: with an attribute `extra`, a dict.
        id: the attribute that identifies it.
        table: LiteLLM's name of it in the audit log.
        empty: an entity with nothing set: what null resets a column to.
        fields: in the order that answers show them.
        read_only: further names that are ours, dropped when somebody sends them.
        indexes: attributes, or fields kept in `extra`, by whose value the directory finds entities;
            a list's items each.
        check: rules that bind fields together; raises RefusedError.
    """

    def __init__(
        self,
        name: str,
        struct: type[Entity],
        id: str,
        table: str,
        empty: Entity,
        fields: Iterable[Field],
        *,
        read_only: Iterable[str] = (),
        indexes: tuple[str, ...] = (),
        check: Callable[[Entity], None] | None = None,
    ) -> None:
        self.name, self.struct, self.id, self.table = name, struct, id, table
        self.empty, self.check = empty, check
        self.indexes = {name: attrgetter(name) if hasattr(struct, name) else _extra(name) for name in indexes}
        """Name → its value of an entity."""
        self.fields = {field.name: field for field in fields}
        self._ours = frozenset(read_only) | {name for name, field in self.fields.items() if field.read is None} | {id}

    def id_of(self, entity: Entity) -> str:
        return str(getattr(entity, self.id))

    def known(self, name: str) -> bool:
        return name in self.fields or name in self._ours

    def settable(self) -> list[str]:
        return [name for name, field in self.fields.items() if field.read is not None]

    def merge(self, entity: Entity, body: dict[str, Any]) -> Merged[Entity]:
        """The entity with the body's fields. Raises RefusedError naming the first wrong field."""
        columns: dict[str, Any] = {}
        extra = dict(entity.extra)  # type: ignore[attr-defined]
        unknown, not_enforced = [], []
        inside: list[tuple[Field, Any]] = []
        for name, value in self._out_of_metadata(extra, body).items():
            field = self.fields.get(name)
            if field is None or field.read is None:
                if field is None and name not in self._ours:
                    unknown.append(name)
                    _put(extra, name, value)
                continue
            read = field.read(name, value)
            if read is not None and not field.enforced:
                not_enforced.append(name)
            if field.inside:
                inside.append((field, read))
            elif field.column:
                columns[field.column] = getattr(self.empty, field.column) if read is None else read
            else:
                _put(extra, name, read)
        for field, read in inside:
            if read is not None:
                whole = {**columns.get(field.inside, getattr(entity, field.inside)), field.name: read}
                reader = self.fields[field.inside].read
                assert reader is not None
                columns[field.inside] = reader(field.inside, whole)
        merged = msgspec.structs.replace(entity, **columns, extra=extra)
        if self.check is not None:
            self.check(merged)
        return Merged(merged, unknown, not_enforced)

    def _out_of_metadata(self, extra: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
        """The body, with a field that is set by its own name under that name alone: what `metadata`
        has of it is its new value, or only what a row showed there.
        """
        metadata = body.get("metadata")
        if not isinstance(metadata, dict):
            return body
        moved = [name for name in metadata if name in extra and self._is_in_metadata(name)]
        if not moved:
            return body
        kept = {name: value for name, value in metadata.items() if name not in moved}
        return {**{name: metadata[name] for name in moved}, **body, "metadata": kept}

    def _is_in_metadata(self, name: str) -> bool:
        field = self.fields.get(name)
        return field is not None and field.in_metadata

    def check_size(self, entity: Entity) -> None:
        """Last of all: what several calls added up to must still fit into one fact."""
        size = len(msgspec.json.encode(entity))
        if size > ENTITY_BYTES_MAX:
            raise RefusedError(errors.body_too_large(size, ENTITY_BYTES_MAX))

    def row(self, entity: Entity, **more: Any) -> dict[str, Any]:
        """The entity as LiteLLM's answers show it; `more` goes in where it names a field, else at
        the end.
        """
        row: dict[str, Any] = {self.id: getattr(entity, self.id)}
        for name, field in self.fields.items():
            if field.inside:
                continue
            if field.column:
                value = getattr(entity, field.column)
                row[name] = value if field.show is None else field.show(value)
            elif field.shown:
                row[name] = field.empty
        extra: dict[str, Any] = entity.extra  # type: ignore[attr-defined]
        also = {name: value for name, value in extra.items() if self._is_in_metadata(name)}
        if also:
            row["metadata"] = {**row["metadata"], **also}
        return {**row, **extra, **more}

    def body_schema(self) -> dict[str, Any]:
        """JSON schema of what a request may set."""
        return {
            "type": "object",
            "properties": {
                name: readers.schema_of(field.read) for name, field in self.fields.items() if field.read is not None
            },
        }


def _extra(name: str) -> Callable[[Any], Any]:
    return lambda entity: entity.extra.get(name)


def _put(extra: dict[str, Any], name: str, value: Any) -> None:
    if value is None:
        extra.pop(name, None)
    else:
        extra[name] = value

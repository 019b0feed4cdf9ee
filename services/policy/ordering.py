"""Entities of a kind in an order, and by parts of their names, kept up to date: a page costs the
same however many there are.

Made when somebody first asks (O(n log n), once a replica and order), then O(log n) a change. Pure;
no clock.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

Entity = TypeVar("Entity")
Value = Callable[[Any], Any]
"""What an entity is ordered or searched by; None: it has none."""


class Order:
    """
    Args:
        table: id → entity, as the directory has it. `remove` must be called while the old entity is
            in it, `insert` once the new one is.
    """

    def __init__(self, table: Mapping[str, Any], value: Value) -> None:
        self._table, self._value = table, value
        having = [entity_id for entity_id, entity in table.items() if value(entity) is not None]
        self.having = sorted(having, key=self._key)
        """Ids by (value, id)."""
        self.lacking = sorted(entity_id for entity_id, entity in table.items() if value(entity) is None)

    def _key(self, entity_id: str) -> tuple[Any, str]:
        return self._value(self._table[entity_id]), entity_id

    def remove(self, entity_id: str, entity: Any) -> None:
        value = self._value(entity)
        if value is None:
            del self.lacking[bisect_left(self.lacking, entity_id)]
        else:
            del self.having[bisect_left(self.having, (value, entity_id), key=self._key)]

    def insert(self, entity_id: str, entity: Any) -> None:
        if self._value(entity) is None:
            insort(self.lacking, entity_id)
        else:
            insort(self.having, entity_id, key=self._key)

    def page(self, *, descending: bool) -> "Ordered":
        return Ordered(self, self._table, descending)

    def before(self, value: Any) -> Sequence[str]:
        """The ids whose value is lower, in order."""
        return self.having[: bisect_left(self.having, (value, ""), key=self._key)]


class Ordered(Sequence[Any]):
    """The entities in an order, without copying any; what has no value comes last."""

    def __init__(self, order: Order, table: Mapping[str, Any], descending: bool) -> None:
        self._order, self._table, self._descending = order, table, descending

    def __len__(self) -> int:
        return len(self._order.having) + len(self._order.lacking)

    def __getitem__(self, index: Any) -> Any:
        """Of a slice that counts up, or one place."""
        if not isinstance(index, slice):
            return self[index : index + 1][0]
        having, lacking = self._order.having, self._order.lacking
        start, stop, _ = index.indices(len(self))
        count = len(having)
        first, last = min(start, count), min(stop, count)
        ids = having[count - last : count - first][::-1] if self._descending else having[first:last]
        ids = ids + lacking[max(0, start - count) : max(0, stop - count)]
        return [self._table[entity_id] for entity_id in ids]


BLOCKS = 256


class Names:
    """Which entities have a string in their name, whatever its case. A search reads the names as a
    few hundred long texts.
    """

    def __init__(self, table: Mapping[str, Any], value: Value) -> None:
        self._value = value
        self._blocks: list[dict[str, str]] = [{} for _ in range(BLOCKS)]
        self._texts: list[str | None] = [None] * BLOCKS
        for entity_id, entity in table.items():
            self.insert(entity_id, entity)

    def remove(self, entity_id: str, entity: Any) -> None:
        number = hash(entity_id) % BLOCKS
        if self._blocks[number].pop(entity_id, None) is not None:
            self._texts[number] = None

    def insert(self, entity_id: str, entity: Any) -> None:
        name = self._value(entity)
        if name is not None:
            number = hash(entity_id) % BLOCKS
            self._blocks[number][entity_id] = name.casefold()
            self._texts[number] = None

    def containing(self, part: str) -> Iterable[str]:
        wanted = part.casefold()
        for number, block in enumerate(self._blocks):
            text = self._texts[number]
            if text is None:
                text = self._texts[number] = "\n".join(block.values())
            if wanted in text:
                yield from (entity_id for entity_id, name in block.items() if wanted in name)

"""What every kind of entity has alike: naming one, changing one, blocking one, and pages of a
list.
"""

from bisect import bisect_left
from collections.abc import Callable, Collection, Sequence
from itertools import islice
from typing import Any, TypeVar

import msgspec

from services.policy import folding
from services.policy.plan import Call, Change, Plan, change
from services.policy.weakening import in_effect
from shared import errors
from shared.decoding import UNREADABLE
from shared.entities import EntityKind
from shared.entities import readers as fields
from shared.errors import RefusedError

Entity = TypeVar("Entity", bound=msgspec.Struct)

PAGE_MAX = 10**9


def named(
    call: Call, kind: EntityKind[Entity], entity_id: str | None, field: str, missing: str, not_yours: str | None = None
) -> Entity:
    """Raises RefusedError: 400 when nothing is named, 404 with `missing` when nobody has that name.

    Args:
        not_yours: what callers who don't see everything are told of what isn't theirs; they are
            told the same of what isn't there.
    """
    if entity_id is None or entity_id == "":
        fields.refuse(field, f"must name the {kind.name}")
    found: Entity | None = call.directory.tables[kind.name].get(entity_id)
    if found is None:
        raise absent(call, missing, field, not_yours)
    return found


def absent(call: Call, missing: str, field: str, not_yours: str | None) -> RefusedError:
    """Nobody has the name: who doesn't see everything isn't told so where they are told no of what
    is somebody else's.
    """
    hidden = not_yours is not None and not call.sees_all
    return RefusedError(
        errors.not_yours(not_yours) if hidden and not_yours else errors.entity_not_found(missing, field)
    )


def stamped(call: Call, entity: Entity) -> Entity:
    """With the time (and whose it was, where the kind keeps that) of this change."""
    more: dict[str, Any] = {"updated_at_ms": call.now_ms}
    if "updated_by" in entity.__struct_fields__:
        more["updated_by"] = call.actor.user_id
    return msgspec.structs.replace(entity, **more)


def check_organization(call: Call, before: Any, after: Any) -> None:
    """One that is new to a key or a team is there; whoever doesn't see them all hears from the
    check of rights that it isn't theirs.
    """
    found = after.organization_id
    known = found in (None, before.organization_id) or found in call.directory.tables["organization"]
    if call.sees_all and not known:
        fields.refuse("organization_id", "must name an organization that exists (/organization/new makes one)")


def check_guardrails(call: Call, before: Any, after: Any) -> None:
    """Of a key, team or project. One that is new and isn't there would protect nobody. Raises
    RefusedError.
    """
    old = folding.unserved_guardrails(call.catalog, before)
    for name in folding.unserved_guardrails(call.catalog, after):
        if name not in old:
            by_name = name in fields.texts_in(in_effect(after, "guardrails"))
            fields.refuse(
                "guardrails" if by_name else "permissions", f"asks for {name[:128]!r}, which no guardrail is called"
            )


def set_blocked(call: Call, kind: EntityKind[Entity], entity: Entity, blocked: bool) -> tuple[Entity, Change]:
    """A fact even where nothing seems to change: only the broker knows whether what we see is still
    so.
    """
    after = stamped(call, msgspec.structs.replace(entity, blocked=blocked))
    return after, change(call.directory, kind, "blocked" if blocked else "unblocked", entity, after)


def names(call: Call, field: str, most: int) -> list[str]:
    """A list of ids in the body, each once, at least one."""
    found = fields.texts(field, call.body.get(field))
    if not found:
        fields.refuse(field, "must name at least one")
    if len(found) > most:
        fields.refuse(field, f"must name at most {most}")
    return list(dict.fromkeys(found))


def number(query: dict[str, str], name: str, default: int, most: int) -> int:
    value = query.get(name)
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) <= 10) or not 1 <= int(value) <= most:
        fields.refuse(name, f"must be a whole number from 1 to {most}")
    return int(value)


def truth(query: dict[str, str], name: str) -> bool:
    value = query.get(name, "").lower()
    if value not in ("", "true", "false", "1", "0"):
        fields.refuse(name, "must be true or false")
    return value in ("true", "1")


class Page(msgspec.Struct, frozen=True):
    number: int
    """1 where `cursor` says where it begins."""
    size: int
    total: int
    items: list[Any]
    more: bool = False
    """Whether another one follows."""

    @property
    def pages(self) -> int:
        return -(-self.total // self.size)


def order(
    query: dict[str, str],
    sortable: Collection[str],
    *,
    by: str = "sort_by",
    way: str = "sort_order",
    default: str = "asc",
) -> tuple[str, bool]:
    """(name, descending), as the query asks; an empty name: it asks for no order.

    Args:
        by, way: the query's names for both.
    """
    name, direction = query.get(by) or "", query.get(way) or default
    if direction not in ("asc", "desc"):
        fields.refuse(way, "must be asc or desc")
    if name and name not in sortable:
        fields.refuse(by, f"must be one of {', '.join(sortable)}")
    return name, direction == "desc"


def in_order(kind: EntityKind[Entity], found: Collection[Entity], attribute: str, *, descending: bool) -> list[Entity]:
    """As `Directory.ordered` has them: equals by their ids; what lacks the field goes last."""

    def value(entity: Entity) -> tuple[Any, str]:
        return getattr(entity, attribute), kind.id_of(entity)

    having = sorted((each for each in found if getattr(each, attribute) is not None), key=value, reverse=descending)
    return having + sorted((each for each in found if getattr(each, attribute) is None), key=kind.id_of)


def page(
    call: Call,
    found: Collection[Any],
    size_name: str = "size",
    default: int = 10,
    most: int = 100,
    *,
    begins: int | None = None,
) -> Page:
    """The page that the query asks for.

    Args:
        begins: where it does, whatever `page` says: what `begins_at` says of `cursor`.
    """
    number_, size = number(call.query, "page", 1, PAGE_MAX), number(call.query, size_name, default, most)
    start = (number_ - 1) * size if begins is None else begins
    if isinstance(found, Sequence):
        items = list(found[start : start + size + 1])
    else:
        items = list(islice(found, start, start + size + 1)) if start < len(found) else []
    return Page(number_ if begins is None else 1, size, len(found), items[:size], len(items) > size)


def begins_at(
    call: Call, kind: EntityKind[Entity], found: Sequence[Entity], attribute: str, *, descending: bool
) -> int | None:
    """Where in an order (as `in_order` has it) the page begins that `cursor` asks for: after the
    last of the page before, also if that is gone or others were made since. None: there is no
    `cursor`.
    """
    sent = call.query.get("cursor")
    if not sent:
        return None
    try:
        value, entity_id = place = msgspec.json.decode(sent, type=tuple[int | str | None, str])

        def is_past(index: int) -> bool:
            own, own_id = getattr(found[index], attribute), kind.id_of(found[index])
            if value is None or own is None:
                return own is None and (value is not None or own_id > entity_id)
            return (own, own_id) < place if descending else (own, own_id) > place

        return bisect_left(range(len(found)), True, key=is_past)
    except (*UNREADABLE, UnicodeEncodeError, TypeError):  # or of another order
        fields.refuse("cursor", "must be next_cursor of the page before, in the same order")


def next_cursor(kind: EntityKind[Entity], page: Page, attribute: str) -> str | None:
    """None: no page follows."""
    if not page.more:
        return None
    last = page.items[-1]
    return msgspec.json.encode((getattr(last, attribute), kind.id_of(last))).decode()


def need(call: Call, allowed: bool, message: str) -> None:
    if not allowed:
        raise RefusedError(errors.not_yours(message))


Command = Callable[[Call], Plan]

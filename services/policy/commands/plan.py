"""What a command takes and gives."""

from collections.abc import Callable
from typing import Any

import msgspec

from services.policy.directory import Directory
from shared import subjects
from shared.entities import Key, Team
from shared.facts import Caller

ENTITY_BYTES_MAX = 256 * 1024
"""Of one entity as JSON: a fact carries it twice (before, after) and must fit into one message of the bus."""

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

    @property
    def sees_all(self) -> bool:
        return self.actor.role in ADMINS


class Change(msgspec.Struct, frozen=True):
    """A control fact to be: everything of it but its id, instant and actor, and where it must land."""

    kind: str
    entity_id: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    expected_seq: int
    """The subject's last sequence this change was planned on; the broker refuses it on any other."""

    @property
    def subject(self) -> str:
        return subjects.control(self.kind, self.entity_id)


class Plan(msgspec.Struct, frozen=True):
    answer: Any
    """The JSON answer, once the changes stand."""
    changes: list[Change] = []
    """In the order they must land; none for a question."""


def change_key(directory: Directory, action: str, before: Key | None, after: Key | None) -> Change:
    token = (after or before).token  # type: ignore[union-attr]
    return _change(directory, "key", token, action, before, after)


def change_team(directory: Directory, action: str, before: Team | None, after: Team | None) -> Change:
    team_id = (after or before).team_id  # type: ignore[union-attr]
    return _change(directory, "team", team_id, action, before, after)


def _change(
    directory: Directory, kind: str, entity_id: str, action: str, before: Key | Team | None, after: Key | Team | None
) -> Change:
    return Change(
        kind,
        entity_id,
        action,
        None if before is None else msgspec.to_builtins(before),
        None if after is None else msgspec.to_builtins(after),
        directory.expected_seq(subjects.control(kind, entity_id)),
    )

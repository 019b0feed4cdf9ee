"""What is asked about who comes with claims, and what they are found to be."""

from collections.abc import Callable
from typing import Any

import msgspec

from shared.entities import Key, Team, User
from shared.errors import Refusal

Find = Callable[[str, str], Any]
"""(kind, id) → the entity, or None."""
MayUse = Callable[[Team, str], bool]
"""(team, model) → whether the team's list lets the model through."""


class Question(msgspec.Struct, frozen=True):
    """What is asked for with the token."""

    claims: dict[str, Any]
    route: str
    model: str = ""
    team_id: str | None = None
    """The team the caller asks for (`x-litellm-team-id`)."""


class Known(msgspec.Struct, frozen=True):
    """What the directory can say."""

    find: Find
    teams_by_alias: Callable[[str], list[Team]]
    teams_of_user: Callable[[str], list[Team]]
    stands_for: Callable[[str], tuple[Key | None, list[str]]]
    """Of the key that a mapping names: the one it was rotated into, and all that were looked at."""
    may_use: MayUse
    organization_by_alias: Callable[[str], str | None] = lambda alias: None
    """The organisation's id."""
    completed: Callable[[User], User] = lambda user: user
    """A new user, with what the configuration has for those."""
    new_user_teams: tuple[str, ...] = ()


class Upsert(msgspec.Struct, frozen=True):
    before: Team | User | None
    """None: it doesn't exist yet."""
    after: Team | User


class Principal(msgspec.Struct, frozen=True):
    key: Key
    role: str
    depends_on: list[str]
    team: Team | None = None
    customer_id: str | None = None
    model_lists: list[list[str]] = []
    """A model must be let through by each of them, besides the team's own."""
    upserts: list[Upsert] = []
    """What is to be made, or follows the token."""
    team_named: tuple[str | None, str | None] | None = None
    """Id and alias of a team that nobody made here: a name in the book, and nothing more."""


class NotLetIn(msgspec.Struct, frozen=True):
    """The rules' no, and what was looked at for it."""

    refusal: Refusal
    depends_on: list[str]

"""Which models an entity's `models` list lets through. Pure.

An empty list allows all. `*` and `all-proxy-models` allow all; `all-team-models` leaves it to the
team; any other star is a pattern on the name, or on every `provider/model` the name may go to, so
that `openai/*` covers a `gpt-4o` served by OpenAI. `no-default-models` is a name nobody serves, so
a list of it alone allows nothing. The names in `access_group_ids` are entries too, so that one who
has no list but groups may use what is in them.
"""

from typing import Any

from services.policy.catalog import Catalog
from shared.entities import Key, Team

EVERYTHING = frozenset({"*", "all-proxy-models"})
ALL_TEAM_MODELS = "all-team-models"
GROUPS = "access_group_ids"
NO_MODELS = "no-default-models"
"""A name nobody serves."""


def entries_of(holder: Any) -> list[str]:
    """Of a key, team, user, organisation or project."""
    return holder.models if GROUPS not in holder.extra else [*holder.models, *holder.extra[GROUPS]]


def lets(holder: Any, model: str, catalog: Catalog) -> bool:
    """Whether its lists let a model through."""
    entries = holder.models if GROUPS not in holder.extra else entries_of(holder)
    return not entries or model in entries or allows(entries, model, catalog)


def allows(entries: list[str], model: str, catalog: Catalog) -> bool:
    if not entries or model in entries or catalog.aliases.get(model) in entries:
        return True
    for entry in entries:
        if entry in EVERYTHING:
            return True
        group = catalog.access_groups.get(entry)
        if group is not None and (model in group or _all_in(group, model, catalog)):
            return True
        if "*" in entry:
            if _matches(entry, model):
                return True
            served = catalog.candidates(model)
            if served and all(_matches(entry, f"{c.provider}/{c.upstream_model}") for c in served):
                return True
    return False


def _all_in(group: frozenset[str], model: str, catalog: Catalog) -> bool:
    """Whether all that serve it are of the group: by a pattern in it, or by what an alias stands
    for.
    """
    served = catalog.candidates(model)
    return bool(served) and all(catalog.deployments[each.deployment_id].model_name in group for each in served)


def key_allows(key: Key, team: Team | None, model: str, catalog: Catalog) -> bool:
    """The key's own list. A key limited to its team's models has none without a team."""
    if team is not None and ALL_TEAM_MODELS in key.models:
        return True
    return lets(key, model, catalog)


def unknown_entry(entry: str, catalog: Catalog) -> bool:
    """Whether a new entry of a `models` list names nothing we know: no model, no pattern, none of
    the special names.
    """
    if "*" in entry or entry in EVERYTHING or entry in (ALL_TEAM_MODELS, NO_MODELS):
        return False
    return entry not in catalog.access_groups and not catalog.candidates(entry)


def _matches(pattern: str, name: str) -> bool:
    """Stars match anything. Linear: no pattern is slow, however many stars it has."""
    first, *middle, last = pattern.split("*")
    if len(name) < len(first) + len(last) or not name.startswith(first) or not name.endswith(last):
        return False
    position, end = len(first), len(name) - len(last)
    for part in middle:
        position = name.find(part, position, end)
        if position < 0:
            return False
        position += len(part)
    return True

"""Which models an entity's `models` list lets through. Pure.

An empty list allows all. `*` and `all-proxy-models` allow all; `all-team-models` leaves it to the
team; any other star is a pattern on the name, or on every `provider/model` the name may go to, so
that `openai/*` covers a `gpt-4o` served by OpenAI. `no-default-models` is a name nobody serves, so
a list of it alone allows nothing. `access_group_ids` add what is in these groups, and one who has
no list but groups may use nothing else.
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
    """Of a key, team, user, organisation or project: none says that nothing binds."""
    return holder.models if GROUPS not in holder.extra else [*holder.models, *holder.extra[GROUPS]]


def lets(holder: Any, model: str, catalog: Catalog) -> bool:
    """Whether its lists let a model through. What stands for a group is a group and nothing else:
    no pattern, and no model that happens to be called as one that is gone.
    """
    groups = holder.extra.get(GROUPS) if holder.extra else None
    if not groups:
        return not holder.models or model in holder.models or allows(holder.models, model, catalog)
    if holder.models and allows(holder.models, model, catalog):
        return True
    return any(_has(catalog.access_groups.get(group), model, catalog) for group in groups)


def allows(entries: list[str], model: str, catalog: Catalog) -> bool:
    if not entries or model in entries or catalog.aliases.get(model) in entries:
        return True
    for entry in entries:
        if entry in EVERYTHING:
            return True
        if _has(catalog.access_groups.get(entry), model, catalog):
            return True
        if "*" in entry:
            if _matches(entry, model):
                return True
            served = catalog.candidates(model)
            if served and all(_matches(entry, f"{c.provider}/{c.upstream_model}") for c in served):
                return True
    return False


def _has(group: frozenset[str] | None, model: str, catalog: Catalog) -> bool:
    """Whether a group has it, or all that serve it: by a pattern in the group, or by what an alias
    stands for. None: there is no such group.
    """
    if group is None or model in group:
        return group is not None
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

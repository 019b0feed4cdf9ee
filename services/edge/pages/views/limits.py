"""What really limits a key: of itself, its team, its user and its organisation, and which of them
sets it.

Whoever looks sees no more of the others than the API lets them; what they may not see is left out.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from services.edge.pages.api import AskError
from services.edge.pages.view import Cell, Look, Table, at, count, link, money

NUMBERS: tuple[tuple[str, Callable[[object], str]], ...] = (
    ("max_budget", money),
    ("rpm_limit", count),
    ("tpm_limit", count),
    ("max_parallel_requests", count),
)
EVERY_MODEL = frozenset({"all-proxy-models", "*", "all-team-models"})
Level = tuple[Cell, dict[str, Any]]
"""(who, as a cell; their fields)."""


async def of_key(look: Look, row: dict[str, Any]) -> Table:
    say = look.say
    above = await asyncio.gather(
        _level(look, "team", row.get("team_id"), "team_info"),
        _level(look, "user", row.get("user_id"), "user_info"),
        _level(look, "organization", row.get("organization_id"), ""),
    )
    levels: list[Level] = [(say("limits.this_key"), row), *(each for each in above if each is not None)]
    rows = [_models(look, levels)]
    rows += [_number(look, levels, name, shown) for name, shown in NUMBERS]
    columns = [(say("limits.limit"), ""), (say("limits.effective"), "t"), (say("limits.set_by"), "")]
    return Table(title=say("limits.title"), note=say("limits.note"), columns=columns, rows=rows)


async def _level(look: Look, kind: str, id: str | None, within: str) -> Level | None:
    if not id:
        return None
    try:
        found = await look.api.policy(f"/{kind}/info", {f"{kind}_id": id})
    except AskError as error:
        if error.status >= 500:  # nobody could say: without it the narrowest wouldn't be
            raise
        return None
    fields = (found.get(within) if within else found) or {}
    name = f"{look.say('by.' + kind)} {fields.get(kind + '_alias') or id}"
    return (link(name, at(kind + "s", id)) if within else name), fields


def models_of(fields: dict[str, Any]) -> list[str]:
    """Models and access groups; none: every model."""
    return [*(fields.get("models") or ()), *(fields.get("access_group_ids") or ())]


def _models(look: Look, levels: list[Level]) -> list[Cell]:
    """A model must be in every list that there is."""
    found = [(who, models_of(fields)) for who, fields in levels]
    lists = [(who, models) for who, models in found if models and not EVERY_MODEL & {*models}]
    if not lists:
        return [look.say("nav.models"), look.say("all"), "–"]
    every = dict.fromkeys(name for _, models in lists for name in models)
    names = [name for name in every if all(_holds(models, name) for _, models in lists)]
    smallest = min(lists, key=lambda each: len(each[1]))[0]
    # Access groups and patterns of a provider's names are policy's to resolve: shown as they are.
    shown = ", ".join(names) or " ∩ ".join(", ".join(models) for _, models in lists)
    return [look.say("nav.models"), shown, smallest]


def _holds(models: list[str], name: str) -> bool:
    """Whether a list has a name, or a pattern for it."""
    for each in models:
        before, star, after = each.partition("*")
        if name == each or (star and name.startswith(before) and name.endswith(after)):
            return True
    return False


def _number(look: Look, levels: list[Level], name: str, shown: Callable[[object], str]) -> list[Cell]:
    """The smallest holds."""
    said = [(float(fields[name]), who) for who, fields in levels if fields.get(name) is not None]
    label = look.say("limits." + name)
    if not said:
        return [label, look.say("limits.unlimited"), "–"]
    least, who = min(said, key=lambda each: each[0])
    return [label, shown(least), who]

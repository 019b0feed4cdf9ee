"""Budgets of the gateway, of providers and of deployments: calls are let in while the book has less
than the limit. Pure.

That a limit is reached is a control fact (`control.setting.budgets_over`), and so is that a window
is over: edges forget what they were told, as with every setting. budget_watch.py asks the book.
"""

from collections.abc import Mapping, Sequence

from services.policy.catalog import Catalog
from services.policy.directory import Directory
from services.policy.plan import Change, setting
from shared.config import Deployment
from shared.config.budgets import OVER_SETTING, Budget, UsedUp, budget, over_setting, used_up, window
from shared.grant import Candidate, Fallback
from shared.ids import DeploymentId

NAME = OVER_SETTING
GATEWAY = "total:"

SETTLES_MS = 60_000
"""Where two policies disagree (one has read another file), what the one has just said isn't taken
back by the other: they would go on every second, and edges would forget all they were told.
"""

Over = Mapping[str, tuple[int, int]]
"""Name of a budget that is used up → (what was spent when that was seen, its limit), pico-USD."""
NONE: Over = {}


def limits(catalog: Catalog) -> list[Budget]:
    """All of them."""
    found = (_of(each) for each in catalog.deployments.values() if each.params.max_budget is not None)
    return [*catalog.budgets, *(each for each in found if each is not None)]


def _of(each: Deployment) -> Budget | None:
    return budget("deployment", each.id, each.params.max_budget, each.params.budget_duration)


def over(directory: Directory, catalog: Catalog, now_ms: int) -> Over:
    """What is used up, by what policy was told and by the limits as they are now. Pure."""
    if not catalog.budgets and NAME not in directory.settings:
        return NONE  # what nobody has costs no decision anything
    found = {each.name: (0, 0) for each in catalog.budgets if each.max_picousd == 0}
    for (name, first), spent_picousd in _told(directory).items():
        limit = _named(catalog, name)
        if limit is not None and spent_picousd >= limit.max_picousd and first_day(limit, now_ms) == first:
            found[name] = (spent_picousd, limit.max_picousd)
    return found or NONE


def affordable(candidates: list[Candidate], used_up: Over) -> list[Candidate]:
    """Without those that have no money left, or whose provider hasn't."""
    return [
        each
        for each in candidates
        if f"provider:{each.provider}" not in used_up and f"deployment:{each.deployment_id}" not in used_up
    ]


def affordable_fallbacks(fallbacks: list[Fallback], used_up: Over) -> list[Fallback]:
    kept = (Fallback(each.model, affordable(each.candidates, used_up), each.reason) for each in fallbacks)
    return [each for each in kept if each.candidates]


def planned(
    known: Sequence[Budget], sums: Sequence[int] | None, at_ms: int, directory: Directory, now_ms: int
) -> Change | None:
    """The fact that says what is used up now; None: that is said already. Pure.

    Args:
        sums: what the book has of each; None: it didn't say, and what was told of a window that is
            not over stays.
        at_ms: the instant whose windows were asked for.
    """
    told, found = _told(directory), directory.settings.get(NAME)
    said_ms = 0 if found is None else found.updated_at_ms
    lately = now_ms - said_ms < SETTLES_MS
    windows = [(limit.name, first_day(limit, at_ms)) for limit in known]
    over_by_now = {(limit.name, first_day(limit, said_ms)) for limit in known}.difference(windows)
    # Of another policy's budgets, or of another one's terms.
    mine = over_by_now.union(windows)
    value = {key: before for key, before in told.items() if lately and key not in mine}
    for place, (key, limit) in enumerate(zip(windows, known, strict=True)):
        kept = told.get(key, 0)
        spent = kept if sums is None else sums[place]
        if spent >= limit.max_picousd:
            # Said already: it isn't said again with every call that follows.
            value[key] = kept if key in told and kept >= limit.max_picousd else spent
        elif key in told and lately and kept <= spent:
            value[key] = kept  # by another policy's limit
    return None if value == told else setting(directory, NAME, over_setting(value), "book", now_ms)


def first_day(limit: Budget, now_ms: int) -> str:
    """The first day of its window; empty: all days."""
    first, _ = window(limit.term, now_ms)
    return "" if first is None else first.isoformat()


def _told(directory: Directory) -> UsedUp:
    found = directory.settings.get(NAME)
    return used_up({} if found is None else found.value)


def _named(catalog: Catalog, name: str) -> Budget | None:
    dimension, _, value = name.partition(":")
    if dimension == "deployment":
        found = catalog.deployments.get(DeploymentId(value))
        return None if found is None else _of(found)
    return next((each for each in catalog.budgets if each.name == name), None)

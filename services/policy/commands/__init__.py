"""Management calls, as pure functions: what a call would change and what it would answer, or why not.

Owns: LiteLLM's request and response shapes of /key/* and /team/*, and the rules of a valid key or team.
Takes in: a `Call` (directory, query, body, actor, one instant, a source of ids).
Gives out: a `Plan` (changes in the order they must land, and the answer), or a Refusal.
Never: publishes, waits, reads a clock, or changes the directory (its fold does, when the fact comes back).
"""

from collections.abc import Callable

from services.policy.commands import key_queries, keys, teams
from services.policy.commands.fields import checked
from services.policy.commands.plan import Call, Plan
from shared import errors
from shared.errors import Refusal, RefusedError

COMMANDS: dict[str, Callable[[Call], Plan]] = {
    "/key/generate": keys.generate,
    "/key/update": keys.update,
    "/key/delete": keys.delete,
    "/key/block": keys.block,
    "/key/unblock": keys.unblock,
    "/key/info": key_queries.info,
    "/key/list": key_queries.list_keys,
    "/team/new": teams.new,
    "/team/update": teams.update,
    "/team/delete": teams.delete,
    "/team/block": teams.block,
    "/team/unblock": teams.unblock,
    "/team/info": teams.info,
    "/team/list": teams.list_teams,
}
"""Each route and what it means. Whether the actor may call it was decided before (`routes.py`)."""


def run(route: str, call: Call) -> Plan | Refusal:
    """Run one command. Never raises for what a caller sent."""
    command = COMMANDS.get(route)
    if command is None:
        return errors.route_not_allowed(route)
    try:
        checked(call.body)
        return command(call)
    except RefusedError as refused:
        return refused.refusal

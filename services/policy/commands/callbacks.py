"""/team/{team_id}/callback, /team/{team_id}/callback/{callback_name},
/team/{team_id}/disable_logging: which sinks get a team's calls. Kept in `metadata.logging`, like a
key's.
"""

from typing import Any

import msgspec

from services.policy.commands import generic, teams
from services.policy.plan import Call, Plan, change
from shared import errors
from shared.entities import TEAM, Team, callbacks
from shared.entities import readers as fields
from shared.errors import RefusedError

_ENTRY = ("callback_name", "callback_type", "callback_vars")


def add(call: Call) -> Plan:
    """One of the same name and type is replaced."""
    team = _team(call)
    entry = {name: call.body[name] for name in _ENTRY if call.body.get(name) is not None}
    callbacks.read_entry("body", entry)
    entry = {"callback_type": "success_and_failure", "callback_vars": {}, **entry}
    kept = [other for other in _entries(team) if _named(other) != _named(entry)]
    after, plan = _with(call, team, [*kept, entry])
    row = TEAM.row(after, spend=None)
    return msgspec.structs.replace(plan, answer={"status": "success", "data": row}, spend=[teams.spent(after, row)])


def show(call: Call) -> Plan:
    return Plan({"status": "success", "data": _shown(_team(call))})


def delete(call: Call) -> Plan:
    """Without any, the team has what the configuration says."""
    team, name = _team(call), call.params.get("callback_name", "")
    kept = [entry for entry in _entries(team) if entry.get("callback_name") != name]
    if len(kept) == len(_entries(team)):
        raise RefusedError(errors.entity_not_found(f"Callback {name[:64]} not found in this team", "callback_name"))
    after, plan = _with(call, team, kept or None)
    message = f"Callback {name} removed from team {after.team_id}"
    return msgspec.structs.replace(plan, answer={"status": "success", "message": message, "data": _shown(after)})


def disable(call: Call) -> Plan:
    """The team's calls are sent nowhere, also not where the configuration says."""
    after, plan = _with(call, _team(call), [])
    message = f"Logging disabled for team {after.team_id}"
    return msgspec.structs.replace(plan, answer={"status": "success", "message": message, "data": _shown(after)})


def _team(call: Call) -> Team:
    team = teams.named_team(call)
    teams.need(call, team)
    return team


def _entries(team: Team) -> list[dict[str, Any]]:
    found = team.metadata.get("logging")
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _named(entry: dict[str, Any]) -> tuple[Any, Any]:
    return entry.get("callback_name"), entry.get("callback_type") or "success_and_failure"


def _with(call: Call, team: Team, entries: list[dict[str, Any]] | None) -> tuple[Team, Plan]:
    metadata = {name: value for name, value in team.metadata.items() if name not in ("logging", callbacks.OLD)}
    if entries is not None:
        metadata["logging"] = entries
    fields.metadata("metadata", metadata)
    after = generic.stamped(call, msgspec.structs.replace(team, metadata=metadata))
    TEAM.check_size(after)
    return after, Plan(None, [change(call.directory, TEAM, "updated", team, after)])


def _shown(team: Team) -> dict[str, Any]:
    """LiteLLM's shape: names by outcome, and all variables together."""
    entries = _entries(team)
    variables: dict[str, Any] = {}
    for entry in callbacks.shown({"logging": entries})["logging"]:
        variables.update(entry.get("callback_vars") or {})

    def named(outcome: str) -> list[str]:
        wanted = (outcome, "success_and_failure")
        return [str(entry.get("callback_name")) for entry in entries if _named(entry)[1] in wanted]

    return {
        "team_id": team.team_id,
        "success_callbacks": named("success"),
        "failure_callbacks": named("failure"),
        "callback_vars": variables,
    }

"""What the configuration says of new keys: what they have where nobody says, the most they may
have, and who may make which.

`default_key_generate_params`, `upperbound_key_generate_params` and `key_generation_settings` of
`litellm_settings`. Pure.
"""

from typing import Any

from services.policy.model_access import GROUPS
from services.policy.plan import Call
from shared import errors
from shared.entities import KEY, readers
from shared.entities import readers as fields
from shared.errors import RefusedError

_DURATIONS = frozenset({"duration", "budget_duration"})


def completed(call: Call, body: dict[str, Any]) -> dict[str, Any]:
    """The body with what it leaves open, checked against the bounds. Raises RefusedError naming the
    field.
    """
    settings = call.catalog.new_keys
    body = {**{name: value for name, value in settings.defaults.items() if body.get(name) is None}, **_said(body)}
    for name, bound in settings.bounds.items():
        if body.get(name) is None:
            body[name] = bound
    check_bounds(call, body)
    return body


def check_bounds(call: Call, body: dict[str, Any]) -> None:
    """Of a key that is there already: what a body sets on it. Raises RefusedError naming the
    field.
    """
    bounds = call.catalog.new_keys.bounds
    if body.get(GROUPS) and "models" in bounds and GROUPS not in bounds:
        fields.refuse(GROUPS, "would add to models, which upperbound_key_generate_params bounds")
    for name, bound in bounds.items():
        if name not in body:
            continue
        value = body[name]
        if value in (None, "", "-1") or not _within(call, name, value, bound):
            message = f"{name} is over max limit set in config - user_value={value}; max_value={bound}"
            raise RefusedError(errors.bad_request(message, name))


def _said(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}


def _within(call: Call, name: str, value: Any, bound: Any) -> bool:
    if name in _DURATIONS:
        read = fields.duration(name, value)
        assert read is not None
        return fields.end_of(name, read, call.now_ms) <= fields.end_of(name, str(bound), call.now_ms)
    field = KEY.fields.get(name)
    read_value = value if field is None or field.read is None else field.read(name, value)
    read_bound = bound if field is None or field.read is None else field.read(name, bound)
    if isinstance(read_bound, int | float) and isinstance(read_value, int | float):
        return bool(read_value <= read_bound)
    return bool(read_value == read_bound)


def check_maker(call: Call, body: dict[str, Any]) -> None:
    """`key_generation_settings`: which roles may make keys for themselves and for teams, and what
    these must say.
    """
    if call.is_admin:
        return
    of_team = readers.text("team_id", body.get("team_id")) is not None
    settings = call.catalog.new_keys.team if of_team else call.catalog.new_keys.personal
    allowed = settings.get("allowed_team_member_roles" if of_team else "allowed_user_roles")
    if isinstance(allowed, list):
        role = call.actor.role
        if of_team:
            team = call.directory.teams.get(str(body.get("team_id")))
            role = (None if team is None else team.role_of(call.actor.user_id)) or "none"
        if role not in allowed:
            raise RefusedError(
                errors.bad_request(
                    f"Key creation is restricted to roles {allowed}. Your role={role}", "team_id" if of_team else None
                )
            )
    for name in settings.get("required_params") or []:
        if body.get(str(name)) is None:
            fields.refuse(str(name), "is required to make a key (key_generation_settings)")

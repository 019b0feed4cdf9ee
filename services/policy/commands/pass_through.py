"""`/config/pass_through_endpoint`: endpoints made, changed and removed at run time, on every edge
at once.

Facts aren't a place for credentials: an endpoint that needs one stands in config.yaml, with
`os.environ/NAME`. Targets in private networks are refused by the edges, unless their operator
listed them.
"""

from typing import Any

from services.policy.plan import Call, Plan, change
from services.policy.weakening import in_effect
from shared import credential, errors, passthrough
from shared.config import ConfigError
from shared.entities import PASS_THROUGH, PassThrough
from shared.entities import readers as fields
from shared.errors import RefusedError

ENDPOINTS_MAX = 500
_SECRET_HEADERS = frozenset({*credential.HEADERS, "cookie", "proxy-authorization", "litellm_user_api_key"})


def shown(call: Call) -> Plan:
    wanted = call.query.get("endpoint_id")
    rows = [_row(each) for each in call.directory.tables["pass_through"].values() if wanted in (None, "", each.id)]
    return Plan({"endpoints": rows})


def of_team(call: Call) -> Plan:
    """Those that a team may call."""
    team_id = call.params.get("team_id", "")
    team = call.directory.teams.get(team_id)
    if team is None:
        text = f"Team not found, passed team_id={team_id[:256]}"
        raise RefusedError(errors.entity_not_found(text, "team_id"))
    allowed = {*fields.texts_in(in_effect(team, "allowed_passthrough_routes"))} - {
        *fields.texts_in(in_effect(team, "denied_passthrough_routes"))
    }
    found = call.directory.tables["pass_through"].values()
    return Plan({"endpoints": [_row(each) for each in found if each.given.get("path") in allowed]})


def new(call: Call) -> Plan:
    if len(call.directory.tables["pass_through"]) >= ENDPOINTS_MAX:
        raise RefusedError(errors.bad_request(f"There are {ENDPOINTS_MAX} endpoints already"))
    given = {name: value for name, value in call.body.items() if name != "id"}
    after = PassThrough(id=call.new_id(), given=given, created_at_ms=call.now_ms, updated_at_ms=call.now_ms)
    _check(call, after)
    return Plan({"endpoints": [_row(after)]}, [change(call.directory, PASS_THROUGH, "created", None, after)])


def update(call: Call) -> Plan:
    """What is absent stays; null takes away."""
    before = _named(call, call.params.get("endpoint_id"))
    given = {**before.given, **{name: value for name, value in call.body.items() if name != "id"}}
    given = {name: value for name, value in given.items() if value is not None}
    after = PassThrough(id=before.id, given=given, created_at_ms=before.created_at_ms, updated_at_ms=call.now_ms)
    _check(call, after)
    return Plan({"endpoints": [_row(after)]}, [change(call.directory, PASS_THROUGH, "updated", before, after)])


def delete(call: Call) -> Plan:
    before = _named(call, call.query.get("endpoint_id"))
    return Plan({"endpoints": [_row(before)]}, [change(call.directory, PASS_THROUGH, "deleted", before, None)])


def _named(call: Call, endpoint_id: str | None) -> PassThrough:
    if not endpoint_id:
        fields.refuse("endpoint_id", "must name the endpoint")
    found: PassThrough | None = call.directory.tables["pass_through"].get(endpoint_id)
    if found is None:
        raise RefusedError(errors.entity_not_found(f"Endpoint with ID {endpoint_id} not found", "endpoint_id"))
    return found


def _check(call: Call, after: PassThrough) -> None:
    """Raises RefusedError (400)."""
    try:
        entry = passthrough.entry_of(after.given, "endpoint", None)
    except ConfigError as error:
        raise RefusedError(errors.bad_request(str(error))) from None
    for name in after.given.get("headers") or {}:
        if name.lower() in _SECRET_HEADERS:
            fields.refuse(
                f"headers.{name}", "may hold a credential: put this endpoint into config.yaml, with os.environ/NAME"
            )
    known = {each.name for each in call.catalog.guardrails}
    for name in entry.guardrails:
        if name not in known:
            fields.refuse(f"guardrails.{name}", "is no guardrail of this gateway")
    if passthrough.own(entry.path):
        fields.refuse("path", "is one of the gateway's own routes")
    for other in call.directory.tables["pass_through"].values():
        if other.id != after.id and other.given.get("path") == entry.path:
            taken = passthrough.entry_of(other.given, "endpoint", None).methods
            twice = sorted(set(taken).intersection(entry.methods))
            if twice:
                fields.refuse("path", f"has {twice[0]} already: endpoint {other.id}")
    PASS_THROUGH.check_size(after)


def _row(endpoint: PassThrough) -> dict[str, Any]:
    return {**endpoint.given, "id": endpoint.id}

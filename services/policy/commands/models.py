"""/model/info, /v1/model/info, /model_group/info: what of the configured models their callers may know.

No address and no credential of a deployment is here: policy doesn't have them.
"""

from typing import Any

from services.policy.commands.plan import Call, Plan
from services.policy.model_access import allows, key_allows
from shared import errors
from shared.errors import RefusedError
from shared.grant import Candidate
from shared.money import PICOUSD_PER_USD


def model_info(call: Call) -> Plan:
    wanted = call.query.get("litellm_model_id")
    rows = [
        row
        for name in _names(call)
        for candidate in call.catalog.models[name]
        if not wanted or candidate.deployment_id == wanted
        for row in (_deployment(name, candidate, call),)
    ]
    if wanted and not rows:
        raise RefusedError(errors.entity_not_found(f"Model id = {wanted[:128]} not found", "litellm_model_id"))
    return Plan({"data": rows})


def group_info(call: Call) -> Plan:
    wanted = call.query.get("model_group")
    rows = [_group(name, call.catalog.models[name]) for name in _names(call) if not wanted or name == wanted]
    return Plan({"data": rows})


def _names(call: Call) -> list[str]:
    """Those the caller may use; all for admins."""
    names = list(call.catalog.models)
    if call.sees_all:
        return names
    actor, directory = call.actor, call.directory
    key = None if actor.key_sha256 is None else directory.keys.get(actor.key_sha256)
    team = None if actor.team_id is None else directory.teams.get(actor.team_id)
    if key is not None:
        names = [name for name in names if key_allows(key, team, name, call.catalog)]
    if team is not None:
        names = [name for name in names if allows(team.models, name, call.catalog)]
    return names


def _deployment(name: str, candidate: Candidate, call: Call) -> dict[str, Any]:
    return {
        "model_name": name,
        "litellm_params": {"model": f"{candidate.provider}/{candidate.upstream_model}"},
        "model_info": {
            "id": candidate.deployment_id,
            "db_model": False,
            "input_cost_per_token": _usd(candidate, "input_picousd"),
            "output_cost_per_token": _usd(candidate, "output_picousd"),
            "access_groups": [g for g, models in call.catalog.access_groups.items() if name in models],
        },
    }


def _group(name: str, candidates: list[Candidate]) -> dict[str, Any]:
    return {
        "model_group": name,
        "providers": list(dict.fromkeys(each.provider for each in candidates)),
        "input_cost_per_token": next((v for c in candidates if (v := _usd(c, "input_picousd")) is not None), None),
        "output_cost_per_token": next((v for c in candidates if (v := _usd(c, "output_picousd")) is not None), None),
        "max_input_tokens": max((c.input_tokens_max or 0 for c in candidates), default=0) or None,
        "tpm": sum(c.tpm or 0 for c in candidates) or None,
        "rpm": sum(c.rpm or 0 for c in candidates) or None,
        "mode": None,
    }


def _usd(candidate: Candidate, part: str) -> float | None:
    value = None if candidate.price is None else getattr(candidate.price, part)
    return None if value is None else value / PICOUSD_PER_USD

"""/model/info, /v2/model/info, /model_group/info: what of the models their callers may know.

No credential of a deployment is here: policy has none. Addresses are for admins.
"""

from typing import Any

from services.policy import rights
from services.policy.commands import generic, teams
from services.policy.commands.stored_models import masked
from services.policy.model_access import key_allows, lets
from services.policy.plan import Call, Plan
from shared import errors
from shared.config.stored import MASK, is_secret
from shared.entities import Model, Team, iso
from shared.entities.readers import texts_in
from shared.errors import RefusedError
from shared.grant import Candidate
from shared.money import PICOUSD_PER_USD

FEATURES = (
    "supports_function_calling", "supports_parallel_function_calling", "supports_vision", "supports_reasoning",
    "supports_web_search", "supports_url_context",
)  # fmt: skip
"""Of a model, in LiteLLM's names: said always. Others are said where `model_info` says them."""


def model_info(call: Call) -> Plan:
    return Plan({"data": _deployments(call)})


def model_page(call: Call) -> Plan:
    """/v2/model/info: the same, a page at a time; `model` names one, `search` is a part of its
    name, `teamId` whose models they are.
    """
    name, part = call.query.get("model"), (call.query.get("search") or "").lower()
    group, team = call.query.get("access_group"), _team(call)
    rows = [
        row
        for row in _deployments(call)
        if (not name or row["model_name"] == name)
        and part in str(row["model_name"]).lower()
        and (not group or group in (row["model_info"].get("access_groups") or ()))
        and (team is None or _is_of(call, team, row))
    ]
    page = generic.page(call, _in_order(call, rows), default=50)
    return Plan(
        {
            "data": page.items,
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
            "size": page.size,
        }
    )


def _team(call: Call) -> Team | None:
    """The one of `teamId`, if any."""
    team_id = call.query.get("teamId")
    team = None if not team_id else call.directory.teams.get(team_id)
    if team_id and (team is None or not rights.may_touch_team(call, team, "/team/info")):
        raise generic.absent(call, f"Team not found, passed teamId={team_id[:256]}", "teamId", teams.NO_TEAM)
    return team


def _is_of(call: Call, team: Team, row: dict[str, Any]) -> bool:
    """Whether the team's keys may use it."""
    owner = call.catalog.owners.get(row["model_info"]["id"])
    return owner == team.team_id if owner else lets(team, row["model_name"], call.catalog)


SORTABLE = {"model_name": "", "created_at": "model_info", "updated_at": "model_info"}
"""`sortBy` -> where in a row it stands."""


def _in_order(call: Call, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What lacks the field goes last."""
    by, descending = generic.order(call.query, SORTABLE, by="sortBy", way="sortOrder")
    if not by:
        return rows

    def value(row: dict[str, Any]) -> Any:
        return (row[SORTABLE[by]] if SORTABLE[by] else row).get(by)

    def rank(row: dict[str, Any]) -> tuple[str, str]:
        return str(value(row)), row["model_info"]["id"]  # model_info may hold whatever config.yaml says

    having = [row for row in rows if value(row) is not None]
    having.sort(key=rank, reverse=descending)
    return having + [row for row in rows if value(row) is None]


def _deployments(call: Call) -> list[dict[str, Any]]:
    wanted = call.query.get("litellm_model_id") or call.query.get("modelId")
    rows = [
        _deployment(name, candidate, call)
        for name in _names(call)
        for candidate in _candidates(call, name)
        if not wanted or candidate.deployment_id == wanted
    ]
    if call.sees_all:
        rows += [
            _left_out(each, call)
            for each in call.directory.tables["model"].values()
            if call.catalog.stored.on
            and each.model_id not in call.catalog.deployments
            and (not wanted or each.model_id == wanted)
        ]
    if wanted and not rows:
        raise RefusedError(errors.entity_not_found(f"Model id = {wanted[:128]} not found", "litellm_model_id"))
    return rows


def group_info(call: Call) -> Plan:
    wanted = call.query.get("model_group")
    rows = [group_row(name, _candidates(call, name), call) for name in _names(call) if not wanted or name == wanted]
    return Plan({"data": rows})


def _names(call: Call) -> list[str]:
    """Those the caller may use; all for admins."""
    names = [*call.catalog.models, *(f"{before}*{after}" for before, after, _ in call.catalog.patterns)]
    if call.sees_all:
        return names
    actor, directory = call.actor, call.directory
    key = None if actor.key_sha256 is None else directory.keys.get(actor.key_sha256)
    team = None if actor.team_id is None else directory.teams.get(actor.team_id)
    if key is not None:
        names = [name for name in names if key_allows(key, team, name, call.catalog)]
    if team is not None:
        names = [name for name in names if lets(team, name, call.catalog)]
    return [name for name in names if _candidates(call, name)] if call.catalog.owners else names


def _candidates(call: Call, name: str) -> list[Candidate]:
    """Also of a pattern: its deployments, with their stars."""
    found = call.catalog.models.get(name)
    if found is None:
        deployments = next((d for before, after, d in call.catalog.patterns if f"{before}*{after}" == name), [])
        found = [call.catalog.candidate(deployment) for deployment in deployments]
    return found if call.sees_all else call.catalog.for_caller(found, call.actor)


def _left_out(model: Model, call: Call) -> dict[str, Any]:
    """A model that was added and isn't served: why."""
    reason = "it is blocked" if model.blocked else call.catalog.left_out.get(model.model_name, "it can't be served")
    return {
        "model_name": model.model_name,
        "litellm_params": masked(model.litellm_params, model.sealed),
        "model_info": {**model.model_info, "id": model.model_id, "db_model": True, "left_out": reason, **_times(model)},
    }


def _deployment(name: str, candidate: Candidate, call: Call) -> dict[str, Any]:
    made = call.catalog.deployments.get(candidate.deployment_id)
    stored: Model | None = call.directory.tables["model"].get(candidate.deployment_id)
    params: dict[str, Any] = {"model": f"{candidate.provider}/{candidate.upstream_model}"}
    if made is not None and call.sees_all:
        shown = {"api_base": made.api_base, "rpm": made.rpm, "tpm": made.tpm, **made.parameters}
        params |= {key: value for key, value in shown.items() if value and not is_secret(key, value)}
    return {
        "model_name": name,
        "litellm_params": params,
        "model_info": {
            **_info(made.info if made is not None else {}),
            "id": candidate.deployment_id,
            "db_model": stored is not None,
            "max_input_tokens": candidate.input_tokens_max,
            "input_cost_per_token": _usd(candidate, "input_picousd"),
            "output_cost_per_token": _usd(candidate, "output_picousd"),
            "access_groups": [g for g, models in call.catalog.access_groups.items() if name in models],
            **_times(stored),
        },
    }


def _info(given: dict[str, Any]) -> dict[str, Any]:
    """As written; what looks like a secret isn't shown, as callers see this."""
    return {name: MASK if is_secret(name, value) else value for name, value in given.items()}


def _times(stored: Model | None) -> dict[str, Any]:
    if stored is None:
        return {}
    return {
        "created_at": iso(stored.created_at_ms),
        "created_by": stored.created_by,
        "updated_at": iso(stored.updated_at_ms),
        "updated_by": stored.updated_by,
    }


def group_row(name: str, candidates: list[Candidate], call: Call) -> dict[str, Any]:
    """What of a model's deployments its callers, or anybody, may know: no address, no key, no
    deployment's name.
    """
    made = (call.catalog.deployments.get(each.deployment_id) for each in candidates)
    infos = [each.info for each in made if each is not None]
    asked = {name: None for info in infos for name in texts_in(info.get("supported_openai_params"))}
    features = {
        feature: any(info.get(feature) is True for info in infos)
        for feature in dict.fromkeys((*FEATURES, *(n for info in infos for n in info if n.startswith("supports_"))))
    }
    return {
        "model_group": name,
        "providers": list(dict.fromkeys(each.provider for each in candidates)),
        "max_input_tokens": max((c.input_tokens_max or 0 for c in candidates), default=0) or None,
        "max_output_tokens": max((_count(info.get("max_output_tokens")) for info in infos), default=0) or None,
        "input_cost_per_token": _least(candidates, "input_picousd"),
        "output_cost_per_token": _least(candidates, "output_picousd"),
        "mode": next((info["mode"] for info in infos if isinstance(info.get("mode"), str)), None),
        "tpm": sum(c.tpm or 0 for c in candidates) or None,
        "rpm": sum(c.rpm or 0 for c in candidates) or None,
        **features,
        "supported_openai_params": list(asked) or None,
    }


def _count(value: Any) -> int:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else 0


def _least(candidates: list[Candidate], part: str) -> float | None:
    return min((usd for each in candidates if (usd := _usd(each, part)) is not None), default=None)


def _usd(candidate: Candidate, part: str) -> float | None:
    value = None if candidate.price is None else getattr(candidate.price, part)
    return None if value is None else value / PICOUSD_PER_USD

"""/access_group/*: names for several models, which lists of models may hold. For proxy admins.

A group is what its deployments say (`model_info.access_groups`): these commands change those that
were added by API, in one batch. Deployments of config.yaml say it there.
"""

from collections.abc import Iterable
from typing import Any

import msgspec

from services.policy.commands import generic, stored_models
from services.policy.plan import Call, Change, Plan, change
from shared import errors
from shared.entities import MODEL, Model
from shared.entities import readers as fields
from shared.errors import RefusedError

MODELS_MAX = 450
"""That one call changes: they land in one batch."""
FIELD = "access_groups"


def new(call: Call) -> Plan:
    stored_models.may(call)
    group = fields.text("access_group", call.body.get("access_group"))
    if group is None:
        fields.refuse("access_group", "must name the group")
    if group in _groups(call):
        message = f"Access group '{group}' already exists. Use PUT /access_group/{group}/update to modify it."
        raise RefusedError(errors.already_exists(message, "access_group"))
    if group in call.catalog.models:
        fields.refuse("access_group", f"is what a model is called: a list with {group!r} in it would mean both")
    return _become(call, group, _wanted(call))


def update(call: Call) -> Plan:
    """Those that are named are in it from now on, and no others."""
    stored_models.may(call)
    return _become(call, _named(call), _wanted(call))


def delete(call: Call) -> Plan:
    stored_models.may(call)
    group = _named(call)
    changes = _changes(call, group, {})
    answer = {"access_group": group, "models_updated": len(changes)}
    return Plan({**answer, "message": f"Access group '{group}' deleted successfully"}, changes)


def info(call: Call) -> Plan:
    group = _named(call)
    return Plan(_row(group, _groups(call)[group]))


def list_groups(call: Call) -> Plan:
    return Plan({"access_groups": [_row(group, names) for group, names in sorted(_groups(call).items())]})


def groups_of(model: Model) -> list[str]:
    return fields.texts_in(model.model_info.get(FIELD))


def _stored(call: Call) -> dict[str, Model]:
    return call.directory.tables["model"]


def _groups(call: Call) -> dict[str, list[str]]:
    """Each group, with the model's name of each of its deployments, whether they are served or
    not.
    """
    stored = _stored(call)
    file = [each for each in call.catalog.deployments.values() if each.id not in stored]
    members = [(each.model_name, each.info.get(FIELD) or []) for each in file]
    members += [(each.model_name, groups_of(each)) for each in stored.values()]
    found: dict[str, list[str]] = {}
    for name, groups in members:
        for group in dict.fromkeys(groups):
            found.setdefault(group, []).append(name)
    return found


def _row(group: str, names: list[str]) -> dict[str, Any]:
    return {"access_group": group, "model_names": sorted(set(names)), "deployment_count": len(names)}


def _named(call: Call) -> str:
    group = call.params.get("access_group", "")
    if group not in _groups(call):
        raise RefusedError(errors.entity_not_found(f"Access group '{group[:128]}' not found", "access_group"))
    return group


def _wanted(call: Call) -> dict[str, Model]:
    """The deployments that the body names, by `model_ids` or `model_names`."""
    stored = _stored(call)
    if call.body.get("model_ids"):
        names = generic.names(call, "model_ids", MODELS_MAX)
        for each in names:
            if each not in stored:
                fields.refuse("model_ids", f"holds {each[:128]!r}, which is no deployment that was added by API")
        return {each: stored[each] for each in names}
    wanted = set(generic.names(call, "model_names", MODELS_MAX))
    found = {model_id: each for model_id, each in stored.items() if each.model_name in wanted}
    for each in wanted - {model.model_name for model in found.values()}:
        where = "stands in config.yaml: say it there" if each in call.catalog.models else "is no model"
        fields.refuse("model_names", f"holds {each[:128]!r}, which {where}")
    return found


def _become(call: Call, group: str, wanted: dict[str, Model]) -> Plan:
    changes = _changes(call, group, wanted)
    sent = {name: call.body.get(name) for name in ("model_names", "model_ids")}
    return Plan({"access_group": group, **sent, "models_updated": len(wanted)}, changes)


def _changes(call: Call, group: str, wanted: Iterable[str]) -> list[Change]:
    """What makes `wanted` the group's deployments."""
    changes = []
    for model_id, model in _stored(call).items():
        groups = groups_of(model)
        if (group in groups) == (model_id in wanted):
            continue
        now = [*groups, group] if model_id in wanted else [each for each in groups if each != group]
        after = generic.stamped(call, msgspec.structs.replace(model, model_info={**model.model_info, FIELD: now}))
        MODEL.check_size(after)
        changes.append(change(call.directory, MODEL, "updated", model, after))
    if len(changes) > MODELS_MAX:
        fields.refuse("model_names", f"would change more than {MODELS_MAX} deployments")
    return changes

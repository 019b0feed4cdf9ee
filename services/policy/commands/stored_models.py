"""/model/new, /model/update, /model/{id}/update, /model/delete, /model/block, /model/unblock:
deployments that are added by API.

Secrets never come here: the edge has sealed them (services/edge/stored), and what is sealed stands
in the body's `sealed`. For proxy admins. What is written is checked as an entry of the file is, and
refused where that would be left out.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from services.policy import stored_models
from services.policy.commands import generic
from services.policy.plan import Call, Plan, change
from shared import errors
from shared.config.errors import LeaveOutError
from shared.config.stored import MASK
from shared.entities import MODEL, Model
from shared.entities import readers as fields
from shared.errors import RefusedError

MODELS_MAX = 10_000
INFO = "model_info"
PARAMS = "litellm_params"


def new(call: Call) -> Plan:
    may(call)
    if len(call.directory.tables["model"]) >= MODELS_MAX:
        raise RefusedError(errors.bad_request(f"There are {MODELS_MAX} models already"))
    info = fields.mapping(INFO, call.body.get(INFO)) or {}
    # Sealed for an id that the edge has made, where the caller names none.
    model_id = fields.text(f"{INFO}.id", info.get("id") or call.body.get("new_id")) or call.new_id()
    if model_id in call.directory.tables["model"] or model_id in call.catalog.deployments:
        raise RefusedError(errors.bad_request(f"Model with id={model_id} already exists", f"{INFO}.id"))
    name = fields.text("model_name", call.body.get("model_name"))
    params = fields.mapping(PARAMS, call.body.get(PARAMS))
    if not name:
        fields.refuse("model_name", "must be the name by which callers use the model")
    if not params:
        fields.refuse(PARAMS, "must be an object with at least model, like openai/gpt-4o")
    if MASK in params.values():
        fields.refuse(PARAMS, f"{MASK} stands for a secret that is there already, and there is none yet")
    after = Model(
        model_id=model_id,
        model_name=name,
        litellm_params={key: value for key, value in params.items() if value is not None},
        sealed=sealed(call),
        model_info=_info(info),
        blocked=bool(fields.flag("blocked", call.body.get("blocked"))),
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
        updated_at_ms=call.now_ms,
        updated_by=call.actor.user_id,
    )
    return _save(call, "created", None, after)


def update(call: Call) -> Plan:
    """LiteLLM's older call: the id is in `model_info`, and null leaves a parameter as it is."""
    info = fields.mapping(INFO, call.body.get(INFO)) or {}
    return _changed(call, fields.text(f"{INFO}.id", info.get("id")), f"{INFO}.id", null_removes=False)


def patch(call: Call) -> Plan:
    """What is absent stays; null takes a parameter away."""
    return _changed(call, call.params.get("model_id"), "model_id", null_removes=True)


def delete(call: Call) -> Plan:
    may(call)
    before = _named(call, fields.text("id", call.body.get("id")), "id")
    facts = [change(call.directory, MODEL, "deleted", before, None)]
    return Plan({"message": f"Model: {before.model_id} deleted successfully"}, facts)


def block(call: Call) -> Plan:
    return _set_blocked(call, blocked=True)


def unblock(call: Call) -> Plan:
    return _set_blocked(call, blocked=False)


def sealed(call: Call) -> dict[str, list[str]]:
    """What the edge has sealed. It replaces what a client sends under this name."""
    found = call.body.get("sealed")
    return found if isinstance(found, dict) else {}


def merged(
    values: Mapping[str, Any],
    secrets: Mapping[str, list[str]],
    given: Mapping[str, Any],
    given_secrets: Mapping[str, list[str]],
    *,
    null_removes: bool,
) -> tuple[dict[str, Any], dict[str, list[str]]]:
    """(values, sealed) with what is given: each name stands in one of the two."""
    values, secrets = dict(values), dict(secrets)
    for name, value in given.items():
        if value is None and not null_removes:
            continue
        if value == MASK and name in secrets:
            continue
        values.pop(name, None)
        secrets.pop(name, None)
        if value is not None:
            values[name] = value
    for name, text in given_secrets.items():
        values.pop(name, None)
        secrets[name] = text
    return values, secrets


def masked(values: Mapping[str, Any], secrets: Mapping[str, Any]) -> dict[str, Any]:
    return {**values, **dict.fromkeys(secrets, MASK)}


def row(model: Model) -> dict[str, Any]:
    """LiteLLM's row, without the secrets."""
    shown = MODEL.row(model)
    shown.pop("sealed")
    return {
        **shown,
        PARAMS: masked(model.litellm_params, model.sealed),
        INFO: {**model.model_info, "id": model.model_id},
    }


def may(call: Call) -> None:
    generic.need(call, call.is_admin, "Only proxy admins may change models")
    if not call.catalog.stored.on:
        raise RefusedError(
            errors.bad_request(
                "Set STORE_MODEL_IN_DB=True in the environment, or general_settings.store_model_in_db: true, to add models by API"
            )
        )


def _named(call: Call, model_id: str | None, field: str) -> Model:
    if model_id is not None and model_id not in call.directory.tables["model"] and model_id in call.catalog.deployments:
        text = "Cannot edit config-based model. It stands in config.yaml; a model added by /model/new can be changed."
        raise RefusedError(errors.bad_request(text, field))
    found: Model = generic.named(call, MODEL, model_id, field, f"Model {model_id} not found on proxy.")
    return found


def _changed(call: Call, model_id: str | None, field: str, *, null_removes: bool) -> Plan:
    may(call)
    before = _named(call, model_id, field)
    given = fields.mapping(PARAMS, call.body.get(PARAMS)) or {}
    params, secrets = merged(before.litellm_params, before.sealed, given, sealed(call), null_removes=null_removes)
    info = {**before.model_info, **_info(fields.mapping(INFO, call.body.get(INFO)) or {})}
    blocked = fields.flag("blocked", call.body.get("blocked"))
    after = msgspec.structs.replace(
        before,
        model_name=fields.text("model_name", call.body.get("model_name")) or before.model_name,
        litellm_params=params,
        sealed=secrets,
        model_info={name: value for name, value in info.items() if value is not None},
        blocked=before.blocked if blocked is None else blocked,
    )
    return _save(call, "updated", before, generic.stamped(call, after))


def _set_blocked(call: Call, *, blocked: bool) -> Plan:
    may(call)
    before = _named(call, fields.text("model_id", call.body.get("model_id")), "model_id")
    after, fact = generic.set_blocked(call, MODEL, before, blocked)
    return Plan(row(after), [fact])


def _info(given: Mapping[str, Any]) -> dict[str, Any]:
    if given.get("team_id") is not None:
        fields.refuse(f"{INFO}.team_id", "is not known here: give the model to a team by /team/model/add")
    return {str(name): value for name, value in given.items() if name not in ("id", "db_model")}


def _save(call: Call, action: str, before: Model | None, after: Model) -> Plan:
    MODEL.check_size(after)
    try:
        stored_models.read(call.catalog, after, call.directory.tables["credential"])
    except LeaveOutError as error:
        raise RefusedError(errors.bad_request(str(error), PARAMS)) from None
    return Plan(row(after), [change(call.directory, MODEL, action, before, after)])

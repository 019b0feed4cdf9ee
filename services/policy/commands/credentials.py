"""/credentials: providers' credentials that models name by `litellm_credential_name`. For proxy
admins; secrets as in stored_models.py.
"""

from typing import Any

import msgspec

from services.policy.commands import generic
from services.policy.commands.stored_models import masked, merged, sealed
from services.policy.plan import Call, Plan, change
from shared import errors
from shared.config import stored
from shared.config.errors import LeaveOutError
from shared.config.stored import MASK
from shared.entities import CREDENTIAL, Credential, Model
from shared.entities import readers as fields
from shared.errors import RefusedError

CREDENTIALS_MAX = 2_000
VALUES = "credential_values"
FILE = "config"


def new(call: Call) -> Plan:
    _may(call)
    name = fields.text("credential_name", call.body.get("credential_name"))
    if not name:
        fields.refuse("credential_name", "must be the name by which models use it")
    _refuse_file(call, name)
    if name in call.directory.tables["credential"]:
        text = f"Credential '{name}' already exists. Update it with PATCH /credentials/{name}, or delete it first."
        raise RefusedError(errors.bad_request(text, "credential_name"))
    if len(call.directory.tables["credential"]) >= CREDENTIALS_MAX:
        raise RefusedError(errors.bad_request(f"There are {CREDENTIALS_MAX} credentials already"))
    given = fields.mapping(VALUES, call.body.get(VALUES))
    if given is None:
        fields.refuse(VALUES, "must be an object, like {api_key: ...}; it can't be copied from a model")
    if MASK in given.values():
        fields.refuse(VALUES, f"{MASK} stands for a secret that is there already, and there is none yet")
    after = Credential(
        credential_name=name,
        display_name=fields.text("display_name", call.body.get("display_name")),
        credential_values={key: value for key, value in given.items() if value is not None},
        sealed=sealed(call),
        credential_info=fields.mapping("credential_info", call.body.get("credential_info")) or {},
        created_at_ms=call.now_ms,
        created_by=call.actor.user_id,
        updated_at_ms=call.now_ms,
        updated_by=call.actor.user_id,
    )
    return _save(call, "created", None, after, "Credential created successfully")


def update(call: Call) -> Plan:
    _may(call)
    before = _named(call)
    given = fields.mapping(VALUES, call.body.get(VALUES)) or {}
    removed = fields.texts("credential_values_to_delete", call.body.get("credential_values_to_delete")) or []
    values, secrets = merged(
        before.credential_values,
        before.sealed,
        {**given, **dict.fromkeys(removed)},
        sealed(call),
        null_removes=True,
    )
    info = fields.mapping("credential_info", call.body.get("credential_info")) or {}
    after = msgspec.structs.replace(
        before,
        display_name=fields.text("display_name", call.body.get("display_name")) or before.display_name,
        credential_values=values,
        sealed=secrets,
        credential_info={**before.credential_info, **info},
    )
    return _save(call, "updated", before, generic.stamped(call, after), "Credential updated successfully")


def delete(call: Call) -> Plan:
    """Refused while models need it: they would stop being served."""
    _may(call)
    before = _named(call)
    users: list[Model] = list(call.directory.tables["model"].values())
    named = [
        each.model_id for each in users if each.litellm_params.get("litellm_credential_name") == before.credential_name
    ]
    if named:
        text = f"Credential '{before.credential_name}' is used by {len(named)} models, like {named[0]}"
        raise RefusedError(errors.bad_request(text, "credential_name"))
    facts = [change(call.directory, CREDENTIAL, "deleted", before, None)]
    return Plan({"success": True, "message": "Credential deleted successfully"}, facts)


def shown(call: Call) -> Plan:
    added = [_row(each) for each in call.directory.tables["credential"].values()]
    file = [_row_of_file(name, values) for name, values in call.catalog.credentials.items()]
    return Plan({"success": True, "credentials": [*file, *added]})


def by_name(call: Call) -> Plan:
    name = call.params.get("credential_name", "")
    if name in call.catalog.credentials:
        return Plan(_row_of_file(name, call.catalog.credentials[name]))
    return Plan(_row(_named(call)))


def by_model(call: Call) -> Plan:
    """What a model's own entry has of credentials."""
    model_id = call.params.get("model_id", "")
    model: Model | None = call.directory.tables["model"].get(model_id)
    if model is None:
        raise RefusedError(errors.entity_not_found("Model not found", "model_id"))
    values = dict.fromkeys(model.sealed, MASK)
    values |= {name: model.litellm_params[name] for name in _ADDRESSES if name in model.litellm_params}
    row = {"credential_name": f"{model.model_name}-credential-{model_id}", VALUES: values, "credential_info": {}}
    return Plan(row)


_ADDRESSES = ("api_base", "base_url", "api_version", "custom_llm_provider", "vertex_project", "vertex_location", "aws_region_name")  # fmt: skip


def _may(call: Call) -> None:
    generic.need(call, call.is_admin, "Only proxy admins may change credentials")


def _named(call: Call) -> Credential:
    name = call.params.get("credential_name")
    if name is not None and name not in call.directory.tables["credential"]:
        _refuse_file(call, name)
    missing = f"Credential not found. Got credential name: {(name or '')[:128]}"
    found: Credential = generic.named(call, CREDENTIAL, name, "credential_name", missing)
    return found


def _refuse_file(call: Call, name: str) -> None:
    if name in call.catalog.credentials:
        text = f"Credential '{name}' is defined in config. Edit config.yaml to change it."
        raise RefusedError(errors.bad_request(text, "credential_name"))


def _save(call: Call, action: str, before: Credential | None, after: Credential, said: str) -> Plan:
    CREDENTIAL.check_size(after)
    if not call.catalog.stored.trusted:
        try:
            stored.refuse_references(after.credential_values, VALUES)
        except LeaveOutError as error:
            raise RefusedError(errors.bad_request(str(error), VALUES)) from None
    facts = [change(call.directory, CREDENTIAL, action, before, after)]
    return Plan({"success": True, "message": said}, facts)


def _row(each: Credential) -> dict[str, Any]:
    return {
        "credential_name": each.credential_name,
        "display_name": each.display_name,
        VALUES: masked(each.credential_values, each.sealed),
        "credential_info": each.credential_info,
        "source": "db",
    }


def _row_of_file(name: str, values: dict[str, Any]) -> dict[str, Any]:
    shown = {key: MASK if stored.is_secret(key, value) else _plain(value) for key, value in values.items()}
    return {"credential_name": name, "display_name": None, VALUES: shown, "credential_info": {}, "source": FILE}


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool) else None

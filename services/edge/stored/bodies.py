"""A management call's body with its secrets sealed: no credential of a provider leaves this process
in the clear.

It is checked here as an entry of the file is, with the secrets in the clear: policy can't look at
those.
"""

from typing import Any

import msgspec

from services.edge.stored.models import StoredModels, place
from shared import errors
from shared.config import ConfigError, stored
from shared.config.errors import LeaveOutError
from shared.entities import Model
from shared.errors import RefusedError
from shared.ids import new_id
from shared.routes import Match
from shared.sealing import SealingError

PARAMS = "litellm_params"
VALUES_MAX = 200


def sealed(known: StoredModels, match: Match, body: dict[str, Any]) -> dict[str, Any]:
    """Raises RefusedError (400) for what could not be called, or not be sealed."""
    field = match.route.seals
    found = {name: value for name, value in body.items() if name not in ("sealed", "new_id", "secrets")}
    values = found.get(field)
    if values is None:
        return found
    if not isinstance(values, dict) or len(values) > VALUES_MAX:
        raise RefusedError(errors.bad_request(f"must be an object of at most {VALUES_MAX} values", field))
    clear = {
        name: value
        for name, value in values.items()
        if value is not None and value != stored.MASK and stored.is_secret(name, value)
    }
    kind = "model" if field == PARAMS else "credential"
    entity_id = _entity_id(match, found, kind)
    try:
        if not known.trusted:
            stored.refuse_references(values, field)
        if kind == "model":
            _check(known, entity_id, found, values, clear)
        texts = {name: known.sealer.seal(value, place(kind, entity_id, name)) for name, value in clear.items()}
    except (LeaveOutError, ConfigError) as error:
        raise RefusedError(errors.bad_request(str(error), field)) from None
    except SealingError as error:
        raise RefusedError(errors.bad_request(f"A secret can't be kept here: {error}", field)) from None
    found[field] = {name: value for name, value in values.items() if name not in clear}
    found["sealed"] = texts
    found["secrets"] = sorted(clear)
    return found


def _entity_id(match: Match, body: dict[str, Any], kind: str) -> str:
    """Of what the call is about. A new model gets its id here: its secrets are sealed for that."""
    if kind == "credential":
        named = match.params.get("credential_name") or body.get("credential_name")
        return named if isinstance(named, str) else ""
    info = body.get("model_info")
    named = match.params.get("model_id") or (info.get("id") if isinstance(info, dict) else None)
    if isinstance(named, str) and named:
        return named
    if match.route.name == "/model/new":
        body["new_id"] = new_id()
        return str(body["new_id"])
    return ""


def _check(
    known: StoredModels, model_id: str, body: dict[str, Any], values: dict[str, Any], clear: dict[str, Any]
) -> None:
    """Raises what StoredModels.check raises. Of a change: what is known here of the rest; policy
    decides by what stands then.
    """
    before = known.models.get(model_id)
    name = body.get("model_name")
    plain = {key: value for key, value in values.items() if key not in clear and value not in (None, stored.MASK)}
    if before is None:
        if not isinstance(name, str) or not plain.get("model"):
            return  # policy says what is missing
        known.check(Model(model_id=model_id, model_name=name, litellm_params=plain, model_info=_info(body)), clear)
        return
    kept = {key: value for key, value in before.litellm_params.items() if key not in values}
    secrets = {key: text for key, text in before.sealed.items() if values.get(key, stored.MASK) == stored.MASK}
    after = msgspec.structs.replace(before, litellm_params={**kept, **plain}, sealed=secrets)
    known.check(after, clear)


def _info(body: dict[str, Any]) -> dict[str, Any]:
    info = body.get("model_info")
    return info if isinstance(info, dict) else {}

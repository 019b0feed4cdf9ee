"""What a LiteLLM database holds with secrets in it: models and credentials that were added by API,
and callbacks of keys and teams. Pure.

A model or credential whose secrets can't be read is refused. A callback that can't be kept is left
out and said: it opens nothing.
"""

from typing import Any

import msgspec

from services.policy.importing.secrets import Secrets, UnreadableError
from shared import errors
from shared.config import stored
from shared.config.callbacks import is_secret
from shared.config.errors import LeaveOutError
from shared.entities import callbacks
from shared.errors import RefusedError

Row = dict[str, Any]
KEY_MISSING = "can't be decrypted: LITELLM_SALT_KEY (or IMPORT_LITELLM_SALT_KEY) must be LiteLLM's"


def values(secrets: Secrets, row: Row, field: str) -> tuple[Row, Row]:
    """(without the secrets, the secrets in the clear) of `litellm_params` or `credential_values`.
    Raises RefusedError.
    """
    found = {}
    for name, value in object_of(row.get(field)).items():
        try:
            found[name] = secrets.plain(value)
        except UnreadableError:
            raise RefusedError(errors.bad_request(f"{field}.{name} {KEY_MISSING}", field)) from None
    try:
        stored.refuse_references(found, field)
    except LeaveOutError as error:
        raise RefusedError(errors.bad_request(str(error), field)) from None
    clear = {name: value for name, value in found.items() if value is not None and stored.is_secret(name, value)}
    if clear and not secrets.seals:
        text = f"{field} holds secrets, and there is no key to seal them with (LITELLM_SALT_KEY, or TOLLGATE_DATA_DIR)"
        raise RefusedError(errors.bad_request(text, field))
    return {name: value for name, value in found.items() if name not in clear and value is not None}, clear


def logging(secrets: Secrets, metadata: Any, remarks: list[str]) -> Any:
    """`metadata` with its callbacks' variables in the clear, and without what can't be kept."""
    if not isinstance(metadata, dict):
        return metadata
    found = dict(metadata)
    entries = metadata.get("logging")
    if isinstance(entries, list):
        found["logging"] = [kept for entry in entries if (kept := _entry(secrets, entry, remarks)) is not None]
    old = metadata.get(callbacks.OLD)
    if isinstance(old, dict):
        found[callbacks.OLD] = {**old, "callback_vars": _variables(secrets, old, remarks)}
    return found


def _entry(secrets: Secrets, entry: Any, remarks: list[str]) -> Any:
    if not isinstance(entry, dict):
        remarks.append("logging: an entry that is no object is left out")
        return None
    kept = {**entry, "callback_vars": _variables(secrets, entry, remarks)}
    try:
        callbacks.read_entry("logging", kept)
    except RefusedError as refused:
        remarks.append(f"logging: {str(entry.get('callback_name'))[:64]} is left out: {refused.refusal.message}")
        return None
    return kept


def _variables(secrets: Secrets, entry: Row, remarks: list[str]) -> Row:
    found = {}
    for name, value in object_of(entry.get("callback_vars")).items():
        try:
            plain = secrets.plain(value)
        except UnreadableError:
            remarks.append(f"logging: {name[:64]} isn't taken over: it {KEY_MISSING}")
            continue
        if isinstance(plain, str) and is_secret(name) and not secrets.seals:
            remarks.append(f"logging: {name[:64]} isn't taken over: there is no key to seal it with (LITELLM_SALT_KEY)")
            continue
        found[name] = plain
    return found


def object_of(value: Any) -> Row:
    """Json columns of older versions hold JSON in a string."""
    if isinstance(value, str):
        value = msgspec.json.decode(value)
    return value if isinstance(value, dict) else {}

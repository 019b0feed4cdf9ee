"""`metadata.logging` of keys and teams: which sinks get their calls. What a value is, its
variable's name says (shared.config.callbacks): secrets are sealed in facts, and nobody is ever
shown one.
"""

from collections.abc import Callable, Mapping
from typing import Any

from shared import errors
from shared.config import callbacks
from shared.errors import RefusedError

MASK = "********"
"""Stands for a secret in answers; sent back, it means the secret that is there already."""
ENTRIES_MAX = 20
VALUE_CHARACTERS_MAX = 4096
OLD = "callback_settings"
"""A team's, in LiteLLM's first form: `{success_callback, failure_callback, callback_vars}`."""

Rewrite = Callable[[str, str, str], str]
"""(callback's name, variable, value) -> the value to stand there instead."""


def is_mask(value: Any) -> bool:
    return isinstance(value, str) and len(value) >= 3 and not value.strip("*")


def read(field: str, value: Any) -> Any:
    """Raises RefusedError naming what is wrong."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) > ENTRIES_MAX:
        _refuse(field, f"must be a list of at most {ENTRIES_MAX} callbacks")
    for number, entry in enumerate(value):
        read_entry(f"{field}[{number}]", entry)
    return value


def read_entry(field: str, entry: Any) -> None:
    if not isinstance(entry, dict):
        _refuse(field, "must be an object")
    name = entry.get("callback_name")
    if not isinstance(name, str) or name not in callbacks.SENT:
        _refuse(f"{field}.callback_name", f"must be one of {', '.join(sorted(callbacks.SENT))}")
    if entry.get("callback_type") not in (None, *callbacks.TYPES):
        _refuse(f"{field}.callback_type", f"must be one of {', '.join(callbacks.TYPES)}")
    variables = entry.get("callback_vars")
    if variables is not None and not isinstance(variables, dict):
        _refuse(f"{field}.callback_vars", "must be an object of strings")
    for variable, value in (variables or {}).items():
        at = f"{field}.callback_vars.{variable[:64]}"
        if variable not in callbacks.VARIABLES:
            _refuse(at, f"is not known; known are {', '.join(callbacks.VARIABLES)}")
        if not isinstance(value, str | bool) or len(str(value)) > VALUE_CHARACTERS_MAX:
            _refuse(at, f"must be a string of at most {VALUE_CHARACTERS_MAX} characters")
        if isinstance(value, str) and value.startswith("os.environ/"):
            _refuse(at, "can't name a variable of the gateway's own environment: give the value itself")
        if callbacks.is_secret(variable) and not isinstance(value, str):
            _refuse(at, "must be a string")


def rewritten(metadata: Mapping[str, Any], rewrite: Rewrite) -> dict[str, Any]:
    """The same, each secret by what `rewrite` makes of it."""
    found = dict(metadata)
    if isinstance(found.get("logging"), list):
        found["logging"] = [
            _entry(entry, str(entry.get("callback_name")), rewrite) if isinstance(entry, dict) else entry
            for entry in found["logging"]
        ]
    if isinstance(found.get(OLD), dict):
        found[OLD] = _entry(found[OLD], OLD, rewrite)
    return found


def _entry(entry: dict[str, Any], name: str, rewrite: Rewrite) -> dict[str, Any]:
    variables = entry.get("callback_vars")
    if not isinstance(variables, dict):
        return entry
    return {
        **entry,
        "callback_vars": {
            variable: rewrite(name, variable, value)
            if isinstance(value, str) and value and callbacks.is_secret(variable)
            else value
            for variable, value in variables.items()
        },
    }


def shown(metadata: dict[str, Any]) -> dict[str, Any]:
    """As anybody may see it."""
    if "logging" not in metadata and OLD not in metadata:
        return metadata
    return rewritten(metadata, lambda _name, _variable, _value: MASK)


def secrets(metadata: Any) -> dict[tuple[str, str], str]:
    """(callback's name, variable) -> value, of all secrets in it."""
    found: dict[tuple[str, str], str] = {}

    def keep(name: str, variable: str, value: str) -> str:
        found.setdefault((name, variable), value)
        return value

    if isinstance(metadata, dict):
        rewritten(metadata, keep)
    return found


def place(name: str, variable: str) -> str:
    """What a secret is sealed for: it can't be opened as another variable. Not bound to key or
    team: rotation gives a key another id.
    """
    return f"logging/{name}/{variable}"


def shows_content(entry: Mapping[str, Any], *, turned_off: bool) -> bool:
    """Whether the sink of an entry gets prompts and answers.

    Args:
        turned_off: what the configuration says where the entry says nothing.
    """
    variables = entry.get("callback_vars")
    own = variables.get("turn_off_message_logging") if isinstance(variables, Mapping) else None
    return not (turned_off if own is None else is_true(own))


def is_true(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.strip().lower() in ("true", "1"))


def entries(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]] | None:
    """Of sinks; those of LiteLLM's first form, where there are no others. None: it says nothing of
    sinks.
    """
    logging, old = metadata.get("logging"), metadata.get(OLD)
    if isinstance(logging, list):
        return [
            entry for entry in logging if isinstance(entry, Mapping) and entry.get("callback_name") in callbacks.SENT
        ]
    if not isinstance(old, Mapping):
        return None
    return [
        {"callback_name": name, "callback_type": on, "callback_vars": old.get("callback_vars"), "sealed_as": OLD}
        for on in ("success", "failure")
        for name in names(old.get(f"{on}_callback"))
        if name in callbacks.SENT
    ]


def names(value: Any) -> list[str]:
    """A name, or a list of names."""
    items = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [name for name in items if isinstance(name, str)]


def _refuse(field: str, problem: str) -> Any:
    raise RefusedError(errors.bad_request(f"{field} {problem}", field))

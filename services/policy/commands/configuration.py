"""/config/list, /config/field/*, /config/update, /callbacks/list, /get/config/callbacks: what the
configuration says, and the part of it that can be set while we run (services/policy/access.py): as
control facts, which win over the file until they are deleted. The rest of config.yaml is changed
there: it is read again without a restart.
"""

from typing import Any, get_args, get_origin

import msgspec

from services.policy import access
from services.policy.plan import Call, Change, Plan, change, setting
from services.policy.stored_settings import stored
from shared import errors
from shared.config import ConfigError
from shared.config.fields import Known, known
from shared.config.schema.general import GeneralSettings
from shared.entities import SETTING
from shared.entities import readers as fields
from shared.errors import RefusedError

SECTION = "general_settings"
FIELDS = known(GeneralSettings)
_DEFAULTS = GeneralSettings()
_WORDS: dict[Any, str] = {bool: "Boolean", int: "Integer", float: "Float", str: "String"}
_PLAIN = ("Boolean", "Integer", "Float")
HIDDEN = "***"
"""Instead of what may hold a secret, or names where one is."""
_WAY_BACK = "/config/field/delete"


def list_fields(call: Call) -> Plan:
    """?config_type=general_settings: each field, with what holds now and who says so."""
    _section(call.query.get("config_type"))
    return Plan([_row(call, name) for name in FIELDS])


ALERTING = {
    "minor_outage_alert_threshold": ("Integer", "Errors of a model in a minute that are a minor outage"),
    "major_outage_alert_threshold": ("Integer", "Errors of a model in a minute that are a major outage"),
    "book_behind_s": ("Float", "Seconds that the book may be behind before it is said"),
    "daily_spend_per_user_threshold": ("Float", "USD that a user may spend a day before it is said"),
    "monthly_spend_per_user_threshold": ("Float", "USD that a user may spend a calendar month before it is said"),
    "spend_anomaly_multiplier": ("Float", "Times a user's daily average that a day may cost before it is said"),
    "spend_anomaly_baseline_days": ("Integer", "Days of which that average is"),
    "spend_anomaly_min_spend": ("Float", "USD below which a user's day is never said"),
}
"""What alerts go by, of `general_settings.alerting_args` → (LiteLLM's word for its type, what it
is).
"""


def alerting(call: Call) -> Plan:
    """/alerting/settings: what alerts go by. It stands in the file, which is read when the ledger
    starts.
    """
    general = call.catalog.general
    given = general.get("alerting_args") or {}
    slack = "slack" in (general.get("alerting") or [])
    about = "Whether alerts go to Slack"
    rows = [_field("slack_alerting", "Boolean", slack, about=about, in_file="alerting" in general)]
    for name, (kind, about) in ALERTING.items():
        value = given.get(name)
        number = value if isinstance(value, int | float) else None
        rows.append(_field(name, kind, number, about=about, in_file=name in given))
    return Plan(rows)


def field_info(call: Call) -> Plan:
    name = call.query.get("field_name") or ""
    _known(name)
    row = _row(call, name)
    if row["source"] == "default":
        raise RefusedError(errors.bad_request(f"Field name={name} is not set", "field_name"))
    return Plan({field: row[field] for field in ("field_name", "field_value", "source", "editable")})


def update_field(call: Call) -> Plan:
    _section(call.body.get("config_type"))
    return _set(call, {_changeable(call.body.get("field_name")): call.body.get("field_value")})


def delete_field(call: Call) -> Plan:
    """What the file says holds again."""
    _section(call.body.get("config_type"))
    name = _changeable(call.body.get("field_name"))
    before = call.directory.settings.get(name)
    if before is None:
        raise RefusedError(errors.bad_request(f"Field name={name} not in config", "field_name"))
    left = {each: value for each, value in stored(call.directory).items() if each != name}
    _check(call, left, [])
    return Plan(_answer(left), [change(call.directory, SETTING, "deleted", before, None)])


def update(call: Call) -> Plan:
    """/config/update: several fields of `general_settings` at once."""
    sections = {name: value for name, value in call.body.items() if value not in (None, {}, [])}
    for name in sections:
        if name != SECTION:
            fields.refuse(name, "stands in config.yaml: change it there, it is read again without a restart")
    sent = fields.mapping(SECTION, sections.get(SECTION)) or {}
    if not sent:
        fields.refuse(SECTION, "must have at least one field")
    plan = _set(call, {_changeable(name, f"{SECTION}.{name[:64]}"): value for name, value in sent.items()})
    return Plan({"message": "Config updated successfully"}, plan.changes)


def list_callbacks(call: Call) -> Plan:
    """Where calls are sent, by the file. What keys and teams say besides is theirs to show."""
    return Plan(call.catalog.callbacks)


def config_callbacks(call: Call) -> Plan:
    """The same, one row each. What they are reached with is never shown."""
    rows = [
        {"name": name, "type": type_, "variables": {}}
        for type_, names in call.catalog.callbacks.items()
        for name in names
    ]
    return Plan({"status": "success", "callbacks": rows})


def _set(call: Call, sent: dict[str, Any]) -> Plan:
    now = {**stored(call.directory), **sent}
    _check(call, now, [*sent])
    changes: list[Change] = [setting(call.directory, name, value, "api", call.now_ms) for name, value in sent.items()]
    return Plan(_answer(now), changes)


def _check(call: Call, now: dict[str, Any], sent: list[str]) -> None:
    """Raises RefusedError where these can't hold, or couldn't be taken back."""
    for name in sent:
        if now[name] is None:
            fields.refuse(name, f"must have a value; {_WAY_BACK} takes it back")
        if len(msgspec.json.encode(now[name])) > fields.METADATA_BYTES_MAX:
            fields.refuse(name, f"is larger than {fields.METADATA_BYTES_MAX} bytes")
    try:
        found = access.read({**call.catalog.general, **now}, call.catalog.environ)
        unknown = access.unmatched({name: now[name] for name in access.LISTS if name in sent})
    except ConfigError as error:
        raise RefusedError(errors.bad_request(str(error), sent[0] if sent else None)) from None
    if unknown:
        raise RefusedError(errors.bad_request(unknown[0], sent[0]))
    if found.allowed is not None and _WAY_BACK not in found.allowed:
        fields.refuse("allowed_routes", f"must have {_WAY_BACK}: nobody could take it back otherwise")


def _answer(now: dict[str, Any]) -> dict[str, Any]:
    return {"param_name": SECTION, "param_value": now}


def _row(call: Call, name: str) -> dict[str, Any]:
    by_api = name in access.AT_RUN_TIME and name in call.directory.settings
    in_file = name in call.catalog.general
    value: Any = None
    if by_api:
        value = call.directory.settings[name].value
    elif in_file:
        value = _shown(name, call.catalog.general[name])
    usual = _shown(name, getattr(_DEFAULTS, FIELDS[name].name))
    row = _field(name, _type(FIELDS[name]), value, usual=usual, by_api=by_api, in_file=in_file)
    return {**row, "nested_fields": None, "editable": name in access.AT_RUN_TIME}


def _field(
    name: str, kind: str, value: Any, *, in_file: bool, by_api: bool = False, about: str = "", usual: Any = None
) -> dict[str, Any]:
    """A row as LiteLLM shows them.

    Args:
        kind: LiteLLM's word for its type.
        about: what it is.
        usual: what holds where nobody says anything.
    """
    return {
        "field_name": name,
        "field_type": kind,
        "field_description": about,
        "field_value": value,
        "stored_in_db": by_api or (False if in_file else None),
        "field_default_value": usual,
        "premium_field": False,
        "source": "db" if by_api else "config" if in_file else "default",
        "editable": False,
    }


def _shown(name: str, value: Any) -> Any:
    """Words, lists and mappings of the file may hold secrets, and so may a number where a word is
    meant: only those that are rules are shown.
    """
    if value is None or name in access.AT_RUN_TIME:
        return value
    if isinstance(value, bool | int | float) and _type(FIELDS[name]) in _PLAIN:
        return value
    return HIDDEN if value else None


def _type(field: Known) -> str:
    """LiteLLM's word for it."""
    kind = get_args(field.type)[0]  # Annotated[kind, By(...)]
    kinds = get_args(kind) if type(None) in get_args(kind) else (kind,)
    if any(get_origin(each) is list for each in kinds):
        return "List"
    return next((_WORDS[each] for each in kinds if each in _WORDS), "Dictionary")


def _section(sent: Any) -> None:
    if sent != SECTION:
        fields.refuse("config_type", f"must be {SECTION}")


def _known(name: Any) -> str:
    if not isinstance(name, str) or name not in FIELDS:
        raise RefusedError(errors.bad_request(f"Invalid field={str(name)[:64]} passed in.", "field_name"))
    return name


def _changeable(sent: Any, field: str = "field_name") -> str:
    name = _known(sent)
    if name not in access.AT_RUN_TIME:
        fields.refuse(field, f"{name} stands in config.yaml: change it there, it is read again without a restart")
    return name

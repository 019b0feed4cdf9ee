"""`environment_variables` of the file, which go before the environment as in LiteLLM, and what
people write of the variables of sinks, alerts and providers into a section. Pure.
"""

from collections.abc import Mapping
from typing import Any

from shared.config.callbacks import SENT, VARIABLES
from shared.config.fields import Reading
from shared.config.providers import PROVIDERS
from shared.config.references import Lookup, Unset, resolve
from shared.secrets.value import Secret

_OURS = "TOLLGATE_"
_ENDS = ("", "_settings", "_config", "_params")
"""What stands behind a sink's name in the name of its section."""
_ALERTS = (
    "slack_webhook_url", "smtp_host", "smtp_port", "smtp_username", "smtp_password", "smtp_sender_email", "smtp_sender_name", "smtp_tls",
)  # fmt: skip
_OF_PROVIDERS = {name.lower() for row in PROVIDERS.values() for name in (*row.key_variables, *row.base_variables)}
_DOORS = frozenset({"ui_username", "ui_password"})
"""By which people come in: the environment's alone."""
_KNOWN = (frozenset({*VARIABLES, *_ALERTS, *_OF_PROVIDERS}) | _DOORS) - {"turn_off_message_logging"}
"""Variables of sinks, alerts and providers, in lower case."""
_SINKS = {**{name: name for name in SENT}, "email": "smtp", "smtp": "smtp"}
"""How a section of theirs is called -> what its variables begin with."""


def read(given: Mapping[str, Any], outside: Lookup, reading: Reading) -> dict[str, str]:
    """Those that have a value: an empty one is a missing one. Ours are the environment's alone:
    each service is told what is its own.
    """
    found = {}
    for key, value in given.items():
        place, text = f"environment_variables.{key}", resolve(value, outside)
        why = "no string" if isinstance(text, dict | list) else ""
        if str(key).upper().startswith(_OURS):
            why = "Tollgate's own settings are the environment's"
        reading.say(place, "no effect" if why else "acts", why)
        if why:
            reading.warn(f"{place}: not used ({why})")
        elif isinstance(text, Unset):
            reading.warn(f"{place}: {text}")
        elif text is not None and text != "":
            found[str(key)] = str(text)
    return found


def of_sections(trees: Mapping[str, dict[str, Any]], environ: Mapping[str, str], reading: Reading) -> dict[str, str]:
    """What the sections say of sinks' and alerts' variables, by the variable; it is taken out of
    them.

    Args:
        trees: section -> its keys, references resolved. Without a name: what is in no section.
        environ: with the file's own variables. It goes before.
    """
    found: dict[str, str] = {}
    for section, tree in trees.items():
        for key in list(tree):
            place = f"{section}.{key}" if section else str(key)
            variables = _of_sink(str(key), tree[key])
            if variables is None or any(found.get(name, value) != value for name, value in variables.items()):
                continue
            del tree[key]
            missing = [str(value) for value in variables.values() if isinstance(value, Unset)]
            others = [name for name, value in variables.items() if environ.get(name, value) != value]
            why = f"the environment says another {others[0]}" if others else ""
            if key in _DOORS and key.upper() not in environ:
                why = f"{key.upper()} is the environment's alone"
            if why:
                reading.say(place, "no effect", why)
                reading.warn(f"{place}: not used ({why})")
                continue
            found |= {name: value for name, value in variables.items() if not isinstance(value, Unset)}
            if all(name in environ for name in variables):
                reading.say(place, "acts", "the environment says it too")
                continue
            as_what = f"as {', '.join(variables)}"
            reading.say(place, "differently", f"{as_what}; LiteLLM ignores it here")
            reading.warn(f"{place}: {missing[0]}" if missing else f"{place}: read {as_what}")
    return found


def _of_sink(key: str, value: Any) -> dict[str, Any] | None:
    """Variable -> value; None: it says nothing of a sink."""
    if key in _KNOWN:
        return {key.upper(): _text(value)} if _is_plain(value) else None
    sink = next((_SINKS[bare] for end in _ENDS if (bare := key.removesuffix(end)) in _SINKS), None)
    if sink is None or not isinstance(value, dict) or not value:
        return None
    names = {name: next((each for each in (f"{sink}_{name}", str(name)) if each in _KNOWN), "") for name in value}
    if not all(names.values()) or not all(map(_is_plain, value.values())):
        return None
    return {names[name].upper(): _text(each) for name, each in value.items()}


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | int | float | Unset) and not isinstance(value, bool) and value != ""


def _text(value: Any) -> Any:
    return value if isinstance(value, Unset) else str(value)


def kept(variables: Mapping[str, str]) -> dict[str, Secret]:
    """They may be secrets: nothing shows them."""
    return {name: Secret(value) for name, value in variables.items()}

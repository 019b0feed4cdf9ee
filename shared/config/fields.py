"""How a section of the file becomes a typed Struct: field by field, each with its place, and with a
word about every key.

A section's Struct says for each field who acts on it (`By`); the keys of LiteLLM's that nobody acts
on are named with the reason in `without_effect`. From these two tables come what is refused, what
is warned about, and `tollgate check-config`.
"""

import difflib
import re
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec
from msgspec import Struct

from shared.config.errors import ConfigError
from shared.config.references import Unset
from shared.secrets.value import Secret, SecretDocument

T = TypeVar("T", bound=Struct)

Verdict = Literal["acts", "differently", "no effect", "unknown"]


class By:
    """Who acts on a field, as an annotation: `Annotated[bool, By("edge")]`. No service: it is read
    and checked, and not used yet.

    Args:
        services: names of packages under services/, or `config` where reading the file is the
            acting.
        differently: how what it does differs from LiteLLM.
        protects: leaving it undone would open something: while no service acts, a value refuses the
            start; "zero": only a zero does, which means that nothing is allowed.
        anyway: of a value: why what it asks for is so anyway, or "": while no service acts.
    """

    __slots__ = ("anyway", "differently", "protects", "services")

    def __init__(
        self,
        *services: str,
        differently: str = "",
        protects: bool | Literal["zero"] = False,
        anyway: Callable[[Any], str] = lambda value: "",
    ) -> None:
        self.anyway = anyway
        self.services = services
        self.differently = differently
        self.protects = protects


class Key(Struct, frozen=True):
    """One key of the file, and what comes of it."""

    place: str
    """`litellm_settings.cache`; of an entry: `model_list[2].litellm_params.rpm`."""
    verdict: Verdict
    note: str = ""
    """How it acts differently, or why it has no effect."""


class Known(Struct, frozen=True):
    """One field of a section's Struct."""

    name: str
    type: Any
    by: By


def known(kind: type[Struct]) -> dict[str, Known]:
    """A section's fields by the name they have in the file."""
    hints = typing.get_type_hints(kind, include_extras=True)
    found = {}
    for field in msgspec.structs.fields(kind):
        by = next((each for each in getattr(hints[field.name], "__metadata__", ()) if isinstance(each, By)), None)
        if by is None:
            raise TypeError(f"{kind.__name__}.{field.name} doesn't say who acts on it")
        found[field.encode_name] = Known(field.name, hints[field.name], by)
    return found


class Reading:
    """What is found out while one file is read.

    Args:
        allow_unenforced: what the operator said may be left undone although it protects.
    """

    def __init__(self, allow_unenforced: Iterable[str] = ()) -> None:
        self.keys: list[Key] = []
        self.warnings: list[str] = []
        self.elsewhere: Mapping[str, str] = {}
        """Key → the section it belongs in."""
        self.anyway: Mapping[str, str] = {}
        """Key → why what it asks for is so anyway, in whatever section it stands."""
        self.off_asks: Collection[str] = ()
        """Keys without effect of which an empty value asks for something all the same."""
        self.off_anyway: Collection[str] = ()
        """Keys that may stand where nobody knows them, of which `false` asks for what is so."""
        self._allowed = frozenset(allow_unenforced)
        self._said: set[str] = set()

    def say(self, place: str, verdict: Verdict, note: str = "") -> None:
        """What was said of the same key before, and says more than that it acts, stays alone."""
        if verdict != "acts" or place not in self._said:
            self.keys.append(Key(place, verdict, note))
        self._said.add(place)

    def correct(self, place: str, verdict: Verdict, note: str) -> None:
        """What became of a key that was said before, now that more is known."""
        self.keys = [Key(place, verdict, note) if key.place == place else key for key in self.keys]

    def warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def unenforced(self, name: str, sentence: str) -> None:
        """Something that protects can't be done: refused, unless the operator said that it may be
        left undone.
        """
        self.warn(unenforced(name, sentence, self._allowed))


def unenforced(name: str, sentence: str, allowed: Collection[str]) -> str:
    """The warning for something that protects and can't be done. Raises ConfigError where it isn't
    in `allowed`.
    """
    if name not in allowed:
        raise ConfigError(f"{sentence}; general_settings.allow_unenforced: [{name}] starts without it")
    return f"{sentence}; started without it, as allow_unenforced says"


def section(
    kind: type[T],
    values: Mapping[str, Any],
    at: str,
    idle: Mapping[str, str],
    reading: Reading,
    rest: Callable[[str, Any], None] | None = None,
) -> T:
    """One section as its Struct.

    Args:
        idle: keys of LiteLLM's that have no effect here, each with the reason.
        rest: takes a key that is neither a field nor in `idle`; without it such a key is unknown.
    Raises ConfigError where a value that somebody acts on is of the wrong type.
    """
    fields, given = known(kind), {}
    for key, value in values.items():
        name, place = str(key), f"{at}.{key}"
        field = fields.get(name)
        if field is None and rest is not None and name not in idle:
            rest(name, value)
            continue
        if field is None:
            _without_effect(place, name, value, idle, fields, reading)
            continue
        if value is None or isinstance(value, Unset):
            if isinstance(value, Unset):
                reading.warn(f"{place}: {value}")
            reading.say(place, "acts" if field.by.services else "no effect", "no value")
            continue
        if not field.by.services:
            _not_yet(place, name, value, field.by, reading)
        else:
            differs = "" if value is False else field.by.differently
            reading.say(place, "differently" if differs else "acts", differs)
        try:
            given[field.name] = convert(value, field.type, place)
        except ConfigError:
            if field.by.services:
                raise
            reading.warn(f"{place}: of the wrong type, ignored")
    return kind(**given)


def _is_off(value: Any) -> bool:
    return value is False or value in ([], {}, "")


def _not_yet(place: str, name: str, value: Any, by: By, reading: Reading) -> None:
    off = _is_off(value)
    anyway = "it is off" if off else by.anyway(value)
    asked = value == 0 and not isinstance(value, bool) if by.protects == "zero" else by.protects and not off
    if asked:
        reading.unenforced(name, f"{place} can't be enforced")
    reading.say(place, "acts" if anyway else "no effect", anyway or "not used yet")
    if not anyway:
        reading.warn(f"{place}: not used")


def _without_effect(
    place: str, name: str, value: Any, idle: Mapping[str, str], fields: Iterable[str], reading: Reading
) -> None:
    why = idle.get(name) or reading.anyway.get(name)
    if why is not None and not why.startswith(("=", "~")) and _is_off(value) and name not in reading.off_asks:
        reading.say(place, "acts", "it is off")
    elif why is None and (value is None or (value is False and name in reading.off_anyway)):
        reading.say(place, "acts", "no value" if value is None else "it is off")
    elif why is None:
        close = difflib.get_close_matches(name, [*fields, *idle], 1, 0.85)
        hint = ""
        if name in reading.elsewhere:
            hint = f"it belongs in {reading.elsewhere[name]}"
        elif close:
            hint = f"perhaps {close[0]} is meant"
        reading.say(place, "unknown", hint)
        reading.warn(f"{place}: not used ({hint})" if hint else f"{place}: not used")
    elif why.startswith(("=", "~")):  # what it asks for is so anyway
        reading.say(place, "acts" if why.startswith("=") else "differently", why[1:].strip())
    else:
        reading.say(place, "no effect", why)
        if value is not None:
            reading.warn(f"{place}: not used ({why})")


def convert(value: Any, kind: Any, place: str) -> Any:
    """A value of the file as `kind`. Numbers are taken for strings, strings that say a number for
    numbers, and one string where a list of them is meant for that list.

    Raises ConfigError with the place, without the value: it may be a secret.
    """
    try:
        return msgspec.convert(value, kind, strict=False, dec_hook=_secret)
    except msgspec.ValidationError as error:
        try:
            listed = [value] if isinstance(value, str) and value else value
            return msgspec.convert(_numbers_as_strings(listed), kind, strict=False, dec_hook=_secret)
        except msgspec.ValidationError:
            bare = getattr(kind, "__origin__", None) if get_origin(kind) is Annotated else kind
            names = get_args(bare) if get_origin(bare) is Literal else ()
            known = f" (one of {', '.join(map(str, names))})" if names else ""
            raise ConfigError(f"{place}: {_sentence(error)}{known}") from None


def _numbers_as_strings(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, list):
        return [_numbers_as_strings(item) for item in value]
    if isinstance(value, dict):
        return {key: _numbers_as_strings(item) for key, item in value.items()}
    return value


def _secret(kind: type, value: Any) -> Any:
    if kind is SecretDocument and isinstance(value, dict):
        return SecretDocument(msgspec.json.encode(value).decode())
    if kind not in (Secret, SecretDocument) or not isinstance(value, str):
        raise TypeError("Expected `str`")
    return Secret(value) if kind is Secret else SecretDocument(value)


_WORDS = {
    "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a string", "array": "a list", "object": "a mapping",
    "null": "nothing",
}  # fmt: skip


def _sentence(error: Exception) -> str:
    what, _, path = str(error).partition(" - at `$")
    what = re.sub(r"`([^`]*)`", lambda found: _words(found[1]), what).replace("Expected", "expected")
    inside = path.rstrip("`")
    return f"{what} at {inside.lstrip('.')}" if inside else what


def _words(types: str) -> str:
    return " or ".join(_WORDS.get(each.strip(), each.strip()) for each in types.split("|"))

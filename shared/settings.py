"""Settings from the environment: one Struct a service, read once at start."""

from collections.abc import Mapping
from typing import TypeVar

import msgspec

PREFIX = "TOLLGATE_"

T = TypeVar("T", bound=msgspec.Struct)


class SettingsError(Exception):
    """A setting is wrong; the message says which and why."""


def read(kind: type[T], environ: Mapping[str, str]) -> T:
    """Fill `kind` from `TOLLGATE_<FIELD>` variables; a field's default stands where its variable is
    unset or empty.

    Raises SettingsError with the variable's name.
    """
    given: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        value = environ.get(PREFIX + field.name.upper(), "")
        if value != "":
            given[field.name] = value
        elif field.required:
            raise SettingsError(f"{PREFIX}{field.name.upper()} must be set")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("`$.")[2].rstrip("`")
        raise SettingsError(f"{PREFIX}{name.upper()}: {str(error).partition(' - at')[0]}") from None

"""Headers that an entry sets for its provider. Pure."""

import re
from typing import Any

from shared.config.errors import ConfigError
from shared.config.fields import Reading
from shared.config.references import Unset

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")


def read(value: Any, place: str, reading: Reading) -> dict[str, str]:
    """A header whose value is missing isn't sent: `None`, or the reference itself, would be a
    lie.
    """
    if not isinstance(value, dict):
        raise ConfigError(f"{place} must be a mapping")
    headers = {}
    for name, text in value.items():
        if text is None or isinstance(text, Unset):
            reading.warn(f"{place}.{name}: {text or 'empty'}; the header isn't sent")
        elif not isinstance(text, str | int | float):
            raise ConfigError(f"{place}.{name} must be a string")
        elif NAME.fullmatch(str(name)) is None or VALUE.fullmatch(str(text).strip()) is None:
            raise ConfigError(f"{place}: a header can't be sent: its name or value has characters that aren't allowed")
        else:
            headers[str(name)] = str(text).strip()
    return headers

"""Which guardrails a pass-through endpoint has, and which fields of its bodies they read: `query`,
`documents[*].text`. Pure.
"""

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from shared.config import ConfigError

Step = str | int
"""A name, a position, or EACH."""
EACH = -1
FIELDS_MAX = 100
_PATH = re.compile(r"(?:\$\.)?[^.\[\]\s]{1,200}(?:\[(?:\*|\d{1,6})\])*(?:\.[^.\[\]\s]{1,200}(?:\[(?:\*|\d{1,6})\])*)*")
_STEPS = re.compile(r"\[(\*|\d+)\]|([^.\[\]]+)")


class Fields(msgspec.Struct, frozen=True):
    """What a guardrail reads at one endpoint; empty: every string."""

    request: tuple[str, ...] = ()
    response: tuple[str, ...] = ()


def read(given: Any, at: str) -> dict[str, Fields]:
    """An endpoint's `guardrails`: a list of names, or name -> {request_fields, response_fields} or
    nothing. Raises ConfigError.
    """
    if given in (None, {}, []):
        return {}
    if isinstance(given, str):
        given = [given]
    if isinstance(given, list):
        given = dict.fromkeys(map(str, given)) if all(isinstance(name, str) for name in given) else None
    if not isinstance(given, dict) or not all(isinstance(name, str) and name for name in given):
        raise ConfigError(
            f"{at}.guardrails must be a list of names, or a mapping of names to request_fields and response_fields"
        )
    found = {}
    for name, fields in given.items():
        fields = {} if fields is None else fields
        if not isinstance(fields, dict) or set(fields) - {"request_fields", "response_fields"}:
            raise ConfigError(f"{at}.guardrails.{name} has request_fields and response_fields, nothing else")
        found[name] = Fields(
            *(_paths(fields.get(key), f"{at}.guardrails.{name}.{key}") for key in ("request_fields", "response_fields"))
        )
    return found


def _paths(given: Any, at: str) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list) or not given or len(given) > FIELDS_MAX:
        raise ConfigError(f"{at} must be a list of fields")
    for path in given:
        if not isinstance(path, str) or not _PATH.fullmatch(path):
            raise ConfigError(
                f"{at}: {str(path)[:80]!r} is no field; write query, documents[*].text or messages[0].content"
            )
    return tuple(given)


def steps(path: str) -> tuple[Step, ...]:
    return tuple(
        name if name else EACH if index == "*" else int(index)
        for index, name in _STEPS.findall(path.removeprefix("$."))
    )


def select(value: Any, path: tuple[Step, ...], at: tuple[Step, ...] = ()) -> Iterator[tuple[tuple[Step, ...], Any]]:
    """(address, value) of what `path` names in `value`; nothing where there is none."""
    if not path:
        yield at, value
        return
    step, rest = path[0], path[1:]
    if isinstance(step, str):
        if isinstance(value, dict) and step in value:
            yield from select(value[step], rest, (*at, step))
    elif isinstance(value, list):
        for index in range(len(value)) if step == EACH else (step,):
            if index < len(value):
                yield from select(value[index], rest, (*at, index))

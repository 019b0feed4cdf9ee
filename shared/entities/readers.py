"""Reading fields of a body that may hold anything: each reader gives the value in our type, or
refuses naming the field.

`None` passes every reader: what null means (clear, or leave) is the command's business.
"""

import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, NoReturn

import msgspec

from shared import addresses, errors
from shared.entities import callbacks
from shared.errors import RefusedError
from shared.grant import TAG_CHARACTERS_MAX, TAGS_MAX
from shared.money import PICOUSD_PER_USD

BODY_BYTES_MAX = 256 * 1024
METADATA_BYTES_MAX = 64 * 1024
DEPTH_MAX = 32
TEXT_CHARACTERS_MAX = 256
TEXTS_MAX = 1000
PROSE_CHARACTERS_MAX = 4096
USD_MAX = 10**9
SESSION = "tollgate_session"
"""Marks, in a key's metadata, a session of the admin page."""
INTEGER_MAX = 2**63 - 1

Reader = Callable[[str, Any], Any]
"""(field name, value) -> the value; raises RefusedError."""

SCHEMAS: dict[Reader, dict[str, Any]] = {}
"""What each reader takes, as JSON schema."""


def refuse(field: str, problem: str) -> NoReturn:
    raise RefusedError(errors.bad_request(f"{field} {problem}", field))


def checked(body: dict[str, Any]) -> None:
    """Bound the body, and refuse what JSON, the stream or PostgreSQL couldn't hold: NaN, NUL, huge
    integers, deep nesting.
    """
    for name, value in body.items():
        if not isinstance(name, str) or not _storable(name, 0):
            raise RefusedError(errors.bad_request("A field's name can't be stored"))
        if not _storable(value, 1):
            refuse(
                name[:TEXT_CHARACTERS_MAX],
                "holds a value that can't be stored (NaN, NUL, a huge number or too deep nesting)",
            )
    size = len(msgspec.json.encode(body))
    if size > BODY_BYTES_MAX:
        raise RefusedError(errors.body_too_large(size, BODY_BYTES_MAX))


def _storable(value: Any, depth: int) -> bool:
    if isinstance(value, str):
        return "\0" not in value and _is_unicode(value)
    if value is None or isinstance(value, bool):
        return True
    if isinstance(value, int):
        return -INTEGER_MAX <= value <= INTEGER_MAX
    if isinstance(value, float):
        return math.isfinite(value)
    if depth >= DEPTH_MAX:
        return False
    if isinstance(value, list):
        return all(_storable(item, depth + 1) for item in value)
    return isinstance(value, dict) and all(
        isinstance(name, str) and _storable(name, depth) and _storable(item, depth + 1) for name, item in value.items()
    )


def _is_unicode(value: str) -> bool:
    """No lone surrogates."""
    try:
        return value.isascii() or bool(value.encode())
    except UnicodeEncodeError:
        return False


def text(field: str, value: Any) -> str | None:
    """An id or a name. The empty string means none, as in LiteLLM."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        refuse(field, "must be a string")
    if len(value) > TEXT_CHARACTERS_MAX or not value.isprintable():
        refuse(field, f"must be at most {TEXT_CHARACTERS_MAX} printable characters")
    return value


def prose(field: str, value: Any) -> str | None:
    """What people write for people: several lines of it too."""
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > PROSE_CHARACTERS_MAX:
        refuse(field, f"must be a string of at most {PROSE_CHARACTERS_MAX} characters")
    return value


def flag(field: str, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    refuse(field, "must be true or false")


def texts(field: str, value: Any) -> list[str] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        refuse(field, "must be a list of strings")
    if len(value) > TEXTS_MAX or any(not 0 < len(item) <= TEXT_CHARACTERS_MAX for item in value):
        refuse(field, f"must hold at most {TEXTS_MAX} strings of 1 to {TEXT_CHARACTERS_MAX} characters")
    return value


def texts_in(value: Any) -> list[str]:
    """What isn't a list of strings counts for nothing: where it was read it was refused."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def tags(field: str, value: Any) -> list[str] | None:
    found = texts(field, value)
    if found is not None and (len(found) > TAGS_MAX or any(len(tag) > TAG_CHARACTERS_MAX for tag in found)):
        refuse(field, f"must hold at most {TAGS_MAX} tags of at most {TAG_CHARACTERS_MAX} characters")
    return found


def mapping(field: str, value: Any) -> dict[str, Any] | None:
    if value is None or isinstance(value, dict):
        return value
    refuse(field, "must be an object")


def mappings(field: str, value: Any) -> list[dict[str, Any]] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        refuse(field, "must be a list of objects")
    return value


def text_mapping(field: str, value: Any) -> dict[str, str] | None:
    found = mapping(field, value)
    if found is not None and not all(
        isinstance(item, str) and 0 < len(item) <= TEXT_CHARACTERS_MAX and name for name, item in found.items()
    ):
        refuse(field, f"must be an object of strings of 1 to {TEXT_CHARACTERS_MAX} characters")
    return found


def anything(field: str, value: Any) -> Any:
    return value


def one_of(*names: str) -> Reader:
    """A reader of one of these strings. The empty one means none."""

    def read(field: str, value: Any) -> str | None:
        if value is None or value == "":
            return None
        if value not in names:
            refuse(field, f"must be one of {', '.join(names)}")
        return str(value)

    SCHEMAS[read] = {"anyOf": [{"type": "string", "enum": list(names)}, {"type": "null"}]}
    return read


NETWORKS_MAX = 256


def networks(field: str, value: Any) -> list[str] | None:
    """Addresses and ranges (CIDR)."""
    found = texts(field, value)
    if found is not None and len(found) > NETWORKS_MAX:
        refuse(field, f"must hold at most {NETWORKS_MAX} addresses")
    for item in found or ():
        try:
            addresses.network(item)
        except ValueError:
            refuse(field, f"holds {item[:64]!r}, which is no IP address and no range like 10.0.0.0/8")
    return found


MEMBERS_MAX = 10_000


def members(field: str, value: Any) -> list[dict[str, Any]] | None:
    found = mappings(field, value)
    if found is not None and len(found) > MEMBERS_MAX:
        refuse(field, f"must hold at most {MEMBERS_MAX} members")
    return None if found is None else [member(field, each) for each in found]


def member(field: str, value: Any) -> dict[str, Any]:
    """`{role, user_id, user_email}`, one of the last two at least."""
    if not isinstance(value, dict):
        refuse(field, "must be an object")
    if value.get("role") not in ("admin", "user"):
        refuse(field, "role must be admin or user")
    named = {name: text(f"{field}.{name}", value.get(name)) for name in ("user_id", "user_email")}
    if named["user_id"] is None and named["user_email"] is None:
        refuse(field, "each member needs a user_id or a user_email")
    limits = {
        name: read(f"{field}.{name}", value.get(name))
        for name, read in (("max_budget_in_team", usd), ("tpm_limit", integer), ("rpm_limit", integer))
    }
    return {
        "role": value["role"],
        **{name: each for name, each in {**named, **limits}.items() if each is not None},
    }


def metadata(field: str, value: Any) -> dict[str, Any] | None:
    """Anything the caller stores; the parts we act on must have their type."""
    found = mapping(field, value)
    if found is None:
        return None
    if len(msgspec.json.encode(found)) > METADATA_BYTES_MAX:
        refuse(field, f"is larger than {METADATA_BYTES_MAX} bytes")
    for name, read in _IN_METADATA.items():
        if name in found:
            read(f"{field}.{name}", found[name])
    return found


def _guardrails(field: str, value: Any) -> Any:
    """Names, or LiteLLM's `{"modify_guardrails": false}` of teams."""
    if isinstance(value, dict):
        return {"modify_guardrails": flag(f"{field}.modify_guardrails", value.get("modify_guardrails"))}
    return texts(field, value)


def ours(field: str, value: Any) -> Any:
    """What only we write."""
    refuse(field, "is kept for Tollgate itself")


_IN_METADATA: dict[str, Reader] = {
    SESSION: ours,
    "tags": tags,
    "spend_logs_metadata": mapping,
    "guardrails": _guardrails,
    "enforced_params": texts,
    "allowed_ips": networks,
    "disable_global_guardrails": flag,
    "service_account_id": text,
    "logging": callbacks.read,
    "store_prompts_in_spend_logs": flag,
}


def integer(field: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)  # as forms send numbers, and LiteLLM takes them
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= INTEGER_MAX:
        refuse(field, "must be a whole number of zero or more")
    return value


def usd(field: str, value: Any) -> float | None:
    """An amount of USD, kept as the number it came as."""
    if value is None:
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            refuse(field, "must be an amount of USD")
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= USD_MAX:  # NaN fails too
        refuse(field, f"must be an amount of USD from 0 to {USD_MAX}")
    return value


def picousd(field: str, value: Any) -> int | None:
    """A budget in pico-USD. Finer than that (0.1 + 0.2 in somebody's floats) is rounded: a budget
    is no price.
    """
    amount = usd(field, value)
    if amount is None:
        return None
    return int((Decimal(repr(amount)) * PICOUSD_PER_USD).to_integral_value(ROUND_HALF_EVEN))


_DURATION = re.compile(r"([0-9]{1,9})(s|m|h|d|w|mo)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_NEVER_AFTER = datetime(9000, 1, 1, tzinfo=UTC)


def duration(field: str, value: Any) -> str | None:
    """`30s`, `30m`, `30h`, `30d`, `1w`, `1mo`."""
    if value is None:
        return None
    if not isinstance(value, str) or _DURATION.fullmatch(value) is None:
        refuse(field, 'must be a duration like "30s", "30m", "30h", "30d", "1w" or "1mo"')
    return value


def period(field: str, value: Any) -> str | None:
    """A duration after which something comes again: never none at all."""
    found = duration(field, value)
    if found is not None and not found.strip("0smhdwo"):
        refuse(field, "must be longer than nothing")
    return found


def instant(field: str, value: Any) -> str | None:
    """A point in time in ISO 8601 (UTC where it names no zone), kept as answers show instants."""
    if value is None or value == "":
        return None
    try:
        read = datetime.fromisoformat(value)
        read = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        refuse(field, "must be an instant like 2030-01-31T00:00:00Z")
    return read.isoformat(timespec="milliseconds")


def end_of(field: str, value: str, now_ms: int) -> int:
    """When a duration that begins now ends. A month is a calendar month (UTC): from 31 January to
    28 February.
    """
    found = _DURATION.fullmatch(value)
    assert found is not None
    number, unit = int(found[1]), found[2]
    start = datetime.fromtimestamp(now_ms / 1000, UTC)
    try:
        end = _add_months(start, number) if unit == "mo" else start + timedelta(seconds=number * _SECONDS[unit])
    except (OverflowError, ValueError):
        end = _NEVER_AFTER
    if end >= _NEVER_AFTER:
        refuse(field, "ends too far in the future")
    return int(end.timestamp() * 1000)


def _add_months(start: datetime, months: int) -> datetime:
    index = start.year * 12 + start.month - 1 + months
    year, month = index // 12, index % 12 + 1
    for day in range(start.day, start.day - 4, -1):
        try:
            return start.replace(year=year, month=month, day=day)
        except ValueError:
            if year > 9999:
                raise
    raise AssertionError("a month has at least 28 days")


_NULL: dict[str, Any] = {"type": "null"}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, _NULL]}


_TEXT: dict[str, Any] = {"type": "string", "maxLength": TEXT_CHARACTERS_MAX}
_TEXTS: dict[str, Any] = {"type": "array", "maxItems": TEXTS_MAX, "items": {**_TEXT, "minLength": 1}}
_OBJECT: dict[str, Any] = {"type": "object"}
_AMOUNT: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": USD_MAX}

SCHEMAS.update(
    {
        text: _or_null(_TEXT),
        prose: _or_null({"type": "string", "maxLength": PROSE_CHARACTERS_MAX}),
        flag: _or_null({"type": "boolean"}),
        texts: _or_null(_TEXTS),
        tags: _or_null({**_TEXTS, "maxItems": TAGS_MAX}),
        networks: _or_null({**_TEXTS, "maxItems": NETWORKS_MAX}),
        mapping: _or_null(_OBJECT),
        metadata: _or_null(_OBJECT),
        mappings: _or_null({"type": "array", "items": _OBJECT}),
        members: _or_null({"type": "array", "items": _OBJECT}),
        text_mapping: _or_null({"type": "object", "additionalProperties": _TEXT}),
        integer: _or_null({"type": "integer", "minimum": 0}),
        usd: _or_null(_AMOUNT),
        picousd: _or_null(_AMOUNT),
        duration: _or_null({"type": "string", "pattern": "^[0-9]{1,9}(s|m|h|d|w|mo)$"}),
        period: _or_null({"type": "string", "pattern": "^0*[1-9][0-9]{0,8}(s|m|h|d|w|mo)$"}),
        instant: _or_null({"type": "string", "format": "date-time"}),
    }
)


def schema_of(read: Reader) -> dict[str, Any]:
    """JSON schema of what a reader takes; any JSON where nothing more is known."""
    return SCHEMAS.get(read, {})

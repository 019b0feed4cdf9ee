"""The query of a URL as checked values. Pure. Whatever is wrong is refused with a sentence that
names the parameter.
"""

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from services.ledger import sanitize
from shared import errors
from shared.errors import RefusedError
from shared.ids import digest_key

VALUE_CHARACTERS_MAX = 1024
SUMMARY_DAYS_MAX = 3_660
PAGE_MAX = 1_000_000

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_DIGEST = re.compile(r"[0-9a-f]{64}")

AUDIT_SORT_COLUMNS = {
    "updated_at": "at_ms",
    "id": "fact_id",
    "changed_by": "coalesce(actor_user_id, 'default_user_id')",
    "changed_by_api_key": "actor_key_sha256",
    "action": "action",
    "table_name": "kind",
    "object_id": "entity_id",
}

Query = Mapping[str, str]


class Days(NamedTuple):
    """Both inclusive; None: open."""

    first: date | None
    last: date | None


class LogsQuestion(NamedTuple):
    request_id: str | None
    key_sha256: str | None
    user_id: str | None
    days: Days
    summarize: bool


class AuditQuestion(NamedTuple):
    page: int
    page_size: int
    table_name: str | None
    changed_by: str | None
    changed_by_api_key: str | None
    action: str | None
    object_id: str | None
    from_ms: int | None
    to_ms: int | None
    object_team_id: str | None
    object_key_hash: str | None
    search: str | None
    sort_column: str
    """One of AUDIT_SORT_COLUMNS' values: safe to put into SQL."""
    descending: bool
    after: tuple[int | None, int] | None
    """When the last entry of the page before was made (Unix ms) and its number: the page goes on
    there, whatever `page` says.
    """


def days(query: Query) -> Days:
    first, last = day(query, "start_date"), day(query, "end_date")
    if first is not None and last is not None and first > last:
        refuse("start_date", "must not be after end_date")
    return Days(first, last)


def recent_days(query: Query, today: date, *, usual: int, most: int) -> tuple[date, date]:
    """First and last day; where dates are missing, the `usual` number of days until today."""
    asked = days(query)
    last = asked.last or today
    first = asked.first or max(last, date.min + timedelta(days=usual - 1)) - timedelta(days=usual - 1)
    if first > last:
        refuse("start_date", "must not be after end_date")
    if (last - first).days >= most:
        refuse("start_date", f"and end_date are more than {most} days apart")
    return first, last


def logs(query: Query) -> LogsQuestion:
    """`summarize` is on where both dates are given, unless it says otherwise (LiteLLM's
    default).
    """
    api_key = text(query, "api_key")
    asked = days(query)
    both = asked.first is not None and asked.last is not None
    summarize = boolean(query, "summarize", both)
    request_id = text(query, "request_id")
    if request_id is not None:
        summarize = False
    if summarize:
        if asked.first is None or asked.last is None:
            refuse("summarize", "needs start_date and end_date")
        if (asked.last - asked.first).days >= SUMMARY_DAYS_MAX:
            refuse("end_date", f"is more than {SUMMARY_DAYS_MAX} days after start_date")
    return LogsQuestion(request_id, key_digest(api_key), text(query, "user_id"), asked, summarize)


def audit(query: Query) -> AuditQuestion:
    sort_by, sort_order = text(query, "sort_by") or "updated_at", text(query, "sort_order") or "desc"
    if sort_by not in AUDIT_SORT_COLUMNS:
        refuse("sort_by", f"must be one of {', '.join(AUDIT_SORT_COLUMNS)}")
    if sort_order not in ("asc", "desc"):
        refuse("sort_order", "must be asc or desc")
    return AuditQuestion(
        page=integer(query, "page", 1, 1, PAGE_MAX),
        page_size=integer(query, "page_size", 10, 1, 100),
        table_name=text(query, "table_name"),
        changed_by=text(query, "changed_by"),
        changed_by_api_key=key_digest(text(query, "changed_by_api_key")),
        action=text(query, "action"),
        object_id=key_digest(text(query, "object_id")),
        from_ms=_instant(query, "start_date", end=False),
        to_ms=_instant(query, "end_date", end=True),
        object_team_id=text(query, "object_team_id"),
        object_key_hash=key_digest(text(query, "object_key_hash")),
        search=key_digest(text(query, "search")),
        sort_column=AUDIT_SORT_COLUMNS[sort_by],
        descending=sort_order == "desc",
        after=_audit_place(query, by_time=sort_by == "updated_at"),
    )


def _audit_place(query: Query, *, by_time: bool) -> tuple[int | None, int] | None:
    cursor = text(query, "cursor")
    if cursor is None:
        return None
    found = _AUDIT_PLACE.fullmatch(cursor)
    if found is None or not by_time:
        refuse("cursor", "must be next_cursor of the page before, sorted by updated_at")
    return (int(found[1]) if found[1] else None), int(found[2])


def audit_cursor(entry: Mapping[str, Any]) -> str:
    """`cursor` of the page that follows a row of audit_log; what couldn't be read has no time."""
    return f"{'' if entry['at_ms'] is None else entry['at_ms']}.{entry['n']}"


_AUDIT_PLACE = re.compile(r"([0-9]{1,16})?\.([0-9]{1,18})", re.ASCII)


def key_digest(value: str | None) -> str | None:
    """A raw key is digested at once, whichever parameter it was put in; anything else stands for
    itself.
    """
    return (
        digest_key(value) if value is not None and value.startswith("sk-") and not _DIGEST.fullmatch(value) else value
    )


def text(query: Mapping[str, Any], name: str) -> str | None:
    """None when it isn't given, or empty. Also of a JSON body."""
    value = query.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        refuse(name, "must be a string")
    return checked_text(name, value)


def checked_text(name: str, value: str) -> str:
    if len(value) > VALUE_CHARACTERS_MAX:
        refuse(name, f"is longer than {VALUE_CHARACTERS_MAX} characters")
    if "\x00" in value or not _is_unicode(value):
        refuse(name, "holds characters that can't be read")
    return value


def _is_unicode(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def day(query: Query, name: str) -> date | None:
    value = text(query, name)
    if value is None:
        return None
    try:
        if not _DAY.fullmatch(value):
            raise ValueError
        return date.fromisoformat(value)
    except ValueError:
        refuse(name, "must be a day like 2026-11-23")


def is_day(value: str) -> bool:
    """Whether a text names a day, and no instant in it, in one of ISO 8601's ways."""
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def _instant(query: Query, name: str, *, end: bool) -> int | None:
    """Unix milliseconds; a mere day means its first, or its last, millisecond (UTC)."""
    value = text(query, name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
        if instant.tzinfo is None:
            instant = instant.replace(tzinfo=UTC)
        if end and is_day(value):
            instant += timedelta(days=1, milliseconds=-1)
        return sanitize.bounded(int(instant.timestamp() * 1000), 0, sanitize.MS_MAX)
    except (ValueError, OverflowError):
        refuse(name, "must be a day like 2026-11-23, or an instant in ISO 8601")


def boolean(query: Query, name: str, default: bool) -> bool:
    value = (text(query, name) or "").lower()
    if value == "":
        return default
    if value not in ("true", "false", "1", "0"):
        refuse(name, "must be true or false")
    return value in ("true", "1")


def integer(query: Query, name: str, default: int, low: int, high: int) -> int:
    value = text(query, name)
    return default if value is None else whole(name, value, low, high)


def whole(name: str, value: str, low: int, high: int) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", value) or not low <= int(value) <= high:
        refuse(name, f"must be a whole number from {low} to {high}")
    return int(value)


PARTS_OF_HOURS = {
    -270: "Asia/Kabul", -330: "Asia/Kolkata", -345: "Asia/Kathmandu", -390: "Asia/Yangon", -525: "Australia/Eucla",
    -570: "Australia/Darwin", 570: "Pacific/Marquesas",
}  # fmt: skip
"""Minutes west of UTC → a zone that is always as far."""


def zone_of(query: Query) -> str:
    """`timezone`: an IANA name, or minutes west of UTC as browsers give them. UTC where it is
    missing.
    """
    value = text(query, "timezone") or "UTC"
    if re.fullmatch(r"-?[0-9]{1,4}", value):
        hours, rest = divmod(int(value), 60)
        if int(value) in PARTS_OF_HOURS:
            return PARTS_OF_HOURS[int(value)]
        if rest or abs(hours) > 14:
            refuse("timezone", "in minutes must be whole hours; or give an IANA name")
        return "UTC" if hours == 0 else f"Etc/GMT{hours:+d}"
    return value


def words(query: Query, name: str, most: int) -> list[str]:
    """Separated by commas, each once."""
    value = query.get(name) or ""
    found = [checked_text(name, word.strip()) for word in value.split(",") if word.strip()]
    if len(found) > most:
        refuse(name, f"can name {most} at most")
    return list(dict.fromkeys(found))


def refuse(name: str, sentence: str) -> NoReturn:
    raise RefusedError(errors.bad_request(f"{name} {sentence}", name))

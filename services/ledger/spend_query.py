"""`/spend/query`: a question about spend as checked values, and how it is answered. Pure.

Every answer is exact. The plan takes the first source that can give one:

    rollup  sums by day of one dimension                 (UTC days, nothing but that dimension asked, which isn't `tag`; see _many_days)
    cube    see cube.py                                  (whole hours of the time zone; all dimensions but `customer` and `status`)
    log     request_log itself                           (everything, over LOG_DAYS_MAX days at most)

What none of them can give is refused with what to narrow.
"""  # noqa: W505

import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from services.ledger import params
from services.ledger.params import refuse

DIMENSIONS = {
    "tag": "tag", "team": "team_id", "key": "key_sha256", "user": "user_id", "organization": "organization_id", "model": "model",
    "provider": "provider", "deployment": "deployment_id", "upstream_model": "upstream_model", "call_type": "call_type",
    "customer": "customer_id", "status": "outcome",
}  # fmt: skip
"""Name in a question → column."""
LOG_ONLY = frozenset(("customer", "status"))
BUCKETS = ("none", "hour", "day", "week", "month")
OF_THE_ADMITTED = frozenset(("tag", "model", "provider", "deployment", "upstream_model", "customer"))
"""Dimensions by which refused calls aren't counted: anybody can send any tag or model name."""
ROLLUP_DIMENSIONS = frozenset(("team", "key", "user", "model", "provider", "deployment", "customer"))
OF_MANY = frozenset(("team", "key", "user"))
"""Dimensions with thousands of values."""

DAYS_MAX = 3_660
ROLLUP_DAYS_MAX = 62
"""Of a question by one of OF_MANY that isn't asked day by day."""
LOG_DAYS_MAX = 31
HOUR_BUCKETS_MAX = 24 * 92
GROUP_BY_MAX = 4
FILTER_VALUES_MAX = 100
TOP_MAX = 1_000
TOP_DEFAULT = 1_000
ROWS_MAX = 50_000
SINCE_UNITS = {"h": 1, "d": 24, "w": 24 * 7}
NO_ZONES = frozenset(("localtime", "posixrules", "Factory"))
"""Files that lie beside the zones: what is in them differs from machine to machine, ours from the
database's.
"""
_SINCE = re.compile(r"[0-9]{1,5}[hdw]")


class SpendQuery(NamedTuple):
    first: datetime
    """Instant, inclusive."""
    end: datetime
    """Instant, exclusive."""
    zone: ZoneInfo
    bucket: str
    group_by: tuple[str, ...]
    filters: dict[str, tuple[str, ...]]
    """Dimension → values; a call is counted if it has one of each."""
    top: int
    previous: bool
    """Whether the period before, of the same length, is wanted beside it."""
    csv: bool


class Plan(NamedTuple):
    source: str
    grain: str
    """The coarsest sums of the source that can be used, from year to hour; of the log: call."""


def parse(asked: Mapping[str, Any], now: datetime) -> SpendQuery:
    """Of a URL's query, or of a JSON body with the same names. Raises RefusedError."""
    known = {"from", "to", "start_date", "end_date", "since", "time_zone", "timezone", "bucket", "group_by", "by", "top",
             "previous", "format", "filters", *DIMENSIONS}  # fmt: skip
    for name in asked:
        if name not in known:
            refuse(str(name)[:80], f"isn't a parameter of /spend/query; there are {', '.join(sorted(known))}")
    zone = _zone(params.text(asked, _spelling(asked, "time_zone", "timezone")) or "UTC")
    first, end = _range(asked, zone, now)
    bucket = params.text(asked, "bucket") or "none"
    if bucket not in BUCKETS:
        refuse("bucket", f"must be one of {', '.join(BUCKETS)}")
    group_by = tuple(dict.fromkeys(_words(asked, _spelling(asked, "group_by", "by"))))
    for name in group_by:
        if name not in DIMENSIONS:
            refuse("group_by", f"can be {', '.join(DIMENSIONS)}; not {name[:80]!r}")
    if len(group_by) > GROUP_BY_MAX:
        refuse("group_by", f"can name {GROUP_BY_MAX} dimensions at most")
    if bucket == "hour" and end - first > timedelta(hours=HOUR_BUCKETS_MAX):
        refuse("bucket", "by hour goes over 92 days at most: narrow from and to, or take day")
    form = params.text(asked, "format") or "json"
    if form not in ("json", "csv"):
        refuse("format", "must be json or csv")
    return SpendQuery(
        first, end, zone, bucket, group_by, _filters(asked), _top(asked), _flag(asked, "previous"), form == "csv"
    )


def plan(query: SpendQuery, *, everything: bool) -> Plan:
    """
    Args:
        everything: whether the asker may see all rows; the rollups don't know whose theirs are.
    """
    dimensions = {*query.group_by, *query.filters}
    in_days = _midnights(query) and query.bucket != "hour"
    grain = "hour" if not in_days else {"none": "year", "month": "month"}.get(query.bucket, "day")
    if everything and in_days and dimensions <= ROLLUP_DIMENSIONS and len(dimensions) <= 1 and not _many_days(query):
        return Plan("rollup", "day")
    if not only_in_log(query):
        return Plan("cube", grain)
    if query.end - query.first > timedelta(days=LOG_DAYS_MAX, hours=2):
        narrow = (
            f"by {' and '.join(sorted(dimensions & LOG_ONLY))}"
            if dimensions & LOG_ONLY
            else "for several tags together (group by tag, or ask for one)"
            if _several_tags(query)
            else f"in {query.zone.key}, whose hours aren't those of UTC,"
        )
        refuse("from", f"to end_date: spend {narrow} is read from the log itself, over {LOG_DAYS_MAX} days at most")
    return Plan("log", "call")


def _many_days(query: SpendQuery) -> bool:
    """Whether the rollups have a row a day for each of many, where the cube has sums of months."""
    long = query.end - query.first > timedelta(days=ROLLUP_DAYS_MAX)
    return long and query.bucket in ("none", "month") and bool(OF_MANY & {*query.group_by})


def only_in_log(query: SpendQuery) -> bool:
    """Whether no sums can say it: it must be read from the log, over LOG_DAYS_MAX days at most."""
    return bool(LOG_ONLY & {*query.group_by, *query.filters}) or _several_tags(query) or not _whole_hours(query)


def _several_tags(query: SpendQuery) -> bool:
    """A call with two of the tags must count once: sums by tag can't say that."""
    return len(query.filters.get("tag", ())) > 1 and "tag" not in query.group_by


def admitted_only(query: SpendQuery) -> bool:
    return bool(OF_THE_ADMITTED & {*query.group_by, *query.filters})


def instant(bucket: int, zone: tzinfo = UTC) -> datetime:
    """The beginning of a bucket of an answer."""
    return datetime.fromtimestamp(bucket, zone)


def day_of(bucket: int, zone: tzinfo = UTC) -> str:
    return instant(bucket, zone).date().isoformat()


def before(query: SpendQuery) -> SpendQuery:
    """The period before: as many calendar months where it is made of such, else as long."""
    first, end = query.first.astimezone(query.zone), query.end.astimezone(query.zone)
    if first.day == end.day == 1 and first.time() == end.time() == datetime.min.time():
        months = (end.year - first.year) * 12 + end.month - first.month
        year, month = divmod(first.year * 12 + first.month - 1 - months, 12)
        start = datetime(year, month + 1, 1, tzinfo=query.zone)
    elif first.time() == end.time() == datetime.min.time():
        start = _midnight(first.date() - (end.date() - first.date()), query.zone)
    else:
        start = query.first - (query.end - query.first)
    return query._replace(first=start.astimezone(UTC), end=query.first)


def _midnights(query: SpendQuery) -> bool:
    """Whether its days are those of UTC: the zone's offset is nothing all along, and both ends are
    at midnight.
    """
    at_midnight = query.first.time() == query.end.time() == datetime.min.time()
    return at_midnight and all(offset == timedelta(0) for offset in _offsets(query))


def _whole_hours(query: SpendQuery) -> bool:
    on_the_hour = all(at.minute == at.second == at.microsecond == 0 for at in (query.first, query.end))
    return on_the_hour and all(offset % timedelta(hours=1) == timedelta(0) for offset in _offsets(query))


def _offsets(query: SpendQuery) -> set[timedelta]:
    """From UTC, that the zone has within the range."""
    steps = int((query.end - query.first) / timedelta(days=1)) + 2
    instants = (min(query.first + timedelta(days=n), query.end) for n in range(steps))
    return {instant.astimezone(query.zone).utcoffset() or timedelta(0) for instant in instants}


def _zone(name: str) -> ZoneInfo:
    try:
        if name in NO_ZONES or name.startswith(("posix/", "right/")):
            raise ValueError
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        refuse("time_zone", f"must be an IANA name like Europe/Berlin; {name[:80]!r} is none")


def _range(asked: Mapping[str, Any], zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime]:
    since = params.text(asked, "since")
    start_name, end_name = _spelling(asked, "from", "start_date"), _spelling(asked, "to", "end_date")
    start, stop = params.text(asked, start_name), params.text(asked, end_name)
    today = now.astimezone(zone).date()
    if since is not None:
        if start or stop:
            refuse("since", "goes without from and to")
        if not _SINCE.fullmatch(since) or int(since[:-1]) == 0:
            refuse("since", "must be like 12h, 30d or 8w")
        hours = int(since[:-1]) * SINCE_UNITS[since[-1]]
        if hours > DAYS_MAX * 24:
            refuse("since", f"goes back more than {DAYS_MAX} days")
        if since.endswith("h"):
            end = now.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
            first = end - timedelta(hours=hours)
        else:
            first, end = (
                _midnight(today - timedelta(days=hours // 24 - 1), zone),
                _midnight(today + timedelta(days=1), zone),
            )
    else:
        first = _instant(start_name, start, zone) if start else _midnight(today - timedelta(days=29), zone)
        end = _end(end_name, stop, zone) if stop else _midnight(today + timedelta(days=1), zone)
    first, end = first.astimezone(UTC), end.astimezone(UTC)
    if not first < end:  # as instants: a day that a zone left out has none
        refuse(start_name, f"must be before {end_name}")
    if end - first > timedelta(days=DAYS_MAX):
        refuse(start_name, f"and {end_name} are more than {DAYS_MAX} days apart")
    return first, end


def _spelling(asked: Mapping[str, Any], *names: str) -> str:
    """Which of the names for one thing is used. Raises RefusedError where two are, for different
    things.
    """
    given = [name for name in names if asked.get(name) not in (None, "")]
    if len(given) > 1 and asked[given[0]] != asked[given[1]]:
        refuse(given[1], f"is another name for {given[0]}, and says something else")
    return given[0] if given else names[0]


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _instant(name: str, text: str, zone: ZoneInfo) -> datetime:
    """A day is its beginning there; an instant without an offset is in the zone."""
    try:
        instant = datetime.fromisoformat(text)
        instant = instant if instant.tzinfo is not None else instant.replace(tzinfo=zone)
        instant.astimezone(UTC)
    except (ValueError, OverflowError):
        refuse(name, "must be a day like 2026-11-23, or an instant in ISO 8601")
    if not 2000 <= instant.year <= 9000:
        refuse(name, "is out of range")
    return instant


def _end(name: str, text: str, zone: ZoneInfo) -> datetime:
    """A day counts in full; an instant is the first that doesn't count."""
    instant = _instant(name, text, zone)
    return _midnight(instant.date() + timedelta(days=1), zone) if params.is_day(text) else instant


def _filters(asked: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    given = asked.get("filters") or {}
    if not isinstance(given, Mapping):
        refuse("filters", "must be an object of dimension and values")
    found = {}
    for where, names in ((given, given), (asked, DIMENSIONS)):
        for name in names:
            if name not in DIMENSIONS:
                refuse("filters", f"can be by {', '.join(DIMENSIONS)}; not {str(name)[:80]!r}")
            values = tuple(dict.fromkeys(_words(where, name, separator="" if where is given else ",")))
            if values and name in found:
                refuse(name, "is given twice: in filters, and beside them")
            if values:
                found[name] = tuple(params.key_digest(value) or "" for value in values) if name == "key" else values
    if any(len(values) > FILTER_VALUES_MAX for values in found.values()):
        refuse("filters", f"can name {FILTER_VALUES_MAX} values a dimension at most")
    return found


def _words(asked: Mapping[str, Any], name: str, separator: str = ",") -> list[str]:
    value = asked.get(name)
    if value is None or value == "":
        return []
    words = value if isinstance(value, list) else str(value).split(separator) if separator else [value]
    if not all(isinstance(word, str) for word in words):
        refuse(name, "must be a string, or a list of strings")
    return [params.checked_text(name, word.strip()) for word in words if word.strip()]


def _top(asked: Mapping[str, Any]) -> int:
    value = asked.get("top")
    if value is None or value == "":
        return TOP_DEFAULT
    return params.whole("top", str(value), 1, TOP_MAX)


def _flag(asked: Mapping[str, Any], name: str) -> bool:
    value = asked.get(name)
    if value is None or value == "":
        return False
    if str(value).lower() not in ("true", "false", "1", "0"):
        refuse(name, "must be true or false")
    return str(value).lower() in ("true", "1")

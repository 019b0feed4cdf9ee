"""`/latency/report`: how long answered calls took, by day and by model."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.database import QUERIES
from services.ledger.latency import BOUNDS_MS, SUMS
from services.ledger.params import refuse
from shared import subjects

ROUTE = "/latency/report"
DAYS, DAYS_MAX = 30, 366
MODELS_MAX = 100


class Sums(NamedTuple):
    """Of some calls, of one bucket's or several."""

    calls: int = 0
    took_ms: int = 0
    first_calls: int = 0
    first_ms: int = 0


class Durations:
    """Calls by bucket."""

    def __init__(self) -> None:
        self._buckets: defaultdict[int, Sums] = defaultdict(Sums)

    def add(self, bucket: int, sums: Iterable[int]) -> None:
        self._buckets[bucket] = Sums(*(a + b for a, b in zip(self._buckets[bucket], sums, strict=True)))

    def shown(self) -> dict[str, Any]:
        """Milliseconds; None: there was no such call."""
        total = Sums(*map(sum, zip(*self._buckets.values(), strict=True))) if self._buckets else Sums()
        return {
            "calls": total.calls,
            "mean_ms": _mean(total.took_ms, total.calls),
            "p50_ms": self.percentile(50),
            "p95_ms": self.percentile(95),
            "first_byte_calls": total.first_calls,
            "first_byte_mean_ms": _mean(total.first_ms, total.first_calls),
        }

    def percentile(self, percent: int) -> float | None:
        """Within its bucket as if its calls were spread evenly there; of the last bucket, which has
        no end, their mean."""
        calls = sum(each.calls for each in self._buckets.values())
        if calls <= 0:
            return None
        rank = calls * percent / 100
        for bucket, sums in sorted(self._buckets.items()):
            if rank <= sums.calls:
                if bucket >= len(BOUNDS_MS):
                    return _mean(sums.took_ms, sums.calls)
                low = BOUNDS_MS[bucket - 1] if bucket else 0
                return round(low + (BOUNDS_MS[bucket] - low) * rank / sums.calls, 1)
            rank -= sums.calls
        raise AssertionError("unreachable")


def _mean(ms: int, calls: int) -> float | None:
    return round(ms / calls, 1) if calls > 0 else None


def statement(scope: Scope, first: date, last: date, model: str | None) -> tuple[str, list[Any]]:
    """SQL and its arguments: rows of (day, value, bucket) and SUMS, of what the asker may see; each
    call once with its day, and, for who may see every call, once more with its model.
    """
    arguments: list[Any] = [first, last]
    grouped, named = "(day, bucket)", "NULL::text AS value"
    if scope.everything:
        dimension, value = "model", model
        grouped, named = "(day, bucket), (value, bucket)", "value"
    elif scope.user_id is not None:
        dimension, value = "user", scope.user_id
    else:
        dimension, value = "key", scope.key_sha256 or ""
    where = f"dimension = '{dimension}' AND day BETWEEN $1 AND $2"
    if value is not None:
        arguments.append(value)
        where += " AND value = $3"
    sums = ", ".join(f"sum({name})::bigint AS {name}" for name in SUMS)
    return (
        f"SELECT day, {named}, bucket, {sums} FROM latency_day WHERE {where} GROUP BY GROUPING SETS ({grouped})",  # noqa: S608
        arguments,
    )


def report(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of `statement`."""
    total = Durations()
    days: defaultdict[date, Durations] = defaultdict(Durations)
    models: defaultdict[str, Durations] = defaultdict(Durations)
    for row in rows:
        sums = [row[name] for name in SUMS]
        if row["day"] is None:
            models[row["value"]].add(row["bucket"], sums)
            continue
        days[row["day"]].add(row["bucket"], sums)
        total.add(row["bucket"], sums)
    by_model = [{"model": name, **each.shown()} for name, each in models.items()]
    by_model.sort(key=lambda each: (-each["calls"], each["model"]))
    by_day = [{"date": day, **days[day].shown()} for day in sorted(days)]
    return {
        "total": total.shown(),
        "data": [each for each in by_day if each["calls"]],
        "models": [each for each in by_model if each["calls"]][:MODELS_MAX],
    }


def handlers(api: Api) -> dict[str, Handler]:
    async def answer(request: web.Request) -> web.StreamResponse:
        caller = await api.identify(request, ROUTE)
        for name in request.query:
            if name not in ("start_date", "end_date", "model"):
                refuse(name[:80], f"isn't a parameter of {ROUTE}; there are start_date, end_date, model")
        first, last = params.recent_days(request.query, datetime.now(UTC).date(), usual=DAYS, most=DAYS_MAX)
        model, scope = params.text(request.query, "model"), scope_of(caller)
        if model is not None and not scope.everything:
            refuse("model", "can be given by who may see every call")
        book = api.book()
        sql, arguments = statement(scope, first, last, model)
        found = report(await book.fetch(sql, *arguments))
        if scope.everything:  # to others it would tell how much everybody calls
            (behind,) = await book.fetch(QUERIES["latency_behind"], subjects.TRAFFIC_STREAM)
            found["calls_to_add"] = behind["calls"]
        return answers.json_answer({"start_date": first, "end_date": last, **found})

    return {ROUTE: answer}

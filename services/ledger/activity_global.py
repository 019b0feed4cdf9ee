"""`/global/activity*`: calls and tokens a day, what the cache answered, what providers refused; and
the lists that LiteLLM's dashboards ask for beside them. Who asks sees their own.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.book_sql import of_days
from services.ledger.params import refuse
from services.ledger.responses import usd
from services.ledger.spend_global import always, by_key, need_days, sums
from services.ledger.spend_query import LOG_DAYS_MAX, day_of, instant
from services.ledger.statement import Statement, of_scope

MODELS_MAX = 10
CUSTOMERS_MAX = 100
CACHED = """coalesce(spend_logs_metadata::jsonb ->> 'cache_hit', '') = 'true'"""


def handlers(api: Api) -> dict[str, Handler]:
    async def activity(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/activity"))
        need_days(request.query)
        return answers.json_answer(_days(await sums(api, scope, request.query, "", bucket="day")))

    async def of_models(request: web.Request) -> web.StreamResponse:
        """The ten with the most calls."""
        scope = scope_of(await api.identify(request, "/global/activity/model"))
        need_days(request.query)
        rows: defaultdict[str, list[Any]] = defaultdict(list)
        for row in await sums(api, scope, request.query, "model", bucket="day"):
            if row["d0"] is not None:
                rows[row["d0"]].append(row)
        found = [{"model": model, **_days(of_model)} for model, of_model in rows.items()]
        found.sort(key=lambda each: (-each["sum_api_requests"], each["model"]))
        return answers.json_answer(found[:MODELS_MAX])

    async def cache_hits(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/activity/cache_hits"))
        return answers.json_answer(await _cache(api, scope, request.query))

    def refused(route: str, *, by_deployment: bool) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            scope = scope_of(await api.identify(request, route))
            return answers.json_answer(await _refused(api, scope, request.query, by_deployment=by_deployment))

        return handler

    async def a_day(request: web.Request) -> web.StreamResponse:
        """The last 30 days; of one key, where one is named."""
        scope = scope_of(await api.identify(request, "/global/spend/logs"))
        key = params.key_digest(params.text(request.query, "api_key"))
        rows = await sums(api, scope, {"key": key} if key else {}, "", bucket="day")
        named = {"api_key": key} if key else {}
        return answers.json_answer(
            [{"date": day_of(row["bucket"]), **named, "spend": usd(row["spend_picousd"])} for row in rows]
        )

    async def customers(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/end_users"))
        body = await answers.json_body(request)
        wanted = {
            "key": params.text(body, "api_key"),
            "start_date": _day(body, "startTime"),
            "end_date": _day(body, "endTime"),
        }
        rows = await sums(api, scope, {name: value for name, value in wanted.items() if value}, "customer")
        found = [
            {"end_user": row["d0"], "total_count": int(row["requests"]), "total_spend": usd(row["spend_picousd"])}
            for row in rows
            if row["d0"] is not None
        ]
        return answers.json_answer(found[:CUSTOMERS_MAX])

    async def all_customers(request: web.Request) -> web.StreamResponse:
        """Of the last 30 days, where somebody sees their own alone; else of all."""
        scope = scope_of(await api.identify(request, "/global/all_end_users"))
        rows = await sums(api, scope, always({}) if scope.everything else {}, "customer")
        return answers.json_answer({"end_users": [row["d0"] for row in rows if row["d0"] is not None]})

    return {
        "/global/activity": activity,
        "/global/activity/model": of_models,
        "/global/activity/cache_hits": cache_hits,
        "/global/activity/exceptions": refused("/global/activity/exceptions", by_deployment=False),
        "/global/activity/exceptions/deployment": refused("/global/activity/exceptions/deployment", by_deployment=True),
        "/global/spend/logs": a_day,
        "/global/spend/end_users": customers,
        "/global/all_end_users": all_customers,
        **{f"/{name}/spend/report": _report(api, name) for name in REPORTED},
    }


def _days(rows: list[Any]) -> dict[str, Any]:
    daily = [
        {
            "date": instant(row["bucket"]).strftime("%b %d"),
            "api_requests": int(row["requests"]),
            "total_tokens": int(row["input_tokens"] + row["output_tokens"]),
        }
        for row in rows
    ]
    return {
        "daily_data": daily,
        "sum_api_requests": sum(day["api_requests"] for day in daily),
        "sum_total_tokens": sum(day["total_tokens"] for day in daily),
    }


# ── one's own report ──

REPORTED = {"key": "api_key", "user": "user_id", "team": "team_id", "organization": "organization_id"}
"""Whose report → the parameter by which admins name another."""


def _report(api: Api, name: str) -> Handler:
    """By key, with its models, like `/global/spend/report`: of the caller's own key, user, team or
    organisation; admins may name any.
    """

    async def handler(request: web.Request) -> web.StreamResponse:
        caller = await api.identify(request, f"/{name}/spend/report")
        need_days(request.query)
        scope = scope_of(caller)
        named = params.text(request.query, REPORTED[name])
        own = {"key": caller.key_sha256, "user": caller.user_id, "team": caller.team_id,
               "organization": caller.organization_id}[name]  # fmt: skip
        wanted = params.key_digest(named) if name == "key" else named
        if wanted is not None and not scope.everything and wanted != own:
            refuse(REPORTED[name], f"names another {name} than yours")
        wanted = wanted or own
        if wanted is None:
            refuse(REPORTED[name], f"must name the {name}: your key has none")
        dates = {each: request.query[each] for each in ("start_date", "end_date")}
        return answers.json_answer(await by_key(api, scope, {**dates, name: wanted}))

    return handler


# ── from the log ──


def _book(query: Mapping[str, str], scope: Scope) -> tuple[Statement, str, list[str]]:
    """(statement, its table, its conditions)."""
    need_days(query)
    made = Statement()
    first, last = params.recent_days(query, datetime.now(UTC).date(), usual=LOG_DAYS_MAX, most=LOG_DAYS_MAX)
    table = f"{of_days(made.add(first), made.add(last))} AS b"
    return made, table, of_scope(made, scope, "b")


async def _cache(api: Api, scope: Scope, query: Mapping[str, str]) -> dict[str, Any]:
    made, table, where = _book(query, scope)
    for name, column in (("key_aliases", "b.key_alias"), ("models", "b.model")):
        values = params.words(query, name, CUSTOMERS_MAX)
        if values:
            where.append(f"{column} = ANY({made.add(values)}::text[])")
    failed = "b.outcome <> 'success'"
    condition = " AND ".join(["b.outcome <> 'refused'", *where])
    rows = await api.book().fetch(
        f"SELECT b.call_type, count(*) FILTER (WHERE NOT {CACHED} AND NOT {failed}) AS api_requests,"  # noqa: S608 - our own names
        f" count(*) FILTER (WHERE {CACHED}) AS cache_hits, count(*) FILTER (WHERE {failed}) AS failed_requests,"
        f" coalesce(sum(b.output_tokens) FILTER (WHERE {CACHED}), 0)::bigint AS cached_completion_tokens,"
        f" coalesce(sum(b.output_tokens) FILTER (WHERE NOT {CACHED}), 0)::bigint AS generated_completion_tokens"
        f" FROM {table} WHERE {condition} GROUP BY 1 ORDER BY 1",
        *made.arguments,
    )
    groups = [dict(row) for row in rows]
    names = ("api_requests", "cache_hits", "failed_requests", "cached_completion_tokens")
    totals: dict[str, Any] = {name: sum(group[name] for group in groups) for name in names}
    answered = totals["api_requests"] + totals["cache_hits"]
    return {
        "groups": groups,
        "totals": {**totals, "cache_hit_ratio": totals["cache_hits"] / answered if answered else 0.0},
    }


async def _refused(api: Api, scope: Scope, query: Mapping[str, str], *, by_deployment: bool) -> Any:
    """How often a provider said 429 about a model."""
    model = params.text(query, "model_group")
    if model is None:
        refuse("model_group", "must name the model")
    made, table, where = _book(query, scope)
    where += ["b.outcome <> 'refused'", "b.status = 429", f"b.model = {made.add(model)}"]
    by = "b.deployment_id" if by_deployment else "''"
    rows = await api.book().fetch(
        f"SELECT {by} AS deployment, b.day, count(*) AS n FROM {table} WHERE {' AND '.join(where)}"  # noqa: S608
        " GROUP BY 1, 2 ORDER BY 2, 1",
        *made.arguments,
    )
    found: defaultdict[str, dict[str, Any]] = defaultdict(
        lambda: {"daily_data": [], "sum_num_rate_limit_exceptions": 0}
    )
    for row in rows:
        entry = found[row["deployment"]]
        entry["daily_data"].append({"date": row["day"].strftime("%b %d"), "num_rate_limit_exceptions": row["n"]})
        entry["sum_num_rate_limit_exceptions"] += row["n"]
    if not by_deployment:
        return found[""]
    ranked = sorted(found, key=lambda each: (-found[each]["sum_num_rate_limit_exceptions"], each))
    return [{"deployment": each, **found[each]} for each in ranked[:MODELS_MAX]]


def _day(body: Mapping[str, Any], name: str) -> str | None:
    """The day of an instant in ISO 8601."""
    value = params.text(body, name)
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
        return (instant if instant.tzinfo is None else instant.astimezone(UTC)).date().isoformat()
    except (ValueError, OverflowError):
        refuse(name, "must be an instant in ISO 8601")

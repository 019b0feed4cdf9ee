"""LiteLLM's other spend endpoints over the same sums: who asks sees their own, and all of the last
day counts.
"""

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from services.ledger import answers, params, spend_query
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.params import refuse
from services.ledger.responses import usd
from shared import errors
from shared.errors import RefusedError

ALWAYS_DAYS = 3_650
RECENT_DAYS = 30
TOP_DEFAULT = 10_000
LIMIT_MAX = 10_000
OTHERS = "Other"
"""What is beyond TOP_DEFAULT."""


def handlers(api: Api) -> dict[str, Handler]:
    def listing(route: str, dimension: str, name: str) -> Handler:
        """Spend of each, most first, of the days asked (or the last 30)."""

        async def handler(request: web.Request) -> web.StreamResponse:
            scope = scope_of(await api.identify(request, route))
            rows = await sums(api, scope, request.query, dimension)
            found = [{name: row["d0"], "total_spend": usd(row["spend_picousd"])} for row in rows if not row["other"]]
            return answers.json_answer(found[: _limit(request.query)])

        return handler

    async def keys(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/keys"))
        rows = await sums(api, scope, request.query, "key")
        names = await names_of(api, "key", [row["d0"] for row in rows])
        found = [
            {"api_key": row["d0"] or "", "key_alias": names.get(row["d0"]), "key_name": names.get(row["d0"]),
             "total_spend": usd(row["spend_picousd"])}
            for row in rows if not row["other"]
        ]  # fmt: skip
        return answers.json_answer(found[: _limit(request.query)])

    async def total(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend"))
        rows = await sums(api, scope, always(request.query), "")
        spend = usd(rows[0]["spend_picousd"]) if rows else 0.0
        return answers.json_answer({"spend": spend, "max_budget": api.max_budget_usd if scope.everything else None})

    async def tags(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/tags"))
        need_days(request.query)
        wanted = [
            name for name in params.words(request.query, "tags", spend_query.FILTER_VALUES_MAX) if name != "all-tags"
        ]
        rows = await sums(api, scope, {**request.query, "tag": wanted}, "tag")
        found = [
            {"name": row["d0"], "spend": usd(row["spend_picousd"]), "log_count": int(row["requests"])}
            for row in rows if row["d0"] is not None
        ]  # fmt: skip
        return answers.json_answer({"spend_per_tag": found})

    async def tag_names(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/all_tag_names"))
        rows = await sums(api, scope, always(request.query), "tag")
        return answers.json_answer({"tag_names": sorted(row["d0"] for row in rows if row["d0"] is not None)})

    async def teams(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/teams"))
        by_day = await sums(api, scope, request.query, "team", bucket="day")
        per_team: defaultdict[str, int] = defaultdict(int)
        daily: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
        names = await names_of(api, "team", [row["d0"] for row in by_day])
        for row in by_day:
            name = OTHERS if row["other"] else names.get(row["d0"]) or row["d0"] or "Unassigned"
            picousd = int(row["spend_picousd"])
            per_team[name] += picousd
            daily[spend_query.day_of(row["bucket"])][name] += picousd  # two teams may be called the same
        ranked = sorted(per_team, key=lambda name: (-per_team[name], name))
        return answers.json_answer(
            {
                "daily_spend": [
                    {"date": day, **{name: usd(picousd) for name, picousd in spent.items()}}
                    for day, spent in sorted(daily.items())
                ],
                "teams": ranked,
                "total_spend_per_team": [{"team_id": name, "total_spend": usd(per_team[name])} for name in ranked],
            }
        )

    async def spend_keys(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/spend/keys"))
        rows = await sums(api, scope, always(request.query), "key")
        names = await names_of(api, "key", [row["d0"] for row in rows])
        found = [
            {"token": row["d0"], "key_alias": names.get(row["d0"]), "spend": usd(row["spend_picousd"])}
            for row in rows if row["d0"] is not None
        ]  # fmt: skip
        return answers.json_answer(found)

    async def spend_users(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/spend/users"))
        user_id = params.text(request.query, "user_id")
        if user_id is not None and not scope.everything and user_id != scope.user_id:
            return answers.json_answer(
                {
                    "error": {
                        "message": "Not authorized to view spend for another user.",
                        "type": "auth_error",
                        "param": "None",
                        "code": "403",
                    }
                },
                status=403,
            )
        asked = {**always(request.query), **({"user": user_id} if user_id else {})}
        rows = await sums(api, scope, asked, "user")
        return answers.json_answer(
            [{"user_id": row["d0"], "spend": usd(row["spend_picousd"])} for row in rows if row["d0"] is not None]
        )

    async def report(request: web.Request) -> web.StreamResponse:
        scope = scope_of(await api.identify(request, "/global/spend/report"))
        return answers.json_answer(await _report(api, scope, request.query))

    return {
        "/global/spend": total,
        "/global/spend/keys": keys,
        "/global/spend/teams": teams,
        "/global/spend/models": listing("/global/spend/models", "model", "model"),
        "/global/spend/provider": listing("/global/spend/provider", "provider", "provider"),
        "/global/spend/tags": tags,
        "/global/spend/all_tag_names": tag_names,
        "/global/spend/report": report,
        "/spend/keys": spend_keys,
        "/spend/users": spend_users,
    }


async def _report(api: Api, scope: Scope, query: Mapping[str, str]) -> list[dict[str, Any]]:
    """By day and team or customer, each with its models and keys; or by key."""
    need_days(query)
    group_by = query.get("group_by") or "team"
    if group_by not in ("team", "customer", "api_key"):
        refuse("group_by", "must be team, customer or api_key")
    filters = {name: params.text(query, given) for name, given in
               (("key", "api_key"), ("user", "internal_user_id"), ("team", "team_id"), ("customer", "customer_id"))}  # fmt: skip
    asked = {
        "start_date": query["start_date"],
        "end_date": query["end_date"],
        **{n: v for n, v in filters.items() if v},
    }
    if group_by == "api_key":
        return await by_key(api, scope, asked)
    rows = await sums(api, scope, asked, f"{group_by},model,key", bucket="day")
    names = await names_of(api, "team", [row["d0"] for row in rows]) if group_by == "team" else {}
    title = "team_name" if group_by == "team" else "customer"
    days: dict[str, dict[str, dict[str, Any]]] = {}
    for row in rows:
        unassigned = OTHERS if row["other"] else "Unassigned Team" if group_by == "team" else "Unassigned Customer"
        name = names.get(row["d0"]) or row["d0"] or unassigned
        entry = days.setdefault(spend_query.day_of(row["bucket"]), {}).setdefault(
            name, {title: name, "total_spend": 0, "metadata": []}
        )
        entry["total_spend"] += int(row["spend_picousd"])
        entry["metadata"].append(
            {"model": row["d1"], "api_key": row["d2"], "spend": usd(row["spend_picousd"]),
             "total_tokens": int(row["input_tokens"] + row["output_tokens"])}
        )  # fmt: skip
    plural = "teams" if group_by == "team" else "customers"
    return [
        {"group_by_day": day, plural: [{**entry, "total_spend": usd(entry["total_spend"])} for entry in found.values()]}
        for day, found in sorted(days.items())
    ]


async def by_key(api: Api, scope: Scope, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each key with its models."""
    found: dict[str, dict[str, Any]] = {}
    for row in await sums(api, scope, asked, "key,model"):
        key = OTHERS if row["other"] else row["d0"] or ""
        entry = found.setdefault(
            key,
            {
                "api_key": key,
                "total_cost": 0,
                "total_input_tokens": 0,
                "total_output_tokens": 0,
                "model_details": [],
            },
        )
        figures = {"total_cost": int(row["spend_picousd"]), "total_input_tokens": int(row["input_tokens"]),
                   "total_output_tokens": int(row["output_tokens"])}  # fmt: skip
        for name, amount in figures.items():
            entry[name] += amount
        entry["model_details"].append({"model": row["d1"], **figures, "total_cost": usd(row["spend_picousd"])})
    return [{**entry, "total_cost": usd(entry["total_cost"])} for entry in found.values()]


async def sums(api: Api, scope: Scope, query: Mapping[str, Any], group_by: str, bucket: str = "none") -> list[Any]:
    asked: dict[str, Any] = {"group_by": group_by, "bucket": bucket, "top": str(spend_query.TOP_MAX)}
    for name in ("start_date", "end_date"):
        if query.get(name):
            params.text(query, name)
            asked[name] = query[name]
    if "start_date" not in asked:
        asked["start_date"] = (datetime.now(UTC) - timedelta(days=RECENT_DAYS - 1)).date().isoformat()
    for name in ("key", "user", "team", "organization", "customer", "tag", "model"):
        if query.get(name):
            asked[name] = query[name]
    found = spend_query.parse(asked, datetime.now(UTC))._replace(top=TOP_DEFAULT)
    return await api.book().sums(found, scope)


def always(query: Mapping[str, str]) -> dict[str, str]:
    """Without dates: everything there is."""
    if query.get("start_date") or query.get("end_date"):
        return dict(query)
    return {"start_date": (datetime.now(UTC) - timedelta(days=ALWAYS_DAYS)).date().isoformat()}


def need_days(query: Mapping[str, str]) -> None:
    if not query.get("start_date") or not query.get("end_date"):
        raise RefusedError(errors.bad_request("Please provide start_date and end_date", "start_date"))


def _limit(query: Mapping[str, str]) -> int:
    return params.integer(query, "limit", 100, 1, LIMIT_MAX)


async def names_of(api: Api, kind: str, ids: list[str | None]) -> dict[str | None, str]:
    """What people call them, as last seen."""
    wanted = [one for one in dict.fromkeys(ids) if one is not None]
    rows = await api.book().fetch(
        "SELECT id, name FROM spend_name WHERE kind = $1 AND id = ANY($2::text[])", kind, wanted
    )
    return {row["id"]: row["name"] for row in rows}

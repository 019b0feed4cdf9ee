"""`/{user,team,tag,organization,customer}/daily/activity/...`: all days at once, and which keys it
was; as rows to take along. `/team/spend/by_user`: who of a team it was.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from aiohttp import web

from services.ledger import answers, daily_activity, params, spend_query
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope
from services.ledger.daily_activity import ALIASES, IDS, METRICS, add, asked, empty, figures, in_usd, view
from services.ledger.params import refuse
from services.ledger.spend_global import names_of, need_days
from services.ledger.spend_query import SpendQuery

KEYS_MAX = 1_000
KEYS_A_PAGE_MAX = 100
EXPORTS = {
    "daily": (),
    "daily_with_keys": ("key",),
    "daily_with_models": ("model",),
    "daily_with_users": ("user",),
}
"""`export_type` → by what besides day and entity."""
EXPORTED = ("spend", "prompt_tokens", "completion_tokens", "api_requests", "successful_requests", "failed_requests",
            "cache_read_input_tokens", "cache_creation_input_tokens")  # fmt: skip
FIELDS = {"key": "api_key", "model": "model", "user": "user_id"}
Answer = Callable[[Api, Scope, str, Mapping[str, str]], Any]


def handlers(api: Api) -> dict[str, Handler]:
    def of(entity: str, end: str, answer: Answer) -> tuple[str, Handler]:
        route = f"/{entity}/daily/activity/{end}"

        async def handler(request: web.Request) -> web.StreamResponse:
            scope, query = await view(api, request, route, entity)
            found = await answer(api, scope, ALIASES.get(entity, entity), query)
            return found if isinstance(found, web.StreamResponse) else answers.json_answer(found)

        return route, handler

    async def by_user(request: web.Request) -> web.StreamResponse:
        need_days(request.query)
        if not request.query.get("team_ids"):
            refuse("team_ids", "are needed: Please provide team_ids")
        scope, query = await view(api, request, "/team/spend/by_user", "team")
        return answers.json_answer(await _by_user(api, scope, query))

    ends: dict[str, Answer] = {
        "aggregated": _aggregated,
        "aggregated/keys": _page_of_keys,
        "aggregated/search": _search,
        "aggregated/model_top_keys": _top_of_model,
        "export": _export,
    }
    found = dict(of(entity, end, answer) for entity in (*IDS, *ALIASES) for end, answer in ends.items())
    return {**found, "/team/spend/by_user": by_user}


async def _aggregated(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> dict[str, Any]:
    parsed, left_out = asked(entity, query)
    most = params.integer(query, "api_key_limit", 100, 1, KEYS_MAX)
    days = await daily_activity.by_day(api.book(), scope, entity, parsed, left_out)
    spent: dict[str, int] = {}
    for day in days.values():
        for key, entry in day["breakdown"]["api_keys"].items():
            spent[key] = spent.get(key, 0) + entry["metrics"]["spend"]
    kept = set(sorted(spent, key=lambda key: (-spent[key], key))[:most])
    for day in days.values():
        for part, entries in day["breakdown"].items():
            if part == "api_keys":
                day["breakdown"][part] = {key: entry for key, entry in entries.items() if key in kept}
                continue
            for entry in entries.values():
                keys = entry["api_key_breakdown"]
                entry["api_key_breakdown"] = {key: share for key, share in keys.items() if key in kept}
    await daily_activity.name(api, scope, entity, days)
    found = daily_activity.shown(days, 1, 1)
    found["metadata"] |= {"api_key_limit": most, "total_api_keys": len(spent.keys() - {""})}
    return found


# ── keys ──


async def _keys(
    api: Api, scope: Scope, entity: str, parsed: SpendQuery, left_out: set[str]
) -> dict[str, dict[str, Any]]:
    """Key → its row, most spent first; money in pico-USD."""
    others = (entity,) if left_out else ()
    dimensions = tuple(dict.fromkeys(("key", "team", "user", *others)))
    at = dimensions.index(entity) if left_out else -1
    parsed = parsed._replace(bucket="none", group_by=dimensions)
    found: dict[str, dict[str, Any]] = {}
    for row in await figures(api.book(), scope, parsed):
        if row["d0"] is None or (left_out and row[f"d{at}"] in left_out):
            continue
        metadata = {"key_alias": None, "team_id": row["d1"], "user_id": row["d2"]}
        entry = found.setdefault(row["d0"], {"api_key": row["d0"], "metrics": empty(), "metadata": metadata})
        add(entry["metrics"], row)
    names = await names_of(api, "key", list(found))
    for key, entry in found.items():
        entry["metadata"]["key_alias"] = names.get(key)
    order = sorted(found, key=lambda key: (-found[key]["metrics"]["spend"], key))
    return {key: found[key] for key in order}


async def _page_of_keys(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> dict[str, Any]:
    offset = params.integer(query, "offset", 0, 0, spend_query.ROWS_MAX)
    limit = params.integer(query, "limit", 50, 1, KEYS_A_PAGE_MAX)
    rows = list((await _keys(api, scope, entity, *asked(entity, query))).values())
    page = [in_usd(row) for row in rows[offset : offset + limit]]
    return {"api_keys": page, "total_api_keys": len(rows), "offset": offset, "limit": limit}


async def _search(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> dict[str, Any]:
    """By a part of the alias, or the beginning of the digest."""
    wanted = params.key_digest(params.text(query, "search"))
    if not wanted:
        refuse("search", "must be a part of a key's alias, or the beginning of its hash")
    limit = params.integer(query, "limit", 100, 1, KEYS_A_PAGE_MAX)
    part = wanted.casefold()
    rows = (await _keys(api, scope, entity, *asked(entity, query))).values()
    found = [
        row
        for row in rows
        if row["api_key"].startswith(part) or part in (row["metadata"]["key_alias"] or "").casefold()
    ]
    return {"api_keys": [in_usd(row) for row in found[:limit]]}


async def _top_of_model(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> dict[str, Any]:
    model = params.text(query, "model_group")
    if model is None:
        refuse("model_group", "must name the model")
    limit = params.integer(query, "limit", 5, 1, KEYS_A_PAGE_MAX)
    by_group = params.boolean(query, "by_model_group", default=True)
    parsed, left_out = asked(entity, query)
    filters = {**parsed.filters, "model" if by_group else "upstream_model": (model,)}
    rows = (await _keys(api, scope, entity, parsed._replace(filters=filters), left_out)).values()
    return {"model": model, "by_model_group": by_group, "api_keys": [in_usd(row) for row in list(rows)[:limit]]}


# ── rows to take along ──


async def _export(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> web.Response:
    kind, form = query.get("export_type") or "daily", query.get("format") or "csv"
    if kind not in EXPORTS:
        refuse("export_type", f"must be one of {', '.join(EXPORTS)}")
    if form not in ("csv", "json"):
        refuse("format", "must be csv or json")
    parsed, left_out = asked(entity, query)
    more = tuple(name for name in EXPORTS[kind] if name != entity)
    parsed = parsed._replace(group_by=(entity, *more))
    found = [row for row in await figures(api.book(), scope, parsed) if row["d0"] not in left_out]
    named = ("team", "key")
    names = {name: await names_of(api, name, [row[f"d{n}"] for row in found]) if name in named else {}
             for n, name in enumerate((entity, *more))}  # fmt: skip
    rows = [_exported(row, parsed, names, entity, more) for row in found]
    name = f"{entity}-usage-{query['start_date']}-{query['end_date']}-{kind}.{form}"
    if form == "csv":
        columns = ["date", "entity_id", "entity_alias", *_columns(more), *EXPORTED]
        return answers.csv_answer(columns, (list(row.values()) for row in rows), name)
    return answers.json_answer(rows, {"Content-Disposition": f'attachment; filename="{name}"'})


def _columns(more: Iterable[str]) -> list[str]:
    return [column for name in more for column in (FIELDS[name], *(("key_alias",) if name == "key" else ()))]


def _exported(
    row: Any, parsed: SpendQuery, names: Mapping[str, Any], entity: str, more: tuple[str, ...]
) -> dict[str, Any]:
    day = spend_query.day_of(row["bucket"], parsed.zone)
    found = {"date": day, "entity_id": row["d0"] or "", "entity_alias": names[entity].get(row["d0"])}
    for n, name in enumerate(more, 1):
        found[FIELDS[name]] = row[f"d{n}"]
        if name == "key":
            found["key_alias"] = names["key"].get(row[f"d{n}"])
    metrics = empty()
    add(metrics, row)
    amounts = in_usd(metrics)
    return {**found, **{name: amounts[name] for name in EXPORTED}}


# ── who of a team ──


async def _by_user(api: Api, scope: Scope, query: Mapping[str, str]) -> dict[str, Any]:
    parsed, _ = asked("team", query)
    parsed = parsed._replace(bucket="none", group_by=("team", "user"))
    names = await names_of(api, "team", [*params.words(query, "team_ids", spend_query.FILTER_VALUES_MAX)])
    results = []
    for row in await figures(api.book(), scope, parsed):
        metrics = empty()
        add(metrics, row)
        who = {"team_id": row["d0"], "team_alias": names.get(row["d0"]), "user_id": row["d1"] or ""}
        results.append({**who, **{name: in_usd(metrics)[name] for name in METRICS if not name.startswith("cache_")}})
    return {"start_date": query["start_date"], "end_date": query["end_date"], "results": results}

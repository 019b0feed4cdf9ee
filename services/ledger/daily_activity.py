"""`/{user,team,tag,organization,customer}/daily/activity`: what was spent a day, broken down."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from services.ledger import answers, params, spend_query
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.params import refuse
from services.ledger.queries import Report
from services.ledger.responses import usd
from services.ledger.spend_global import names_of
from services.ledger.spend_query import SpendQuery
from services.ledger.statement import CACHE_SUMS, SUMS, Statement, of_scope
from shared.entities import TEAM, USER

IDS = {"user": ("user_id", "user_ids"), "team": ("team_ids", "team_id"), "tag": ("tags", "tag"), "organization": ("organization_ids",),
       "customer": ("end_user_ids", "customer_ids")}  # fmt: skip
"""Entity → parameters that name some of them, separated by commas."""
ALIASES = {"end_user": "customer"}
PARTS = {
    "models": "upstream_model",
    "model_groups": "model",
    "providers": "provider",
    "api_keys": "key",
    "endpoints": "call_type",
}
"""Part of a day's breakdown → dimension."""
ENDPOINTS = {"acompletion": "/chat/completions", "aembedding": "/embeddings", "atext_completion": "/completions"}
PAGE_DAYS_MAX = 1_000
METRICS = ("spend", "prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "total_tokens",
           "successful_requests", "failed_requests", "api_requests")  # fmt: skip


def handlers(api: Api) -> dict[str, Handler]:
    def of(entity: str) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            scope, query = await view(api, request, f"/{entity}/daily/activity", entity)
            return answers.json_answer(await _activity(api, scope, ALIASES.get(entity, entity), query))

        return handler

    return {f"/{entity}/daily/activity": of(entity) for entity in (*IDS, *ALIASES)}


async def view(api: Api, request: web.Request, route: str, entity: str) -> tuple[Scope, Mapping[str, str]]:
    """Which rows the asker sees, and the question: all of teams that show them what the whole team
    spent (to its admins, and to members whom it lets); where one of the teams doesn't, their own.
    A question that names no team is about those that they are in. Raises RefusedError.
    """
    query = request.query
    caller, seq = await api.identified(request, route)
    scope = scope_of(caller)
    if entity != "team" or scope.everything or caller.user_id is None:
        return scope, query
    given = next((name for name in IDS[entity] if query.get(name)), None)
    if given is not None:
        wanted = params.words(query, given, spend_query.FILTER_VALUES_MAX)
    else:
        users = await api.asking.stored(USER, seq, [caller.user_id])
        wanted = [team_id for user in users for team_id in user.teams]
        if not wanted or len(wanted) > spend_query.FILTER_VALUES_MAX or any("," in each for each in wanted):
            return scope, query
    teams = await api.asking.stored(TEAM, seq, wanted)
    if given is None:  # their list may name one that is gone
        teams = [team for team in teams if team.role_of(caller.user_id) is not None]
        wanted = [team.team_id for team in teams]
    if not teams or len(teams) < len(wanted) or not all(team.shows_spend_to(caller.user_id) for team in teams):
        return scope, query
    return Scope(everything=True), {**query, IDS[entity][0]: ",".join(wanted)}


def asked(entity: str, query: Mapping[str, str]) -> tuple[SpendQuery, set[str]]:
    """The days and filters of a question about an entity, and the entities to leave out. Raises
    RefusedError.
    """
    wanted: dict[str, Any] = {"bucket": "day", "time_zone": params.zone_of(query)}
    for name in ("start_date", "end_date"):
        if params.day(query, name) is None:
            refuse(name, "is needed, a day like 2026-11-23")
        wanted[name] = query[name]
    for given, dimension in (("model", "model"), ("api_key", "key")):
        if query.get(given):
            wanted[dimension] = query[given]
    chosen = next((query[name] for name in IDS[entity] if query.get(name)), None)
    if chosen:
        wanted[entity] = chosen
    left_out = {one for name in IDS[entity] for one in (query.get(f"exclude_{name}") or "").split(",") if one}
    return spend_query.parse(wanted, datetime.now(UTC)), left_out


async def _activity(api: Api, scope: Scope, entity: str, query: Mapping[str, str]) -> dict[str, Any]:
    parsed, left_out = asked(entity, query)
    page = params.integer(query, "page", 1, 1, 1_000_000)
    size = params.integer(query, "page_size", 50, 1, PAGE_DAYS_MAX)
    if spend_query.only_in_log(parsed) or entity in spend_query.LOG_ONLY:
        size = min(size, spend_query.LOG_DAYS_MAX)
    days, whole = _page(parsed, page, size)
    if days is None:
        return {"results": [], "metadata": {**_metadata([]), "page": page, "total_pages": whole, "has_more": False}}
    found = await by_day(api.book(), scope, entity, parsed._replace(first=days[0], end=days[1]), left_out)
    await name(api, scope, entity, found)
    return shown(found, page, whole)


async def by_day(
    report: Report, scope: Scope, entity: str, parsed: SpendQuery, left_out: set[str]
) -> dict[str, dict[str, Any]]:
    """Day → its figures, and their breakdown; money in pico-USD. A call with two tags counts for
    each of them, and once in everything else, unless some tags are left out. (Of tags the keys are
    told where some are asked for: of all there may be any number.)
    """
    results: dict[str, dict[str, Any]] = {}
    parts = tuple(PARTS.values())
    tags = ("tag", "key") if "tag" in parsed.filters else ("tag",)
    for group_by in (tags, parts) if entity == "tag" and not left_out else ((entity, *parts),):
        for row in await figures(report, scope, parsed._replace(group_by=group_by)):
            value = {dimension: row[f"d{n}"] for n, dimension in enumerate(group_by)}
            if entity in value and value[entity] in left_out:
                continue
            day = spend_query.day_of(row["bucket"], parsed.zone)
            found = results.setdefault(day, {"date": day, "metrics": empty(), "breakdown": _parts()})
            if entity in value:
                _add_to(found["breakdown"]["entities"], value[entity], value, row)
            if group_by is not tags:
                add(found["metrics"], row)
                for part, dimension in PARTS.items():
                    called = (
                        ENDPOINTS.get(value[dimension], value[dimension]) if part == "endpoints" else value[dimension]
                    )
                    _add_to(found["breakdown"][part], called, {} if part == "api_keys" else value, row)
    return results


async def name(api: Api, scope: Scope, entity: str, results: Mapping[str, dict[str, Any]]) -> None:
    """Say what every key is called and whose its calls were, and what teams are called."""
    parts = [part for day in results.values() for part in day["breakdown"].items()]
    keys: dict[str, list[dict[str, Any]]] = {}
    for which, entries in parts:
        for found in (entries,) if which == "api_keys" else [each["api_key_breakdown"] for each in entries.values()]:
            for key, entry in found.items():
                keys.setdefault(key, []).append(entry)
    owners = await _owners(api.book(), scope, [*keys])
    aliases = await names_of(api, "key", [*keys])
    for key, entries in keys.items():
        metadata = {"key_alias": aliases.get(key), **owners.get(key, {"team_id": None, "user_id": None})}
        for entry in entries:
            entry["metadata"] = metadata
    if entity == "team":
        teams = [each for which, found in parts if which == "entities" for each in found.items()]
        names = await names_of(api, "team", [team for team, _ in teams])
        for team, entry in teams:
            entry["metadata"] = {"team_alias": names.get(team)}


async def _owners(report: Report, scope: Scope, keys: list[str]) -> dict[str, dict[str, str | None]]:
    """Key → team and user of its calls, as far as the asker may see them; None where they were of
    several.
    """
    made = Statement()
    where = [f"g.key_sha256 = ANY({made.add(keys)}::text[])", *of_scope(made, scope, "g")]
    rows = await report.fetch(
        "SELECT key_sha256, CASE WHEN min(team_id) = max(team_id) THEN min(team_id) END AS team_id,"  # noqa: S608 - our own names
        " CASE WHEN min(user_id) = max(user_id) THEN min(user_id) END AS user_id"
        f" FROM spend_group g WHERE {' AND '.join(where)} GROUP BY key_sha256",
        *made.arguments,
    )
    return {row["key_sha256"]: {"team_id": row["team_id"], "user_id": row["user_id"]} for row in rows}


async def figures(report: Report, scope: Scope, parsed: SpendQuery) -> list[Any]:
    """Every sum that METRICS are made of. Of admitted calls, by whatever they are asked: views of
    the same days add up to the same.
    """
    return await report.sums(parsed._replace(top=spend_query.ROWS_MAX), scope, (*SUMS, *CACHE_SUMS), admitted=True)


def shown(results: Mapping[str, dict[str, Any]], page: int, pages: int) -> dict[str, Any]:
    """The newest day first."""
    days = [in_usd(results[day]) for day in sorted(results, reverse=True)]
    return {
        "results": days,
        "metadata": {**_metadata(days), "page": page, "total_pages": pages, "has_more": page < pages},
    }


def _page(query: Any, page: int, size: int) -> tuple[tuple[datetime, datetime] | None, int]:
    """The days of a page, newest first, and how many pages there are."""
    first, end = (at.astimezone(query.zone).date() for at in (query.first, query.end))
    count = (end - first).days
    pages = max(1, -(-count // size))
    high = end - timedelta(days=(page - 1) * size)
    if high <= first:
        return None, pages
    low = max(first, high - timedelta(days=size))
    return tuple(datetime(d.year, d.month, d.day, tzinfo=query.zone).astimezone(UTC) for d in (low, high)), pages  # type: ignore[return-value]


def _parts() -> dict[str, dict[str, Any]]:
    return {**{part: {} for part in PARTS}, "entities": {}, "mcp_servers": {}}


def empty() -> dict[str, int]:
    return dict.fromkeys(METRICS, 0)


def _add_to(found: dict[str, Any], name: str | None, value: Mapping[str, str | None], row: Mapping[str, Any]) -> None:
    """To an entry of a part, and there to the key's share of it. Without `value`: it is a key's."""
    entry = found.get(name or "")
    if entry is None:
        entry = found[name or ""] = {"metrics": empty(), "metadata": {}}
        if value:
            entry["api_key_breakdown"] = {}
    add(entry["metrics"], row)
    if "key" in value:
        of_key = entry["api_key_breakdown"].setdefault(value["key"] or "", {"metrics": empty(), "metadata": {}})
        add(of_key["metrics"], row)


def add(metrics: dict[str, int], row: Mapping[str, Any]) -> None:
    metrics["spend"] += int(row["spend_picousd"])
    metrics["prompt_tokens"] += int(row["input_tokens"])
    metrics["completion_tokens"] += int(row["output_tokens"])
    metrics["cache_read_input_tokens"] += int(row["cached_tokens"])
    metrics["cache_creation_input_tokens"] += int(row["cache_write_tokens"])
    metrics["total_tokens"] += int(row["input_tokens"] + row["output_tokens"])
    metrics["successful_requests"] += int(row["successes"])
    metrics["failed_requests"] += int(row["failures"])
    metrics["api_requests"] += int(row["requests"])


def in_usd(value: Any) -> Any:
    """With money in USD, when everything is added up."""
    if not isinstance(value, dict):
        return value
    return {
        name: usd(item) if name == "spend" and isinstance(item, int) else in_usd(item) for name, item in value.items()
    }


def _metadata(results: list[dict[str, Any]]) -> dict[str, Any]:
    totals = {name: sum(day["metrics"][name] for day in results) for name in METRICS}
    return {f"total_{name}" if name != "total_tokens" else name: amount for name, amount in totals.items()}

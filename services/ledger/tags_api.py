"""`/tag/list` and `/tag/info`: tags as LiteLLM's clients ask for them. A tag exists once a call had
it, or somebody said something about it (`/tag/new`): that policy knows. Who sees only their own
rows sees of both what their calls had."""

from collections.abc import Collection
from typing import Any

from aiohttp import web

from services.ledger import answers, params
from services.ledger.answers import CUT_HEADER, Handler
from services.ledger.api import Api
from services.ledger.asking import scope_of
from services.ledger.params import refuse
from services.ledger.queries import TAGS_MAX
from shared.entities import BUDGET, TAG, Budget, budget

NAMES_MAX = 100
DESCRIPTION = "This is just a spend tag that was passed dynamically in a request. It does not control any LLM models."


def handlers(api: Api) -> dict[str, Handler]:
    async def listed(request: web.Request) -> web.StreamResponse:
        caller, seq = await api.identified(request, "/tag/list")
        scope = scope_of(caller)
        rows, cut = await api.book().tag_rows(scope, params.days(request.query), None)
        said = await _said(api, seq, None if scope.everything else {row["value"] for row in rows})
        unused = set(said) - {row["value"] for row in rows} if scope.everything else ()
        found = [*(said.get(row["value"]) or _tag(row) for row in rows), *(said[name] for name in sorted(unused))]
        return answers.json_answer(found, {CUT_HEADER: str(TAGS_MAX)} if cut else {})

    async def info(request: web.Request) -> web.StreamResponse:
        caller, seq = await api.identified(request, "/tag/info")
        scope = scope_of(caller)
        names = (await answers.json_body(request)).get("names")
        if not isinstance(names, list) or not names or len(names) > NAMES_MAX:
            refuse("names", f"must be a list of 1 to {NAMES_MAX} tags")
        wanted = [
            params.checked_text("names", name) if isinstance(name, str) else refuse("names", "must be strings")
            for name in names
        ]
        rows, _ = await api.book().tag_rows(scope, params.Days(None, None), wanted)
        said = await _said(api, seq, set(wanted))
        found = {row["value"]: said.get(row["value"]) or _tag(row) for row in rows}
        if scope.everything:
            found |= {name: said[name] for name in wanted if name in said}
        missing = [name for name in wanted if name not in found]
        if not found:
            message = f"No tags found: {', '.join(missing)[:200]}"
            return answers.json_answer({"detail": {"error": message}}, status=404)
        return answers.json_answer(found)

    return {"/tag/list": listed, "/tag/info": info}


async def _said(api: "Api", seq: int, names: Collection[str] | None) -> dict[str, dict[str, Any]]:
    """Rows of the tags that policy keeps, by name; None: of all."""
    tags = await api.asking.stored(TAG, seq, names)
    named = {budget_id for tag in tags if (budget_id := tag.extra.get("budget_id"))}
    budgets: dict[str, Budget] = {each.budget_id: each for each in await api.asking.stored(BUDGET, seq, named)}
    return {tag.name: TAG.row(tag, litellm_budget_table=budget.shown(budgets, TAG, tag)) for tag in tags}


def _tag(row: Any) -> dict[str, Any]:
    return {
        "name": row["value"],
        "description": DESCRIPTION,
        "models": None,
        "model_info": None,
        "created_at": row["first_day"].isoformat(),
        "updated_at": row["last_day"].isoformat(),
        "created_by": None,
        "litellm_budget_table": None,
    }

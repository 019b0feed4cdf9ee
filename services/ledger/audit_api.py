"""`/audit` for administrators, and `/audit/summary`: how much was changed, refused and blocked.

Refusals are rows of request_log, not control facts: callers must not be able to flood the audit
log.
"""

from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from services.ledger import answers, params, responses
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.facts_in import MS_PER_DAY, midnight

DAYS, DAYS_MAX = 7, 31

_CHANGES = """
SELECT kind, action, count(*) AS n FROM audit_log
WHERE at_ms >= $1 AND at_ms < $2 AND kind IS NOT NULL AND kind <> 'alias' GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2
"""
_UNREADABLE = "SELECT count(*) FROM audit_log WHERE kind IS NULL AND recorded_on BETWEEN $1 AND $2"
_REFUSALS = """
SELECT outcome, coalesce(error_code, '') AS code, coalesce(refused_by, '') AS who, count(*) AS n FROM request_book
WHERE day BETWEEN $1 AND $2 AND outcome IN ('refused', 'blocked') GROUP BY 1, 2, 3 ORDER BY 4 DESC, 2 LIMIT 200
"""


def handlers(api: Api) -> dict[str, Handler]:
    async def page(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/audit")
        return answers.json_answer(await api.book().audit_page(params.audit(request.query)))

    async def entry(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/audit")
        fact_id = params.text(request.match_info, "id") or ""
        found = await api.book().audit_entry(fact_id)
        if found is None:
            return answers.json_answer({"detail": {"message": f"Audit log with ID {fact_id} not found"}}, status=404)
        return answers.json_answer(found)

    async def summary(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/audit/summary")
        first, last = params.recent_days(request.query, datetime.now(UTC).date(), usual=DAYS, most=DAYS_MAX)
        first_ms, last_ms = (int(midnight(day).timestamp()) * 1000 for day in (first, last))
        report = api.book()
        changes = await report.fetch(_CHANGES, first_ms, last_ms + MS_PER_DAY)
        refusals = await report.fetch(_REFUSALS, first, last)
        unreadable = await report.fetch(_UNREADABLE, first, last)
        shown: dict[str, Any] = {
            "start_date": first, "end_date": last, "unreadable": unreadable[0][0],
            "changes": [{"table_name": responses.table_name(r["kind"]), "action": r["action"], "count": r["n"]} for r in changes],
            "refusals": [{"code": r["code"], "by": r["who"], "count": r["n"]} for r in refusals if r["outcome"] == "refused"],
            "blocks": [{"code": r["code"], "count": r["n"]} for r in refusals if r["outcome"] == "blocked"],
        }  # fmt: skip
        return answers.json_answer(shown)

    return {"/audit": page, "/audit/{id}": entry, "/audit/summary": summary}

"""`/spend/open`: calls that were opened and haven't ended: who has money under way, and how much at
most.
"""

from typing import Any

from aiohttp import web

from services.ledger import answers, facts_in, params, responses
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.asking import Scope, scope_of
from services.ledger.database import QUERIES
from shared.facts import Opened
from shared.money import format_usd

LIMIT_MAX = 1_000
SCANNED_MAX = 50_000
"""Of the newest: their facts are read one by one, as the table has no columns for whose they
are.
"""
AT_A_TIME = 2_000


def handlers(api: Api) -> dict[str, Handler]:
    async def open_calls(request: web.Request) -> web.StreamResponse:
        caller = await api.identify(request, "/spend/open")
        limit = params.integer(request.query, "limit", 100, 1, LIMIT_MAX)
        scope, before, scanned = scope_of(caller), None, 0
        found: list[dict[str, Any]] = []
        count = unbounded = most_picousd = 0
        whole = False
        while scanned < SCANNED_MAX:
            rows = await api.book().fetch(QUERIES["open_newest"], before, AT_A_TIME)
            for opened in (facts_in.read_opened(row["fact"]) for row in rows):
                if opened is None or not _sees(scope, opened):
                    continue
                count += 1
                most_picousd += opened.max_cost_picousd or 0
                unbounded += opened.max_cost_picousd is None
                if len(found) < limit:
                    found.append(_shown(opened))
            scanned += len(rows)
            if len(rows) < AT_A_TIME:
                whole = True
                break
            before = rows[-1]["id"]
        return answers.json_answer(
            {
                "open": count, "max_spend_usd": format_usd(most_picousd), "without_bound": unbounded, "counted_all": whole,
                "data": found,
            }
        )  # fmt: skip

    return {"/spend/open": open_calls}


def _sees(scope: Scope, opened: Opened) -> bool:
    caller = opened.caller
    if scope.everything:
        return True
    if scope.user_id is not None:
        return caller.user_id == scope.user_id
    return caller.user_id is None and caller.key_sha256 == scope.key_sha256


def _shown(opened: Opened) -> dict[str, Any]:
    """As a row of /spend/logs, as far as it is known yet."""
    caller, most = opened.caller, opened.max_cost_picousd
    return {
        "request_id": opened.id, "startTime": responses.iso(opened.at_ms), "expires_at": responses.iso(opened.expires_at_ms or None),
        "call_type": opened.call_type, "api_key": caller.key_sha256 or "", "key_alias": caller.key_alias, "user": caller.user_id or "",
        "team_id": caller.team_id, "end_user": opened.customer_id or "", "model": opened.upstream_model or opened.model,
        "model_group": opened.model, "custom_llm_provider": opened.provider, "request_tags": opened.tags,
        "max_spend_usd": None if most is None else format_usd(most), "edge": opened.edge_id,
    }  # fmt: skip

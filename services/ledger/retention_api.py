"""`/retention`: terms, holds and what went; a hold is laid and lifted by an administrator, and is a
control fact.
"""

from typing import Any

import msgspec
from aiohttp import web

from services.ledger import answers, params, retention
from services.ledger.answers import Handler
from services.ledger.api import Api
from services.ledger.database import QUERIES
from services.ledger.params import refuse
from services.ledger.retention import HOLD_BY
from shared import errors
from shared.bus import BusError
from shared.errors import RefusedError
from shared.ids import new_id

REASON_CHARACTERS_MAX = 1_000
DROPS_SHOWN = 100


def handlers(api: Api) -> dict[str, Handler]:
    async def show(request: web.Request) -> web.StreamResponse:
        await api.identify_admin(request, "/retention")
        report = api.book()
        holds = [dict(row) for row in await report.fetch(QUERIES["retention_holds"])]
        drops = await report.fetch("SELECT * FROM retention_drop ORDER BY n DESC LIMIT $1", DROPS_SHOWN)
        return answers.json_answer(
            {
                "terms_days": msgspec.structs.asdict(api.terms),
                "holds": [_shown(row) for row in holds if row["after"] is not None],
                "drops": [
                    {"day": r["day"], "source": r["source"], "rows": r["rows"], "at_ms": r["at_ms"], "unsound": r["unsound"],
                     "sha256": r["sha256"].hex() if r["sha256"] else None}
                    for r in drops
                ],
            }
        )  # fmt: skip

    async def hold(request: web.Request) -> web.StreamResponse:
        caller = await api.identify_admin(request, "/retention/hold", write=True)
        after = _hold(await answers.json_body(request))
        hold_id = new_id()
        await _tell(api, hold_id, "created", after, caller, request)
        return answers.json_answer({"id": hold_id, **after})

    async def lift(request: web.Request) -> web.StreamResponse:
        caller = await api.identify_admin(request, "/retention/hold/{id}", write=True)
        hold_id = params.text(request.match_info, "id") or ""
        known = {
            row["entity_id"] for row in await api.book().fetch(QUERIES["retention_holds"]) if row["after"] is not None
        }
        if hold_id not in known:
            return answers.json_answer({"detail": {"message": f"Hold with ID {hold_id} not found"}}, status=404)
        await _tell(api, hold_id, "deleted", None, caller, request)
        return answers.json_answer({"id": hold_id, "deleted": True})

    return {"/retention": show, "/retention/hold": hold, "/retention/hold/{id}": lift}


async def _tell(
    api: Api, hold_id: str, action: str, after: dict[str, Any] | None, caller: Any, request: web.Request
) -> None:
    try:
        await api.teller.tell("hold", hold_id, action, after, caller, request.headers.get("x-forwarded-for"))
    except BusError:
        raise RefusedError(errors.policy_unavailable()) from None


def _hold(body: dict[str, Any]) -> dict[str, Any]:
    for name in body:
        if name not in ("by", "value", "reason", *HOLD_BY):
            refuse(str(name)[:80], f"isn't known; a hold is one of {', '.join(HOLD_BY)}, and a reason")
    given = {name: body[name] for name in HOLD_BY if body.get(name) is not None}
    if body.get("by") is not None:
        if body["by"] not in HOLD_BY:
            refuse("by", f"must be one of {', '.join(HOLD_BY)}")
        given[body["by"]] = body.get("value")
    if len(given) != 1:
        refuse("by", f"a hold names exactly one of {', '.join(HOLD_BY)}")
    ((by, value),) = given.items()
    if not isinstance(value, str) or not value:
        refuse(by, "must be a text")
    value = params.checked_text(by, value)
    if by == "key":
        value = params.key_digest(value) or ""
    if by == "day":
        params.day({"day": value}, "day")
    reason = body.get("reason") or ""
    if not isinstance(reason, str) or len(reason) > REASON_CHARACTERS_MAX:
        refuse("reason", f"must be a text of at most {REASON_CHARACTERS_MAX} characters")
    return {"by": by, "value": value, "reason": params.checked_text("reason", reason)}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    found = {hold.id: hold for hold in retention.holds([row])}.get(row["entity_id"])
    stored = msgspec.json.decode(row["after"])
    return {"id": row["entity_id"], "by": found.by if found else None, "value": found.value if found else None,
            "reason": stored.get("reason") if isinstance(stored, dict) else None}  # fmt: skip

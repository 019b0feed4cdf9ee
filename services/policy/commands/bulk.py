"""/key/bulk_update, /user/bulk_update, /team/bulk_member_add (LiteLLM's shapes): many of one change
in one call.

Each item stands or falls by itself, and the answer says which. What stands lands in one atomic
batch, so all of it or none.
"""

from collections.abc import Callable
from typing import Any

import msgspec

from services.policy import rights
from services.policy.commands import generic, key_queries, keys, members, teams, users
from services.policy.plan import Call, Change, Plan, Wanted
from shared.entities import KEY
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.ids import KeyDigest

ITEMS_MAX = 450
"""With what goes along (an alias), within one batch of the broker."""


class Done(msgspec.Struct, frozen=True):
    item: dict[str, Any]
    plan: Plan | None
    reason: str = ""
    """Why it was refused."""


def update_keys(call: Call) -> Plan:
    """`keys`: objects as /key/update takes them, but for `spend`, for which the book is asked."""
    done, changes = _each(call, "/key/update", keys.update, _items(call, "keys"))
    succeeded, failed = [], []
    for each in done:
        sent = each.item.get("key") or each.item.get("key_alias")
        if each.plan is not None:
            succeeded.append({"key": sent, "key_info": each.plan.answer})
            continue
        known = call.directory.keys.get(sent) if isinstance(sent, str) else None  # type: ignore[call-overload]
        seen = known is not None and rights.may_touch_key(call, known, "/key/info")
        info = KEY.row(known, spend=None) if known is not None and seen else None
        failed.append({"key": sent, "key_info": info, "failed_reason": each.reason})
    answer = {"total_requested": len(done), "successful_updates": succeeded, "failed_updates": failed}
    return _plan(answer, changes, done)


def update_team_keys(call: Call) -> Plan:
    """`update_fields` for `key_ids`, or for all keys of the team that are neither blocked nor over
    (`all_keys_in_team`).
    """
    team = teams.named_team(call)
    teams.need(call, team)
    wanted = fields.mapping("update_fields", call.body.get("update_fields"))
    if not wanted:
        fields.refuse("update_fields", "must say what is to change")
    of_team = {key.token: key for key in call.directory.team_keys(team.team_id) if key.replaced_by is None}
    if fields.flag("all_keys_in_team", call.body.get("all_keys_in_team")):
        names = [token for token, key in of_team.items() if key_queries.status(key, call.now_ms) == "active"]
        if len(names) > ITEMS_MAX:
            fields.refuse("all_keys_in_team", f"would be more than {ITEMS_MAX}: name them in `key_ids`")
    else:
        names = [KeyDigest(each) for each in generic.names(call, "key_ids", ITEMS_MAX)]
    foreign = [each for each in names if each not in of_team]
    if foreign:
        fields.refuse("key_ids", f"holds {len(foreign)} that are no keys of this team")
    items = [{**wanted, "key": each} for each in names]
    if not items:
        return Plan({"total_requested": 0, "successful_updates": [], "failed_updates": []})
    return update_keys(msgspec.structs.replace(call, body={"keys": items}))


def update_permissions(call: Call) -> Plan:
    """`permissions` added to what plain members of the teams may do with their keys."""
    generic.need(call, call.is_admin, "Only proxy admins can bulk-update team permissions")
    wanted = generic.names(call, "permissions", fields.TEXTS_MAX)
    if fields.flag("apply_to_all_teams", call.body.get("apply_to_all_teams")):
        found = list(call.directory.teams)
    else:
        found = generic.names(call, "team_ids", ITEMS_MAX)
    if len(found) > ITEMS_MAX:
        fields.refuse("apply_to_all_teams", f"would be more than {ITEMS_MAX}: name them in `team_ids`")
    changes: list[Change] = []
    for team_id in found:
        body = {"team_id": team_id, "team_member_permissions": teams.permissions_with(call, team_id, wanted)}
        changes += teams.permissions_update(_as(call, "/team/permissions_update", body)).changes
    answer = {"message": f"{len(found)} teams updated", "teams_updated": len(found), "permissions_appended": wanted}
    return Plan(answer, changes)


def update_users(call: Call) -> Plan:
    """`users`: objects as /user/update takes them; or `all_users: true` with `user_updates`."""
    if fields.flag("all_users", call.body.get("all_users")):
        wanted = fields.mapping("user_updates", call.body.get("user_updates"))
        if not wanted:
            fields.refuse("user_updates", "must say what is to change")
        if len(call.directory.users) > ITEMS_MAX:
            fields.refuse("all_users", f"would be more than {ITEMS_MAX}: name them in `users`")
        items = [{**wanted, "user_id": user_id} for user_id in call.directory.users]
    else:
        items = _items(call, "users")
    done, changes = _each(call, "/user/update", users.update, items)
    results = [
        {
            "user_id": each.item.get("user_id"),
            "user_email": each.item.get("user_email"),
            "success": each.plan is not None,
            "error": each.reason or None,
            "updated_user": None if each.plan is None else each.plan.answer["data"],
        }
        for each in done
    ]
    return _plan(_counted(results, "successful_updates", "failed_updates"), changes, done)


def add_members(call: Call) -> Plan:
    """`members`: as /team/member_add takes them; or `all_users: true`. Who can't be added keeps
    nobody else out.
    """
    team = teams.named_team(call)
    teams.need(call, team)
    if fields.flag("all_users", call.body.get("all_users")):
        if not call.is_admin:
            fields.refuse("all_users", "is for proxy admins")
        role = call.body.get("role") or "user"
        wanted: list[Any] = [
            {"role": role, "user_id": user_id} for user_id in call.directory.users if team.role_of(user_id) is None
        ]
    else:
        wanted = list(call.body.get("members") or []) if isinstance(call.body.get("members"), list) else []
    if not 0 < len(wanted) <= ITEMS_MAX:
        fields.refuse("members", f"must name 1 to {ITEMS_MAX} members")
    most = call.body.get("max_budget_in_team")
    results, good = [], []
    seen: set[Any] = set()
    for each in wanted:
        named = each if isinstance(each, dict) else {}
        who = (named.get("user_id"), named.get("user_email"))
        error = None
        try:
            if most is not None:
                named = {"max_budget_in_team": most, **named}
            if str(who) in seen:
                fields.refuse("members", "names somebody twice")
            seen.add(str(who))
            members.add(_as(call, "/team/member_add", {"team_id": team.team_id, "member": named or each}))
            good.append(named)
        except RefusedError as refused:
            error = refused.refusal.message
        results.append({"user_id": who[0], "user_email": who[1], "success": error is None, "error": error})
    plan = teams.answered(team, [])
    if good:
        plan = members.add_all(_as(call, "/team/member_add", {"team_id": team.team_id}), good)
    answer = _counted(results, "successful_additions", "failed_additions")
    return Plan({"team_id": team.team_id, **answer, "updated_team": plan.answer}, plan.changes, spend=plan.spend)


def _items(call: Call, field: str) -> list[dict[str, Any]]:
    found = fields.mappings(field, call.body.get(field))
    if not found or len(found) > ITEMS_MAX:
        fields.refuse(field, f"must hold 1 to {ITEMS_MAX} objects")
    return found


def _each(
    call: Call, route: str, command: Callable[[Call], Plan], items: list[dict[str, Any]]
) -> tuple[list[Done], list[Change]]:
    """Every item as a call of its own; one that would change what an earlier one changes is
    refused.
    """
    done: list[Done] = []
    changes: dict[str, Change] = {}
    for item in items:
        try:
            plan = command(_as(call, route, item))
            if any(each.subject in changes for each in plan.changes):
                fields.refuse("key", "names something that another item of this call changes")
        except RefusedError as refused:
            done.append(Done(item, None, refused.refusal.message))
            continue
        except Wanted:
            done.append(Done(item, None, "spend is set one key at a time: /key/{key}/reset_spend"))
            continue
        changes |= {each.subject: each for each in plan.changes}
        done.append(Done(item, plan))
    return done, list(changes.values())


def _as(call: Call, route: str, body: dict[str, Any]) -> Call:
    return msgspec.structs.replace(call, route=route, body=body)


def _plan(answer: dict[str, Any], changes: list[Change], done: list[Done]) -> Plan:
    plans = [each.plan for each in done if each.plan is not None]
    unknown = list(dict.fromkeys(name for plan in plans for name in plan.unknown))
    not_enforced = list(dict.fromkeys(name for plan in plans for name in plan.not_enforced))
    return Plan(answer, changes, unknown, not_enforced, [each for plan in plans for each in plan.spend])


def _counted(results: list[dict[str, Any]], good: str, bad: str) -> dict[str, Any]:
    fine = sum(each["success"] for each in results)
    return {"results": results, "total_requested": len(results), good: fine, bad: len(results) - fine}

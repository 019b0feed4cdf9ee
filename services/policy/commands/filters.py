"""/user/filter/ui, /team/filter/ui: what somebody types a part of, to find who or what they mean.

LiteLLM lets everybody search everybody. Here whoever sees all does; an administrator of an
organisation or a team finds those who are in it.
"""

from typing import Any

from services.policy import relations
from services.policy.commands import generic
from services.policy.plan import Call, Plan
from shared.entities import TEAM, Team, User

PAGE_SIZE = 50


def users(call: Call) -> Plan:
    """By `user_id`, `user_email`, or either of them (`search`)."""
    query = call.query
    parts = {name: query[name] for name in ("user_id", "user_email") if query.get(name)}
    search = query.get("search") or ""
    seen = None if call.sees_all else _known_to(call)
    generic.need(call, seen is None or bool(seen), "Only admins may search users.")
    if search:
        found = _either(call, "user", search, "user_id", "user_email")
    elif parts:
        found = _all_of(call, "user", parts)
    elif seen is not None:
        found = [call.directory.users[each] for each in sorted(seen) if each in call.directory.users]
    else:
        return Plan(
            [_user(each) for each in _page(call, call.directory.ordered("user", "created_at_ms", descending=True))]
        )
    found = [each for each in found if seen is None or each.user_id in seen]
    found = [each for each in found if all(_has(each, name, part) for name, part in parts.items())]
    return Plan([_user(each) for each in _page(call, _newest(found))])


def teams(call: Call) -> Plan:
    """By `team_id`, `team_alias`, or both. For admins of everything."""
    parts = {name: call.query[name] for name in ("team_id", "team_alias") if call.query.get(name)}
    if not parts:
        page = _page(call, call.directory.ordered("team", "created_at_ms", descending=True))
    else:
        page = _page(call, _newest(_all_of(call, "team", parts)))
    return Plan([TEAM.row(each, spend=None) for each in page])


def _known_to(call: Call) -> set[str]:
    """The ids of who is in what the caller administers."""
    directory, user_id = call.directory, call.actor.user_id
    if user_id is None:
        return set()
    tables = directory.tables["organization"]
    found = {each for of in relations.administered(directory, user_id) for each in tables[of].member_ids}
    mine: list[Team] = directory.find("team", "member_ids", user_id)
    return found | {each for team in mine if team.role_of(user_id) == "admin" for each in team.member_ids}


def _all_of(call: Call, kind: str, parts: dict[str, str]) -> list[Any]:
    first, *more = parts.items()
    found = call.directory.containing(kind, *first)
    return [each for each in found if all(_has(each, name, part) for name, part in more)]


def _either(call: Call, kind: str, part: str, *names: str) -> list[Any]:
    by_id = {id(each): each for name in names for each in call.directory.containing(kind, name, part)}
    return [*by_id.values()]


def _has(entity: Any, name: str, part: str) -> bool:
    return part.casefold() in str(getattr(entity, name) or "").casefold()


def _newest(found: list[Any]) -> list[Any]:
    return sorted(found, key=lambda each: each.created_at_ms, reverse=True)


def _page(call: Call, found: Any) -> list[Any]:
    return generic.page(call, found, "page_size", PAGE_SIZE).items


def _user(user: User) -> dict[str, str | None]:
    return {"user_id": user.user_id, "user_email": user.user_email, "user_alias": user.user_alias}

"""/user/list: a page of users, narrowed as LiteLLM's query narrows them."""

from collections.abc import Callable, Sequence

from services.policy.commands import generic, users
from services.policy.plan import Call, Plan
from shared.entities import USER, User

SORTABLE = ("user_id", "user_email", "user_alias", "user_role", "created_at")

Test = Callable[[User], bool]


def list_users(call: Call) -> Plan:
    seen = None if call.sees_all else users.administered_members(call)
    generic.need(call, seen is None or bool(seen), "Only admins may list users.")
    attribute, descending = _order(call.query)
    narrow, tests = _narrowed(call)
    found: Sequence[User]
    if seen is None and not tests:
        found = call.directory.ordered("user", attribute, descending=descending)
    else:
        if seen is not None:
            narrow.append([call.directory.users[each] for each in seen if each in call.directory.users])
            tests.append(lambda user: user.user_id in seen)
        fewest = min(narrow, key=len)
        matching = [user for user in fewest if all(test(user) for test in tests)]
        found = generic.in_order(USER, matching, attribute, descending=descending)
    begins = generic.begins_at(call, USER, found, attribute, descending=descending)
    page = generic.page(call, found, "page_size", 25, begins=begins)
    rows = [users.shown(call, user, key_count=users.key_count(call, user)) for user in page.items]
    return Plan(
        {
            "users": [row for row, _ in rows],
            "total": page.total,
            "page": page.number,
            "page_size": page.size,
            "total_pages": page.pages,
            "next_cursor": generic.next_cursor(USER, page, attribute),
        },
        spend=[each for _, of_user in rows for each in of_user],
    )


def _narrowed(call: Call) -> tuple[list[list[User]], list[Test]]:
    """(those among whom to look, by each thing that was asked; what each must be)."""
    query, directory = call.query, call.directory
    narrow: list[list[User]] = []
    tests: list[Test] = []

    def among(user_ids: set[str]) -> None:
        narrow.append([directory.users[each] for each in user_ids if each in directory.users])
        tests.append(lambda user: user.user_id in user_ids)

    if ids := _names(query.get("user_ids")):
        among(ids)
    if team_id := query.get("team"):
        team = directory.teams.get(team_id)
        among(set() if team is None else set(team.member_ids))
    if organizations := _names(query.get("organization_ids")):
        table = directory.tables["organization"]
        among({user for each in organizations if each in table for user in table[each].member_ids})
    if sso := _names(query.get("sso_user_ids")):
        narrow.append([user for each in sso for user in directory.find("user", "sso_user_id", each)])
        tests.append(lambda user: user.extra.get("sso_user_id") in sso)
    if role := query.get("role"):
        narrow.append(directory.find("user", "user_role", role))
        tests.append(lambda user: user.user_role == role)
    for name, attributes in (
        ("user_email", ("user_email",)),
        ("search", ("user_id", "user_email", "user_alias")),
    ):
        if part := query.get(name):
            by_id = {each.user_id: each for of in attributes for each in directory.containing("user", of, part)}
            narrow.append([*by_id.values()])
            tests.append(lambda user, by_id=by_id: user.user_id in by_id)  # type: ignore[misc]
    return narrow, tests


def _names(value: str | None) -> set[str]:
    return {each for each in (value or "").split(",") if each}


def _order(query: dict[str, str]) -> tuple[str, bool]:
    """(attribute, descending): the newest first unless asked otherwise."""
    by, descending = generic.order(query, SORTABLE)
    if not by:
        return "created_at_ms", True
    return "created_at_ms" if by == "created_at" else by, descending

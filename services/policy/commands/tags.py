"""/tag/new, /tag/update, /tag/delete: what somebody said about a tag. For proxy admins.

A tag needs nobody to make it: calls have it, and the ledger knows them (/tag/list, /tag/info show
both). Its `models` (ids of deployments, or models) have the tag as if their own entries said so:
with `enable_tag_filtering` calls with the tag go there.
"""

from typing import Any

from services.policy.commands import budgets, generic
from services.policy.plan import Call, Plan, change
from shared import errors
from shared.entities import TAG, Tag
from shared.entities import readers as fields
from shared.errors import RefusedError
from shared.grant import TAG_CHARACTERS_MAX

TAGS_MAX = 10_000


def new(call: Call) -> Plan:
    name = _name(call)
    table = call.directory.tables["tag"]
    if name in table:
        raise RefusedError(errors.bad_request(f"Tag {name} already exists", "name"))
    if len(table) >= TAGS_MAX:
        raise RefusedError(errors.bad_request(f"There are {TAGS_MAX} tags already"))
    return _save(call, Tag(name=name, created_at_ms=call.now_ms, created_by=call.actor.user_id), None)


def update(call: Call) -> Plan:
    before = _named(call)
    return _save(call, before, before)


def delete(call: Call) -> Plan:
    before = _named(call)
    message = f"Tag {before.name} deleted successfully"
    return Plan({"message": message}, [change(call.directory, TAG, "deleted", before, None)])


def _save(call: Call, tag: Tag, before: Tag | None) -> Plan:
    made = TAG.merge(tag, call.body)
    after = generic.stamped(call, made.entity)
    budgets.check(call, tag, after)
    TAG.check_size(after)
    said = "created" if before is None else "updated"
    answer = {"message": f"Tag {after.name} {said} successfully", "tag": _row(call, after)}
    idle = ["models"] if call.body.get("models") and not call.catalog.filters_tags else []
    return Plan(answer, [change(call.directory, TAG, said, before, after)], made.unknown, [*made.not_enforced, *idle])


def _row(call: Call, tag: Tag) -> dict[str, Any]:
    found = {id_: each.model_name for id_, each in call.catalog.deployments.items() if id_ in tag.models}
    return TAG.row(tag, model_info=found, litellm_budget_table=budgets.shown(call, TAG, tag))


def _name(call: Call) -> str:
    name = fields.text("name", call.body.get("name"))
    if name is None or len(name) > TAG_CHARACTERS_MAX:
        fields.refuse("name", f"must be the tag, at most {TAG_CHARACTERS_MAX} characters")
    return name


def _named(call: Call) -> Tag:
    name = _name(call)
    return generic.named(call, TAG, name, "name", f"Tag {name} not found")

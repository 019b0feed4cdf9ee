"""The public model hub: which models anybody may read about, and what.

`litellm_settings.public_model_groups` names them; `/model_group/make_public` does so at run time,
and then wins over the file.
"""

from collections.abc import Callable
from typing import Any

from services.policy.commands import generic
from services.policy.commands.models import group_row
from services.policy.plan import Call, Plan, setting
from shared.entities import readers as fields

GROUPS_MAX = 1_000
NAME = "public_model_groups"


def make_public(call: Call) -> Plan:
    """LiteLLM's: the list as a whole, also an empty one."""
    groups = fields.texts("model_groups", call.body.get("model_groups"))
    if groups is None:
        fields.refuse("model_groups", "must be a list of model names")
    groups = list(dict.fromkeys(groups))
    if len(groups) > GROUPS_MAX:
        fields.refuse("model_groups", f"must name at most {GROUPS_MAX}")
    for group in groups:
        if group not in call.catalog.models:
            fields.refuse("model_groups", f"{group!r} is no model of this gateway")
    fact = setting(call.directory, NAME, groups, "api", call.now_ms)
    return Plan({"message": "Successfully updated public model groups", "public_model_groups": groups}, [fact])


def hub(call: Call) -> Plan:
    return Plan([_row(call, name) for name in _public(call)])


def hub_page(call: Call) -> Plan:
    page = generic.page(call, _public(call), default=50, most=GROUPS_MAX)
    rows = [_row(call, name) for name in page.items]
    return Plan(
        {
            "data": rows,
            "total_count": page.total,
            "current_page": page.number,
            "total_pages": page.pages,
            "size": page.size,
        }
    )


def providers(call: Call) -> Plan:
    return _facet(call, lambda row: row["providers"])


def modes(call: Call) -> Plan:
    return _facet(call, lambda row: [] if row["mode"] is None else [row["mode"]])


def features(call: Call) -> Plan:
    return _facet(call, lambda row: [name for name, has in row.items() if name.startswith("supports_") and has is True])


def _facet(call: Call, values: Callable[[dict[str, Any]], list[str]]) -> Plan:
    """What the public models have of something: to filter them by."""
    found = sorted({value for name in _public(call) for value in values(_row(call, name))})
    page = generic.page(call, found, default=50, most=GROUPS_MAX)
    return Plan(
        {"data": page.items, "current_page": page.number, "size": page.size, "has_more": page.number < page.pages}
    )


def _public(call: Call) -> list[str]:
    """In the order they were named; what isn't served any more is left out."""
    setting = call.directory.settings.get(NAME)
    named = call.catalog.public_model_groups if setting is None else setting.value
    return [name for name in named if name in call.catalog.models] if isinstance(named, list | tuple) else []


def _row(call: Call, name: str) -> dict[str, Any]:
    """Whether it answers, the edge knows: it fills in the last three."""
    return {
        **group_row(name, call.catalog.models[name], call),
        "is_public_model_group": True,
        "health_status": None,
        "health_response_time": None,
        "health_checked_at": None,
    }

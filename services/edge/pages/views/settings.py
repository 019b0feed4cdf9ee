"""What is configured, and by what: the file, the environment, or somebody while we run."""

import asyncio
from typing import Any

from services.edge.pages.shown import Value
from services.edge.pages.view import Cell, Look, Shown, Table, at, link, listing, marked, text_of, when

SECTION = "general_settings"
"""The one of which some can be set while the gateway runs."""
OF_THE_ENVIRONMENT = "os.environ/"


async def show(look: Look) -> Shown:
    """Read-only, and secrets are never shown. What was set while the gateway runs wins over the
    file until it is taken back.
    """
    say, found = look.say, look.api.configuration
    rows = {each.name: [marked(each.name, "mono"), text_of(each.value), _told(look, each)] for each in found.values}
    rows |= await _at_run_time(look)
    rows |= {
        each.name: [marked(each.name, "mono"), text_of(each.value), say("settings.environment")]
        for each in look.api.environment()
    }
    columns = [(say("settings.name"), "t"), (say("settings.value"), "t"), (say("settings.from"), "t")]
    tables = [Table(title=say("settings.values"), note=say("settings.note"), columns=columns, rows=list(rows.values()))]
    if found.warnings:
        warned: list[list[Cell]] = [[marked(each, "warn")] for each in found.warnings]
        tables.insert(0, Table(title=say("settings.warnings"), columns=[(say("settings.warned"), "t")], rows=warned))
    return Shown(say("nav.settings"), listing(lead=say("settings.lead"), tables=tables))


def _told(look: Look, each: Value) -> str:
    if not each.references:
        return look.say("settings.file")
    names = ", ".join(name.removeprefix(OF_THE_ENVIRONMENT) for name in each.references)
    of_manager = any(not name.startswith(OF_THE_ENVIRONMENT) for name in each.references)
    return look.say("settings.of_manager" if of_manager else "settings.of_environment", names=names)


async def _at_run_time(look: Look) -> dict[str, list[Cell]]:
    """Rows of what somebody set, by the place in the file it goes before."""
    listed = await look.api.policy("/config/list", {"config_type": SECTION})
    stored = [row for row in listed if row["source"] == "db"]
    changes = await asyncio.gather(*(_last_change(look, row["field_name"]) for row in stored))
    return {
        f"{SECTION}.{row['field_name']}": [
            marked(f"{SECTION}.{row['field_name']}", "mono"),
            text_of(row["field_value"]),
            _by_whom(look, change),
        ]
        for row, change in zip(stored, changes, strict=True)
    }


async def _last_change(look: Look, name: str) -> dict[str, Any] | None:
    """Of the audit log; None: it is older than what is kept, or not in the book yet."""
    query = {"table_name": "LiteLLM_Config", "object_id": name, "page_size": "1"}
    found: list[dict[str, Any]] = (await look.api.ledger("/audit", query))["audit_logs"]
    return found[0] if found else None


def _by_whom(look: Look, change: dict[str, Any] | None) -> Cell:
    if change is None:
        return look.say("settings.run_time")
    by, when_ = change.get("changed_by") or look.say("nobody"), when(change["updated_at"])
    return link(look.say("settings.run_time_by", by=by, at=when_), at("audit", change["id"]))

"""Retention as the ledger does it: what the configuration says, when it runs, and holds by the API.
On a real PostgreSQL.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from nats.aio.client import Client

from services.ledger import config as ledger_config
from services.ledger import retention
from services.ledger.retention_loop import Schedule
from shared.settings import SettingsError
from shared.startup import Source
from tests.ledger.ledger_kit import ALICE, Book, Policy, Running, Told, eventually, findings, running
from tests.ledger.retention_kit import NOW, days_left, fill
from tests.ledger.servers import Nats


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("30d", 30),
        ("4w", 28),
        ("12mo", 360),
        ("1y", 365),
        ("48h", 2),
        ("25h", 2),
        ("86400s", 1),
        ("7", 7),
        (None, None),
        ("", None),
    ],
)
def test_periods(text: str | None, days: int | None) -> None:
    assert retention.days("x", text) == days


@pytest.mark.parametrize("text", ["soon", "0d", "-3d", "3.5d", "d", "999999d", "30 days"])
def test_wrong_periods_are_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="maximum_x"):
        retention.days("maximum_x", text)


async def test_holds_are_laid_and_lifted_by_administrators_and_are_facts(ledger: Running, book: Book) -> None:
    status, laid = await ledger.post("/retention/hold", {"key": "sk-alice", "reason": "case 12"})
    assert (status, laid["by"], laid["value"], laid["reason"]) == (200, "key", ALICE.key_sha256, "case 12")

    async def shown() -> Any:
        _, body, _ = await ledger.get("/retention", key="sk-viewer")
        return [(hold["id"], hold["value"]) for hold in body["holds"]]

    async def is_shown() -> bool:
        return bool(await shown() == [(laid["id"], ALICE.key_sha256)])

    await eventually(is_shown)
    _, audit, _ = await ledger.get("/audit", table_name="Tollgate_hold")
    assert [(row["action"], row["changed_by"]) for row in audit["audit_logs"]] == [("created", "default_user_id")]
    assert (await ledger.post("/retention/hold", {"tag": "x"}, key="sk-viewer"))[0] == 403
    assert (await ledger.get("/retention", key="sk-alice"))[0] == 401  # as LiteLLM's /audit
    for wrong in (
        {},
        {"tag": "a", "team": "b"},
        {"by": "colour", "value": "x"},
        {"tag": 5},
        {"day": "soon"},
        {"tag": "a", "x": 1},
        {"tag": ""},
    ):
        status, told = await ledger.post("/retention/hold", wrong)
        assert (status, told["error"]["type"]) == (400, "invalid_request_error"), wrong
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer sk-admin"}) as http:
        async with http.delete(f"{ledger.url}/retention/hold/{laid['id']}") as answer:
            assert answer.status == 200
        async with http.delete(f"{ledger.url}/retention/hold/nobody") as answer:
            assert answer.status == 404

    async def is_lifted() -> bool:
        return bool(await shown() == [])

    await eventually(is_lifted)


async def test_a_ledger_does_it_by_itself_and_says_so(
    nats_server: Nats, client: Client, policy: Policy, book: Book, capsys: Told
) -> None:
    await fill(book)
    async with running(nats_server.url, book.url, spend_logs_retention="5d") as ledger:

        async def gone() -> bool:
            return await days_left(book) == [0, 1, 5]

        await eventually(gone)

        async def told() -> Any:
            _, body, _ = await ledger.get("/audit", table_name="Tollgate_retention", sort_order="asc")
            return [row["action"] for row in body["audit_logs"]] == ["created", "updated"] and body["audit_logs"]

        entries = await eventually(told)
    assert sorted(drop["rows"] for drop in entries[1]["updated_values"]["drops"]) == [3, 4]
    assert entries[0]["changed_by"] == "tollgate_ledger"
    assert await findings(book, capsys) == []


@pytest.mark.parametrize(("interval", "cron"), [("never", ""), ("", "every day"), ("", "99 * * * *")])
def test_wrong_schedules_are_refused(interval: str, cron: str) -> None:
    with pytest.raises(SettingsError):
        Schedule(interval, cron)


def test_schedules() -> None:
    assert Schedule("", "").next(NOW, None) == NOW
    assert Schedule("2d", "").next(NOW, NOW) == NOW + timedelta(days=2)
    assert Schedule("", "30 3 * * *").next(datetime(2026, 11, 26, 4, tzinfo=UTC), None) == datetime(
        2026, 11, 27, 3, 30, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("general", "term"),
    [
        ("{}", ""),
        ("{maximum_spend_logs_retention_period: 30d}", "30d"),
        ("{disable_spend_logs: true}", "1d"),
        ("{disable_spend_logs: true, maximum_spend_logs_retention_period: 30d}", "1d"),
        ("{disable_spend_logs: false, maximum_spend_logs_retention_period: 30d}", "30d"),
    ],
)
async def test_who_wants_no_rows_keeps_them_a_day(general: str, term: str, tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(f"general_settings: {general}\n")
    source = await Source.open(str(file), {"TOLLGATE_DATABASE_URL": "postgresql://u@h/d"}, "ledger")
    assert ledger_config.completed(source).spend_logs_retention == term
    await source.close()

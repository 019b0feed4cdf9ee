"""Alerts: each fault told once, late rather than never, and sums that are the book's. On a real
PostgreSQL, and a server that plays Slack.
"""

import asyncio
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from services.ledger.alerts import channels, detect, reports, settings
from services.ledger.alerts.channels import Channels
from services.ledger.alerts.run import Alerts
from services.ledger.alerts.settings import AlertSettings, Smtp
from services.ledger.alerts.watch import Watch
from services.ledger.sinks.run import Sinks
from shared.config import ConfigError, alert_types
from shared.facts import Settled
from shared.money import format_usd
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.ledger.alerts_kit import NOON, Running, Slack, wanted
from tests.ledger.ledger_kit import (
    ALICE,
    BOB,
    Book,
    control,
    eventually,
    opened,
    opened_at,
    post_changes,
    refused,
    settled,
)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quicker = {"LOOK_S": 0.05, "CHECK_S": 0.05, "SETTLE_S": 0.3, "PAUSE_S_MIN": 0.05, "PAUSE_S_MAX": 0.1}
    for name, value in quicker.items():
        monkeypatch.setattr(f"services.ledger.alerts.run.{name}", value)


async def test_every_fault_is_told_once(book: Book, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ledger.alerts.run.SETTLE_S", 0.0)
    at_ms = int(NOON.timestamp() * 1000) + 300_000  # within one span of the alerts' ids, whatever the time is
    chosen = wanted(
        slack, "llm_exceptions", "llm_too_slow", "failed_tracking_spend", "outage_alerts", "llm_requests_hanging",
        "new_virtual_key_created", "virtual_key_deleted", "new_model_added", threshold_s=60,
    )  # fmt: skip
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    alerts = Alerts(book.database, None, chosen, Channels(chosen, outbound), asyncio.Event(), lambda: at_ms / 1000)
    connection = await book.database.writer()

    async def look() -> None:
        alerts._checked_at = 0.0  # outages and what hangs are looked at every time
        await alerts.find(connection)
        await alerts.send(connection)

    def failed(model: str) -> Settled:
        return settled(
            opened_at(at_ms - 9_000, model=model), outcome="provider_error", status=503, error_code="provider_503"
        )

    await book.post(failed("before anybody wanted to be told"), at=at_ms)
    await look()
    for _ in range(12):
        await book.post(failed("bad"), at=at_ms)
    slow = opened_at(at_ms - 62_000, model="late")
    hung = opened_at(at_ms - 120_000)
    free = settled(opened_at(at_ms - 1_000, model="free", price=None))
    good = settled(opened_at(at_ms - 1_000))
    await book.post(settled(slow, ended_at_ms=slow.at_ms + 61_000), free, refused(), good, hung, at=at_ms)
    await post_changes(
        book,
        control(kind="key", entity_id="ab" * 32, after={"key_alias": "new<key>`"}),
        control(kind="key", entity_id="cd" * 32, action="deleted", before={"key_alias": "gone"}, after=None),
        control(kind="model", entity_id="m1", after={"model_name": "gpt-9"}),
        control(kind="team", entity_id="quiet", after={"team_alias": "nobody asked for these"}),
    )
    for _ in range(3):
        await look()
    connection.terminate()
    await outbound.close()
    assert sorted(slack.types()) == sorted(
        ["llm_exceptions", "llm_too_slow", "failed_tracking_spend", "llm_requests_hanging", "new_virtual_key_created",
         "virtual_key_deleted", "new_model_added", "outage_alerts"]
    )  # fmt: skip
    by_type = dict(zip(slack.types(), slack.texts(), strict=True))
    assert "`bad`" in by_type["llm_exceptions"] and "Times: 12" in by_type["llm_exceptions"]
    assert "Major outage" in by_type["outage_alerts"]
    assert "61.0 s" in by_type["llm_too_slow"] and "`free`" in by_type["failed_tracking_spend"]
    assert "new&lt;key&gt;" in by_type["new_virtual_key_created"] and ADMIN_ID in by_type["new_virtual_key_created"]


ADMIN_ID = "default_user_id"


@pytest.mark.parametrize("mood", [500, 429, 404])
async def test_slack_away_is_told_late_and_nothing_is_lost_or_said_twice(book: Book, slack: Slack, mood: int) -> None:
    chosen = wanted(slack, "llm_exceptions")
    running = await Running(book, chosen).begun(book)
    slack.mood = mood
    for n in range(10):
        await book.post(settled(opened(model=f"m{n}"), outcome="timeout", status=504, error_code="provider_timeout"))

    async def tried() -> bool:
        return slack.refused >= 15

    await eventually(tried)
    await running.end(kill=True)
    slack.mood = 200
    again = Running(book, chosen)  # another ledger
    third = Running(book, chosen)

    async def told() -> bool:
        return len(slack.got) >= 10

    await eventually(told)
    await again.end()
    await third.end()
    assert len({text.split("Model: ")[1][:4] for text in slack.texts()}) == 10
    assert await book.value("SELECT count(*) FROM alert WHERE ended_at IS NULL") == 0


async def test_found_again_is_not_told_again(book: Book, slack: Slack) -> None:
    """Killed between finding and moving, as a ledger that never moved would be."""
    chosen = wanted(slack, "llm_exceptions")
    running = await Running(book, chosen).begun(book)
    await book.post(settled(outcome="timeout", status=504, error_code="provider_timeout"))

    async def told() -> bool:
        return bool(slack.got)

    await eventually(told)
    await running.end()
    await book.owner.execute("UPDATE sink_position SET batch = 0 WHERE sink = 'alerts' AND shard >= 0")
    running = Running(book, chosen)
    await asyncio.sleep(0.8)
    await running.end()
    assert len(slack.got) == 1


async def test_sinks_that_begin_leave_the_alerts_where_they_are(book: Book, slack: Slack) -> None:
    """Both keep their positions in one table. A ledger that starts again follows sinks anew, and
    what happened meanwhile is still told.
    """
    chosen = wanted(slack, "llm_exceptions")
    running = await Running(book, chosen).begun(book)
    await running.end()
    await book.post(settled(outcome="timeout", status=504, error_code="provider_timeout"))

    async def end_of(_stream: str) -> int:
        return 0

    def none_made(sink: Any) -> Any:
        raise AssertionError(sink)

    async def followed() -> bool:
        return bool(await book.value("SELECT count(*) FROM sink_position WHERE sink = 'audit_log'"))

    stopping = asyncio.Event()
    following = asyncio.create_task(Sinks(book.database, [], none_made, end_of, stopping).run())
    await eventually(followed)
    stopping.set()
    await following
    running = Running(book, chosen)

    async def told() -> bool:
        return bool(slack.got)

    await eventually(told)
    await running.end()


async def test_the_daily_reports_sums_are_the_books(book: Book, slack: Slack) -> None:
    facts = []
    for n in range(60):
        moment = NOON.replace(hour=n % 24, minute=n)
        of = opened_at(int(moment.timestamp() * 1000), model=f"model-{n % 13}", caller=ALICE if n % 3 else BOB)
        facts.append(
            settled(of, (n * 7, n), outcome="success" if n % 5 else "provider_error", status=200 if n % 5 else 502)
        )
    await book.post(*facts)
    noon = (NOON + timedelta(days=1)).timestamp()
    running = await Running(book, wanted(slack, "daily_reports"), lambda: noon).begun(book)

    async def told() -> bool:
        return bool(slack.got)

    await eventually(told)
    await running.end()
    (said,) = slack.texts()
    spent = sum(fact.cost_picousd or 0 for fact in facts)
    assert f"Spend: {format_usd(spent)} USD" in said
    assert f"Calls: 60, failed: {sum(1 for fact in facts if fact.outcome != 'success')}" in said
    assert f"Tokens: {sum(n * 7 for n in range(60))} in, {sum(range(60))} out" in said
    assert (await book.spend())[1] == spent, "and the rollups say the same"
    by_model: dict[str, int] = {}
    for fact in facts:
        by_model[fact.opened.model] = by_model.get(fact.opened.model, 0) + (fact.cost_picousd or 0)
    shown = sum(1 for name, amount in by_model.items() if f"`{name}`: {format_usd(amount)} USD" in said)
    assert shown == 10
    least = sorted(by_model.values(), reverse=True)[10:]
    assert f"and 3 more: {format_usd(sum(least))} USD" in said
    again = Running(book, wanted(slack, "daily_reports"), lambda: noon)
    await asyncio.sleep(0.5)
    await again.end()
    assert len(slack.got) == 1, "another ledger says it no second time"


async def test_a_broken_chain_and_odd_facts_are_told_whatever_types_are_wanted(book: Book, slack: Slack) -> None:
    running = await Running(book, wanted(slack, "llm_too_slow")).begun(book)
    await book.post(settled())
    await book.post(settled())
    await book.owner.execute("ALTER TABLE batch_log DISABLE TRIGGER append_only")
    fact = settled()
    await book.post(fact)
    await book.post(settled(fact.opened, (99, 99)))  # the same id, saying something else

    async def told(type: str) -> bool:
        return type in slack.types()

    await eventually(lambda: told("anomaly"))
    await running.end()
    await book.post(settled())
    await book.owner.execute(
        "UPDATE batch_log SET sha256 = sha256('changed') WHERE n = (SELECT max(n) - 1 FROM batch_log)"
    )
    await book.owner.execute("UPDATE sink_position SET batch = 1 WHERE sink = 'alerts' AND shard = 0")
    running = Running(book, wanted(slack))
    await eventually(lambda: told("chain_broken"))
    await running.end()


async def test_the_book_behind_is_told_after_a_while() -> None:
    chosen = AlertSettings(types=frozenset(), behind_s=60)
    assert detect.behind(chosen, 59, 5, 0) == []
    (alert,) = detect.behind(chosen, 61, 5, 1_000)
    assert alert.type == "book_behind" and alert.level == "High"


async def test_a_ledger_that_cannot_work_tells_of_itself_once_and_when_it_is_over(slack: Slack) -> None:
    now, reason = [0.0], [""]
    chosen = wanted(slack)
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    watch = Watch(
        chosen, Channels(chosen, outbound), lambda: reason[0] or None, "ledger-1", asyncio.Event(), lambda: now[0]
    )
    for seconds, trouble, mood, told in (
        (0, "", 200, []),
        (1, "database: ConnectionError", 200, []),
        (20, "database: ConnectionError", 200, []),
        (25, "", 200, []),
        (30, "database: ConnectionError", 200, []),
        (61, "database: ConnectionError", 500, []),
        (62, "database: ConnectionError", 200, []),
        (92, "database: ConnectionError", 200, ["db_exceptions"]),
        (93, "database: ConnectionError", 200, ["db_exceptions"]),
        (300, "database: ConnectionError", 200, ["db_exceptions"]),
        (301, "", 200, ["db_exceptions", "broker_degraded"]),
        (302, "", 200, ["db_exceptions", "broker_degraded"]),
    ):
        now[0], reason[0], slack.mood = float(seconds), trouble, mood
        await watch.look()
        assert slack.types() == told, seconds
    assert "`ledger-1`" in slack.texts()[0] and "works again" in slack.texts()[1]
    await outbound.close()


async def test_a_webhook_and_an_address_of_its_own_for_a_type(slack: Slack) -> None:
    chosen = settings.read(
        {"alerting": ["slack", "webhook"],
         "alert_to_webhook_url": {"llm_too_slow": [f"{slack.url}/services/slow", f"{slack.url}/services/too"]}},
        {"SLACK_WEBHOOK_URL": slack.url + "/services/all", "WEBHOOK_URL": slack.url + "/hook"},
    )  # fmt: skip
    assert chosen is not None and chosen.channels == ("slack", "webhook")
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    sending = Channels(chosen, outbound)
    alert = {
        "id": "x:1",
        "type": "llm_too_slow",
        "level": "Low",
        "message": "slow & <b>",
        "found": 3,
        "at_ms": 1_760_000_000_000,
    }
    await sending.send("slack", alert)
    await sending.send("slack", {**alert, "type": "llm_exceptions"})
    await sending.send("webhook", alert)
    await outbound.close()
    assert [path for path, _ in slack.got] == ["/services/slow", "/services/too", "/services/all", "/hook"]
    assert "slow &amp; &lt;b&gt;" in slack.texts()[0] and "Times: 3" in slack.texts()[0]
    hook = slack.got[-1][1]
    assert (hook["event"], hook["event_message"], hook["event_group"]) == ("llm_too_slow", "slow & <b>", "proxy")


async def test_mail_goes_to_a_real_conversation(tmp_path: Path) -> None:
    said: list[bytes] = []

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        in_data = False
        while line := await reader.readline():
            said.append(line)
            if in_data:
                if line == b".\r\n":
                    in_data = False
                    writer.write(b"250 taken\r\n")
            elif line.upper().startswith(b"DATA"):
                in_data = True
                writer.write(b"354 go on\r\n")
            elif line.upper().startswith(b"QUIT"):
                writer.write(b"221 bye\r\n")
                writer.close()
                return
            else:
                writer.write(b"250 ok\r\n")

    server = await asyncio.start_server(smtp, "127.0.0.1", 0)
    alert = {
        "id": "x:1",
        "type": "outage_alerts",
        "level": "High",
        "message": "Major outage\nBcc: evil",
        "found": 1,
        "at_ms": 0,
    }
    given = Smtp("127.0.0.1", server.sockets[0].getsockname()[1], "gw@example.com", ("ops@example.com",), tls=False)
    await asyncio.to_thread(channels.mail, given, alert)
    server.close()
    text = b"".join(said).decode()
    assert "Subject: [Tollgate] High: outage_alerts" in text and "RCPT TO:<ops@example.com>" in text.replace(
        "rcpt", "RCPT"
    )
    assert text.count("RCPT") + text.count("rcpt") == 1


def test_what_is_no_setting_is_refused_at_start() -> None:
    def read(general: dict[str, Any], **environ: str) -> AlertSettings | None:
        return settings.read(general, environ)

    assert read({}) is None and read({"alerting": []}) is None
    for general, environ in (
        ({"alerting": ["pager"]}, {}),
        ({"alerting": ["slack"]}, {}),
        ({"alerting": ["webhook"]}, {}),
        ({"alerting": ["email"]}, {"SMTP_HOST": "h", "SMTP_SENDER_EMAIL": "a@b"}),
        ({"alerting": ["slack"], "alert_types": ["llm_exception"]}, {"SLACK_WEBHOOK_URL": "u"}),
        ({"alerting": ["slack"], "alerting_args": {"daily_spend_per_user_threshold": 0}}, {"SLACK_WEBHOOK_URL": "u"}),
        ({"alerting": ["slack"], "alerting_threshold": -1}, {"SLACK_WEBHOOK_URL": "u"}),
        ({"alerting": ["slack"], "alert_to_webhook_url": {"llm_too_slow": 5}}, {}),
    ):
        with pytest.raises(ConfigError):
            read(general, **environ)
    found = read({"alerting": ["slack"]}, SLACK_WEBHOOK_URL="https://hooks.example/secret")
    assert found is not None and "secret" not in repr(found)
    assert found.wants("llm_exceptions") and not found.wants("virtual_key_deleted") and found.wants("chain_broken")
    found = read(
        {"alerting": ["slack"], "alert_types": ["virtual_key_deleted", "cooldown_deployment"]}, SLACK_WEBHOOK_URL="u"
    )
    assert (
        found is not None and found.types == {"virtual_key_deleted", "cooldown_deployment"} and found.wants("anomaly")
    )
    assert len({*alert_types.ON, *alert_types.ASKED_FOR, "db_exceptions"}) == 25, "all of LiteLLM's"


def test_which_reports_are_due() -> None:
    assert [one[0] for one in reports.due(date(2026, 11, 26))] == ["daily:2026-11-26"]
    assert [one[0] for one in reports.due(date(2026, 11, 30))] == ["daily:2026-11-30", "weekly:2026-11-30"]
    monthly = reports.due(date(2026, 12, 1))[1]
    assert monthly == ("monthly:2026-11", "spend_reports", date(2026, 11, 1), date(2026, 12, 1))
    empty = reports.report("x", "spend_reports", date(2026, 11, 1), date(2026, 12, 1), [], 0)
    assert "2026-11-01 to 2026-11-30" in empty.message and "No calls" in empty.message
    assert json.dumps(
        channels.slack(
            {**empty.__class__.__dict__, "type": "t", "level": "Low", "message": "m", "found": 1, "at_ms": 0}
        )
    )


def test_an_hour_that_costs_too_much() -> None:
    chosen = AlertSettings(types=frozenset({"user_spend_anomalies"}))
    assert detect.spend_anomaly(chosen, "h", 9.0, 0.0, 0) == [], "too little to matter"
    assert detect.spend_anomaly(chosen, "h", 50.0, 11.0, 0) == []
    assert detect.spend_anomaly(chosen, "h", 56.0, 11.0, 0)[0].id == "user_spend_anomalies:h"

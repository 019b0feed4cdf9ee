"""Alerts about deployments and users: regions that are out, who rests, models that end, calls that
fell back, users who spend too much.
"""

import asyncio
from datetime import date, timedelta
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from services.ledger.alerts import deployments, detect, served
from services.ledger.alerts.channels import Channels
from services.ledger.alerts.rests import KNOWN_MAX, Rests
from services.ledger.alerts.run import Alerts
from services.ledger.alerts.served import Served
from services.ledger.alerts.settings import AlertSettings
from shared import config, subjects
from shared.config import alert_types
from shared.config.budgets import OVER_SETTING, over_setting
from shared.ids import DeploymentId
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import RestNotice
from tests.ledger.alerts_kit import NOON, Running, Slack, wanted
from tests.ledger.ledger_kit import ALICE, BOB, Book, control, eventually, opened_at, post_changes, settled

ALL = AlertSettings(types=frozenset((*alert_types.ON, *alert_types.ASKED_FOR)))
EAST = {
    name: Served(f"m-{name}", "bedrock", "claude", region)
    for name, region in (("a", "us-east-1"), ("b", "us-east-1"), ("c", "eu-west-1"))
}


def row(deployment: str, failed: int, asked: int) -> dict[str, Any]:
    return {"deployment_id": deployment, "model": "m", "provider": "bedrock", "failed": failed, "asked": asked}


def test_a_region_is_out_where_two_of_its_deployments_are() -> None:
    def told(*rows: dict[str, Any]) -> list[tuple[str, str]]:
        return [(one.level, one.id.split(":")[1]) for one in deployments.regions(ALL, list(rows), EAST, 0)]

    assert told(row("a", 3, 4), row("b", 3, 3)) == [("Medium", "bedrock|us-east-1|minor")]
    assert told(row("a", 9, 9), row("b", 9, 9)) == [("High", "bedrock|us-east-1|major")]
    assert told(row("a", 9, 9)) == [], "one deployment is an outage of its own"
    assert told(row("a", 9, 9), row("c", 9, 9)) == [], "of different regions"
    assert told(row("a", 9, 9), row("b", 1, 90)) == [], "the region answers"
    assert told(row("a", 2, 2), row("b", 2, 2)) == [], "too few"
    assert told(row("x", 9, 9), row("y", 9, 9)) == [], "nobody knows where they are"


async def test_who_rests_is_heard_from_edges_and_told_once_a_span() -> None:
    heard: list[Any] = []

    async def subscribe(subject: str, cb: Any) -> None:
        heard.append((subject, cb))

    rests = Rests()
    await rests.follow(SimpleNamespace(subscribe=subscribe))
    ((subject, cb),) = heard
    assert subject == subjects.EDGE_RESTS

    async def say(data: bytes) -> None:
        await cb(SimpleNamespace(data=data))

    for deployment in ("a", "a", "unknown"):
        await say(msgspec.msgpack.encode(RestNotice("edge-1", DeploymentId(deployment), 5.0)))
    await say(b"\xc1junk")
    await say(msgspec.msgpack.encode(RestNotice("edge-1", DeploymentId("over"), 0.0)))
    first, second = deployments.resting(ALL, rests.taken(), EAST, 0)
    assert (first.type, first.found, "`m-a`" in first.message) == ("cooldown_deployment", 2, True)
    assert "`unknown`" in second.message and rests.taken() == {}
    for number in range(KNOWN_MAX + 10):
        await say(msgspec.msgpack.encode(RestNotice("edge-1", DeploymentId(str(number)), 5.0)))
    assert len(rests.taken()) == KNOWN_MAX


def test_a_model_that_ends_is_told_near_its_end_and_at_it() -> None:
    entry = {
        "model_name": "old",
        "litellm_params": {"model": "openai/gpt-3", "api_key": "sk-1"},
        "model_info": {"id": "d", "deprecation_date": "2026-12-31"},
    }
    known = served.of(config.parse(msgspec.json.encode({"model_list": [entry]}).decode(), {}).deployments)

    def told(day: date) -> list[str]:
        return [one.message.partition("\n")[0] for one in deployments.ending(ALL, known, day, 0)]

    assert told(date(2026, 11, 30)) == []
    assert told(date(2026, 12, 1)) == told(date(2026, 12, 30)) == ["A model ends on 2026-12-31: `openai/gpt-3`"]
    assert told(date(2027, 1, 3)) == ["A model ended on 2026-12-31: `openai/gpt-3`"]
    ids = {one.id for day in (date(2026, 12, 2), date(2026, 12, 9)) for one in deployments.ending(ALL, known, day, 0)}
    assert len(ids) == 1, "once"
    assert served.of(config.parse(
        msgspec.json.encode({"model_list": [{**entry, "model_info": {"id": "d", "deprecation_date": "soon"}}]}).decode(), {}
    ).deployments)["d"].ends is None  # fmt: skip


async def test_users_over_a_line_and_calls_that_fell_back_are_told_from_the_book(
    book: Book, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.alerts.run.SETTLE_S", 0.0)
    noon, usd = int(NOON.timestamp() * 1000), 10**12
    chosen = wanted(
        slack, "user_spend_thresholds", "user_spend_anomalies", "fallback_reports", "region_outage_alerts",
        user_day_usd=40.0, user_month_usd=1e9, anomaly_usd_min=1e9,
    )  # fmt: skip
    outbound, now = Outbound(OutboundSettings.read({}), Guard(any_address=True)), [noon / 1000 + 600]
    alerts = Alerts(book.database, None, chosen, Channels(chosen, outbound), asyncio.Event(), lambda: now[0], {})
    connection = await book.database.writer()

    async def look(at_s: float) -> None:
        now[0] = at_s
        await alerts.find(connection)
        await alerts.send(connection)

    async def spends(caller: Any, amount: int, at_ms: int, **changed: Any) -> None:
        await book.post(settled(opened_at(at_ms, caller=caller, **changed), cost_picousd=amount), at=at_ms)

    day_ms = 86_400_000
    for back in range(1, 8):
        await spends(ALICE, 20 * usd, noon - back * day_ms)
    await look(now[0])
    assert slack.got == []
    await spends(ALICE, 39 * usd, noon)
    await spends(BOB, 12 * usd, noon, spend_logs_metadata={"tollgate_fallback_to": "other", "mine": 1})
    await spends(BOB, 0, noon, spend_logs_metadata={"tollgate_fallback_to": "other"})
    await look(noon / 1000 + 1200)
    (first,) = slack.texts()
    assert "user_spend_anomalies" in first and f"`{BOB.user_id}`" in first, "who never spent: 12 USD at once"
    await spends(ALICE, 2 * usd, noon)
    await look(noon / 1000 + 1800)
    await look(noon / 1000 + 3000)
    assert slack.types() == ["user_spend_anomalies", "user_spend_thresholds"], "each once"
    assert f"`{ALICE.user_id}`" in slack.texts()[1] and "40.00 USD today: 41.00" in slack.texts()[1]
    await look((NOON + timedelta(hours=12, minutes=6)).timestamp())
    report = slack.texts()[-1]
    assert slack.types()[-1] == "fallback_reports" and "`gpt` to `other`: 2 calls, 2 answered" in report
    connection.terminate()
    await outbound.close()


async def test_a_model_that_has_ended_is_told_once_however_long_ago(
    book: Book, slack: Slack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ledger.alerts.run.SETTLE_S", 0.0)
    chosen = wanted(slack, "model_deprecation_warnings")
    outbound, now = Outbound(OutboundSettings.read({}), Guard(any_address=True)), [NOON.timestamp()]
    old = {"d": Served("old", "openai", "gpt-3", ends=date(2020, 1, 1))}
    alerts = Alerts(book.database, None, chosen, Channels(chosen, outbound), asyncio.Event(), lambda: now[0], old)
    connection = await book.database.writer()
    for _ in range(3):
        await alerts.find(connection)
        await alerts.send(connection)
        await connection.execute("UPDATE alert SET ended_at = ended_at - interval '40 days'")
        now[0] += 86_400
    assert slack.types() == ["model_deprecation_warnings"]
    connection.terminate()
    await outbound.close()


@pytest.mark.parametrize("answered", [0, 40])
async def test_a_region_is_not_out_where_a_deployment_without_any_failure_answers(
    book: Book, slack: Slack, monkeypatch: pytest.MonkeyPatch, answered: int
) -> None:
    monkeypatch.setattr("services.ledger.alerts.run.SETTLE_S", 0.0)
    at_ms, chosen = int(NOON.timestamp() * 1000), wanted(slack, "region_outage_alerts")
    east = {name: Served(f"m-{name}", "bedrock", "claude", "us-east-1") for name in "abc"}
    outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
    alerts = Alerts(
        book.database, None, chosen, Channels(chosen, outbound), asyncio.Event(), lambda: at_ms / 1000, east
    )
    calls = [(name, "provider_error", 503) for name in "ab" for _ in range(4)] + [("c", "success", 200)] * answered
    for name, outcome, status in calls:
        call = opened_at(at_ms - 9_000, deployment_id=DeploymentId(name))
        await book.post(settled(call, outcome=outcome, status=status), at=at_ms)
    connection = await book.database.writer()
    await alerts.find(connection)
    await alerts.send(connection)
    assert slack.types() == ([] if answered else ["region_outage_alerts"])
    connection.terminate()
    await outbound.close()


async def test_a_budget_that_is_reached_is_told_once_for_each_window(book: Book, slack: Slack) -> None:
    """As policy says it: a setting that names all that are used up."""
    used = {"total:": {"first": "", "spent_picousd": "10500000000000"}}
    groq = {"provider:groq": {"first": "2026-11-01", "spent_picousd": "2000000000000"}}
    later = {"provider:groq": {"first": "2026-12-01", "spent_picousd": "2500000000000"}}
    chosen = wanted(slack, "budget_alerts")
    running = await Running(book, chosen).begun(book)
    before: Any = None
    for value in (used, used | groq, used, used | later, {}, 5):
        after = {"name": OVER_SETTING, "value": value}
        await post_changes(book, control(kind="setting", entity_id=OVER_SETTING, before=before, after=after))
        before = after
    await post_changes(book, control(kind="setting", entity_id="another", after={"name": "another", "value": used}))
    await eventually(lambda: told(slack, 3))
    await running.end()
    assert len(slack.texts()) == 3
    gateway, first, second = slack.texts()
    assert "Budget reached: the gateway has spent 10.5 USD. Calls" in gateway
    assert "provider `groq` has spent 2 USD since 2026-11-01." in first and "2.5 USD since 2026-12-01." in second


def test_a_budget_of_two_terms_is_told_for_each_by_its_own_name() -> None:
    """Where policies have read different files (services/policy/budgets.py)."""
    monthly, daily = {("total:", "2026-11-01"): 3 * 10**12}, {("total:", "2026-11-27"): 2 * 10**12}

    def said(before: dict[tuple[str, str], int], after: dict[tuple[str, str], int]) -> list[str]:
        texts = [msgspec.json.encode(over_setting(each)).decode() for each in (after, before)]
        rows: list[Any] = [{"n": 1, "at_ms": 0, "used_up": texts[0], "used_up_before": texts[1]}]
        found = detect.budgets(ALL, rows)
        assert len({each.id for each in found}) == len(found)
        return [each.message.partition(". ")[0] for each in found]

    reached = [
        f"Budget reached: the gateway has spent {usd} USD since 2026-11-{day}" for usd, day in ((3, "01"), (2, "27"))
    ]
    assert said({}, monthly | daily) == reached
    assert said(monthly, monthly | daily) == reached[1:] and not said(monthly | daily, daily)


async def told(slack: Slack, number: int) -> bool:
    return len(slack.texts()) >= number

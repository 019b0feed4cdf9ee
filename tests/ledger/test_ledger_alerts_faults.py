"""Ten minutes of faults by the book's clock, with Slack away for five of them and the ledger
replaced in between: each is told once, those of the five minutes late, and the day's report is the
book's own sums. On a real PostgreSQL, and a server that plays Slack."""

import random
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from services.ledger.alerts.channels import Channels
from services.ledger.alerts.run import Alerts
from shared.facts import Opened, Settled, TrafficFact
from shared.ids import DeploymentId
from shared.money import format_usd
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.ledger.alerts_kit import NOON, Slack, wanted
from tests.ledger.ledger_kit import ALICE, BOB, Book, control, opened_at, post_changes, settled

STEP_S = 10
STEPS = 60
AWAY = range(18, 48)
"""Steps in which Slack doesn't answer: minutes 3 to 8."""
REPLACED = 33


class Clock:
    def __init__(self) -> None:
        self.seconds = NOON.timestamp()

    def __call__(self) -> float:
        return self.seconds

    @property
    def ms(self) -> int:
        return int(self.seconds * 1000)


class World:
    """Calls at the book's time, and a ledger's alerts that look once a step."""

    def __init__(self, book: Book, slack: Slack) -> None:
        self.book, self.slack, self.clock = book, slack, Clock()
        self.random = random.Random(5)
        self.outbound = Outbound(OutboundSettings.read({}), Guard(any_address=True))
        self.chosen = wanted(
            slack, "llm_exceptions", "llm_too_slow", "failed_tracking_spend", "outage_alerts", "llm_requests_hanging",
            "virtual_key_deleted", "new_model_added", "daily_reports", threshold_s=60,
        )  # fmt: skip
        self.replaced()

    def replaced(self) -> None:
        """Another ledger goes on: it knows what the database has."""
        self.alerts = Alerts(
            self.book.database, None, self.chosen, Channels(self.chosen, self.outbound), _Never(), self.clock
        )

    def opened(self, **changed: Any) -> Opened:
        return opened_at(self.clock.ms - 300, **changed)

    def good(self, **changed: Any) -> Settled:
        return settled(self.opened(**changed), (self.random.randrange(1, 500), self.random.randrange(1, 500)))

    def failed(self, model: str, deployment: str, outcome: str, status: int, code: str) -> Settled:
        at = self.opened(model=model, deployment_id=DeploymentId(deployment))
        return settled(at, (3, 0), outcome=outcome, status=status, error_code=code)

    async def step(self, number: int) -> None:
        connection = await self.book.database.writer()
        try:
            self.clock.seconds = NOON.timestamp() + number * STEP_S
            self.slack.mood = 503 if number in AWAY else 200
            facts: list[TrafficFact] = [self.good(), self.good(model="other", caller=BOB)]
            if 6 <= number < 42:  # six minutes: more than one a minute, half of its calls
                facts += [self.failed("bad", "d-bad", "provider_error", 503, "provider_503") for _ in range(2)]
            if 12 <= number < 15:
                facts.append(self.failed("late", "d-late", "timeout", 504, "provider_timeout"))
            if number == 20:
                slow = self.opened(model="slow")
                facts.append(settled(slow, (5, 5), ended_at_ms=slow.at_ms + 61_000))
            if number in (24, 30):
                facts.append(settled(self.opened(model="free", price=None)))
            if number == 26:
                facts.append(self.opened(model="hung", expires_at_ms=self.clock.ms + 3_600_000))
            await self.book.post(*facts, at=self.clock.ms)
            if number == 36:
                again = self.good()
                await self.book.post(again, at=self.clock.ms)
                await self.book.post(settled(again.opened, (999, 999)), at=self.clock.ms)
            if number == 40:
                await post_changes(
                    self.book,
                    control(
                        kind="key", entity_id="cd" * 32, action="deleted", before={"key_alias": "gone"}, after=None
                    ),
                    control(kind="model", entity_id="m1", after={"model_name": "gpt-9"}),
                )
            if number == REPLACED:
                self.replaced()
            await self.alerts.find(connection)
            await self.alerts.send(connection)
        finally:
            connection.terminate()


class _Never:
    """Nobody stops."""

    def is_set(self) -> bool:
        return False


ONCE = Counter(
    {"llm_exceptions": 2, "llm_too_slow": 1, "failed_tracking_spend": 1, "outage_alerts": 2, "llm_requests_hanging": 1,
     "anomaly": 1, "virtual_key_deleted": 1, "new_model_added": 1, "daily_reports": 1}
)  # fmt: skip
"""Two models failed, one of them to a minor and then to a major outage; the report is of the day
before, when nobody called.
"""
LATE = (
    "llm_too_slow",
    "failed_tracking_spend",
    "llm_requests_hanging",
    "anomaly",
    "virtual_key_deleted",
    "new_model_added",
)
"""What began while Slack was away."""


async def test_ten_minutes_of_faults(book: Book, slack: Slack, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"SETTLE_S": 0.0, "PAUSE_S_MIN": 0.0, "PAUSE_S_MAX": 0.0, "SEND_AT_ONCE": 50}.items():
        monkeypatch.setattr(f"services.ledger.alerts.run.{name}", value)
    world = World(book, slack)
    told_by = {}
    for number in range(STEPS):
        await world.step(number)
        told_by[number] = list(slack.types())
    assert Counter(slack.types()) == ONCE
    assert Counter(told_by[AWAY.start]) == Counter(told_by[AWAY.stop - 1]), "nothing got through"
    assert slack.refused and not set(told_by[AWAY.stop - 1]) & set(LATE)
    assert Counter(told_by[AWAY.stop]) == ONCE, "all of it as soon as Slack was back"
    assert await book.value("SELECT count(*) FROM alert WHERE ended_at IS NULL") == 0

    # The next day's report, by the ledger that replaced the first, says what the book's rows add up
    # to.
    slack.got.clear()
    world.clock.seconds = (NOON + timedelta(hours=12, minutes=6)).timestamp()
    world.replaced()
    for _ in range(2):
        connection = await book.database.writer()
        await world.alerts.find(connection)
        await world.alerts.send(connection)
        connection.terminate()
    reports = [text for text in slack.texts() if "Daily report" in text]
    assert len(reports) == 1
    (whole,) = await book.fetch(
        "SELECT count(*) AS calls, count(*) FILTER (WHERE outcome <> 'success') AS failed, sum(input_tokens) AS input,"
        " sum(output_tokens) AS output, sum(cost_picousd) AS spend FROM request_log"
        " WHERE at_ms >= $1 AND at_ms < $2 AND NOT provisional",
        int(NOON.timestamp() - 43_200) * 1000, int(NOON.timestamp() + 43_200) * 1000,
    )  # fmt: skip
    said = reports[0].replace("&gt;", ">")
    assert f"Calls: {whole['calls']}, failed: {whole['failed']}\n" in said
    assert f"Tokens: {whole['input']} in, {whole['output']} out\n" in said
    assert f"Spend: {format_usd(int(whole['spend']))} USD" in said
    assert "Without a known cost: 2 calls" in said
    for team, amount in [
        (row["team_id"], row["spend"])
        for row in await book.fetch("SELECT team_id, sum(cost_picousd) AS spend FROM request_log GROUP BY 1")
    ]:
        assert f"`{team}`: {format_usd(int(amount))} USD" in said
    assert {ALICE.team_id, BOB.team_id} == {"team-a", "team-b"}
    await world.outbound.close()

"""Finding and sending alerts: in one ledger at a time, under a lock of its own."""

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import structlog

from services.ledger.alerts import deployments, detect, reports, users
from services.ledger.alerts.channels import ChannelError, Channels
from services.ledger.alerts.detect import Alert, Row
from services.ledger.alerts.rests import Rests
from services.ledger.alerts.served import Served
from services.ledger.alerts.settings import AlertSettings
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.facts_in import midnight
from services.ledger.lock import raise_if_cancelled
from services.ledger.ordered_consumer import BUS_ERRORS
from shared import streams, subjects
from shared.bus import BusClient
from shared.config.budgets import OVER_SETTING
from shared.money import PICOUSD_PER_USD
from shared.waiting import set_within, together

log = structlog.get_logger()

LOOK_S = 2.0
USERS_S = 300.0
"""How often users' spend is looked at."""
CHECK_S = 10.0
"""How often what no new row tells of is looked at: hanging calls, outages, how far the book is."""
SETTLE_S = 3.0
"""What is found again before this is told in one message."""
BATCHES = 200
SEND_AT_ONCE = 20
PAUSE_S_MIN = 1.0
PAUSE_S_MAX = 60.0
ATTEMPTS_MAX = 2_000
"""A day and more of trying once a minute; of what is refused for good, a tenth."""
KEPT_DAYS = 35
"""Longer than any span an alert's id stands for."""

SINK = "alerts"
AUDIT, ANOMALIES = -2, -3
"""Their places among the positions of shards."""

_BEGIN = """
INSERT INTO sink_position (sink, shard, batch)
SELECT $1, s.shard, s.n FROM (
    SELECT -1 AS shard, 0::bigint AS n UNION ALL SELECT shard, chain_n FROM stream_position WHERE stream = $2
    UNION ALL SELECT -2, coalesce(max(n), 0) FROM audit_log UNION ALL SELECT -3, coalesce(max(n), 0) FROM anomalies
) AS s
WHERE NOT EXISTS (SELECT FROM sink_position WHERE sink = $1 AND shard = -1)
"""
"""Once: what was before anybody wanted to be told isn't told."""
_POSITIONS = """
SELECT s.shard, coalesce(k.batch, 0) AS batch FROM stream_position s
LEFT JOIN sink_position k ON k.sink = $1 AND k.shard = s.shard WHERE s.stream = $2
"""
_OTHER = "SELECT batch FROM sink_position WHERE sink = $1 AND shard = $2"
_END = "SELECT max(n) FROM (SELECT n FROM batch_log WHERE shard = $1 AND n > $2 ORDER BY n LIMIT $3) AS ahead"
_IN = "FROM request_log WHERE shard = $1 AND batch > $2 AND batch <= $3 AND NOT provisional"
_FAILED = f"""
SELECT model, deployment_id, provider, error_code, status, count(*) AS n, min(at_ms) AS at_ms {_IN}
AND outcome IN ('provider_error', 'timeout', 'edge_error') GROUP BY 1, 2, 3, 4, 5 ORDER BY n DESC LIMIT 50
"""
_SLOW = f"""
SELECT model, deployment_id, count(*) AS n, min(at_ms) AS at_ms, max(ended_at_ms - at_ms) AS worst_ms {_IN}
AND outcome = 'success' AND ended_at_ms - at_ms > $4 GROUP BY 1, 2 ORDER BY n DESC LIMIT 50
"""
_UNPRICED = f"""
SELECT model, upstream_model, provider, count(*) AS n, min(at_ms) AS at_ms {_IN}
AND outcome = 'success' AND cost_picousd IS NULL GROUP BY 1, 2, 3 ORDER BY n DESC LIMIT 50
"""
_BROKEN_BATCHES = """
SELECT min(n) FROM (SELECT n, previous_sha256, lag(sha256) OVER (ORDER BY n) AS before FROM batch_log
    WHERE shard = $1 AND n BETWEEN $2 AND $3) AS links WHERE before IS NOT NULL AND previous_sha256 <> before
"""
_BROKEN_AUDIT = """
SELECT min(n) FROM (SELECT n, previous_sha256, lag(sha256) OVER (ORDER BY n) AS before FROM audit_log
    WHERE n BETWEEN $1 AND $2) AS links WHERE before IS NOT NULL AND previous_sha256 <> before
"""
_AUDIT = """
SELECT n, kind, entity_id, action, coalesce(actor_user_id, left(actor_key_sha256, 12), 'nobody') AS actor, at_ms,
    coalesce(after, before) ->> CASE kind WHEN 'key' THEN 'key_alias' WHEN 'team' THEN 'team_alias' WHEN 'user' THEN 'user_email'
        ELSE 'model_name' END AS alias,
    CASE WHEN kind = 'setting' AND entity_id = $2 THEN (after -> 'value')::text END AS used_up,
    CASE WHEN kind = 'setting' AND entity_id = $2 THEN (before -> 'value')::text END AS used_up_before
FROM audit_log WHERE n > $1 ORDER BY n LIMIT 1000
"""
_ANOMALIES = """
SELECT kind, count(*) AS n, max(n) AS last, (extract(epoch FROM min(at)) * 1000)::bigint AS at_ms, min(detail) AS detail
FROM anomalies WHERE n > $1 GROUP BY kind
"""
_OUTAGES = """
SELECT deployment_id, min(model) AS model, min(provider) AS provider, count(*) AS asked,
    count(*) FILTER (WHERE outcome IN ('provider_error', 'timeout')) AS failed
FROM request_log WHERE id >= $1 AND day >= $2 AND NOT provisional AND deployment_id IS NOT NULL AND outcome <> 'refused'
GROUP BY 1
"""
_HANGING = "SELECT count(*) FROM request_open WHERE id < $1"
_READ = "SELECT max(seq) FROM stream_position WHERE stream = $1"
_SUMS = """
SELECT dimension, value, sum(requests)::bigint AS requests, sum(failures)::bigint AS failures, sum(input_tokens)::bigint AS input_tokens,
    sum(output_tokens)::bigint AS output_tokens, sum(spend_picousd) AS spend_picousd, sum(unpriced)::bigint AS unpriced
FROM rollup WHERE scope = '' AND day >= $1 AND day < $2 GROUP BY 1, 2
"""
_HOURS = """
SELECT coalesce(sum(spend_picousd) FILTER (WHERE at = $1), 0) AS spent, coalesce(sum(spend_picousd) FILTER (WHERE at < $1), 0) / 24 AS mean
FROM spend_calls WHERE counts <> 2 AND at >= $1 - interval '24 hours' AND at <= $1
"""
_USERS = """
SELECT value AS user_id, coalesce(sum(spend_picousd) FILTER (WHERE day = $1), 0) AS day,
    coalesce(sum(spend_picousd) FILTER (WHERE day >= $2), 0) AS month,
    coalesce(sum(spend_picousd) FILTER (WHERE day >= $3 AND day < $1), 0) AS before
FROM rollup WHERE scope = '' AND dimension = 'user' AND value <> '' AND day >= least($2, $3)
GROUP BY 1 HAVING sum(spend_picousd) FILTER (WHERE day >= least($1, $2)) >= $4 ORDER BY month DESC LIMIT 200
"""
_FALLBACKS = """
SELECT model, spend_logs_metadata::jsonb ->> 'tollgate_fallback_to' AS fallback, count(*) AS calls,
    count(*) FILTER (WHERE outcome = 'success') AS good
FROM request_log WHERE day = $1 AND id >= $2 AND id < $3 AND NOT provisional AND spend_logs_metadata::text LIKE '%"tollgate_fallback_to"%'
GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 1000
"""
"""What an edge notes of a call that another model was asked for (services/edge/account.py)."""
_KNOWN = "SELECT id FROM alert WHERE id = ANY($1)"
_ADD = """
INSERT INTO alert (id, type, level, message, found, at_ms, waiting, next_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now() + make_interval(secs => $8))
ON CONFLICT (id) DO UPDATE SET found = alert.found + excluded.found WHERE alert.attempts = 0 AND alert.ended_at IS NULL
"""
_DUE = """
SELECT * FROM alert WHERE ended_at IS NULL AND next_at <= now() ORDER BY created_at, id LIMIT $1
"""
_SENT = """
UPDATE alert SET waiting = array_remove(waiting, $2), ended_at = CASE WHEN cardinality(array_remove(waiting, $2)) = 0 THEN now() END
WHERE id = $1
"""
_LATER = """
UPDATE alert SET attempts = attempts + $2, next_at = now() + make_interval(secs => $3),
    ended_at = CASE WHEN attempts + $2 > $4 THEN now() END WHERE id = $1
"""
_FORGET = "DELETE FROM alert WHERE ended_at < now() - make_interval(days => $1) AND id <> ALL($2)"
"""$2: what is still so: it would be told again."""


class Alerts:
    """
    Args:
        clock: Unix seconds.
        served: deployments by id, as the configuration has them.
    """

    def __init__(
        self,
        database: Database,
        client: BusClient | None,
        settings: AlertSettings,
        channels: Channels,
        stopping: asyncio.Event,
        clock: Callable[[], float] = time.time,
        served: Mapping[str, Served] | None = None,
    ) -> None:
        self._served = served or {}
        self._rests = Rests()
        self._users_at = 0.0
        self._database = database
        self._client = client
        self._settings = settings
        self._channels = channels
        self._stopping = stopping
        self._clock = clock
        self._checked_at = 0.0
        self._level_at = clock()
        """When the book was last seen to have everything."""
        self._day = ""

    async def run(self) -> None:
        listening = None
        if self._client is not None:
            with contextlib.suppress(*BUS_ERRORS):  # what isn't heard isn't told
                listening = await self._rests.follow(self._client)
        try:
            await together(self._repeatedly(self.find, LOOK_S), self._repeatedly(self.send, PAUSE_S_MIN))
        finally:
            if listening is not None:
                with contextlib.suppress(*BUS_ERRORS):
                    await listening.unsubscribe()

    async def _repeatedly(self, work: Callable[[Connection], Any], every_s: float) -> None:
        connection: Connection | None = None
        try:
            while not self._stopping.is_set():
                try:
                    connection = connection or await self._database.writer()
                    await work(connection)
                except DATABASE_ERRORS as error:
                    raise_if_cancelled()
                    log.warning("alerts_interrupted", error=type(error).__name__, detail=str(error)[:200])
                    if connection is not None:
                        connection.terminate()
                    connection = None
                await set_within(self._stopping, every_s)
        finally:
            if connection is not None:
                connection.terminate()

    # ── finding ──

    async def find(self, connection: Connection) -> None:
        """What the book has since the last time; and now and then what no new row tells of."""
        await connection.execute(_BEGIN, SINK, subjects.TRAFFIC_STREAM)
        for position in await connection.fetch(_POSITIONS, SINK, subjects.TRAFFIC_STREAM):
            await self._calls(connection, position["shard"], position["batch"])
        await self._audit(connection)
        await self._anomalies(connection)
        now = self._clock()
        if now - self._checked_at >= CHECK_S:
            self._checked_at = now
            await self._check(connection, now)

    async def _calls(self, connection: Connection, shard: int, after: int) -> None:
        until = await connection.fetchval(_END, shard, after, BATCHES)
        if until is None:
            return
        settings, span = self._settings, (shard, after, until)
        alerts = [
            *detect.failures(settings, await _rows(connection, _FAILED, *span)),
            *detect.slow(settings, await _rows(connection, _SLOW, *span, int(settings.threshold_s * 1000))),
            *detect.unpriced(settings, await _rows(connection, _UNPRICED, *span)),
        ]
        broken = await connection.fetchval(_BROKEN_BATCHES, *span)
        if broken is not None:
            alerts.append(detect.chain(settings, f"shard {shard} of the book", broken, self._now_ms()))
        await self._write(connection, alerts, shard, until)

    async def _audit(self, connection: Connection) -> None:
        after = await connection.fetchval(_OTHER, SINK, AUDIT)
        rows = await _rows(connection, _AUDIT, after, OVER_SETTING)
        if rows:
            alerts = [*detect.events(self._settings, rows), *detect.budgets(self._settings, rows)]
            broken = await connection.fetchval(_BROKEN_AUDIT, after, rows[-1]["n"])
            if broken is not None:
                alerts.append(detect.chain(self._settings, "the audit log", broken, self._now_ms()))
            await self._write(connection, alerts, AUDIT, rows[-1]["n"])

    async def _anomalies(self, connection: Connection) -> None:
        rows = await _rows(connection, _ANOMALIES, await connection.fetchval(_OTHER, SINK, ANOMALIES))
        if rows:
            last = max(row["last"] for row in rows)
            await self._write(connection, detect.anomalies(self._settings, rows), ANOMALIES, last)

    async def _check(self, connection: Connection, now: float) -> None:
        settings, now_ms = self._settings, int(now * 1000)
        minute = now - 60
        day = datetime.fromtimestamp(minute, UTC).date()
        asked = await _rows(connection, _OUTAGES, _id_at(minute), day)
        alerts = detect.outages(settings, asked, now_ms)
        alerts += deployments.regions(settings, asked, self._served, now_ms)
        alerts += deployments.resting(settings, self._rests.taken(), self._served, now_ms)
        hanging = await connection.fetchval(_HANGING, _id_at(now - settings.threshold_s))
        alerts += detect.hanging(settings, hanging, now_ms)
        alerts += await self._behind(connection, now)
        alerts += await self._of_the_hour(connection, now)
        alerts += await self._of_users(connection, now)
        if alerts:
            await self._write(connection, alerts)
        await self._reports(connection, now)

    async def _behind(self, connection: Connection, now: float) -> list[Alert]:
        """Raises nothing of the bus: that it is away, whoever needs it says."""
        if self._client is None:
            return []
        try:
            state = await streams.state(self._client, subjects.TRAFFIC_STREAM)
        except BUS_ERRORS:
            return []
        read = await connection.fetchval(_READ, subjects.TRAFFIC_STREAM) or 0
        waiting = max(0, state.last_seq - read)
        if not waiting:
            self._level_at = now
        return detect.behind(self._settings, now - self._level_at if waiting else 0.0, waiting, int(now * 1000))

    async def _of_the_hour(self, connection: Connection, now: float) -> list[Alert]:
        hour = datetime.fromtimestamp(now, UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        if now % 3600 < 120 or not self._settings.wants("user_spend_anomalies"):  # the sums may still be coming
            return []
        row = await connection.fetchrow(_HOURS, hour)
        if row is None:
            return []
        spent, mean = float(row["spent"]) / PICOUSD_PER_USD, float(row["mean"]) / PICOUSD_PER_USD
        return detect.spend_anomaly(self._settings, f"{hour:%Y-%m-%d %H:%M}", spent, mean, int(now * 1000))

    async def _of_users(self, connection: Connection, now: float) -> list[Alert]:
        settings, today = self._settings, datetime.fromtimestamp(now, UTC).date()
        if now - self._users_at < USERS_S or not users.wanted(settings):
            return []
        self._users_at = now
        span = users.span(settings, today)
        rows = await _rows(connection, _USERS, *span, users.least_picousd(settings))
        return users.over(settings, rows, today, int(now * 1000))

    async def _reports(self, connection: Connection, now: float) -> None:
        """Once each, also where nobody ran at the day's beginning; not of days before anybody
        wanted to be told.
        """
        today = datetime.fromtimestamp(now, UTC)
        if today.hour == 0 and today.minute < 5:  # for what is on its way into the book
            return
        if self._day == str(today.date()):
            return
        wanted = [one for one in reports.due(today.date()) if self._settings.wants(one[1])]
        known = {row["id"] for row in await connection.fetch(_KNOWN, [one[0] for one in wanted])}
        alerts = []
        for id, type, first, after in wanted:
            if id not in known:
                rows = await _rows(connection, _SUMS, first, after)
                alerts.append(reports.report(id, type, first, after, rows, int(now * 1000)))
        alerts += deployments.ending(self._settings, self._served, today.date(), int(now * 1000))
        await self._write(connection, alerts)
        await connection.execute(_FORGET, KEPT_DAYS, [alert.id for alert in alerts])
        if self._settings.wants("fallback_reports"):
            day = today.date() - timedelta(days=1)
            fell = await _fallbacks(connection, day)
            await self._write(connection, deployments.fallbacks(self._settings, day, fell, int(now * 1000)))
        self._day = str(today.date())

    async def _write(
        self, connection: Connection, alerts: list[Alert], shard: int | None = None, until: int = 0
    ) -> None:
        """The alerts, and how far was read, at once."""
        waiting = list(self._settings.channels)
        async with connection.transaction():
            for alert in alerts:
                await connection.execute(
                    _ADD, alert.id, alert.type, alert.level, alert.message, alert.found, alert.at_ms, waiting, SETTLE_S
                )
            if shard is not None:
                await connection.execute(QUERIES["sink_move"], SINK, shard, until)

    # ── sending ──

    async def send(self, connection: Connection) -> None:
        for alert in await connection.fetch(_DUE, SEND_AT_ONCE):
            for channel in alert["waiting"]:
                try:
                    await self._channels.send(channel, dict(alert))
                except ChannelError as error:
                    pause_s = min(PAUSE_S_MAX, PAUSE_S_MIN * 2 ** min(alert["attempts"], 10))
                    log.warning("alert_delayed", alert=alert["id"][:80], reason=str(error), again_in_s=pause_s)
                    await connection.execute(_LATER, alert["id"], 10 if error.lasting else 1, pause_s, ATTEMPTS_MAX)
                else:
                    await connection.execute(_SENT, alert["id"], channel)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)


async def _rows(connection: Connection, query: str, *arguments: Any) -> list[Row]:
    return [dict(row) for row in await connection.fetch(query, *arguments)]


async def _fallbacks(connection: Connection, day: date) -> list[Row]:
    """Of a day, the most frequent first. By the hour: a day of many calls is read for longer than a
    statement may take.
    """
    calls: Counter[tuple[str, str]] = Counter()
    good: Counter[tuple[str, str]] = Counter()
    for hour in range(24):
        first = midnight(day).timestamp() + hour * 3600
        for row in await _rows(connection, _FALLBACKS, day, _id_at(first), _id_at(first + 3600)):
            calls[row["model"], row["fallback"]] += row["calls"]
            good[row["model"], row["fallback"]] += row["good"]
    return [
        {"model": model, "fallback": fallback, "calls": often, "good": good[model, fallback]}
        for (model, fallback), often in calls.most_common()
    ]


def _id_at(seconds: float) -> uuid.UUID:
    """The least id of a request that began then: ids begin with their time (UUIDv7)."""
    return uuid.UUID(int=max(0, int(seconds * 1000)) << 80)

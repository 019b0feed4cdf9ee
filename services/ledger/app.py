"""The composition root: the only place that connects the ledger's parts."""

import asyncio
import gc
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

import structlog

from services.ledger import cache_bucket, checkpoints, config, copies, days, payload_work, routes, signing
from services.ledger.alerts import served
from services.ledger.alerts import settings as alert_settings
from services.ledger.alerts.channels import Channels
from services.ledger.alerts.run import Alerts
from services.ledger.alerts.watch import Watch
from services.ledger.api import Api
from services.ledger.asking import Asking
from services.ledger.checkpoints import Checkpoints
from services.ledger.config import LedgerSettings
from services.ledger.copies import Copies
from services.ledger.cube import Cube
from services.ledger.database import DATABASE_ERRORS, Pool
from services.ledger.expire import Expirer
from services.ledger.exporter import Exporter
from services.ledger.lag import LagWatch
from services.ledger.lock import Lock, Share
from services.ledger.migrate import MigrationError, TooOldError, migrate
from services.ledger.ordered_consumer import BUS_ERRORS
from services.ledger.price_list import PriceList
from services.ledger.queries import Report
from services.ledger.retention_loop import Retention, Schedule
from services.ledger.sinks import choose
from services.ledger.sinks.run import Sinks, maker
from services.ledger.streams import ControlPoster, TrafficPoster
from services.ledger.telling import Teller
from services.ledger.trim import Trimmer
from services.ledger.writer import Writer
from shared import bus, prices, sealing, streams, subjects
from shared.bus import BusClient, BusError
from shared.clock import unix_ms
from shared.config import Config
from shared.identity import settings as jwt_settings
from shared.identity.verifier import Verifier, own_validate
from shared.outbound import Guard, Outbound, OutboundSettings, guard_of
from shared.requests import SpentReply, SpentRequest
from shared.service import Life, serve_probes
from shared.settings import SettingsError
from shared.startup import Source
from shared.streams import StreamError, StreamState
from shared.waiting import IN_ORDER_S, ended, set_within, together

log = structlog.get_logger()

RETRY_S = 0.5
STOP_S = 20.0
"""How long a stopping ledger may take to finish what it is writing."""
STREAM_EVERY_S = 2.0
SPENT_VALUES_MAX = 1_000
"""Of one question."""
CONTROL_LOCK = 1_000_000
"""Number of the lock of CONTROL's recorder; those of TRAFFIC have their shard's."""
CUBE_LOCK = 1_000_001
RETENTION_LOCK = 1_000_002
EXPORT_LOCK = 1_000_003
SINKS_LOCK = 1_000_004
CHECKPOINT_LOCK = 1_000_005
ALERTS_LOCK = 1_000_020


async def main(life: Life) -> None:
    """One ledger, until `life` is stopping."""
    loaded = await config.load(os.environ)
    settings, source = loaded.settings, loaded.source
    # A batch makes tens of thousands of short-lived objects that hold no cycles: the collector's
    # usual pace halves the speed.
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    probes = await serve_probes(life, settings.ledger_probe_host, settings.ledger_probe_port)
    try:
        client = await life.unless_stopping(bus.connect("ledger", settings.nats_url))
        if client is not None:
            try:
                await Ledger(life, settings, client, loaded.file, source).run()
            finally:
                await bus.close(client)
    finally:
        if source is not None:
            await source.close()
        await probes.cleanup()


class Ledger:
    """The parts of one ledger, and the order in which they are started and put down."""

    def __init__(
        self,
        life: Life,
        settings: LedgerSettings,
        client: BusClient,
        file: Config | None = None,
        source: Source | None = None,
    ) -> None:
        self._life = life
        self._source = source
        if source is not None:
            source.on_change = self._secrets_changed
        self._stopping = life.stopping
        self._settings = settings
        self._client = client
        self._database = config.database(settings, self._database_renewed)
        self._teller = Teller(client)
        self._prices = PriceList(file.deployments if file is not None else (), prices.lookup)
        self._terms = config.terms(settings)
        self._cache_bytes_max = settings.cache_bytes_max if file is not None and cache_bucket.wanted(file) else 0
        outbound = OutboundSettings.read(self._environ())
        named = guard_of(
            settings.sink_networks, "TOLLGATE_SINK_NETWORKS", offline=file is not None and file.general.offline
        )
        self._outbounds = (Outbound(outbound, Guard(any_address=True)), Outbound(outbound, named))
        in_file = (
            choose.of_config(file.litellm_settings, file.directory, file.callback_settings) if file is not None else []
        )
        opening = maker(self._environ, *self._outbounds, sealing.ring(self._environ()))
        self._shows_audit = file is None or file.litellm.store_audit_logs
        self._max_budget_usd = None if file is None else file.litellm.max_budget
        turned_off = file is not None and file.litellm.turn_off_message_logging
        nameless = file is not None and file.litellm.redact_user_api_key_info
        self._sinks = Sinks(
            self._database, in_file, opening, self._stream_end, self._stopping, turned_off=turned_off, nameless=nameless
        )
        self._exporter = Exporter(
            self._database, self._teller, settings.export_url, settings.export_format, proof=settings.export_proof
        )
        self._checkpoints: Checkpoints | None = None
        self._alerts = alert_settings.read(file.general_settings, self._environ()) if file is not None else None
        self._served = served.of(file.deployments if file is not None else ())
        self._report: Report | None = None
        self._trouble: str | None = "the database isn't prepared yet"
        self._works: list[tuple[Lock, Writer[Any]]] = []
        self._control: Writer[Any] | None = None
        self._shards = 0
        """Of TRAFFIC, as the stream itself says."""

    async def run(self) -> None:
        verifier = self._verifier()
        asking = Asking(self._client, self._control_seq, verifier)
        api = Api(
            asking, lambda: self._report, self._client, self._prices, self._exporter, self._terms,
            shows_audit=self._shows_audit, max_budget_usd=self._max_budget_usd,
        )  # fmt: skip
        runner = await routes.serve(api, self._life, self._settings.ledger_host, self._settings.ledger_port)
        self._life.ready(self.reason_not_ready)
        renewing = asyncio.create_task(self._keep_secrets())
        pool: Pool | None = None
        try:
            await self._read_keys()
            if await self._life.unless_stopping(self._prepare()) is not None:
                pool = await self._database.readers(self._settings.ledger_pool_connections)
                self._report = Report(pool)
                self._trouble = None
                answering = await bus.answer(
                    self._client, subjects.LEDGER_SPENT, "ledger", SpentRequest, partial(_spent, self._report)
                )
                await self._work()
                await answering.drain(1)
        finally:
            renewing.cancel()
            if verifier is not None:
                await verifier.close()
            await self._exporter.close()
            for outbound in self._outbounds:
                await outbound.close()
            await runner.cleanup()
            if pool is not None:
                pool.terminate()

    def _environ(self) -> Mapping[str, str]:
        """In plaintext, as it is now."""
        return os.environ if self._source is None else self._source.environ

    async def _read_keys(self) -> None:
        """What signs checkpoints. Raises SettingsError."""
        settings = self._settings
        if settings.checkpoint_minutes:
            keys = await signing.keys(
                settings.checkpoint_key, settings.checkpoint_old_keys, settings.data_dir, self._environ()
            )
            self._checkpoints = Checkpoints(
                self._database, self._teller, keys, settings.checkpoint_minutes, self._stopping, unix_ms
            )

    def reason_not_ready(self) -> str | None:
        if not self._client.is_up:
            return "the bus is unreachable"
        if self._trouble is not None:
            return self._trouble
        for lock, recorder in self._works:
            if lock.trouble is not None:
                return lock.trouble
            if lock.held and recorder.trouble is not None:
                return f"{recorder.label}: {recorder.trouble}"
        return None

    def _verifier(self) -> Verifier | None:
        """Raises SettingsError."""
        source = self._source
        auth = None if source is None else jwt_settings.read(source.config.general_settings, source.environ)
        if source is None or auth is None:
            return None
        return Verifier(self._outbounds[0], auth, validate=own_validate(auth, source.config.directory))

    async def _keep_secrets(self) -> None:
        if self._source is not None:
            await self._source.watch(lambda: not self._client.is_up)

    def _secrets_changed(self) -> None:
        """What connects from now on does so with the new credentials."""
        assert self._source is not None
        settings = config.completed(self._source)
        if settings.nats_url != self._settings.nats_url:
            self._client.use(settings.nats_url)
        self._database.use(settings.database_url)
        self._settings = settings

    async def _database_renewed(self) -> str | None:
        if self._source is None or not await self._source.refused():
            return None
        return self._settings.database_url

    async def _stream_end(self, stream: str) -> int:
        return (await streams.state(self._client, stream)).last_seq

    def _control_seq(self) -> int:
        """What policy must have seen before it answers our questions: what we know ourselves."""
        position = self._control.position if self._control is not None else None
        return position.seq if position is not None else 0

    async def _prepare(self) -> bool:
        """Schema and stream. Raises SettingsError where waiting wouldn't help."""
        while True:
            try:
                await migrate(self._database)
                await days.make_ahead(self._database, unix_ms())
                break
            except MigrationError as error:
                raise SettingsError(str(error)) from None
            except TooOldError as error:
                self._trouble = str(error)
                log.warning("schema_too_old", detail=str(error))
            except DATABASE_ERRORS as error:
                self._trouble = f"database: {type(error).__name__}"
                log.warning("database_not_ready", error=type(error).__name__, detail=str(error)[:200])
            await asyncio.sleep(RETRY_S)
        while True:
            try:
                self._shards = (await self._ensure_traffic()).shards
                return True
            except BUS_ERRORS as error:
                self._trouble = f"TRAFFIC stream: {type(error).__name__}"
                log.warning("stream_not_ready", error=type(error).__name__, detail=str(error)[:200])
            await asyncio.sleep(RETRY_S)

    async def _work(self) -> None:
        """Record, until the service stops; then finish what is being written."""
        works = [days.keep_ahead(self._database, self._stopping, unix_ms), self._keep_stream()]
        if self._cache_bytes_max:
            works.append(cache_bucket.keep(self._client, self._cache_bytes_max, self._stopping))
        if self._alerts is not None:
            channels = Channels(self._alerts, self._outbounds[0])
            works.append(
                Watch(self._alerts, channels, self.reason_not_ready, socket.gethostname(), self._stopping).run()
            )
        share = Share(self._shards, lambda: self._client.is_up)
        for shard in range(self._shards):
            works += self._traffic(shard, share)
        works += self._control_works()
        works += payload_work.works(self._client, self._database, self._settings, self._stopping, unix_ms)
        works += [self._alone(number, what, work) for number, what, work in self._side_works()]
        tasks = [asyncio.create_task(work) for work in works]
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait((stopping, *tasks), return_when=asyncio.FIRST_COMPLETED)
            if not self._stopping.is_set():
                log.error("part_ended")  # none should: better a restart than half a ledger
                self._life.stop()
            await asyncio.wait(tasks, timeout=STOP_S)
        finally:
            await ended(stopping, *tasks, again_s=IN_ORDER_S)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _side_works(self) -> list[tuple[int, str, Callable[[], Coroutine[Any, Any, None]]]]:
        """What one ledger does for all beside recording: its lock's number and name, and the
        work.
        """
        settings, stopping = self._settings, self._stopping
        schedule = Schedule(settings.retention_interval, settings.retention_cron)
        before_drops = self._checkpoints.now if self._checkpoints is not None else None
        retention = Retention(self._database, self._teller, self._terms, schedule, stopping, before_drops=before_drops)
        return [
            (CUBE_LOCK, "cube", Cube(self._database, stopping).run),
            (RETENTION_LOCK, "retention", retention.run),
            (SINKS_LOCK, "sinks", self._sinks.run),
            *([(CHECKPOINT_LOCK, "checkpoints", self._checkpointing)] if self._checkpoints is not None else []),
            *self._alerting(),
            *(
                [(EXPORT_LOCK, "export", self._export_by_schedule)]
                if settings.export_url and settings.export_cron
                else []
            ),
        ]

    async def _checkpointing(self) -> None:
        assert self._checkpoints is not None
        copy_to = copies.targets(self._settings.checkpoint_copies, self._environ(), self._outbounds[0])
        await checkpoints.serve(self._checkpoints, Copies(self._database, copy_to, self._stopping))

    def _alerting(self) -> list[tuple[int, str, Callable[[], Coroutine[Any, Any, None]]]]:
        if self._alerts is None:
            return []
        channels = Channels(self._alerts, self._outbounds[0])
        alerts = Alerts(self._database, self._client, self._alerts, channels, self._stopping, served=self._served)
        return [(ALERTS_LOCK, "alerts", alerts.run)]

    async def _export_by_schedule(self) -> None:
        await self._exporter.by_schedule(Schedule("", self._settings.export_cron), self._stopping)

    def _alone(
        self, number: int, what: str, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> Coroutine[Any, Any, None]:
        return Lock(self._database, number, what, self._stopping).run(work)

    def _traffic(self, shard: int, share: Share) -> list[Coroutine[Any, Any, None]]:
        """One shard's recorder with its side jobs, under one lock."""
        settings, stopping = self._settings, self._stopping
        poster = TrafficPoster(self._database, shard, self._shards, unix_ms)
        recorder = Writer(self._client, poster, settings, stopping)
        expirer = Expirer(recorder, poster, settings.expire_check_ms, settings.expire_slack_ms, stopping, unix_ms)
        trimmer = Trimmer(
            self._client, recorder, poster.stream, poster.subject, settings.traffic_keep_hours, stopping, unix_ms
        )
        lock = Lock(self._database, shard, poster.label, stopping, share)

        async def work() -> None:
            await together(recorder.run(), expirer.run(), trimmer.run())

        self._works.append((lock, recorder))
        watch = LagWatch(self._client, recorder, lock, poster.stream, poster.label, stopping)
        return [lock.run(work), watch.run()]

    def _control_works(self) -> list[Coroutine[Any, Any, None]]:
        poster = ControlPoster(self._database)
        recorder = self._control = Writer(self._client, poster, self._settings, self._stopping)
        lock = Lock(self._database, CONTROL_LOCK, poster.label, self._stopping)
        self._works.append((lock, recorder))
        watch = LagWatch(self._client, recorder, lock, poster.stream, poster.label, self._stopping)
        return [lock.run(recorder.run), watch.run()]

    async def _ensure_traffic(self) -> StreamState:
        settings = self._settings
        return await streams.ensure_traffic(
            self._client, settings.traffic_stream_bytes_max, settings.traffic_shards, settings.stream_replicas
        )

    async def _keep_stream(self) -> None:
        """A broker that came back without its data has no stream, and edges wait for one."""
        while not self._stopping.is_set():
            await set_within(self._stopping, STREAM_EVERY_S)
            try:
                await streams.state(self._client, subjects.TRAFFIC_STREAM)
            except StreamError as error:
                if error.code == streams.NOT_FOUND:
                    log.error("stream_gone", stream=subjects.TRAFFIC_STREAM)
                    with suppress(*BUS_ERRORS):
                        await self._ensure_traffic()
            except BUS_ERRORS:
                pass  # the recorders tell


async def _spent(report: Report, question: SpentRequest) -> SpentReply:
    if sum(len(each.values) for each in question.of) > SPENT_VALUES_MAX:
        raise BusError("bad_request")
    try:
        return SpentReply([str(picousd) for picousd in await report.spent(question.of)])
    except ValueError:
        raise BusError("bad_request") from None
    except DATABASE_ERRORS as error:
        log.warning("book_not_answering", error=type(error).__name__, detail=str(error)[:200])
        raise BusError("unavailable") from None

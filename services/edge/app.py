"""The edge's composition root: the only place that connects its parts, top to bottom."""

import asyncio
import gc
import os
import socket
from pathlib import Path

import nats.errors
import structlog

from services.edge import checking, front, metrics, payload
from services.edge.clock import Clock
from services.edge.config import EdgeSettings
from services.edge.drain import PAYLOADS
from services.edge.following import Following
from services.edge.group_commit import GroupCommit
from services.edge.http import Budget, Listener
from services.edge.journal import Journal, JournalTakenError
from services.edge.kept_keys import KeptKeys
from services.edge.metrics import RecorderMetrics
from services.edge.parts import Parts
from services.edge.passthrough import background
from services.edge.passthrough.running import Running
from services.edge.payload import PayloadMetrics
from services.edge.publisher import publisher_for
from services.edge.rests import Rests
from services.edge.series import SERIES
from services.edge.server import Server
from services.edge.setup import Setup, set_up
from services.edge.sso.state import Sso
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.upstream import Client
from services.edge.watch import Watch
from shared import bus, reload, streams, subjects
from shared.asker import IdentityReply, IdentityRequest, Signer
from shared.bus import BusClient
from shared.ids import new_id
from shared.service import Life, cannot_listen, serve_probes
from shared.settings import SettingsError
from shared.streams import StreamState

log = structlog.get_logger()

STREAMS_WAIT_S = 0.2
FLUSH_S = 10.0
JOURNAL_DRAIN_S = 10.0
"""For what the journal holds to reach the broker."""
CUT_OFF_S = 1.0
"""After the drain: for the cancelled handlers to end."""


async def main(life: Life) -> None:
    setup = await set_up(os.environ)
    conf = setup.conf
    probes = await serve_probes(life, conf.edge_probe_host, conf.edge_probe_port)
    known: list[Following] = []

    def back() -> None:
        for each in known:
            each.feed.reconnected()

    try:
        client = await life.unless_stopping(bus.connect("edge", conf.nats_url, on_back=back))
        if client is not None:
            try:
                await front.connected(setup.lasting, client)
                known.append(Following(client, setup))
                await _serve(life, client, setup, known[0])
            finally:
                await bus.close(client)
    finally:
        await setup.close()
        await probes.cleanup()


async def _serve(life: Life, client: BusClient, setup: Setup, known: Following) -> None:
    """From the connection to the bus on, to the end."""
    conf, renewal = setup.conf, setup.renewal
    traffic = await life.unless_stopping(_wait_for_stream(client, subjects.TRAFFIC_STREAM))
    if traffic is None:
        return
    await known.start()

    edge_id = new_id()
    shard = subjects.shard_of(conf.edge_name or f"{socket.gethostname()}:{conf.edge_port}", traffic.shards)
    log.info("shard_chosen", shard=shard, shards=traffic.shards)
    recorder = await _recorder(client, conf, "journal", subjects.traffic(shard), RecorderMetrics())
    signer = Signer(edge_id)
    identity = await bus.answer(
        client,
        subjects.edge_identity(edge_id),
        edge_id,
        IdentityRequest,
        lambda _: IdentityReply(signer.public_key),
    )
    upstream, tasks, clock = Client(ssl_context=setup.trust), Tasks(), Clock()

    def reason_not_ready() -> str | None:
        return known.reason_not_ready() if recorder.healthy else "facts cannot be recorded"

    sso = Sso(outbound=setup.outbound)
    sso.take(**setup.found.sso)
    parts = Parts(
        settings=conf,
        edge_id=edge_id,
        bus_client=client,
        grants=known.grants,
        customers=known.customers,
        recorder=recorder,
        payloads=await _recorder(client, conf, PAYLOADS, subjects.payload(0), PayloadMetrics()),
        upstream=upstream,
        targets=setup.targets,
        left_out=setup.left_out,
        strangers=Strangers(recorder, clock.unix_ms),
        clock=clock,
        tasks=tasks,
        tokens=setup.tokens,
        sso=sso,
        ledger=setup.ledger,
        ledger_path=setup.ledger_path,
        signer=signer,
        **setup.found.parts,
        **setup.lasting,
        running=Running(Path(conf.data_dir) / f"edge-{conf.edge_port}" / "background", clock.seconds),
        named=known.named,
        stored=known.added,
        stopping=life.stopping.is_set,
        reason_not_ready=life.reason_not_ready,
        key_refused=renewal.refused,
        kept_keys=None
        if setup.stored_keys is None
        else KeptKeys(client, setup.stored_keys, known.grants, clock.unix_ms),
    )
    parts.running.load()
    keeping = [
        asyncio.create_task(background.run(parts)),
        asyncio.create_task(renewal.run(parts)),
        asyncio.create_task(reload.keep(life, setup.source, renewal.apply)),
    ]
    if setup.found.config.general.background_health_checks:
        interval_s = front.interval_s(setup.found.config)
        keeping.append(asyncio.create_task(checking.in_background(parts, interval_s)))
    rests = Rests(client, edge_id, parts.health, clock)
    parts.tell_rest = rests.tell
    await rests.start()
    known.look()
    server = Server(parts, Budget(setup.limits))
    metrics.running.set_function(lambda: server.running)
    SERIES.models = frozenset(setup.found.config.model_names)
    SERIES.in_flight = lambda: server.running
    SERIES.resting = lambda: [
        (
            each.deployment.upstream_model,
            name,
            each.deployment.provider,
            parts.health.is_resting(name, clock.seconds()),
            parts.health.rests(name),
        )
        for name, each in list(parts.targets.items())
    ]
    listener = server.listener(setup.certificate)
    try:
        await listener.listen(conf.edge_host, conf.edge_port, reuse_port=conf.edge_reuse_port)
    except OSError as error:
        raise cannot_listen(conf.edge_host, conf.edge_port, "edge", error) from None
    # What exists now lives as long as the process: out of the collector's sight, which then has
    # only requests to look at.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    life.ready(reason_not_ready)
    name = conf.edge_name or f"{socket.gethostname()}:{conf.edge_port}"
    watch = Watch(parts.alerts, name, lambda: recorder.journal_bytes, lambda: recorder.healthy, clock.seconds)
    watching = asyncio.create_task(watch.run())

    await life.stopping.wait()
    for task in keeping:
        task.cancel()
    await _stop(listener, server, conf, parts)
    watching.cancel()
    await identity.drain()
    await rests.close()
    await upstream.close()
    await known.close()


async def _stop(listener: Listener, server: Server, conf: EdgeSettings, parts: Parts) -> None:
    """No new connections; what runs goes on up to the limit; what is cut off is settled; every fact
    is durable.
    """
    log.info("stopping", connections=len(listener.connections), running=server.running)
    await listener.drain(conf.edge_drain_ms / 1000, conf.edge_drain_idle_ms / 1000)
    log.info("drained")
    if listener.connections:
        log.warning("requests_cut_off", connections=len(listener.connections), running=server.running)
    await listener.close(CUT_OFF_S)
    await parts.tasks.finish(FLUSH_S)
    parts.strangers.close()
    try:
        await asyncio.wait_for(parts.recorder.flush(), FLUSH_S)
    except TimeoutError:
        log.error("facts_not_flushed")
    # A pod that is scaled away leaves its volume behind: with the broker there, it leaves it empty.
    if not await parts.recorder.drained(JOURNAL_DRAIN_S):
        log.error("journal_left_behind", see="python -m services.edge drain-journal")
    if parts.payloads is not None:
        await payload.stop(parts.payloads, FLUSH_S, JOURNAL_DRAIN_S)
    await parts.recorder.close()


async def _recorder(
    client: BusClient, conf: EdgeSettings, journal_name: str, subject: str, numbers: RecorderMetrics
) -> GroupCommit:
    """To a subject, with a journal of its own that takes what the broker doesn't. Raises
    SettingsError.
    """
    path = Path(conf.data_dir) / f"edge-{conf.edge_port}" / journal_name
    try:
        journal = Journal(path, conf.edge_journal_bytes_max)
    except (OSError, JournalTakenError) as error:
        raise SettingsError(f"TOLLGATE_DATA_DIR: the journal can't be used: {error}") from None
    publisher = await publisher_for(client)
    recorder = GroupCommit(publisher, journal, subject, conf.edge_publish_timeout_ms, conf.edge_settle_wait_ms, numbers)
    recorder.start()
    return recorder


async def _wait_for_stream(client: BusClient, stream: str) -> StreamState:
    """Until the ledger has made it: before, nothing could be recorded."""
    while True:
        try:
            return await streams.state(client, stream)
        except (nats.errors.Error, OSError, TimeoutError):
            await asyncio.sleep(STREAMS_WAIT_S)

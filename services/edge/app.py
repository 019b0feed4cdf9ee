"""The edge's composition root: the only place that connects its parts, top to bottom."""

import asyncio
import contextlib
import gc
import os
import resource
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nats.errors
import structlog

from services.edge import configured, front, metrics, payload
from services.edge.clock import Clock
from services.edge.config import EdgeSettings
from services.edge.configured import USER_AGENT, Configured
from services.edge.grants import Grants
from services.edge.http import Budget, Certificate, Limits, Listener
from services.edge.http.budget import bytes_default
from services.edge.journal import Journal, JournalTakenError
from services.edge.kept_keys import KeptKeys
from services.edge.metrics import RecorderMetrics
from services.edge.parts import Parts
from services.edge.passthrough.named import Named
from services.edge.providers.base import Target
from services.edge.publisher import publisher_for
from services.edge.recorder import Recorder
from services.edge.renewal import Renewal
from services.edge.rests import Rests
from services.edge.series import SERIES
from services.edge.server import Server
from services.edge.sso.state import Sso
from services.edge.stored import front as stored_front
from services.edge.stored.front import Connect
from services.edge.strangers import Strangers
from services.edge.tasks import Tasks
from services.edge.tokens import Tokens
from services.edge.upstream import Client, Origin
from services.edge.watch import Watch
from shared import bus, reload, settings, streams, subjects
from shared.asker import IdentityReply, IdentityRequest, Signer
from shared.bus import BusClient
from shared.config import Config
from shared.identity import settings as jwt_settings
from shared.identity.verifier import Verifier, own_validate
from shared.ids import DeploymentId, new_id
from shared.notices import ControlNotices
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.secrets import KeyManagement
from shared.secrets.stored_keys import StoredKeys
from shared.secrets.stored_keys import of as stored
from shared.service import Life, cannot_listen, serve_probes
from shared.settings import SettingsError
from shared.startup import Source
from shared.streams import StreamState

log = structlog.get_logger()

STREAMS_WAIT_S = 0.2
FEED_WAIT_S = 2.0
LINGER_S = 0.5
"""A stopping edge keeps idle connections for so long: a request that was on its way is served, and told that it was the last."""
FLUSH_S = 10.0
OPEN_FILES = 65_536
"""Asked for at start, as far as the hard limit goes."""
CONNECTIONS_MAX = 16_384
JOURNAL_DRAIN_S = 10.0
"""For what the journal holds to reach the broker."""
CUT_OFF_S = 1.0
"""After the drain: for the cancelled handlers to end."""


async def main(life: Life) -> None:
    conf = settings.read(EdgeSettings, os.environ)
    source = await Source.open(conf.config, os.environ, "edge")
    config, environ = source.config, source.environ
    conf = settings.read(EdgeSettings, environ)  # with what its values refer to
    outbound = Outbound(OutboundSettings.read(environ), Guard(any_address=True))

    def read(config: Config, environ: Mapping[str, str]) -> Configured:
        return configured.read(config, environ, outbound, conf.edge_host)

    found = read(config, environ)
    renewal = Renewal(source, conf, found, read)
    tokens = _tokens(config.general_settings, environ, outbound, config.directory)
    lasting = front.lasting(config, environ, outbound, conf.data_dir)
    stored_keys = stored(KeyManagement.of(config.general_settings), environ)
    ledger = _ledger(conf.ledger_url)
    targets, left_out = dict(found.targets), dict(found.left_out)
    connect_stored = stored_front.build(conf, config, environ, USER_AGENT, targets, left_out)
    probes = await serve_probes(life, conf.edge_probe_host, conf.edge_probe_port)
    feeds: list[ControlNotices] = []

    def back() -> None:
        for feed in feeds:
            feed.reconnected()

    try:
        client = await life.unless_stopping(bus.connect("edge", conf.nats_url, on_back=back))
        if client is not None:
            try:
                await _serve(
                    life, conf, client, feeds, source, found, targets, left_out, ledger, tokens, lasting, outbound, renewal,
                    stored_keys, connect_stored,
                )  # fmt: skip
            finally:
                await bus.close(client)
                await lasting["alerts"].close()
                if lasting["cache"] is not None:
                    await lasting["cache"].store.close()
                await tokens.close()
                await outbound.close()
    finally:
        if stored_keys is not None:
            await stored_keys.close()
        await source.close()
        await probes.cleanup()


async def _serve(
    life: Life,
    conf: EdgeSettings,
    client: BusClient,
    feeds: list[ControlNotices],
    source: Source,
    found: Configured,
    targets: dict[DeploymentId, Target],
    left_out: dict[DeploymentId, str],
    ledger: tuple[Origin, str],
    tokens: Tokens,
    lasting: dict[str, Any],
    outbound: Outbound,
    renewal: Renewal,
    stored_keys: StoredKeys | None,
    connect_stored: Connect,
) -> None:
    """From the connection to the bus on, to the end."""
    certificate = _certificate(conf)
    guard = _guard(conf)
    await front.connected(lasting, client)
    grants = Grants(
        client,
        lambda: feeds[0],
        ttl_ms=conf.edge_grant_ttl_ms,
        entries_max=conf.edge_grants_max,
        timeout_ms=conf.edge_policy_timeout_ms,
        stale_ms=conf.edge_feed_stale_ms,
        claims=tokens.claims,
        prepare=lambda grant: added.ready(grant),
    )
    added = connect_stored(client, lambda: grants.seen_seq)
    customers = Grants(
        client,
        lambda: feeds[0],
        ttl_ms=conf.edge_grant_ttl_ms,
        entries_max=conf.edge_customers_max,
        timeout_ms=conf.edge_policy_timeout_ms,
        stale_ms=conf.edge_feed_stale_ms,
    )

    named = Named(client, Outbound(OutboundSettings.read(os.environ), guard), lambda: grants.seen_seq)

    def forget(subject: str, seq: int) -> None:
        grants.forget(subject, seq)
        customers.forget(subject, seq)
        named.changed(subject)
        added.changed(subject)

    def forget_all() -> None:
        grants.forget_all()
        customers.forget_all()
        named.start()
        added.start()

    feeds.append(ControlNotices(client, forget, forget_all))
    traffic = await life.unless_stopping(_wait_for_stream(client, subjects.TRAFFIC_STREAM))
    if traffic is None:
        return
    metrics.feed_stale.set_function(lambda: feeds[0].stale_ms / 1000)
    await feeds[0].start()
    await _wait_for_feed(feeds[0])

    edge_id = new_id()
    recorder = await _recorder(client, conf, traffic.shards)
    signer = Signer(edge_id)
    identity = await bus.answer(
        client,
        subjects.edge_identity(edge_id),
        edge_id,
        IdentityRequest,
        lambda _: IdentityReply(signer.public_key),
    )
    upstream, tasks, clock = Client(), Tasks(), Clock()

    def reason_not_ready() -> str | None:
        if not recorder.healthy:
            return "facts cannot be recorded"
        if (
            not feeds[0].caught_up
            and grants.seen_seq == 0
            and feeds[0].seq == 0
            and feeds[0].stale_ms > conf.edge_feed_stale_ms
        ):
            return "the control feed has not started"
        return None

    parts = Parts(
        settings=conf,
        edge_id=edge_id,
        bus_client=client,
        grants=grants,
        customers=customers,
        recorder=recorder,
        payloads=await _payloads(client, conf),
        upstream=upstream,
        targets=targets,
        left_out=left_out,
        strangers=Strangers(recorder, clock.unix_ms),
        clock=clock,
        tasks=tasks,
        tokens=tokens,
        sso=Sso(outbound=outbound, **found.sso),
        ledger=ledger[0],
        ledger_path=ledger[1],
        signer=signer,
        **found.parts,
        **lasting,
        named=named,
        stored=added,
        stopping=life.stopping.is_set,
        reason_not_ready=life.reason_not_ready,
        key_refused=renewal.refused,
        kept_keys=None if stored_keys is None else KeptKeys(client, stored_keys, grants, clock.unix_ms),
    )
    keeping = [
        asyncio.create_task(renewal.run(parts)),
        asyncio.create_task(reload.keep(life, source, renewal.apply)),
    ]
    rests = Rests(client, edge_id, parts.health, clock)
    parts.tell_rest = rests.tell
    await rests.start()
    named.start()
    added.start()
    server = Server(parts, Budget(_limits(conf)))
    metrics.running.set_function(lambda: server.running)
    SERIES.models = frozenset(found.config.model_names)
    SERIES.in_flight = lambda: server.running
    SERIES.resting = lambda: [
        (each.deployment.upstream_model, name, each.deployment.provider, parts.health.is_resting(name, clock.seconds()))
        for name, each in list(parts.targets.items())
    ]
    listener = server.listener(certificate)
    try:
        await listener.listen(conf.edge_host, conf.edge_port, reuse_port=conf.edge_reuse_port)
    except OSError as error:
        raise cannot_listen(conf.edge_host, conf.edge_port, "edge", error) from None
    # What exists now lives as long as the process: out of the collector's sight, which then has only requests to look at.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    life.ready(reason_not_ready)
    name = conf.edge_name or f"{socket.gethostname()}:{conf.edge_port}"
    watch = Watch(parts.alerts, name, metrics.journal_bytes, lambda: recorder.healthy, clock.seconds)
    watching = asyncio.create_task(watch.run())

    await life.stopping.wait()
    for task in keeping:
        task.cancel()
    await _stop(listener, server, conf.edge_drain_ms / 1000, parts)
    watching.cancel()
    await identity.drain()
    await named.close()
    await added.close()
    await rests.close()
    await upstream.close()
    await feeds[0].close()


def _tokens(general_settings: dict[str, Any], environ: Mapping[str, str], outbound: Outbound, directory: str) -> Tokens:
    """Raises SettingsError for rules that can't be kept."""
    auth = jwt_settings.read(general_settings, environ)
    return Tokens(None if auth is None else Verifier(outbound, auth, validate=own_validate(auth, directory)))


def _certificate(conf: EdgeSettings) -> Certificate | None:
    """LiteLLM's variables stand in for ours. Raises SettingsError."""
    cert = conf.edge_tls_cert_file or os.environ.get("SSL_CERTFILE_PATH", "")
    key = conf.edge_tls_key_file or os.environ.get("SSL_KEYFILE_PATH", "")
    if not (cert or key):
        return None
    if not (cert and key):
        raise SettingsError("TOLLGATE_EDGE_TLS_CERT_FILE and TOLLGATE_EDGE_TLS_KEY_FILE: TLS needs both")
    try:
        return Certificate(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            f"TOLLGATE_EDGE_TLS_CERT_FILE: {cert} and {key} can't be used ({type(error).__name__}: {str(error)[:120]})"
        ) from None


def _guard(conf: EdgeSettings) -> Guard:
    """For targets that somebody with a key names."""
    networks = [each.strip() for each in conf.edge_passthrough_networks.split(",") if each.strip()]
    try:
        return Guard.for_named_targets(networks)
    except ValueError as error:
        raise SettingsError(f"TOLLGATE_EDGE_PASSTHROUGH_NETWORKS: {error}") from None


def _limits(conf: EdgeSettings) -> Limits:
    """The settings, with what they leave to the machine filled in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    files = OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    return Limits(
        bytes_max=conf.edge_held_bytes_max or bytes_default(),
        connections_max=conf.edge_connections_max or max(8, min(CONNECTIONS_MAX, files // 3)),
        connections_per_address_max=conf.edge_connections_per_address_max,
        requests_max=conf.edge_requests_max,
    )


async def _stop(listener: Listener, server: Server, drain_s: float, parts: Parts) -> None:
    """No new connections; what runs goes on up to the limit; what is cut off is settled; every fact is durable."""
    listener.stop()
    await asyncio.sleep(LINGER_S)
    if not await listener.drain(drain_s):
        log.warning("requests_cut_off", running=server.running)
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


async def _payloads(client: BusClient, conf: EdgeSettings) -> Recorder:
    directory = Path(conf.data_dir) / f"edge-{conf.edge_port}"
    try:
        return payload.recorder(await publisher_for(client), directory, conf)
    except (OSError, JournalTakenError) as error:
        raise SettingsError(f"TOLLGATE_DATA_DIR: the journal can't be used: {error}") from None


async def _recorder(client: BusClient, conf: EdgeSettings, shards: int) -> Recorder:
    directory = Path(conf.data_dir) / f"edge-{conf.edge_port}"
    try:
        journal = Journal(directory / "journal", conf.edge_journal_bytes_max)
    except (OSError, JournalTakenError) as error:
        raise SettingsError(f"TOLLGATE_DATA_DIR: the journal can't be used: {error}") from None
    publisher = await publisher_for(client)
    shard = subjects.shard_of(conf.edge_name or f"{socket.gethostname()}:{conf.edge_port}", shards)
    log.info("shard_chosen", shard=shard, shards=shards)
    recorder = Recorder(
        publisher,
        journal,
        subjects.traffic(shard),
        conf.edge_publish_timeout_ms,
        conf.edge_settle_wait_ms,
        RecorderMetrics(),
    )
    recorder.start()
    return recorder


async def _wait_for_stream(client: BusClient, stream: str) -> StreamState:
    """Until the ledger has made it: before, nothing could be recorded."""
    while True:
        try:
            return await streams.state(client, stream)
        except (nats.errors.Error, OSError, TimeoutError):
            await asyncio.sleep(STREAMS_WAIT_S)


async def _wait_for_feed(feed: ControlNotices) -> None:
    """Until it has begun, or for a moment: what is decided before would have to be asked again."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(feed.begun.wait(), FEED_WAIT_S)


def _ledger(url: str) -> tuple[Origin, str]:
    try:
        return Origin.parse(url)
    except ValueError as error:
        raise SettingsError(f"TOLLGATE_LEDGER_URL: {error}") from None

"""The composition root: the only place that connects policy's parts."""

import asyncio
import gc
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import nats.errors
import structlog

from services.policy import blocked_list, budget_watch, metrics, spent
from services.policy.admin import Admin
from services.policy.catalog import Catalog, build
from services.policy.config import PolicySettings
from services.policy.current import Current, announced, insist, keep_announced, sha256_of
from services.policy.decide import decide
from services.policy.delivery import Deliverer
from services.policy.directory import Directory
from services.policy.identity import tokens
from services.policy.identity.upserts import Upserts
from services.policy.key_store import KeyStore
from services.policy.notes import Notes
from services.policy.renewal import Renewal
from services.policy.replica import POLL_S, Replica
from services.policy.rotations import Rotations
from shared import bus, guardrails, prices, reload, sealing, settings, streams, subjects
from shared.bus import BusClient, BusError
from shared.clock import unix_ms
from shared.config import Config, opening
from shared.grant import Denial, Grant
from shared.ids import new_id
from shared.requests import AdminReply, AdminRequest, DecideReply, DecideRequest, NoteRequest, ShownReply, ShownRequest
from shared.sealing import Keyring
from shared.secrets import KeyManagement
from shared.secrets.stored_keys import of as stored
from shared.service import Life, serve_probes
from shared.startup import Source

log = structlog.get_logger()

QUEUE = "policy"
UNKNOWN_KEY = frozenset({"unknown_key", "not_a_virtual_key"})
UNAUTHORIZED = 401
SHOWN = frozenset({"pass_through", "model", "credential", "tag", "budget"})
"""Kinds that edges and the ledger may ask for."""
SHOWN_BYTES_MAX = 512 * 1024
"""Of one answer: it must fit into one message of the bus."""
RETRY_S = 0.2
DRAIN_S = 5
"""How long a stopping replica works on what it was already asked."""


async def main(life: Life) -> None:
    """One policy replica, until `life` is stopping."""
    wanted = settings.read(PolicySettings, os.environ)
    source = await Source.open(wanted.config, os.environ, "policy")
    loaded, environ = source.config, source.environ
    wanted = settings.read(PolicySettings, environ)  # with what its values refer to
    opening.refuse(loaded.master_key, wanted.edge_host, allow=loaded.allow_open_gateway)
    current = Current(build(loaded, prices.lookup, environ), sha256_of(wanted.config), _blocked_file(loaded))
    stored_keys = stored(KeyManagement.of(loaded.general_settings), environ)
    _warn(loaded, current.catalog)
    probes = await serve_probes(life, wanted.policy_probe_host, wanted.policy_probe_port)
    try:
        client = await life.unless_stopping(bus.connect("policy", wanted.nats_url))
        if client is not None:
            try:
                renewal = Renewal(source, current.catalog.master_key, client, wanted)
                deliverer = None if stored_keys is None else partial(KeyStore, stored_keys)
                keyring = sealing.ring(source.environ)

                async def apply(loaded: Config, environ: Mapping[str, str]) -> list[str]:
                    opening.refuse(loaded.master_key, wanted.edge_host, allow=loaded.allow_open_gateway)
                    catalog = build(loaded, prices.lookup, environ)
                    _warn(loaded, catalog)
                    renewal.take(loaded, environ)
                    current.replace(catalog, sha256_of(wanted.config), _blocked_file(loaded))
                    return []

                reloading = asyncio.create_task(reload.keep(life, source, apply))
                try:
                    await serve(life, client, current, wanted.stream_replicas, deliverer, renewal, keyring)
                finally:
                    reloading.cancel()
            finally:
                await bus.close(client)
    finally:
        await source.close()
        await probes.cleanup()


async def serve(
    life: Life,
    client: BusClient,
    current: Current,
    stream_replicas: int = 0,
    deliverer: Callable[[Callable[[], Directory]], Deliverer] | None = None,
    renewal: Renewal | None = None,
    keyring: Keyring | None = None,
) -> None:
    """Follow the control stream, and answer from the moment it is caught up until `life` is
    stopping.

    Args:
        deliverer: makes, with a way to the directory, who hands out keys that are rotated by
            themselves; None: none are.
        renewal: of the master key; None: it stays as it is.
    """
    if await life.unless_stopping(_control_stream(client, stream_replicas)) is None:
        return
    replica = Replica(client, lambda: streams.ensure_control(client, stream_replicas))
    delivery = None if deliverer is None else deliverer(lambda: replica.directory)
    if delivery is not None:
        current.catalog = msgspec.structs.replace(current.catalog, undeliverable=delivery.refuses)
    current.follow(replica.directory)
    admin = Admin(client, replica, current, keyring=keyring)
    upserts = Upserts(client, lambda: replica.directory, unix_ms, new_id)

    def answer_decide(request: DecideRequest) -> DecideReply | Awaitable[DecideReply]:
        if replica.has_reached(request.min_control_seq):
            reply = decided(request)
            return when_renewed(request, reply) if may_be_new(reply) else reply
        return when_reached(request)

    async def when_reached(request: DecideRequest) -> DecideReply:
        try:
            await replica.reach(request.min_control_seq)
        except BusError as failure:
            metrics.decided(failure.code)
            raise
        reply = decided(request)
        return await when_renewed(request, reply) if may_be_new(reply) else reply

    def may_be_new(reply: DecideReply) -> bool:
        """Whether that is a key which nobody has, and which may be a new master key."""
        decision = reply.decision
        unknown = isinstance(decision, Denial) and decision.refusal.code in UNKNOWN_KEY
        return unknown and renewal is not None and renewal.is_worth_asking

    async def when_renewed(request: DecideRequest, reply: DecideReply) -> DecideReply:
        assert renewal is not None
        return decided(request) if await renewal.unknown_key() else reply

    def decided(request: DecideRequest) -> DecideReply:
        decision = decide(replica.directory, current.catalog, request, unix_ms(), replica.feed.seq)
        if request.claims and isinstance(decision, Grant):
            upserts.make(tokens.missing(replica.directory, current.catalog, request, unix_ms()))
        metrics.decided(decision.refusal.code if isinstance(decision, Denial) else "granted")
        return DecideReply(decision)

    async def answer_admin(request: AdminRequest) -> AdminReply:
        reply = await admin.answer(request)
        if reply.status == UNAUTHORIZED and request.key_sha256 and renewal is not None and await renewal.unknown_key():
            reply = await admin.answer(request)
        metrics.commanded(request.route, reply.status)
        return reply

    async def answer_shown(request: ShownRequest) -> ShownReply:
        await replica.reach(request.min_control_seq)
        if request.kind not in SHOWN:
            raise BusError("bad_request")
        return shown(replica.directory, request, replica.feed.seq)

    answering: list[bus.Answering] = []
    await replica.feed.start()
    try:
        if await life.unless_stopping(_caught_up(replica)) is not None:
            answering.append(await bus.answer(client, subjects.POLICY_DECIDE, QUEUE, DecideRequest, answer_decide))
            answering.append(await bus.answer(client, subjects.POLICY_ADMIN, QUEUE, AdminRequest, answer_admin))
            answering.append(await bus.answer(client, subjects.POLICY_SHOWN, QUEUE, ShownRequest, answer_shown))
            notes = Notes(client, replica, unix_ms)
            answering.append(await bus.answer(client, subjects.POLICY_NOTE, QUEUE, NoteRequest, notes.answer))
            # What exists now mostly lives as long as the process: out of the collector's sight,
            # which would pause every decision.
            gc.collect()
            gc.freeze()
            life.ready(replica.reason_not_ready)
            working = [
                asyncio.create_task(_keep_announced(current, admin)),
                asyncio.create_task(_keep_blocked_list(current, admin)),
                asyncio.create_task(_keep_budgets(current, admin, replica, client)),
            ]
            if delivery is not None:
                every_s = current.catalog.rotation_check_s
                rotations = Rotations(admin, lambda: replica.directory, delivery, every_s=every_s)
                working.append(asyncio.create_task(rotations.run()))
            if renewal is not None:
                working.append(asyncio.create_task(renewal.run(admin)))
            await life.stopping.wait()
            for task in working:
                task.cancel()
        await asyncio.gather(*(each.drain(DRAIN_S) for each in answering))
    finally:
        await upserts.close()
        await replica.close()


def shown(directory: Directory, request: ShownRequest, seq: int) -> ShownReply:
    """As many as fit. Pure."""
    table = directory.tables[request.kind]
    if request.only:
        plain = subjects.control(request.kind, request.only).endswith(f".{request.only}")
        candidates = [request.only] if plain else list(table)
        wanted = [each for each in candidates if each in table and _ends(request, each)]
    else:
        among = [each for each in request.ids if each in table] if request.ids else table
        wanted = sorted(each for each in among if each > request.after)
    entities: list[dict[str, Any]] = []
    size = 0
    for entity_id in wanted:
        size += len(msgspec.msgpack.encode(table[entity_id]))
        if entities and size > SHOWN_BYTES_MAX:
            break
        entities.append(msgspec.to_builtins(table[entity_id]))
    sent = wanted[: len(entities)]
    more_after = sent[-1] if len(sent) < len(wanted) else ""
    return ShownReply(entities, seq, more_after, [directory.expected(request.kind, each) for each in sent])


def _ends(request: ShownRequest, entity_id: str) -> bool:
    return subjects.control(request.kind, entity_id) == f"control.{request.kind}.{request.only}"


async def _keep_announced(current: Current, admin: Admin) -> None:
    async def announce(again: bool) -> bool:
        return await admin.announce(lambda directory, now_ms: announced(directory, current, now_ms, again=again))

    await keep_announced(current, announce)


async def _keep_blocked_list(current: Current, admin: Admin) -> None:
    """That of the catalog in force."""
    while True:
        replaced = current.replaced
        watching = asyncio.create_task(_watch_blocked_list(current.catalog, admin, current.blocked_file))
        try:
            await replaced.wait()
        finally:
            watching.cancel()


async def _watch_blocked_list(catalog: Catalog, admin: Admin, path: Path | None) -> None:
    users = catalog.blocked_users

    async def announce(again: bool) -> bool:
        return await admin.announce(
            lambda directory, now_ms: blocked_list.announced(directory, users, now_ms, again=again)
        )

    await insist(partial(announce, False))
    if path is not None:
        await blocked_list.watch(path, users, announce)


async def _keep_budgets(current: Current, admin: Admin, replica: Replica, client: BusClient) -> None:
    """Those of the catalog in force."""
    ask = partial(spent.ask, client)
    await budget_watch.keep(lambda: current.catalog, lambda: replica.directory, ask, admin.announce, unix_ms)


def _blocked_file(loaded: Config) -> Path | None:
    given = loaded.litellm.blocked_user_list
    if not isinstance(given, str) or "blocked_user_check" not in guardrails.callback_names(loaded):
        return None
    return Path(loaded.directory) / given


async def _control_stream(client: BusClient, replicas: int) -> bool:
    """The stream exists, with the settings it must have. Waits for the broker's JetStream. Raises
    SettingsError.
    """
    while True:
        try:
            await streams.ensure_control(client, replicas)
            return True
        except (nats.errors.Error, OSError, TimeoutError) as error:
            log.warning("control_stream_not_ready", error=type(error).__name__, detail=str(error)[:120])
            await asyncio.sleep(RETRY_S)


async def _caught_up(replica: Replica) -> bool:
    while True:
        if replica.reason_not_ready() is None:
            return True
        await asyncio.sleep(POLL_S)


def _warn(loaded: Config, catalog: Catalog) -> None:
    warnings = [*loaded.warnings, *catalog.warnings]
    if loaded.master_key is None:
        warnings.append("general_settings.master_key: not set, the gateway is open to everybody")
    elif opening.is_weak(loaded.master_key):
        warnings.append(
            "general_settings.master_key: weak, choose a long random key before others can reach this machine"
        )
    if warnings:
        log.warning("configuration", warnings=warnings)

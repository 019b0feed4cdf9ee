"""Moderation's composition root: the only place that connects its parts, top to bottom."""

import asyncio
import os
from collections.abc import Mapping

import structlog

from services.moderation.config import ModerationSettings, cache_dir
from services.moderation.count import Tokens
from services.moderation.guardrails import table
from services.moderation.guardrails.loaded import Loaded
from services.moderation.guardrails.parts import Parts
from services.moderation.metrics import questions_running
from services.moderation.screen import Screen
from shared import bus, reload, settings, subjects
from shared.bus import BusClient
from shared.config import Config
from shared.outbound import Guard, Outbound, OutboundSettings
from shared.requests import (
    CountReply,
    CountRequest,
    DecodeTokensReply,
    DecodeTokensRequest,
    KeywordsRequest,
    ScreenRequest,
    ServicesReply,
    ServicesRequest,
)
from shared.service import Life, serve_probes
from shared.startup import Source

log = structlog.get_logger()

QUEUE = "moderation"


async def main(life: Life) -> None:
    conf = settings.read(ModerationSettings, os.environ)
    source = await Source.open(conf.config, os.environ, "moderation")
    config, environ = source.config, source.environ
    conf = settings.read(ModerationSettings, environ)  # with what its values refer to
    probes = await serve_probes(life, conf.moderation_probe_host, conf.moderation_probe_port)
    outbound = Outbound(OutboundSettings.read(environ), Guard(any_address=True))
    screen = Screen(await _load(conf, config, environ, outbound))
    client = await life.unless_stopping(bus.connect("moderation", conf.nats_url))
    if client is not None:

        async def apply(config: Config, environ: Mapping[str, str]) -> list[str]:
            loaded = await _load(conf, config, environ, outbound)  # what is refused changes nothing
            client.use(settings.read(ModerationSettings, environ).nats_url)
            await screen.replace(loaded)
            return []

        keeping = [
            asyncio.create_task(_renew(source, client)),
            asyncio.create_task(reload.keep(life, source, apply)),
        ]
        await _serve(life, conf, client, screen, Tokens())
        for task in keeping:
            task.cancel()
    await screen.replace([])
    await source.close()
    await outbound.close()
    await probes.cleanup()


async def _load(
    conf: ModerationSettings, config: Config, environ: Mapping[str, str], outbound: Outbound
) -> list[Loaded]:
    """Ready to be asked. Raises ConfigError."""
    parts = Parts(
        config=config,
        environ=dict(environ),
        cache_dir=str(cache_dir(conf.cache_dir, environ)),
        outbound=outbound,
    )
    guardrails = await asyncio.to_thread(table.load, parts)
    log.info("guardrails_loaded", names=[guardrail.name for guardrail in guardrails])
    return guardrails


async def _renew(source: Source, client: BusClient) -> None:
    """The login at the broker may change while we run; the guardrails' own keys are those of the
    start.
    """

    def changed() -> None:
        client.use(settings.read(ModerationSettings, source.environ).nats_url)

    source.on_change = changed
    await source.watch(lambda: not client.is_up)


async def _serve(life: Life, conf: ModerationSettings, client: BusClient, screen: Screen, tokens: Tokens) -> None:
    async def on_count(request: CountRequest) -> CountReply:
        with questions_running.track_inprogress():
            return await tokens.count(request)

    async def on_tokens(request: DecodeTokensRequest) -> DecodeTokensReply:
        with questions_running.track_inprogress():
            return await tokens.decode(request)

    def on_services(_: ServicesRequest) -> ServicesReply:
        return screen.services()

    answers = [
        await bus.answer(client, subjects.MODERATION_SCREEN, QUEUE, ScreenRequest, screen.screen),
        await bus.answer(client, subjects.MODERATION_COUNT, QUEUE, CountRequest, on_count),
        await bus.answer(client, subjects.MODERATION_TOKENS, QUEUE, DecodeTokensRequest, on_tokens),
        await bus.answer(client, subjects.MODERATION_SERVICES, QUEUE, ServicesRequest, on_services),
        await bus.answer(client, subjects.MODERATION_KEYWORDS, QUEUE, KeywordsRequest, screen.keywords),
    ]
    life.ready(lambda: None if client.is_up else "the bus is away")
    await life.stopping.wait()
    await asyncio.gather(*(answering.drain(conf.moderation_drain_ms / 1000) for answering in answers))
    tokens.close()
    await bus.close(client)

"""What the edge has besides calls to models, read from configuration and environment: one function,
the parts by their names.
"""

import time
from collections.abc import Mapping
from typing import Any

import structlog
from nats.aio.client import Client

from services.edge import alerts, own_headers, own_hooks, own_ids, site, sizes
from services.edge.alerts import Alerts
from services.edge.cache import control
from services.edge.cache.bucket import Bucket
from services.edge.cache.state import Cache
from services.edge.cache.store import Local, Near, Redis, Store
from services.edge.checks import Checks
from services.edge.clock import Clock
from services.edge.images import Images
from services.edge.own_thread import OwnThread
from services.edge.passthrough import mcp_servers, provider_routes
from services.edge.routing import settings as routing_settings
from services.edge.routing.health import Health
from shared import guardrails, sealing
from shared import passthrough as entries
from shared.config import Config, ConfigError
from shared.outbound import Outbound
from shared.routes.llm import COMPLETIONS

log = structlog.get_logger()

_HOOKS = OwnThread("own_hooks")
"""One for as long as the process lives, however often the file is read: it begins with the first
question.
"""


def routing(config: Config) -> dict[str, Any]:
    """What decides where calls go. Raises ConfigError."""
    found = routing_settings.of(config)
    return {
        "health": Health(
            cooldown_s=found.cooldown_s,
            allowed_fails=found.allowed_fails,
            by_cause=found.fails_by_cause,
            latency_ttl_s=found.latency_ttl_s,
            latency_buffer=found.latency_buffer,
        ),
        "routing": found,
    }


def build(config: Config, environ: Mapping[str, str], outbound: Outbound) -> dict[str, Any]:
    """Fields of Parts that are replaced when the file is read again. Raises ConfigError,
    SettingsError.
    """
    general = config.general_settings
    looks = site.read(general, environ, config.directory)
    endpoints = entries.read(
        general.get("pass_through_endpoints"), environ, config.general.pass_through_request_timeout
    )
    enabled = guardrails.enabled(config)
    known = {each.name for each in enabled}
    for entry in endpoints.all:
        if unknown := [name for name in entry.guardrails if name not in known]:
            raise ConfigError(
                f"general_settings.pass_through_endpoints: {entry.path}: there is no guardrail {unknown[0]!r}"
            )
    taken = {entry.path for entry in endpoints.all}
    relayed = [each for each in mcp_servers.entries(config.mcp_servers) if each.path not in taken]
    default = config.general.completion_model or config.litellm.default_model
    provided, signers = provider_routes.read(environ, endpoints)
    return {
        "guardrails": enabled,
        "sizes": sizes.read(general),
        "own_headers": own_headers.of(config),
        "own_hooks": own_hooks.load(config, _HOOKS),
        "forwards_headers": config.general.forward_client_headers_to_llm_api,
        "forwards_trace": config.litellm.forward_traceparent_to_llm_provider,
        "id_rules": own_ids.IdRules(
            of_anybody=config.general.disable_responses_id_security,
            of_nobody=config.general.allow_unmanaged_response_ids,
        ),
        "keys_chosen": not config.general.disable_custom_api_keys,
        "show_usage": config.general.always_include_stream_usage,
        "site": looks,
        "images": Images(looks, None if config.general.offline else outbound),
        "passthrough": entries.Entries([*endpoints.all, *relayed, *provided]),
        "passthrough_signers": signers,
        "call_id_in_errors": bool(general.get("include_call_id_in_error_body")),
        "default_models": dict.fromkeys(COMPLETIONS, default) if default else {},
        "records_customers": not config.litellm.disable_end_user_cost_tracking,
        "tags_clients": config.litellm.disable_add_user_agent_to_request_tags is False,
        "metrics_need_key": config.litellm.require_auth_for_metrics_endpoint,
    }


def lasting(
    config: Config, environ: Mapping[str, str], outbound: Outbound, relay: Outbound, data_dir: str
) -> dict[str, Any]:
    """Fields of Parts that are made once: they hold connections, or remember what they did.

    Args:
        relay: for pass-through and relayed calls.
        data_dir: where this machine's sealing key is kept, unless the environment has one.

    Raises ConfigError, SettingsError."""
    return {
        "alerts": Alerts(outbound, alerts.webhook(config.general_settings, environ), time.monotonic),
        "cache": _cache(config, environ, data_dir),
        "own_ids": own_ids.of(environ, data_dir),
        "passthrough_outbound": relay,
        "checks": Checks(interval_s(config), in_background=config.general.background_health_checks),
    }


def interval_s(config: Config) -> float:
    """Of health checks."""
    return max(1.0, config.general.health_check_interval or 300.0)


async def connected(front: Mapping[str, Any], client: Client) -> None:
    """The bus is there."""
    cache = front["cache"]
    if cache is None:
        return
    if isinstance(cache.store, Near) and isinstance(cache.store.far, Bucket):
        cache.store.far.connected(client)
    if not await cache.store.ping():  # its first call doesn't wait for a connection then
        log.warning("cache_away_at_start", kind=cache.settings.kind)


def _cache(config: Config, environ: Mapping[str, str], data_dir: str) -> Cache | None:
    wanted = control.read(
        bool(config.litellm.cache) or config.router.cache_responses, config.litellm.cache_params, environ
    )
    if wanted is None:
        return None
    if wanted.kind == "local":
        return Cache(wanted, Local(CACHE_BYTES_MAX, time.monotonic))
    far: Store = (
        Redis(wanted.redis_url, time.monotonic)
        if wanted.kind == "redis"
        else Bucket(sealing.keyring(environ, data_dir), time.monotonic, Clock().unix_ms)
    )
    return Cache(wanted, Near(far, time.monotonic, Clock().unix_ms))


CACHE_BYTES_MAX = 64 * 1024 * 1024
"""Of answers kept in this process."""

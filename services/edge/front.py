"""What the edge has besides calls to models, read from configuration and environment: one function, the parts by their names."""

import time
from collections.abc import Mapping
from typing import Any

from services.edge import alerts, site, sizes
from services.edge.alerts import Alerts
from services.edge.cache import control
from services.edge.cache.serve import Cache
from services.edge.cache.store import Local, Redis
from services.edge.images import Images
from services.edge.routing import settings as routing_settings
from services.edge.routing.health import Health
from services.edge.series import SERIES
from shared import passthrough as entries
from shared.config import Config
from shared.outbound import Outbound


def routing(config: Config) -> dict[str, Any]:
    """What decides where calls go. Raises ConfigError."""
    found = routing_settings.of(config)
    return {
        "health": Health(cooldown_s=found.cooldown_s, allowed_fails=found.allowed_fails),
        "rules": found.rules,
        "strategy": found.strategy,
        "timeout_ms": found.timeout_ms,
        "check_windows": found.check_windows,
    }


def build(config: Config, environ: Mapping[str, str], outbound: Outbound) -> dict[str, Any]:
    """Fields of Parts. Raises ConfigError, SettingsError."""
    general = config.general_settings
    SERIES.models = frozenset(config.model_names)
    looks = site.read(general, environ, config.directory)
    return {
        "sizes": sizes.read(general),
        "alerts": Alerts(outbound, alerts.webhook(general, environ), time.monotonic),
        "site": looks,
        "images": Images(looks, outbound),
        "cache": _cache(config, environ),
        "passthrough": entries.read(general.get("pass_through_endpoints"), environ),
        "passthrough_outbound": outbound,
        **routing(config),
        "metrics_need_key": config.litellm.require_auth_for_metrics_endpoint,
    }


def _cache(config: Config, environ: Mapping[str, str]) -> Cache | None:
    wanted = control.read(bool(config.litellm.cache), config.litellm.cache_params, environ)
    if wanted is None:
        return None
    if wanted.kind == "redis":
        return Cache(wanted, Redis(wanted.redis_url, time.monotonic))
    return Cache(wanted, Local(CACHE_BYTES_MAX, time.monotonic))


CACHE_BYTES_MAX = 64 * 1024 * 1024
"""Of answers kept in this process."""

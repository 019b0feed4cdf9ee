"""What of the configuration file the edge acts on: made at start, and again whenever the file is
read again.

`LATER` says what is made once, at start: what holds connections or a memory of its own.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import structlog

from services.edge import front
from services.edge.pages import shown
from services.edge.parts import Parts
from services.edge.providers import table
from services.edge.providers.base import Target
from services.edge.routing import settings as routing_settings
from services.edge.series import SERIES
from services.edge.sso import settings as sso_settings
from services.edge.sso.throttle import Throttle
from shared import addresses
from shared.addresses import Network
from shared.config import Config, ConfigError, opening
from shared.ids import DeploymentId
from shared.outbound import Outbound
from shared.secrets.value import Secret

log = structlog.get_logger()

USER_AGENT = "tollgate"
LATER: Final = {
    "general_settings": (
        "alerting", "alerting_args", "alerting_threshold", "alert_types", "alert_to_webhook_url", "enable_jwt_auth", "litellm_jwtauth",
        "health_check_interval", "background_health_checks", "custom_auth", "custom_auth_settings",
        "global_max_parallel_requests",
    ),
    "litellm_settings": ("cache", "cache_params", "ssl_verify"),
}  # fmt: skip
"""Section → keys that a restart puts into force."""


class Configured(msgspec.Struct, frozen=True):
    config: Config
    environ: Mapping[str, str]
    targets: dict[DeploymentId, Target]
    left_out: dict[DeploymentId, str]
    """Deployments that can't be called from here, each with the reason."""
    parts: dict[str, Any]
    """Fields of Parts that are replaced as they are."""
    sso: dict[str, Any]
    """Fields of Sso."""
    targets_before: frozenset[DeploymentId] = frozenset()
    """Of what was in force before."""


def read(config: Config, environ: Mapping[str, str], outbound: Outbound, host: str) -> Configured:
    """Raises ConfigError, SettingsError.

    Args:
        host: where the edge listens: a weak master key is taken only where that is this machine
            alone.
    """
    if config.master_key is not None:  # that there is none is policy's to refuse
        opening.refuse(config.master_key, host, allow=config.allow_open_gateway)
    left_out = config.unkeyed | {each.id: each.reason for each in config.left_out if each.id}
    reasons = [f"{each.model_name}: {each.reason}" for each in config.left_out]
    uncallable: dict[DeploymentId, str] = {}
    deployments = routing_settings.with_defaults(config.deployments, config)
    targets = table.build(deployments, USER_AGENT, config.litellm, environ, uncallable)
    if reasons or uncallable:
        log.warning("models_left_out", models=[*reasons, *uncallable.values()])
    password = environ.get("UI_PASSWORD")
    sso = sso_settings.read(environ, config.general_settings, config.litellm_settings)
    for name, why in sso.without_effect.items():
        log.warning("variable_without_effect", name=name, why=why)
    return Configured(
        config,
        environ,
        targets,
        left_out | uncallable,
        {
            **front.build(config, environ, outbound),
            **front.routing(config),
            "shown_settings": shown.of(config),
            "proxies": proxies(config.general_settings),
        },
        {
            "settings": sso,
            "username": environ.get("UI_USERNAME") or "admin",
            "password": Secret(password) if password else None,
            "master_key": config.master_key,
            "throttle": Throttle(
                config.general.max_failed_login_attempts_per_source,
                config.general.failed_login_window_seconds,
                config.general.failed_login_block_seconds,
            ),
        },
    )


def replace(parts: Parts, before: Configured, after: Configured) -> list[str]:
    """Put it into force, from the next request on: what runs goes on with what it began with. Names
    of what waits for a restart.

    Deployments that are gone stay callable until the file is read once more: policies take the file
    over at moments of their own.
    """
    gone = (before.targets_before - before.targets.keys()) | parts.adopted
    for name in gone - after.targets.keys():
        parts.targets.pop(name, None)
    parts.adopted.clear()
    parts.targets.update(after.targets)
    for name in before.left_out.keys() | after.targets.keys():
        parts.left_out.pop(name, None)
    parts.left_out.update(after.left_out)
    parts.health.set_terms(after.parts["health"])
    for field, value in after.parts.items():
        if field != "health":
            setattr(parts, field, value)
    parts.sso.take(**after.sso)
    SERIES.models = frozenset(after.config.model_names)
    parts.stored.renew(after.config, after.environ)
    return [
        f"{section}.{name}"
        for section, names in LATER.items()
        for name in names
        if getattr(before.config, section).get(name) != getattr(after.config, section).get(name)
    ]


def proxies(general: Mapping[str, Any]) -> tuple[Network, ...]:
    """Whose X-Forwarded-For is believed. Raises ConfigError."""
    believed, ranges = general.get("use_x_forwarded_for"), general.get("trusted_proxy_ranges") or []
    if not isinstance(ranges, list) or not all(isinstance(each, str) for each in ranges):
        raise ConfigError("general_settings.trusted_proxy_ranges must be a list of addresses or ranges like 10.0.0.0/8")
    try:
        networks = tuple(addresses.network(each) for each in ranges)
    except ValueError as error:
        raise ConfigError(f"general_settings.trusted_proxy_ranges: {error}") from None
    if believed and not networks:
        raise ConfigError(
            "general_settings.use_x_forwarded_for needs general_settings.trusted_proxy_ranges: the addresses of your "
            "load balancer or ingress (like 10.0.0.0/8). Without them every client could write its own address."
        )
    return networks if believed else ()

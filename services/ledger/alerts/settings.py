"""Which alerts there are, and where they go: LiteLLM's settings. Pure."""

from collections.abc import Mapping
from typing import Any

import msgspec

from shared.config import ConfigError
from shared.config.alert_types import ALERTS, ON, OURS
from shared.secrets.value import Secret

CHANNELS = ("slack", "webhook", "email")
ALL = "*"


class Smtp(msgspec.Struct, frozen=True):
    host: str
    port: int
    sender: str
    to: tuple[str, ...]
    username: str = ""
    password: Secret | None = None
    tls: bool = True


class AlertSettings(msgspec.Struct, frozen=True, kw_only=True):
    types: frozenset[str]
    slack: dict[str, tuple[Secret, ...]] = {}
    """Alert type → addresses; `*`: of all others."""
    webhook: Secret | None = None
    smtp: Smtp | None = None
    threshold_s: float = 300.0
    """A call is slow, or hangs, after so long."""
    minor_outage: int = 5
    major_outage: int = 10
    """Failures of one deployment in a minute."""
    behind_s: float = 60.0
    """How long the book may be behind."""
    user_day_usd: float | None = None
    user_month_usd: float | None = None
    """What a user may spend in a day, in a calendar month (UTC), before somebody is told."""
    user_factor: float = 3.0
    user_usd_min: float = 10.0
    user_days: int = 7
    """A user's day against the mean of so many days before."""
    anomaly_factor: float = 5.0
    """An hour's spend against the mean of the 24 before."""
    anomaly_usd_min: float = 10.0

    @property
    def channels(self) -> tuple[str, ...]:
        there = {"slack": bool(self.slack), "webhook": self.webhook is not None, "email": self.smtp is not None}
        return tuple(name for name in CHANNELS if there[name])

    def wants(self, type: str) -> bool:
        return type in self.types or type in OURS


def read(general: Mapping[str, Any], environ: Mapping[str, str]) -> AlertSettings | None:
    """None: nobody is to be told. Raises ConfigError where alerts are asked for and can't go
    anywhere.
    """
    alerting = general.get("alerting") or []
    for name in alerting:
        if name not in CHANNELS:
            raise ConfigError(f"general_settings.alerting: {name!r} is not supported: {', '.join(CHANNELS)}")
    if not alerting:
        return None
    args = general.get("alerting_args") or {}
    threshold = general.get("alerting_threshold")
    return AlertSettings(
        types=_types(general.get("alert_types")),
        slack=_slack(general.get("alert_to_webhook_url") or {}, environ) if "slack" in alerting else {},
        webhook=_webhook(environ) if "webhook" in alerting else None,
        smtp=_smtp(args, environ) if "email" in alerting else None,
        threshold_s=_above_zero(threshold, 300.0, "alerting_threshold"),
        minor_outage=int(_above_zero(args.get("minor_outage_alert_threshold"), 5, "alerting_args")),
        major_outage=int(_above_zero(args.get("major_outage_alert_threshold"), 10, "alerting_args")),
        behind_s=_above_zero(args.get("book_behind_s"), 60.0, "alerting_args"),
        user_day_usd=_over(args.get("daily_spend_per_user_threshold")),
        user_month_usd=_over(args.get("monthly_spend_per_user_threshold")),
        user_factor=_above_zero(args.get("spend_anomaly_multiplier"), 3.0, "alerting_args"),
        user_usd_min=_above_zero(args.get("spend_anomaly_min_spend"), 10.0, "alerting_args"),
        user_days=max(1, int(_above_zero(args.get("spend_anomaly_baseline_days"), 7, "alerting_args"))),
        anomaly_factor=_above_zero(args.get("spend_anomaly_factor"), 5.0, "alerting_args"),
        anomaly_usd_min=_above_zero(args.get("spend_anomaly_usd_min"), 10.0, "alerting_args"),
    )


def _types(given: Any) -> frozenset[str]:
    if given is None or given == []:
        return frozenset(ON)
    for name in given:
        if name not in ALERTS:
            raise ConfigError(f"general_settings.alert_types: there is no alert {str(name)[:80]!r}")
    return frozenset(given)


def _slack(by_type: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, tuple[Secret, ...]]:
    found: dict[str, tuple[Secret, ...]] = {}
    for name, given in by_type.items():
        urls = [given] if isinstance(given, str) else given
        if not isinstance(urls, list) or not urls or not all(isinstance(url, str) and url for url in urls):
            raise ConfigError(f"general_settings.alert_to_webhook_url.{str(name)[:80]}: an address, or a list of them")
        found[str(name)] = tuple(Secret(url) for url in urls)
    usual = environ.get("SLACK_WEBHOOK_URL", "").strip()
    if usual:
        found[ALL] = (Secret(usual),)
    if not found:
        raise ConfigError(
            "general_settings.alerting: 'slack' needs SLACK_WEBHOOK_URL in the environment, or alert_to_webhook_url"
        )
    return found


def _webhook(environ: Mapping[str, str]) -> Secret:
    url = environ.get("WEBHOOK_URL", "").strip()
    if not url:
        raise ConfigError("general_settings.alerting: 'webhook' needs WEBHOOK_URL in the environment")
    return Secret(url)


def _smtp(args: Mapping[str, Any], environ: Mapping[str, str]) -> Smtp:
    given = args.get("email_to") or environ.get("ALERT_EMAIL_TO") or environ.get("TEST_EMAIL_ADDRESS") or ""
    to = given if isinstance(given, list) else [part.strip() for part in str(given).split(",") if part.strip()]
    host, sender = environ.get("SMTP_HOST", ""), environ.get("SMTP_SENDER_EMAIL", "")
    if not host or not sender or not to or not all(isinstance(one, str) and "@" in one for one in to):
        raise ConfigError(
            "general_settings.alerting: 'email' needs SMTP_HOST and SMTP_SENDER_EMAIL in the environment, and whom to tell:"
            " alerting_args.email_to, or ALERT_EMAIL_TO"
        )
    port = environ.get("SMTP_PORT") or "587"
    if not port.isdigit() or not 0 < int(port) < 65_536:
        raise ConfigError(f"SMTP_PORT: {port[:20]!r} is no port")
    password = environ.get("SMTP_PASSWORD")
    return Smtp(
        host,
        int(port),
        sender,
        tuple(to),
        environ.get("SMTP_USERNAME", ""),
        Secret(password) if password else None,
        environ.get("SMTP_TLS", "true").lower() != "false",
    )


def _over(value: Any) -> float | None:
    return None if value is None else _above_zero(value, 0.0, "alerting_args")


def _above_zero(value: Any, usual: float, at: str) -> float:
    if value is None:
        return usual
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"general_settings.{at}: a number above 0 is needed, not {value!r}")
    return float(value)

"""Variables of the environment that hold secrets, and which service reads which. Pure.

A secret manager may hold any of them instead of the environment, and the value of one may be a
reference (`vault/NAME`).
"""

from collections.abc import Iterable, Mapping

from shared.secrets import references
from shared.secrets.settings import KeyManagement

_MASTER = ("LITELLM_MASTER_KEY",)
_SEALING = ("LITELLM_SALT_KEY", "TOLLGATE_OLD_SALT_KEYS")
OF_SERVICE: dict[str, tuple[str, ...]] = {
    "suite": (*_MASTER, "DATABASE_URL"),
    "policy": (*_MASTER, *_SEALING),
    "edge": (
        *_MASTER, *_SEALING, "UI_PASSWORD", "GOOGLE_CLIENT_SECRET", "MICROSOFT_CLIENT_SECRET", "GENERIC_CLIENT_SECRET", "SLACK_WEBHOOK_URL",
        "REDIS_URL", "REDIS_PASSWORD", "AWS_BEARER_TOKEN_BEDROCK", "WATSONX_TOKEN",
    ),
    "moderation": ("OPENAI_API_KEY", "LLM_GUARD_API_KEY", "GENERIC_GUARDRAIL_API_KEY"),
    "ledger": (
        "DATABASE_URL", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY", "LANGFUSE_SECRET", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_HEADERS",
        "SLACK_WEBHOOK_URL", "WEBHOOK_URL", "SMTP_USERNAME", "SMTP_PASSWORD",
    ),
}  # fmt: skip
"""LiteLLM's names. `edge` reads its providers' too (shared/config/providers.py)."""

_OWN: dict[str, tuple[str, ...]] = {
    "suite": (),
    "ledger": ("TOLLGATE_DATABASE_URL", "TOLLGATE_NATS_URL"),
    "policy": ("TOLLGATE_NATS_URL",),
    "edge": ("TOLLGATE_NATS_URL",),
    "moderation": ("TOLLGATE_NATS_URL",),
}
"""Ours: no manager is asked for them by these names, but their values may be references."""


def wanted(
    service: str | None, more: Iterable[str], environ: Mapping[str, str], managed: KeyManagement
) -> dict[str, str]:
    """Variable → the reference that its value comes from.

    Args:
        service: whose; None: everybody's.
        more: further names that this service reads.
    """
    services = OF_SERVICE if service is None else (service,)
    asked = [*(name for each in services for name in OF_SERVICE.get(each, ())), *more]
    own = [name for each in services for name in _OWN.get(each, ())]
    found: dict[str, str] = {}
    for name in dict.fromkeys((*asked, *own)):
        value = environ.get(name, "")
        reference = references.parse(value)
        if reference is not None and reference.manager:
            found[name] = value
        elif name in asked and managed.hosts(name):
            found[name] = f"{references.ENVIRONMENT}/{name}"
    return found

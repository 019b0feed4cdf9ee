"""Which cache the configuration asks for: edge keeps answers there, and the ledger makes the bucket
where it is ours. Pure.
"""

from collections.abc import Mapping
from typing import Any

from shared.config.errors import ConfigError

KINDS = ("nats", "local", "redis")


def kind(params: Mapping[str, Any]) -> str:
    """Of `litellm_settings.cache_params`: what `cache: true` alone means is a bucket on our bus,
    which all edges share.

    Who only says where Redis is means Redis. Raises ConfigError.
    """
    found = params.get("type")
    if found is None:
        return "redis" if params.get("host") or params.get("url") else "nats"
    if found not in KINDS:
        raise ConfigError(
            f"litellm_settings.cache_params.type: {found!r} is not supported: nats (shared by all edges), local or redis"
        )
    return str(found)

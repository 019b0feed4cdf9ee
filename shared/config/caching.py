"""Which cache the configuration asks for: edge keeps answers there, and the ledger makes the bucket
where it is ours. Pure.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from shared.config.errors import ConfigError

KINDS = ("nats", "local", "redis")
_SAME = "only the same request is answered from it, not one that means the same"
_BUS = "answers are kept on the bus, where all edges share them"
MEANT = {
    "redis-semantic": ("redis", _SAME), "valkey-semantic": ("redis", _SAME), "qdrant-semantic": ("nats", _SAME), "s3": ("nats", _BUS),
    "gcs": ("nats", _BUS), "azure-blob": ("nats", _BUS), "disk": ("nats", _BUS),
    "memory": ("local", "as local"), "in-memory": ("local", "as local"),
}  # fmt: skip
"""Other types of LiteLLM's, and what people write for `local` -> what is done instead, and how that
differs.
"""
TTL_S_MAX = 30 * 86_400.0


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


def seconds(value: Any) -> float | None:
    """How long an answer may be kept; None: no number of seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        return None
    return min(float(value), TTL_S_MAX)


def why_no_redis(params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Why nobody knows where Redis is; empty: it is known."""
    found = redis_url(params, environ)
    if not found:
        return "redis needs a host, or REDIS_HOST or REDIS_URL"
    return "" if urlsplit(found).scheme in _SCHEMES else f"a Redis URL begins with {', '.join(_SCHEMES)}"


_SCHEMES = ("redis", "rediss", "unix")


def redis_url(params: Mapping[str, Any], environ: Mapping[str, str]) -> str:
    """Where Redis is, with its credentials; empty: nobody says."""
    url = params.get("url") or environ.get("REDIS_URL")
    if url:
        return str(url)
    host = params.get("host") or environ.get("REDIS_HOST")
    if not host:
        return ""
    port = params.get("port") or environ.get("REDIS_PORT") or 6379
    password = params.get("password") or environ.get("REDIS_PASSWORD")
    username = params.get("username") or environ.get("REDIS_USERNAME") or ""
    credentials = f"{quote(str(username), safe='')}:{quote(str(password), safe='')}@" if password else ""
    return f"redis{'s' if params.get('ssl') is True else ''}://{credentials}{host}:{port}"

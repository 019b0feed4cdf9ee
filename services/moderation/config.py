"""Moderation's settings: `TOLLGATE_<FIELD>`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ModerationSettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    config: str = "config.example.yaml"
    """LiteLLM's config.yaml: moderation reads `litellm_settings` of it."""
    cache_dir: str = ""
    """Where compiled scanning rules are kept between starts, private to this account. Empty:
    `$XDG_CACHE_HOME/tollgate`, else `~/.cache/tollgate`. `python -m services.moderation.prepare`
    fills it, for images."""
    moderation_probe_host: str = "127.0.0.1"
    moderation_probe_port: Port = 4301
    moderation_drain_ms: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """How long a stopping replica works on the questions it has."""


def cache_dir(configured: str, environ: Mapping[str, str]) -> Path:
    if configured:
        return Path(configured)
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(base) / "tollgate"

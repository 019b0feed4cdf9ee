"""Moderation's settings: `TOLLGATE_<FIELD>`."""

from typing import Annotated

import msgspec

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]


class ModerationSettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    config: str = "config.example.yaml"
    """LiteLLM's config.yaml: moderation reads `litellm_settings` of it."""
    moderation_probe_host: str = "127.0.0.1"
    moderation_probe_port: Port = 4301
    moderation_drain_ms: Annotated[int, msgspec.Meta(ge=0)] = 10_000
    """How long a stopping replica works on the questions it has."""

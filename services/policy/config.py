"""Policy's settings: `TOLLGATE_<FIELD>`."""

from typing import Annotated

import msgspec


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    config: str = "config.example.yaml"
    """LiteLLM's config.yaml."""
    policy_probe_host: str = "127.0.0.1"
    policy_probe_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4201

"""Policy's settings: `TOLLGATE_<FIELD>`."""

from typing import Annotated

import msgspec


class PolicySettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    config: str = "config.example.yaml"
    """LiteLLM's config.yaml."""
    edge_host: str = "0.0.0.0"  # noqa: S104 - the edge's own default
    """Where the edges listen: a weak master key is taken only where that is this machine alone."""
    stream_replicas: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    """Of CONTROL, on a cluster of NATS servers: 3. 0: as the stream is."""
    master_key_grace_s: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 300
    """How long the master key before stays good when a secret manager has another one."""
    policy_probe_host: str = "127.0.0.1"
    policy_probe_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 4201

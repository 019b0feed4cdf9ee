"""What guardrails are made from."""

import msgspec

from shared.config import Config
from shared.outbound import Outbound


class Parts(msgspec.Struct, frozen=True, kw_only=True):
    config: Config
    environ: dict[str, str] = {}
    cache_dir: str | None = None
    """For compiled rules; None: nowhere."""
    outbound: Outbound | None = None
    """For services that the operator named."""

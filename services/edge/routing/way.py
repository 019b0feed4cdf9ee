"""A call's way: whom it may go to, by which rules, and how long it may take in all."""

import msgspec

from services.edge.providers.base import Target
from services.edge.routing.plan import Group, Rules
from services.edge.routing.settings import RoutingSettings
from shared.ids import DeploymentId


class Way(msgspec.Struct, frozen=True):
    groups: list[Group]
    """What the client asked for, then fallbacks; only candidates that this edge can call."""
    rules: Rules
    deadline_ms: int
    """For all attempts together."""
    settings: RoutingSettings
    target_id: DeploymentId
    target: Target
    """Of the first candidate. Where it, or the settings, are others by now, so may the way be."""

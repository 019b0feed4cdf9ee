"""A guardrail that runs."""

import msgspec

from services.moderation.guardrails import Guardrail
from services.moderation.guardrails.remote import Circuit
from shared.guardrails import Enabled


class Loaded(msgspec.Struct, frozen=True):
    """A guardrail of this configuration, and its code."""

    enabled: Enabled
    guardrail: Guardrail
    circuits: tuple[Circuit, ...] = ()
    """Of the services it asks."""

    @property
    def name(self) -> str:
        return self.enabled.name

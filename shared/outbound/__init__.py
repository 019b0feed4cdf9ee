"""Connections we make to others, off the hot path: guardrail services, sinks, identity providers,
vaults, alerts.

One place, so that the proxy, the certificates, the guard against private addresses, the deadline
and the bound on what comes back hold for all of them. Redirects are never followed: an address that
was checked must be the one that is asked.

    addresses.py  which addresses may be asked for whom; pure
    settings.py   proxy, certificates and listed networks, from the environment
    client.py     one request, one whole answer
"""

from shared.outbound.addresses import Guard
from shared.outbound.client import Answer, Outbound, OutboundError, Streamed
from shared.outbound.settings import OutboundSettings, guard_of

__all__ = ["Answer", "Guard", "Outbound", "OutboundError", "OutboundSettings", "Streamed", "guard_of"]

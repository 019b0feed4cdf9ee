"""Which addresses a connection may go to. Pure.

Where an operator names an address in config.yaml, any address is fine. Where somebody with a key
names it (a callback, a logo, a pass-through target), addresses of private and reserved networks are
refused unless the operator listed them: else the gateway would be a way into the network it stands
in.
"""

import ipaddress
from collections.abc import Iterable

import msgspec

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
_TRANSLATED_HERE = ipaddress.ip_network("64:ff9b:1::/48")
_SPECIAL = tuple(
    ipaddress.ip_network(each) for each in ("192.0.0.0/24", "192.88.99.0/24", "100.64.0.0/10", "fec0::/10")
)
"""Not for the public internet, whatever this Python's own table says of them."""


class Guard(msgspec.Struct, frozen=True):
    """Which addresses may be asked."""

    any_address: bool = False
    """True: the operator named the target."""
    allowed: tuple[Network, ...] = ()
    """Private networks that may be asked all the same."""
    listed_only: bool = False
    """Nothing but those: `general_settings.offline`."""

    @classmethod
    def for_named_targets(cls, allowed: Iterable[str] = (), *, listed_only: bool = False) -> "Guard":
        """For targets that callers name. `allowed`: networks or addresses. Raises ValueError for
        what is neither.
        """
        return cls(False, tuple(ipaddress.ip_network(each, strict=False) for each in allowed), listed_only)

    def permits(self, address: str) -> bool:
        """Whether the address (as text, of IPv4 or IPv6) may be asked; what can't be read may
        not.
        """
        if self.any_address:
            return True
        try:
            found = ipaddress.ip_address(address.partition("%")[0])
        except ValueError:
            return False
        meant = _meant(found)
        if any(each.version == network.version and each in network for network in self.allowed for each in meant):
            return True
        return not self.listed_only and all(_is_public(each) for each in meant)


def _meant(address: Address) -> list[Address]:
    """The address, and those that it carries: IPv4 inside IPv6 is asked as IPv4 in the end."""
    meant: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        inner = [address.ipv4_mapped, address.sixtofour]
        if address.teredo is not None:
            inner += list(address.teredo)
        if address in _TRANSLATED or address in _TRANSLATED_HERE or int(address) >> 32 == 0:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
        meant += [each for each in inner if each is not None]
    return meant


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return True  # judged by the address that it carries
    special = any(address.version == network.version and address in network for network in _SPECIAL)
    return address.is_global and not (special or address.is_multicast or (address.version == 4 and address.is_reserved))

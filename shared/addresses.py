"""IP addresses as rules name them: single ones and ranges, IPv4 and IPv6, and the address behind
trusted proxies. Pure.
"""

import ipaddress
from collections.abc import Iterable
from functools import lru_cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOPS_MAX = 32
"""Of one `X-Forwarded-For`; what stands before the last so many is not looked at."""


def network(text: str) -> Network:
    """`10.0.0.7`, `10.0.0.0/8`, `2001:db8::/32`; an IPv4-mapped one is its IPv4 one. Raises
    ValueError.

    A range with bits set after its prefix (`10.0.0.7/8`) means the whole range.
    """
    found = ipaddress.ip_network(text.strip(), strict=False)
    if isinstance(found, ipaddress.IPv6Network) and found.prefixlen >= 96:
        mapped = found.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, found.prefixlen - 96))
    return found


def address(text: str | None) -> Address | None:
    """None for what is no address. An IPv4-mapped one is its IPv4 one; a zone (`%eth0`) doesn't
    count.
    """
    if not text:
        return None
    try:
        found = ipaddress.ip_address(text.strip().partition("%")[0])
    except ValueError:
        return None
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


@lru_cache(maxsize=1024)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    found = []
    for text in texts:
        try:
            found.append(network(text))
        except ValueError:
            continue  # was refused when it was written; should it be there all the same, it lets nobody in
    return tuple(found)


def allowed(texts: Iterable[str], client: str | None) -> bool:
    """Whether a client's address is one of these, or within one of these ranges. An unknown address
    never is.
    """
    found = address(client)
    return found is not None and any(found in each for each in _networks(tuple(texts)))


def behind_proxies(peer: str | None, forwarded_for: str | None, trusted: tuple[Network, ...]) -> str | None:
    """The client's address: from the right, the first that isn't a trusted proxy's.

    What a client itself wrote into the header stands left of what our own proxies added, so it is
    never reached. An entry that is no address ends the walk: the hop that wrote it is as far as we
    know.
    """
    here = address(peer)
    if here is None or forwarded_for is None or not any(here in each for each in trusted):
        return peer
    known = here
    for hop in reversed(forwarded_for.split(",")[-HOPS_MAX:]):
        found = address(_without_port(hop.strip()))
        if found is None:
            break
        known = found
        if not any(found in each for each in trusted):
            break
    return str(known)


def _without_port(hop: str) -> str:
    """`10.0.0.7:443` and `[2001:db8::1]:443`, as some proxies write them."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    return hop.partition(":")[0] if hop.count(":") == 1 else hop


def shortened(text: str | None) -> str | None:
    """For records that must not name a person: the first 24 bits of IPv4, 48 of IPv6."""
    found = address(text)
    if found is None:
        return None
    return str(ipaddress.ip_network((found, 24 if found.version == 4 else 48), strict=False).network_address)

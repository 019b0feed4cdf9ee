"""Ports: whether they are free, said in a sentence before anything is started."""

import errno
import random
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

from services.suite.settings import LOOPBACK, ListeningPort
from shared.settings import SettingsError


def require_free(listeners: Iterable[ListeningPort]) -> None:
    """Raises SettingsError naming the port that can't be had and the variable that changes it."""
    seen: dict[int, ListeningPort] = {}
    for listener in listeners:
        twin = seen.setdefault(listener.port, listener)
        if twin is not listener:
            raise SettingsError(
                f"{twin.what} and {listener.what} both want port {listener.port}: "
                f"set {twin.variable} or {listener.variable} to another"
            )
        reason = why_not(listener.host, listener.port)
        if reason is not None:
            raise SettingsError(
                f"port {listener.port} for {listener.what} {reason}: set {listener.variable} to a free port"
            )


def why_not(host: str, port: int) -> str | None:
    """Why nobody could listen there now; None: it is free."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        return f"can't be had, {host!r} is no address here ({error.strerror})"
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            # Binding succeeds beside a listener of another address family's wildcard; listening
            # doesn't.
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "is already in use by another program"
        return f"can't be had on {host} ({error.strerror})"
    return None


def any_free(taken: Collection[int]) -> int:
    """A port not in `taken` that nobody listens on at this moment, and that no outgoing connection
    is given later.

    What is remembered must be free again at the next start: out of the kernel's own range, any
    client's connection could hold it by then. Only where that range leaves nothing is it taken
    from. Raises SettingsError.
    """
    low, high = _clients_range()
    for candidates in (range(high + 1, 65_536), range(10_000, low), range(low, high + 1)):
        for port in random.sample(candidates, min(len(candidates), 100)):
            if port not in taken and why_not(LOOPBACK, port) is None:
                return port
    raise SettingsError("no port is free on this machine for the embedded servers")


def _clients_range() -> tuple[int, int]:
    """The first and last port that the kernel gives to connections; the Linux default where it
    doesn't say.
    """
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
        return int(low), int(high)
    except (OSError, ValueError):
        return 32_768, 60_999

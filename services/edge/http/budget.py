"""What clients can make an edge hold: connections, bytes and slots, in one account.

Theory. A client is a *stranger* until the credential of its request is one this edge was granted
something for. Strangers share a small part of everything (`Limits.strangers_part`); the rest is
reserved for those who are known, so that no number of strangers keeps a good key out. A
connection's account says whether its present request is known, and what it holds:

    a flat `CONNECTION_BYTES`            from its opening on
    what arrived and nobody has taken    head, body, pipelined requests (connection.py weighs them)
    what its request made us hold        its body as it is read, inflated; the provider's answer (`Request.hold`)
    what it doesn't read                 the transport's buffer, while writing is paused

Where there is no room for one more connection, the one that has waited longest among the strangers
goes: who opens thousands and says nothing displaces his own, and who comes with a whole request is
served. Where there is no room for more bytes, or no slot, the answer is 503 with Retry-After.

Costs integers and, for strangers only, an entry in a dict. No clock, no I/O.
"""  # noqa: W505

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

CONNECTION_BYTES = 8 * 1024
"""Charged for each connection: its objects, and a head and body of the usual size, or as much of
answers that it doesn't read.
"""
PAGES_MAX = 64
"""Requests of people at the admin page at once; half of them of who isn't known."""
REFUSALS_MAX = 128
"""Connections at a time that get to read why they were turned away; more are reset."""
_UNLIMITED = 2**60
_BYTES_MIN = 64 * 1024 * 1024
_BYTES_DEFAULT_MAX = 1024 * 1024 * 1024
_MEMORY_PART = 4
"""A byte of a request becomes up to three while it is parsed and rebuilt."""
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class Limits(msgspec.Struct, frozen=True):
    bytes_max: int = _BYTES_MIN
    connections_max: int = 8192
    connections_per_address_max: int = 1024
    """Of strangers: from one IPv4 address, or one IPv6 /64."""
    requests_max: int = 4096
    """Being served at once."""
    strangers_part: int = 8
    """Strangers have one part in so many of bytes and requests, and half of the connections."""

    @property
    def strangers_bytes_max(self) -> int:
        return self.bytes_max // self.strangers_part

    @property
    def strangers_requests_max(self) -> int:
        return max(1, self.requests_max // self.strangers_part)

    @property
    def strangers_connections_max(self) -> int:
        return max(1, self.connections_max // 2)


class Slots:
    """How many requests of one kind may be served at once."""

    __slots__ = ("most", "running", "strangers", "strangers_most")

    def __init__(self, most: int, strangers_most: int) -> None:
        self.most, self.strangers_most = most, strangers_most
        self.running = self.strangers = 0


class Account:
    """What one connection holds. Made and changed by the budget."""

    __slots__ = ("address", "evict", "held_bytes", "is_open", "known", "memo", "slots")

    def __init__(self, evict: Callable[[], None]) -> None:
        self.evict = evict
        """Ends the connection at once: it waits, and somebody needs its place."""
        self.address = ""
        self.known = False
        self.memo: object = None
        """For the server: what it found out about the last credential; the next request mostly
        brings the same.
        """
        self.held_bytes = 0
        self.is_open = False
        self.slots: Slots | None = None
        """Whose its present request has one of; None: none is being served."""


class Budget:
    def __init__(self, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._strangers_bytes_max = self.limits.strangers_bytes_max
        self.clients = Slots(self.limits.requests_max, self.limits.strangers_requests_max)
        self.pages = Slots(PAGES_MAX, PAGES_MAX // 2)
        """People at the admin page see it however busy clients are, and take no place of theirs."""
        self.held_bytes = self.strangers_bytes = 0
        self.connections = self.strangers_connections = 0
        self.refusing = 0
        """Connections turned away that are still reading why."""
        self.displaced = self.turned_away = self.out_of_bytes = 0
        """How often, for the metrics."""
        self._waiting: dict[Account, None] = {}
        """Strangers' connections without a running request, the one that waits longest first."""
        self._waiting_by_address: dict[str, dict[Account, None]] = {}
        self._by_address: dict[str, int] = {}

    @property
    def is_short(self) -> bool:
        """Little is left: whoever holds much and does nothing has to go."""
        return self.held_bytes > self.limits.bytes_max - self.limits.bytes_max // 8

    # ── connections ──

    def open(self, account: Account, address: str | None) -> bool:
        """A connection of a stranger. False: there is no room for it."""
        limits = self.limits
        account.address = address = prefix(address)
        if self._by_address.get(address, 0) >= limits.connections_per_address_max:
            self._displace(self._waiting_by_address.get(address))
        if self.connections >= limits.connections_max or self.strangers_connections >= limits.strangers_connections_max:
            self._displace(self._waiting)
        if self.strangers_bytes + CONNECTION_BYTES > self._strangers_bytes_max:
            self._displace(self._waiting)
        if (
            self._by_address.get(address, 0) >= limits.connections_per_address_max
            or self.connections >= limits.connections_max
            or self.strangers_connections >= limits.strangers_connections_max
        ):
            self.turned_away += 1
            return False
        account.is_open = True
        if not self.hold(account, CONNECTION_BYTES):
            account.is_open = False
            self.turned_away += 1
            return False
        self.connections += 1
        self._count_stranger(account, 1)
        self.wait(account)
        return True

    def close(self, account: Account) -> None:
        """The connection is gone, with all it held. A second call does nothing."""
        if not account.is_open:
            return
        account.is_open = False
        self.leave(account)
        self.release(account, account.held_bytes)
        self._unwait(account)
        self.connections -= 1
        if not account.known:
            self._count_stranger(account, -1)

    def wait(self, account: Account) -> None:
        """It has no request now."""
        if not account.known and account.is_open:
            self._waiting[account] = None
            self._waiting_by_address.setdefault(account.address, {})[account] = None

    def busy(self, account: Account) -> None:
        """A request has begun."""
        if not account.known:
            self._unwait(account)

    # ── bytes ──

    def hold(self, account: Account, size_bytes: int, *, force: bool = False) -> bool:
        """False: there is no room for them, and nothing was changed. `force`: they are here
        already.
        """
        held = self.held_bytes + size_bytes
        if not force and (
            held > self.limits.bytes_max
            or (not account.known and self.strangers_bytes + size_bytes > self._strangers_bytes_max)
        ):
            self.out_of_bytes += 1
            return False
        self.held_bytes = held
        account.held_bytes += size_bytes
        if not account.known:
            self.strangers_bytes += size_bytes
        return True

    def release(self, account: Account, size_bytes: int) -> None:
        size_bytes = min(size_bytes, account.held_bytes)
        self.held_bytes -= size_bytes
        account.held_bytes -= size_bytes
        if not account.known:
            self.strangers_bytes -= size_bytes

    # ── slots ──

    @property
    def running(self) -> int:
        """Requests being served."""
        return self.clients.running + self.pages.running

    def enter(self, account: Account, slots: Slots) -> bool:
        """A request wants to be served. False: there is no slot."""
        if slots.running >= slots.most:
            return False
        if not account.known:
            if slots.strangers >= slots.strangers_most:
                return False
            slots.strangers += 1
        slots.running += 1
        account.slots = slots
        return True

    def leave(self, account: Account) -> None:
        slots = account.slots
        if slots is not None:
            account.slots = None
            slots.running -= 1
            if not account.known:
                slots.strangers -= 1

    def recognise(self, account: Account) -> None:
        """Its present request is somebody's we know."""
        if account.known:
            return
        self._unwait(account)
        account.known = True
        self.strangers_bytes -= account.held_bytes
        if account.is_open:
            self._count_stranger(account, -1)
        if account.slots is not None:
            account.slots.strangers -= 1

    def estrange(self, account: Account) -> None:
        """Its next request is a stranger's. Between requests only."""
        if not account.known:
            return
        account.known = False
        self.strangers_bytes += account.held_bytes
        if account.is_open:
            self._count_stranger(account, 1)

    # ── the rest ──

    def _displace(self, waiting: dict[Account, None] | None) -> None:
        """Who of these has waited longest goes."""
        if waiting:
            account = next(iter(waiting))
            self.displaced += 1
            self.close(account)
            account.evict()

    def _unwait(self, account: Account) -> None:
        if account in self._waiting:
            del self._waiting[account]
            same = self._waiting_by_address[account.address]
            del same[account]
            if not same:
                del self._waiting_by_address[account.address]

    def _count_stranger(self, account: Account, change: int) -> None:
        self.strangers_connections += change
        count = self._by_address.get(account.address, 0) + change
        if count > 0:
            self._by_address[account.address] = count
        else:
            self._by_address.pop(account.address, None)


def prefix(address: str | None) -> str:
    """What counts as one client: an IPv4 address, also in IPv6 clothes; the /64 of an IPv6
    address.
    """
    if not address or ":" not in address:
        return address or ""
    if address.startswith("::ffff:") and "." in address:
        return address[7:]
    head, gap, tail = address.partition("%")[0].partition("::")
    groups = head.split(":") if head else []
    if gap:
        behind = tail.split(":") if tail else []
        groups += ["0"] * (8 - len(groups) - len(behind)) + behind
    return ":".join(groups[:4]) + "::/64"


def bytes_default(read: Callable[[str], str] = lambda path: Path(path).read_text()) -> int:
    """A quarter of the container's memory, or of the machine's where the container has no limit; 64
    MB to 1 GB.

    Args:
        read: a file's text; OSError where there is none.
    """
    memory = _UNLIMITED
    for path in _CGROUP_LIMITS:
        try:
            memory = min(memory, int(read(path)))
        except (OSError, ValueError):  # no such version of cgroups, or `max`
            continue
    try:
        memory = min(memory, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (OSError, ValueError):
        pass
    return max(_BYTES_MIN, min(_BYTES_DEFAULT_MAX, memory // _MEMORY_PART))

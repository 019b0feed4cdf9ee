"""A network of its own for a chaos run: every process on a host of its own, and a switch that cuts,
slows and loses on demand.

`enter()` runs the command in namespaces (network, mounts, processes), where it is root; as a user
too, where the system lets users have them. Each host is a network namespace with one TAP device,
whose other end the switch holds. The switch is a process: a frame is forwarded, held back, or
dropped there, so no kernel module is needed for any of it. All end with the one that entered.
"""

import fcntl
import functools
import heapq
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

INSIDE = "TOLLGATE_CHAOS_NETWORK"
_NEW = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]
_WAYS = (["unshare", *_NEW], ["unshare", "--user", "--map-root-user", *_NEW])
"""As root; as a user."""
_TRY = "mount -t tmpfs tmpfs /run && ip netns add probe && ip tuntap add dev probe mode tap"
NET = "10.77.0"
WORLD = 254
"""Where load and provider are: the namespace that everything else was made from."""
MTU = 9000
FRAME_BYTES_MAX = MTU + 64
_TUNSETIFF, _TAP, _NO_PACKET_INFO = 0x400454CA, 0x0002, 0x1000
_IPV4, _ARP = b"\x08\x00", b"\x08\x06"


@functools.cache
def way() -> list[str] | None:
    """What to put before a command so that it has namespaces; None: not on this system."""
    for each in _WAYS:
        try:
            tried = subprocess.run([*each, "sh", "-c", _TRY], capture_output=True, timeout=10, check=False)
        except (OSError, subprocess.TimeoutExpired):
            continue
        if tried.returncode == 0:
            return each
    return None


def inside() -> bool:
    return INSIDE in os.environ


def enter() -> int:
    """Run this very command in namespaces of its own. Returns its exit status; where the system has
    none, 0, with a sentence.
    """
    if (prefix := way()) is None:
        print(
            "SKIPPED: this system allows no network namespaces with devices of their own (root, or users' namespaces and /dev/net/tun)"
        )
        return 0
    command = [*prefix, sys.executable, *sys.argv]
    return subprocess.run(command, env={**os.environ, INSIDE: "1"}, check=False).returncode


class Network:
    """
    Args:
        hosts: name -> number (1 to 253). `name` is known to all of them, and so are `aliases` (name
            -> host).
        directory: for /etc/hosts.
    """

    def __init__(self, hosts: Mapping[str, int], aliases: Mapping[str, str], directory: Path, seed: int) -> None:
        self.hosts = {**hosts, "world": WORLD}
        self._switch: subprocess.Popen[bytes] | None = None
        self._cut: set[tuple[int, int]] = set()
        self._latency_s: dict[int, float] = {}
        self._loss: dict[int, float] = {}
        _run("mount", "-t", "tmpfs", "tmpfs", "/run")
        names = directory / "hosts"
        lines = ["127.0.0.1 localhost", *(f"{self.address(host)} {host}" for host in self.hosts)]
        lines += [f"{self.address(host)} {alias}" for alias, host in aliases.items()]
        names.write_text("\n".join(lines) + "\n")
        _run("mount", "--bind", str(names), "/etc/hosts")
        taps = {number: self._tap(name, number) for name, number in self.hosts.items()}
        numbered = [f"{number}={fd}" for number, fd in taps.items()]
        command = [sys.executable, "-m", "tests.chaos.network", str(seed), *numbered]
        self._switch = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=list(taps.values())
        )
        for fd in taps.values():
            os.close(fd)

    def address(self, host: str) -> str:
        return f"{NET}.{self.hosts[host]}"

    def on(self, host: str) -> list[str]:
        """What to put before a command that is to run on this host. It keeps its process id."""
        return ["nsenter", f"--net=/run/netns/{host}", "--"]

    def cut(self, some: Iterable[str], others: Iterable[str]) -> None:
        """Nothing gets from one side to the other; nobody is told."""
        others = list(others)
        for one in some:
            for other in others:
                pair = self.hosts[one], self.hosts[other]
                self._cut |= {pair, pair[::-1]}
        self._tell()

    def join(self, some: Iterable[str], others: Iterable[str]) -> None:
        others = list(others)
        for one in some:
            for other in others:
                pair = self.hosts[one], self.hosts[other]
                self._cut -= {pair, pair[::-1]}
        self._tell()

    def slow(self, host: str, latency_s: float) -> None:
        """What it sends and what it gets takes so much longer, each."""
        self._latency_s[self.hosts[host]] = latency_s
        self._tell()

    def lossy(self, host: str, share: float) -> None:
        """So much of what it sends, and of what it is sent, never arrives."""
        self._loss[self.hosts[host]] = share
        self._tell()

    def heal(self) -> None:
        self._cut.clear()
        self._latency_s.clear()
        self._loss.clear()
        self._tell()

    def close(self) -> None:
        if self._switch is not None:
            self._switch.kill()
            self._switch.wait()

    def _tell(self) -> None:
        """Returns when it holds."""
        assert self._switch is not None and self._switch.stdin is not None and self._switch.stdout is not None
        rules = {"cut": sorted(self._cut), "latency_s": self._latency_s, "loss": self._loss}
        self._switch.stdin.write(json.dumps(rules).encode() + b"\n")
        self._switch.stdin.flush()
        self._switch.stdout.read(1)

    def _tap(self, host: str, number: int) -> int:
        """The switch's end of a host's wire."""
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        device = f"tap{number}"
        fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH14x", device.encode(), _TAP | _NO_PACKET_INFO))
        where: list[str] = []
        if host != "world":
            _run("ip", "netns", "add", host)
            _run("ip", "link", "set", device, "netns", host)
            where = ["-n", host]
        _run("ip", *where, "link", "set", "lo", "up")
        address = f"02:00:00:00:00:{number:02x}"
        _run("ip", *where, "link", "set", device, "address", address, "mtu", str(MTU))
        _run("ip", *where, "addr", "add", f"{NET}.{number}/24", "dev", device)
        _run("ip", *where, "link", "set", device, "up")
        return fd


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")


class Switch:
    """Forwards frames between TAP devices. A destination's number is the last byte of its
    address.
    """

    def __init__(self, seed: int, taps: Mapping[int, int]) -> None:
        self._taps = dict(taps)
        self._rng = random.Random(seed)
        self._cut: set[tuple[int, int]] = set()
        self._latency_s: dict[int, float] = {}
        self._loss: dict[int, float] = {}
        self._waiting: list[tuple[float, int, int, bytes]] = []
        """(due, number, tap, frame): a heap."""
        self._count = 0

    def run(self) -> None:
        """Until standard input ends."""
        poll = select.epoll()
        number_of = {fd: number for number, fd in self._taps.items()}
        for fd in (0, *number_of):
            poll.register(fd, select.EPOLLIN)
        while True:
            wait_s = max(0.0, self._waiting[0][0] - time.monotonic()) if self._waiting else -1
            for fd, _ in poll.poll(wait_s):
                if fd:
                    self._drain(fd, number_of[fd])
                elif not (said := os.read(0, 1_000_000)):
                    return
                else:
                    self._rule(said)
            self._due()

    def _rule(self, said: bytes) -> None:
        """A line is all that holds from now on. Answered with a byte."""
        rules = json.loads(said)
        self._cut = {(a, b) for a, b in rules["cut"]}
        self._latency_s = {int(number): latency_s for number, latency_s in rules["latency_s"].items()}
        self._loss = {int(number): share for number, share in rules["loss"].items()}
        os.write(1, b".")

    def _drain(self, tap: int, source: int) -> None:
        for _ in range(64):  # then somebody else's turn
            try:
                frame = os.read(tap, FRAME_BYTES_MAX)
            except (BlockingIOError, OSError):
                return
            if frame[12:14] in (_IPV4, _ARP):
                to = [number for number in self._taps if number != source] if frame[0] & 1 else [frame[5]]
                for target in to:
                    self._forward(source, target, frame)

    def _forward(self, source: int, target: int, frame: bytes) -> None:
        tap = self._taps.get(target)
        if tap is None or (source, target) in self._cut:
            return
        if self._loss and self._rng.random() < max(self._loss.get(source, 0.0), self._loss.get(target, 0.0)):
            return
        latency_s = self._latency_s.get(source, 0.0) + self._latency_s.get(target, 0.0) if self._latency_s else 0.0
        if latency_s:
            self._count += 1
            heapq.heappush(self._waiting, (time.monotonic() + latency_s, self._count, tap, frame))
        else:
            _send(tap, frame)

    def _due(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, tap, frame = heapq.heappop(self._waiting)
            _send(tap, frame)


def _send(tap: int, frame: bytes) -> None:
    try:
        os.write(tap, frame)
    except OSError:
        pass  # a full queue loses packets, as everywhere


if __name__ == "__main__":
    Switch(int(sys.argv[1]), {int(n): int(fd) for n, _, fd in (each.partition("=") for each in sys.argv[2:])}).run()

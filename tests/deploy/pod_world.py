"""The machine that a pod sees: its network, its files, and somebody who watches what leaves it. In
namespaces of its own; see pods.py."""

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

from tests.deploy.rendered import ROOT

GATEWAY = "10.9.9.1"
ETC = ("passwd", "group", "nsswitch.conf", "host.conf", "ld.so.cache", "ld.so.conf", "ssl", "localtime", "alternatives")


def sh(*command: str) -> None:
    subprocess.run(command, check=True)


def make_world(directory: Path, hosts: dict[str, str], files: dict[str, str]) -> None:
    """The network's loopback; /etc with the Services' names, ConfigMap and Secrets; volumes;
    everything else read-only.

    Args:
        hosts: address -> names.
        files: path below /etc -> text.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        request = struct.pack("16sH14s", b"lo", 0, b"\0" * 14)
        flags = struct.unpack("16sH", fcntl.ioctl(probe, 0x8913, request)[:18])[1]
        fcntl.ioctl(probe, 0x8914, struct.pack("16sH14s", b"lo", flags | 1, b"\0" * 14))
    sh("mount", "-t", "tmpfs", "tmpfs", str(directory))
    (directory / "pg").mkdir()
    etc = directory / "etc"
    etc.mkdir()
    for name in ETC:
        source = Path("/etc") / name
        if source.is_dir():
            shutil.copytree(source, etc / name, symlinks=True)
        elif source.exists():
            shutil.copy(source, etc / name)
    hosts_file = "".join(f"{address} {names}\n" for address, names in hosts.items())
    for name, text in {"resolv.conf": f"nameserver {GATEWAY}\n", "hosts": hosts_file, **files}.items():
        (etc / name).parent.mkdir(exist_ok=True)
        (etc / name).write_text(text)
    sh("mount", "--rbind", str(etc), "/etc")
    for place in (Path("/var/lib"), Path("/tmp")):
        empty(place, directory)
    Path("/var/lib/tollgate").mkdir()
    for held in {mount_of(ROOT), mount_of(Path(sys.prefix)), Path("/")}:
        sh("mount", "-o", "remount,bind,ro", str(held))


def empty(place: Path, directory: Path) -> None:
    """But for our own code, where the clone stands below it."""
    prefix = Path(sys.prefix).resolve()
    code = [each for each in (ROOT, *([] if prefix.is_relative_to(ROOT) else [prefix])) if each.is_relative_to(place)]
    kept = {each: directory / f"code-{number}" for number, each in enumerate(code)}
    for each, aside in kept.items():
        aside.mkdir()
        sh("mount", "--rbind", str(each), str(aside))
    sh("mount", "-t", "tmpfs", "tmpfs", str(place))
    for each, aside in kept.items():
        each.mkdir(parents=True, exist_ok=True)
        sh("mount", "--rbind", str(aside), str(each))
        sh("umount", "--lazy", str(aside))


def mount_of(path: Path) -> Path:
    return next(each for each in (path, *path.parents) if os.path.ismount(each))


class Watch:
    """Whatever leaves for the world outside: a network with a way out that leads nowhere, and
    somebody who listens there.

    Names are asked for where /etc/resolv.conf says, which is there too, so a question for a name is
    seen as well.
    """

    def __init__(self) -> None:
        sh("ip", "link", "add", "out0", "type", "veth", "peer", "name", "seen0")
        for name in ("out0", "seen0"):
            sh("ip", "link", "set", name, "up")
        sh("ip", "addr", "add", "10.9.9.9/24", "dev", "out0")
        sh("ip", "neigh", "add", GATEWAY, "lladdr", "02:00:00:00:00:01", "dev", "out0")
        sh("ip", "route", "add", "default", "via", GATEWAY)
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        self._socket.bind(("seen0", 0))
        self._socket.setblocking(False)

    def seen(self) -> list[str]:
        """Where to: `address:port`, of every IPv4 packet since the last look."""
        found = []
        while True:
            try:
                frame = self._socket.recv(65_535)
            except BlockingIOError:
                return found
            packet = frame[14:]
            target = socket.inet_ntoa(packet[16:20])
            ports = packet[(packet[0] & 15) * 4 :]
            if not target.startswith("224."):  # who is in which multicast group is the kernel's own talk
                found.append(f"{target}:{int.from_bytes(ports[2:4])}")

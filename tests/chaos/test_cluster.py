"""What decides in a cluster's chaos run, and its network. The run itself: `make chaos
ARGS=--cluster`, and tests/prove/test_cluster_chaos.py.
"""

import subprocess
import sys

import pytest

from tests.chaos import cluster_nemesis, network, schedule
from tests.chaos.cluster import HOSTS, NATS, POSTGRES
from tests.support.suite import ROOT


def test_every_kind_of_fault_can_be_carried_out_and_is_drawn() -> None:
    assert set(schedule.CLUSTER) == set(cluster_nemesis.NEMESES)
    drawn = schedule.draw(3, 3_000, list(HOSTS), kinds=schedule.CLUSTER)
    assert {fault.kind for fault in drawn} == set(schedule.CLUSTER)
    assert drawn == schedule.draw(3, 3_000, list(HOSTS), kinds=schedule.CLUSTER)


def test_nothing_befalls_the_others_while_one_has_lost_its_disk_or_the_primary_changes() -> None:
    for seed in range(20):
        drawn = schedule.draw(seed, 1_200, list(HOSTS), kinds=schedule.CLUSTER)
        for whole, kinds, of in (
            ("nats", ("disk_lost", "two_away"), NATS),
            ("postgres", ("failover", "failover_cut"), POSTGRES),
        ):
            for fault in drawn:
                if fault.kind in kinds:
                    until = fault.at_s + fault.for_s + schedule.AFTER_S[fault.kind]
                    others = [f for f in drawn if f is not fault and f.target in (whole, *of)]
                    assert not [f for f in others if f.at_s < until and f.at_s + f.for_s > fault.at_s], (seed, fault)


TALK = """
import random, socket, sys, tempfile, time
from pathlib import Path
from tests.chaos.network import Network

net = Network({"a": 1, "b": 2}, {"alias.of.a": "a"}, Path(tempfile.mkdtemp()), 7)
server = __import__("subprocess").Popen([*net.on("a"), sys.executable, "-c",
    "import socket\\nwith socket.create_server(('0.0.0.0', 90)) as s:\\n while True:\\n  c, _ = s.accept()\\n  c.sendall(c.recv(100))"])

def talk(timeout=3.0):
    started = time.monotonic()
    with socket.create_connection(("alias.of.a", 90), timeout) as c:
        c.sendall(b"hello")
        assert c.recv(100) == b"hello"
    return time.monotonic() - started

def until_it_listens():
    while True:
        try:
            return talk()
        except ConnectionRefusedError:
            time.sleep(0.02)

until_it_listens()
quick = min(talk() for _ in range(3))
net.slow("a", 0.1)
assert talk() >= 0.4, "two round trips"
net.heal()
net.lossy("a", 0.3)
assert [talk(20.0) for _ in range(5)], "TCP sends again what was lost"
net.heal()
net.cut(["a"], ["world"])
try:
    talk(0.3)
    raise SystemExit("it got through")
except TimeoutError:
    pass
net.join(["world"], ["a"])
assert talk() < 2
server.kill()
net.close()
"""


@pytest.mark.skipif(network.way() is None, reason="this system allows no network namespaces with devices of their own")
def test_the_network_cuts_slows_and_loses_as_told() -> None:
    way = network.way()
    assert way is not None
    done = subprocess.run([*way, sys.executable, "-c", TALK], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr

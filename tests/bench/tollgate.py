"""Tollgate as its users run it, `python -m services`, in layers.

Each layer is a suite of its own (broker, database, four services) in a temporary data directory, so
that all can be alive together. The edge has the gateway's core; the rest of the suite is on the
other one, with load and upstream. The ledger and PostgreSQL are there at a lower priority (nice
10): on two cores they would otherwise take the load client's time. They are not off: what they have
not written when a slice ends is waited for and its CPU is counted.
"""

import contextlib
import http.client
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from shared.subjects import PERMISSIONS
from tests.bench import machine, wire
from tests.bench.contestant import Contestant, Wrong, call, post, spawn, stop
from tests.bench.quota import Quota
from tests.support.nats_cluster import Cluster
from tests.support.ports import PortBlock

MASTER_KEY = "sk-bench-master-0123456789"
TAG = "bench-key"
START_S_MAX = 90
SETTLE_S_MAX = 120
SETTLE_WINDOW_S = 1.0
STOP_S_MAX = 40
PRICED_CALLS = 20
BOOK_NICE = 10
"""About a tenth of a core's time where others want it too. Less would starve the ledger on a busy
machine: its own timeouts end its transactions then, and it never catches up."""
INPUT_USD, OUTPUT_USD = 0.0000025, 0.00001
"""Per token."""


class Layer(msgspec.Struct, frozen=True):
    """One way to run Tollgate."""

    name: str
    enforced: str
    sync: str = "default"
    keys: bool = True
    guardrail: bool = False
    cache: bool = False
    """Equal calls find their answer in the cache, and cost nothing."""
    grant_ttl_ms: int | None = None
    edges: int = 1
    brokers: int = 0
    """NATS servers of deploy/'s own configuration, and so many replicas of each stream; 0: the
    embedded one.
    """
    tls: bool = False
    """To them and between them."""
    pinned: bool = True
    """The edge on the gateway's core; False: wherever the kernel puts it."""
    edge_cores: float | None = None
    """What part of a core each edge may use at most; None: all it gets."""


EDGE_CORES = 0.25
"""So that two edges, and all that serves them at their speed, fit on two cores and none waits for
another's core.
"""
FACTS = "two facts a request written to JetStream and acknowledged (file storage, NATS's own sync interval)"
ALL_ON = f"key, tags of key and team, spend at a configured price, {FACTS}, metrics"
LAYERS = {
    layer.name: layer
    for layer in (
        Layer("tollgate-open", f"no keys (an open gateway); spend, {FACTS}, metrics", keys=False),
        Layer("tollgate", ALL_ON),
        Layer("tollgate-guardrail", f"{ALL_ON}; the banned_keywords guardrail on request and answer", guardrail=True),
        Layer(
            "tollgate-uncached",
            f"{ALL_ON}; banned_keywords, and policy asked for every request",
            guardrail=True,
            grant_ttl_ms=0,
        ),
        Layer(
            "tollgate-always",
            f"{ALL_ON}; but sync_interval: always, every message on the disk before it is acknowledged",
            sync="always",
        ),
        Layer(
            "tollgate-cache",
            f"{ALL_ON}; `cache: true`, and every call but the first finds its answer there",
            cache=True,
        ),
        Layer("tollgate-tls", f"{ALL_ON}; TLS to the broker", brokers=1, tls=True),
        Layer(
            "tollgate-r3", f"{ALL_ON}; three brokers with three replicas, sync_interval: always", "always", brokers=3
        ),
        Layer("tollgate-r3-tls", f"{ALL_ON}; the same with TLS everywhere on the bus", "always", brokers=3, tls=True),
        Layer("edges-1", ALL_ON, pinned=False),
        Layer("edges-2", ALL_ON, edges=2, pinned=False),
        Layer("edges-4", ALL_ON, edges=4, pinned=False),
        Layer("edges-1-limited", ALL_ON, pinned=False, edge_cores=EDGE_CORES),
        Layer("edges-2-limited", ALL_ON, edges=2, pinned=False, edge_cores=EDGE_CORES),
    )
}


class Suite:
    """One running suite, and what the benchmark asks of it."""

    def __init__(self, layer: Layer, upstream: int, folder: Path) -> None:
        self.layer = layer
        self.data = folder / layer.name
        self.data.mkdir()
        self.log = self.data / "suite.log"
        self.asked = 0
        """Calls that were answered outside of any load."""
        config = self.data / "config.json"  # JSON is YAML
        config.write_text(json.dumps(_config(layer, upstream)))
        self._quota = None if layer.edge_cores is None else Quota(layer.name, layer.edge_cores)
        self._ports = PortBlock()  # a replica's ports lie beside the first one's: they have to be free too
        offsets = {
            "EDGE": 0,
            "EDGE_PROBE": 1,
            "LEDGER": 100,
            "LEDGER_PROBE": 101,
            "POLICY_PROBE": 103,
            "MODERATION_PROBE": 104,
        }
        env = {f"TOLLGATE_{name}_PORT": str(self._ports.base + offset) for name, offset in offsets.items()}
        env |= {
            "TOLLGATE_CONFIG": str(config), "TOLLGATE_DATA_DIR": str(self.data / "data"), "TOLLGATE_NATS_SYNC": layer.sync,
            "TOLLGATE_EDGE_HOST": "127.0.0.1", "TOLLGATE_EDGE_DRAIN_MS": "2000",
            "TOLLGATE_REPLICAS": f"edge={layer.edges}",
        }  # fmt: skip
        self._brokers = self._begin_brokers(env) if layer.brokers else None
        if layer.grant_ttl_ms is not None:
            env["TOLLGATE_EDGE_GRANT_TTL_MS"] = str(layer.grant_ttl_ms)
        cpus = machine.OTHER_CPUS if layer.pinned else machine.ALL_CPUS
        begun = time.monotonic()
        self.process = spawn([sys.executable, "-m", "services"], self.log, cpus, env=env)
        try:
            self._wait_until_ready()
            self.ready_s = time.monotonic() - begun
            self.ports = [int(url.rpartition(":")[2]) for url in self.state()["edge_urls"]]
            self.key = self._make_key() if layer.keys else "sk-bench"
            self.settle_in()
        except BaseException:
            self.stop()
            raise

    def _begin_brokers(self, env: dict[str, str]) -> Cluster:
        """Says in `env` where they are."""
        layer = self.layer
        folder = self.data / "nats"
        folder.mkdir()
        brokers = Cluster(folder, layer.brokers, tls=layer.tls, sync_always=layer.sync == "always")
        brokers.start_all()
        if layer.pinned:
            machine.pin(brokers.pids, machine.OTHER_CPUS)
        env |= {f"TOLLGATE_NATS_URL_{kind.upper()}": brokers.url(kind) for kind in PERMISSIONS}
        env |= {"TOLLGATE_NATS_URL": brokers.url("operator"), "TOLLGATE_STREAM_REPLICAS": str(layer.brokers)}
        if brokers.ca_file:
            env["TOLLGATE_NATS_CA_FILE"] = brokers.ca_file
        return brokers

    def state(self) -> dict[str, Any]:
        """`suite.json`; empty while it isn't there."""
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.data / "data" / "suite.json").read_text()))
        return {}

    def pid(self, name: str) -> int:
        return int(self.state()["processes"][name]["pid"])

    def edges(self) -> list[int]:
        running = self.state().get("processes", {})
        return [p["pid"] for name, p in running.items() if name.partition("-")[0] == "edge" and p["pid"]]

    def own_pids(self) -> list[int]:
        """Tollgate's own processes: supervisor and services, without broker and database."""
        services = [p["pid"] for name, p in self.state()["processes"].items() if name not in ("nats", "postgres")]
        return [self.process.pid, *services]

    def settle_in(self) -> None:
        """Everyone on their core, within their limit and at their priority; again after an edge was
        restarted.
        """
        if self.layer.pinned:
            machine.pin(self.edges(), machine.GATEWAY_CPUS)
        if self._quota is not None:
            self._quota.limit(self.edges())
        self.book_nice(BOOK_NICE)

    def book_nice(self, nice: int) -> None:
        """The priority of ledger and PostgreSQL."""
        for name in ("ledger", "postgres"):
            for pid in machine.tree(self.pid(name)):
                machine.set_nice(pid, nice)

    def stop(self) -> None:
        stop(self.process, STOP_S_MAX)
        if self._brokers is not None:
            self._brokers.stop()
        self._ports.close()
        if self._quota is not None:
            self._quota.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            if self.state().get("ready"):
                return
            time.sleep(0.02)
        log = self.log.read_bytes()[-1500:].decode(errors="replace")
        raise Wrong(f"{self.layer.name} did not come up; its log ends: {log}")

    def _admin(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {MASTER_KEY}"}
        status, answer = post(self.ports[0], path, json.dumps(body).encode(), headers)
        if status != 200:
            raise Wrong(f"{self.layer.name}: {path} answered {status}: {answer[:300]!r}")
        return dict(json.loads(answer))

    def _make_key(self) -> str:
        """A virtual key with tags and spend metadata, in a team with a tag of its own."""
        team = self._admin("/team/new", {"team_alias": "bench", "metadata": {"tags": ["bench-team"]}})
        metadata = {"tags": [TAG], "spend_logs_metadata": {"cost_centre": "42"}}
        made = self._admin(
            "/key/generate", {"team_id": team["team_id"], "models": list(wire.MODELS), "metadata": metadata}
        )
        return str(made["key"])

    def restart_seconds(self) -> float:
        """From the start of an edge's process to its first right answer to a call with a key (10 ms
        steps).
        """
        old = self.edges()[0]
        os.kill(old, 15)
        deadline = time.monotonic() + START_S_MAX
        contestant = self.contestant()
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                right = wire.wrong_json(*contestant.ask()) is None
                self.asked += right
                if right and (edges := self.edges()) and edges[0] != old:
                    seconds = machine.age_s(edges[0])
                    self.settle_in()
                    return seconds
            time.sleep(0.005)
        raise Wrong(f"{self.layer.name}: the edge did not come back")

    def contestant(self) -> Contestant:
        made = Contestant(
            self.layer.name, self.ports[0], self.process.pid,
            headers={"Authorization": f"Bearer {self.key}"}, front=self.edges, stop=self.stop, version=self.layer.enforced,
            forwards=not self.layer.cache,
        )  # fmt: skip
        made.ready_s, made.ports = self.ready_s, self.ports
        return made

    def booked(self) -> tuple[int, float]:
        """(requests, USD) that the book holds under the key's tag. A 503 (a service was slower than
        its deadline) is asked again.
        """
        deadline = time.monotonic() + SETTLE_S_MAX
        status, body = 503, b""
        while status == 503 and time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                status, body = call(
                    "GET", self.ports[0], "/spend/tags", None, {"Authorization": f"Bearer {MASTER_KEY}"}
                )
            if status == 503:
                time.sleep(1)
        if status != 200:
            raise Wrong(f"{self.layer.name}: /spend/tags answered {status}: {body[:300]!r}")
        for row in json.loads(body):
            if row["individual_request_tag"] == TAG:
                return int(row["log_count"]), float(row["total_spend"])
        return 0, 0.0

    def settled(self, at_least: int = 0) -> int:
        """The requests in the book once their number stands still and is `at_least` so large, or
        the wait is over.
        """
        deadline, last = time.monotonic() + SETTLE_S_MAX, -1
        rows, _ = self.booked()
        while time.monotonic() < deadline and (rows < at_least or rows != last):
            last = rows
            time.sleep(SETTLE_WINDOW_S)
            rows, _ = self.booked()
        return rows


def _config(layer: Layer, upstream: int) -> dict[str, Any]:
    params = {"api_base": f"http://127.0.0.1:{upstream}/v1", "api_key": "sk-upstream"}
    prices = {"input_cost_per_token": INPUT_USD, "output_cost_per_token": OUTPUT_USD}
    config: dict[str, Any] = {
        "model_list": [
            {"model_name": model, "litellm_params": {"model": f"openai/{model}", **params, **prices}}
            for model in wire.MODELS
        ]
    }
    if layer.keys:
        config["general_settings"] = {"master_key": MASTER_KEY}
    else:
        config["general_settings"] = {"allow_open_gateway": True}
    if layer.cache:
        config["litellm_settings"] = {"cache": True}
    if layer.guardrail:
        words = ["forbidden-word", "another-forbidden-word"]
        config["litellm_settings"] = {"callbacks": ["banned_keywords"], "banned_keywords_list": words}
    return config


def check_book(suite: Suite, answered: int, unfinished: int) -> str:
    """Is every answered call in the book, and at its price? Waits for the ledger. Raises Wrong.

    Clients saw `answered` calls complete; of `unfinished` more nobody knows whether they were
    opened before their client left, and what they cost is an estimate. So the price is checked on
    PRICED_CALLS further calls, one after the other.
    """
    name = suite.layer.name
    suite.book_nice(0)
    answered += suite.asked
    rows = suite.settled(answered)
    if not answered <= rows <= answered + unfinished:
        raise Wrong(f"{name}: clients saw {answered} answers (and left {unfinished} calls), the book has {rows}")
    _, usd_before = suite.booked()
    contestant = suite.contestant()
    for _ in range(PRICED_CALLS):
        contestant.check()
    calls = 2 * PRICED_CALLS  # each check is a call and a stream
    total = suite.settled(rows + calls)
    cost = suite.booked()[1] - usd_before
    due = 0.0 if suite.layer.cache else calls * (wire.INPUT_TOKENS * INPUT_USD + wire.OUTPUT_TOKENS * OUTPUT_USD)
    if total != rows + calls or abs(cost - due) > due * 1e-6:
        raise Wrong(f"{name}: {calls} calls of {due:.6f} USD became {total - rows} calls of {cost:.6f} USD in the book")
    return (
        f"{name}: clients saw {answered} answers, the book has {rows} calls ({rows - answered} of clients that left when a slice ended); "
        f"{calls} more calls and streams cost exactly {due:.4f} USD"
    )

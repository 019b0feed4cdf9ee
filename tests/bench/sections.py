"""What is compared with what: each section is one load, and the contestants that get it side by
side.
"""

from collections.abc import Callable

import msgspec

from tests.bench import load, machine, wire
from tests.bench.client import Job, Load
from tests.bench.contestant import Contestant
from tests.bench.tollgate import EDGE_CORES

SLOW_SLICE_FACTOR = 5
LATENCY_RATE = 50.0
STREAM_RATE, STREAM_RATE_SLOW = 60.0, 10.0
"""Streams begun a second; one of `bench-10ms` lasts half a second."""
PEERS = ("direct", "nginx", "envoy", "bare", "bare-asyncio", "portkey", "litellm")

Give = Callable[[Contestant], Load]


class Section(msgspec.Struct, frozen=True):
    """One load given to several contestants in turn."""

    name: str
    title: str
    contestants: tuple[str, ...]
    give: Give
    kind: str = "closed"
    """closed: throughput counts; rate: latency; stream: first chunk and CPU."""
    reference: str = "bare"
    streams: bool = False
    pinned: bool = True
    """False: gateway, load and upstream run wherever the kernel puts them."""
    apart: bool = False
    """Run last, with nobody else alive."""


def closed(seconds: int, size_bytes: int = 1024, *, stream: bool = False, pinned: bool = True) -> Give:
    """As fast as 64 connections go; nothing waits upstream."""
    body = wire.request_body(size_bytes=size_bytes, stream=stream)
    cpus = machine.OTHER_CPUS if pinned else machine.ALL_CPUS

    def give(to: Contestant) -> Load:
        return load.closed_on_all(to.ports, to.headers, body, seconds * (SLOW_SLICE_FACTOR if to.slow else 1), cpus)

    return give


def rate(seconds: int, per_s: float, model: str = "bench", *, stream: bool = False) -> Give:
    """A constant rate, whatever the contestant does."""
    body = wire.request_body(model, stream=stream)
    connections = 64 if stream else 8

    def give(to: Contestant) -> Load:
        request = load.request(to.port, {"Content-Type": "application/json", **to.headers}, body)
        return load.own(Job(to.port, request, seconds, per_s, connections, stream))

    return give


def quick(slice_s: int) -> list[Section]:
    """The main job's gates."""
    three = ("bare", "tollgate", "tollgate-always")
    return [
        Section("throughput", "Throughput, 64 connections, 1 kB, upstream 0 ms", ("direct", *three), closed(slice_s)),
        Section(
            "latency",
            "50 requests/s (open loop), upstream 0 ms",
            ("direct", *three),
            rate(slice_s + 1, LATENCY_RATE),
            "rate",
        ),
        _streams(slice_s, ("direct", *three)),
    ]


def full(slice_s: int) -> list[Section]:
    """Everything."""
    layers = ("tollgate-open", "tollgate", "tollgate-guardrail", "tollgate-uncached", "tollgate-always")
    some = ("direct", "nginx", "envoy", "bare", "tollgate", "tollgate-guardrail", "portkey", "litellm")
    fast = ("direct", "nginx", "envoy", "bare", "tollgate", "tollgate-always")
    return [
        Section("throughput", "Throughput, 64 connections, 1 kB, upstream 0 ms", (*PEERS, *layers), closed(slice_s)),
        Section("latency", "50 requests/s (open loop), upstream 0 ms", (*PEERS, *layers), rate(slice_s + 1, LATENCY_RATE), "rate"),
        Section("latency-50ms", "50 requests/s (open loop), upstream 50 ms", some, rate(slice_s + 1, LATENCY_RATE, "bench-50ms"), "rate"),
        _streams(slice_s, fast),
        Section(
            "streams-slow", "10 streams/s, 50 chunks 10 ms apart (a rate LiteLLM can follow)",
            ("direct", "bare", "tollgate", "litellm", "portkey"),
            rate(slice_s + 1, STREAM_RATE_SLOW, "bench-10ms", stream=True), "stream", streams=True,
        ),
        Section(
            "bursts", "Streams whose 50 chunks come at once, 64 connections", ("nginx", "envoy", "bare", "tollgate", "litellm", "portkey"),
            closed(slice_s, stream=True), streams=True,
        ),
        Section(
            "cache-hit", "Equal calls, 64 connections, 1 kB: answers from the cache beside calls of the upstream",
            ("direct", "bare", "tollgate-cache"), closed(slice_s),
        ),
        Section(
            "cache-hit-latency", "The same at 50 requests/s (open loop)", ("direct", "bare", "tollgate-cache"),
            rate(slice_s + 1, LATENCY_RATE), "rate",
        ),
        Section(
            "bus", "What TLS and three replicas on the bus cost: throughput, 64 connections, 1 kB",
            ("bare", "tollgate", "tollgate-tls", "tollgate-always", "tollgate-r3", "tollgate-r3-tls"), closed(slice_s),
        ),
        Section(
            "bus-latency", "The same at 50 requests/s (open loop)",
            ("bare", "tollgate", "tollgate-tls", "tollgate-always", "tollgate-r3", "tollgate-r3-tls"),
            rate(slice_s + 1, LATENCY_RATE), "rate",
        ),
        Section("32-kb", "Throughput, 64 connections, 32 kB", some, closed(slice_s, 32 * 1024)),
        Section("300-kb", "Throughput, 64 connections, 300 kB", some[:-2], closed(slice_s, 300 * 1024)),
        Section(
            "edges", "1, 2 and 4 edge processes on all cores, which the load client shares", ("edges-1", "edges-2", "edges-4"),
            closed(slice_s, pinned=False), reference="edges-1", pinned=False, apart=True,
        ),
        Section(
            "edges-limited", f"1 and 2 edge processes, each with {EDGE_CORES:.0%} of a core, on cores that have room for all",
            ("edges-1-limited", "edges-2-limited"),
            closed(slice_s, pinned=False), reference="edges-1-limited", pinned=False, apart=True,
        ),
    ]  # fmt: skip


def _streams(slice_s: int, contestants: tuple[str, ...]) -> Section:
    give = rate(slice_s + 1, STREAM_RATE, "bench-10ms", stream=True)
    return Section(
        "streams", "60 streams/s (open loop), 50 chunks 10 ms apart", contestants, give, "stream", streams=True
    )


def only(sections: list[Section], names: set[str]) -> list[Section]:
    """Those whose name is given; or, of a contestant's name, every section with that contestant and
    the reference alone.

    Raises ValueError for a name nobody has.
    """
    known = {section.name for section in sections} | {name for section in sections for name in section.contestants}
    if names - known:
        raise ValueError(f"unknown: {', '.join(sorted(names - known))}; known: {', '.join(sorted(known))}")
    chosen, people = [], names - {section.name for section in sections}
    for section in sections:
        if section.name in names or people.intersection(section.contestants):
            keep = tuple(
                name for name in section.contestants if not people or name in people or name == section.reference
            )
            if section.name in names or not names - people:
                chosen.append(msgspec.structs.replace(section, contestants=keep))
    return chosen

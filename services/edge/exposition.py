"""Families of metrics with what has the same labels added up, and their text: a thousand callers'
histograms are a hundred thousand lines.

The client library makes objects of every sample and escapes each line anew, which took seconds of a
core a scrape. Here a set of labels is rendered once, and a family is text in pieces: whoever writes
them gives the event loop its turns in between.
"""

import time
from collections.abc import Iterator
from typing import Protocol

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from services.edge.tallies import Times

PIECE_CHARACTERS = 32 * 1024
"""About: a piece is made without a pause."""
PAUSE_S = 0.0002
"""After each: the interpreter's lock goes to the event loop's thread, which would have to wait 5 ms
for it otherwise.
"""


class Family(Protocol):
    def family(self) -> Metric: ...

    def text(self) -> Iterator[str]: ...


class Plain:
    """A family that the client library renders: few samples."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def family(self) -> Metric:
        return self._metric

    def text(self) -> Iterator[str]:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Only(self._metric))
        yield generate_latest(registry).decode()


class _Only(Collector):
    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> Iterator[Metric]:
        yield self._metric


class Sums:
    """A counter's family."""

    def __init__(self, name: str, text: str, labels: list[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._sums: dict[tuple[str, ...], float] = {}

    def add(self, labels: tuple[str, ...], value: float) -> None:
        self._sums[labels] = self._sums.get(labels, 0) + value

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._sums.items():
            family.add_metric(list(labels), value)
        return family

    def text(self) -> Iterator[str]:
        name = self._name + "_total"
        lines = (
            f"{name}{{{_rendered(self._labels, labels)}}} {_number(value)}\n" for labels, value in self._sums.items()
        )
        return _pieces(name, self._text, "counter", lines)


class Spreads:
    """A histogram's family. What never happened isn't shown."""

    def __init__(self, name: str, text: str, labels: list[str]) -> None:
        self._name, self._text, self._labels = name, text, labels
        self._spreads: dict[tuple[str, ...], Times] = {}

    def add(self, labels: tuple[str, ...], times: Times) -> None:
        if not any(times.counts):
            return
        found = self._spreads.get(labels)
        if found is None:
            found = self._spreads[labels] = Times()
        found.merge(times)

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        for labels, times in self._spreads.items():
            family.add_metric(list(labels), times.buckets(), times.sum)
        return family

    def text(self) -> Iterator[str]:
        return _pieces(self._name, self._text, "histogram", self._lines())

    def _lines(self) -> Iterator[str]:
        name = self._name
        for labels, times in self._spreads.items():
            rendered = _rendered(self._labels, labels)
            before = f'{name}_bucket{{{rendered},le="'
            buckets = times.buckets()
            yield "".join([f'{before}{bound}"}} {count}\n' for bound, count in buckets]) + (
                f"{name}_count{{{rendered}}} {buckets[-1][1]}\n{name}_sum{{{rendered}}} {_number(times.sum)}\n"
            )


def _rendered(names: list[str], values: tuple[str, ...]) -> str:
    """In the text format's escapes. No label stands for an empty one: they are the same to
    Prometheus, and most are empty.
    """
    return ",".join(
        [
            f'{name}="{value}"' if value.isalnum() else f'{name}="{_escaped(value)}"'
            for name, value in zip(names, values, strict=True)
            if value
        ]
    )


def _number(value: float) -> str:
    """Finite: nothing else is ever counted."""
    return repr(float(value))


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _pieces(name: str, text: str, kind: str, lines: Iterator[str]) -> Iterator[str]:
    piece, size = [f"# HELP {name} {text}\n# TYPE {name} {kind}\n"], 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE_CHARACTERS:
            yield "".join(piece)
            time.sleep(PAUSE_S)
            piece, size = [], 0
    yield "".join(piece)

"""What a run says: markdown for people, `latest.json` for machines. No absolute number stands
without the ratio it was measured with.
"""

import msgspec

from tests.bench.machine import Machine
from tests.bench.method import Metric, Sample, Samples, Summary, differences, ratios, summarise
from tests.bench.sections import Section
from tests.bench.targets import Facts, Verdict, cpu, first, front_cpu, p50, shown, throughput

DISTURBED_SHARE_MAX = 0.1


class Row(msgspec.Struct, frozen=True):
    """One contestant in one section: first what it is of the reference, then the numbers that were
    divided.
    """

    contestant: str
    throughput_ratio: Summary | None
    front_cpu_ratio: Summary | None
    cpu_ratio: Summary | None
    """Of all its processes."""
    p50_added_ms: Summary | None
    first_added_ms: Summary | None
    throughput_per_s: float
    front_cpu_ms: float
    cpu_ms: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    gateway_core_busy: float
    other_cores_busy: float
    lower_bound: bool
    """Load client and upstream were the limit in at least half of its slices."""
    repeated: int
    """Slices that were disturbed and measured again."""
    disturbed: int
    """Slices that were disturbed even then."""
    client_late_p50_ms: float
    """How late our own open-loop client sent."""


class SectionReport(msgspec.Struct, frozen=True):
    name: str
    title: str
    kind: str
    reference: str
    cycles: int
    rows: list[Row]


class Report(msgspec.Struct, frozen=True):
    """The whole of `latest.json`."""

    started: str
    command: str
    machine: Machine
    load_client: str
    versions: dict[str, str]
    enforced: dict[str, str]
    cycles: int
    slice_s: int
    connections: int
    targets: list[Verdict]
    facts: Facts
    start_s: dict[str, float]
    """Contestant → from its process's start to its first right answer; for Tollgate the whole suite
    with broker and database.
    """
    memory_mib: dict[str, float]
    """After the load; for Tollgate the whole suite."""
    sections: list[SectionReport]
    book: list[str]
    notes: list[str]
    warning: str = ""
    """Why these numbers should not be quoted; it stands above them."""


def section_report(section: Section, samples: Samples) -> SectionReport:
    rows = [_row(name, samples, section.reference) for name in samples]
    if not section.pinned:  # there is no core that only one side has
        rows = [msgspec.structs.replace(row, lower_bound=False) for row in rows]
    rows.sort(key=lambda row: _rank(section.kind, row))
    cycles = min((len(taken) for taken in samples.values()), default=0)
    return SectionReport(section.name, section.title, section.kind, section.reference, cycles, rows)


def _rank(kind: str, row: Row) -> float:
    """Best first, by what the section is about."""
    if kind == "closed":
        return -row.throughput_per_s
    return row.p50_ms if kind == "rate" else row.front_cpu_ms


def _row(name: str, samples: Samples, reference: str) -> Row:
    taken = samples[name]

    def of_reference(metric: Metric) -> Summary | None:
        return summarise(ratios(samples, name, reference, metric))

    def median(metric: Metric) -> float:
        found = summarise([metric(sample) for sample in taken])
        return round(found.median, 4) if found else 0.0

    def late(sample: Sample) -> float:
        return sample.load.late_p50_ms

    return Row(
        contestant=name,
        throughput_ratio=of_reference(throughput),
        front_cpu_ratio=of_reference(front_cpu),
        cpu_ratio=of_reference(cpu),
        p50_added_ms=summarise(differences(samples, name, reference, p50)),
        first_added_ms=summarise(differences(samples, name, reference, first)),
        throughput_per_s=median(throughput),
        front_cpu_ms=median(front_cpu),
        cpu_ms=median(cpu),
        p50_ms=median(p50),
        p99_ms=median(lambda sample: sample.p99_ms),
        first_p50_ms=median(first),
        first_p99_ms=median(lambda sample: sample.load.first_p99_ms),
        gateway_core_busy=median(lambda sample: sample.gateway_core_busy),
        other_cores_busy=median(lambda sample: sample.other_cores_busy),
        lower_bound=2 * sum(sample.client_limited for sample in taken) >= len(taken),
        repeated=sum(sample.repeated for sample in taken),
        disturbed=sum(not sample.clean for sample in taken),
        client_late_p50_ms=median(late),
    )


def disturbances(sections: list[SectionReport]) -> str | None:
    """Whether other programs were in the way. None: hardly."""
    disturbed = sum(row.disturbed for section in sections for row in section.rows)
    slices = sum(section.cycles for section in sections for _ in section.rows)
    if disturbed <= DISTURBED_SHARE_MAX * slices:
        return None
    return f"other programs disturbed {disturbed} of {slices} slices even when they were repeated: run it again on a quiet machine"


def markdown(report: Report) -> str:
    """The tables, with what a reader needs to judge them."""
    machine = report.machine
    built = f"{'with' if machine.pgo else 'without'} PGO, {'with' if machine.lto else 'without'} LTO"
    lines = [
        f"## Benchmark of {report.started}",
        "",
        f"{machine.cpu}, {machine.cores} cores, {machine.memory_gib} GiB, Linux {machine.kernel}; Python {machine.python} built {built}; "
        f"commit {machine.commit}. `{report.command}`. Load: {report.load_client}, {report.connections} connections. Gateway on one core, load "
        f"client, upstream and the rest of Tollgate's suite on the other, ledger and PostgreSQL at nice 10. "
        f"Medians of {report.cycles} interleaved cycles of {report.slice_s} s "
        "slices, quartiles in brackets; every ratio is taken inside a cycle.",
        "",
        *([f"**{report.warning}**", ""] if report.warning else []),
        "| target | gate | stretch | measured | verdict |",
        "|---|---|---|---|---|",
        *(f"| {v.what} | {v.gate} | {v.stretch} | {v.measured} | {v.verdict} |" for v in report.targets if v.measured),
    ]
    missing = [v.what for v in report.targets if not v.measured]
    if missing:
        lines += ["", f"Not measured by this run: {'; '.join(missing)}."]
    for section in report.sections:
        lines += ["", f"### {section.title}", "", *_table(section), *_limits(section)]
    lines += [
        "",
        "Versions: " + ", ".join(f"{name} {version}" for name, version in report.versions.items() if version) + ".",
    ]
    lines += ["", "Enforced during the run:", ""]
    lines += [f"- {name}: {what}" for name, what in report.enforced.items()]
    if report.book:
        lines += ["", "The book afterwards (every answer a client saw must be there, at its price):", ""]
        lines += [f"- {line}" for line in report.book]
    if report.notes:
        lines += ["", "Notes:", "", *(f"- {note}" for note in report.notes)]
    return "\n".join(lines) + "\n"


def _limits(section: SectionReport) -> list[str]:
    """How we know that load client and upstream were not what was measured."""
    direct = next((row for row in section.rows if row.contestant == "direct"), None)
    if direct is None:
        return []
    if section.kind == "closed" and direct.throughput_ratio is not None:
        return [
            "",
            f"Without a gateway, load client and upstream do {shown(direct.throughput_ratio.median, 'x')} of {section.reference} on their "
            "core; ≥ marks rows where that core was full and the gateway's was not.",
        ]
    late = max(row.client_late_p50_ms for row in section.rows)
    return [
        "",
        f"Latency counts from when a call was due. The load client itself was {late:.2g} ms late at the median, for everyone alike.",
    ]


def _table(section: SectionReport) -> list[str]:
    ref = section.reference
    if section.kind == "closed":
        head = [
            f"throughput / {ref}",
            f"CPU a request / {ref}",
            "requests/s",
            "CPU ms: front",
            "all",
            "p50 ms",
            "p99 ms",
        ]
    elif section.kind == "rate":
        head = [f"added p50 over {ref}, ms", f"CPU a request / {ref}", "p50 ms", "p99 ms", "CPU ms: front", "all"]
    else:
        head = [
            f"CPU a stream / {ref}: front",
            "all",
            f"first chunk later than {ref}, ms",
            "first p50 ms",
            "p99 ms",
            "CPU ms: front",
            "all",
        ]
    rows = [[row.contestant, *_cells(section.kind, row)] for row in section.rows]
    return [_line(["", *head]), "|" + "---|" * (len(head) + 1), *map(_line, rows)]


def _cells(kind: str, row: Row) -> list[str]:
    front, everything = _plain(row.front_cpu_ms), _plain(row.cpu_ms)
    if kind == "closed":
        bound = "≥ " if row.lower_bound else ""
        return [
            bound + _spread(row.throughput_ratio, "x"), _spread(row.front_cpu_ratio, "x"), f"{bound}{row.throughput_per_s:,.0f}",
            front, everything, _plain(row.p50_ms), _plain(row.p99_ms),
        ]  # fmt: skip
    if kind == "rate":
        return [
            _spread(row.p50_added_ms, ""), _spread(row.front_cpu_ratio, "x"), _plain(row.p50_ms), _plain(row.p99_ms), front, everything,
        ]  # fmt: skip
    return [
        _spread(row.front_cpu_ratio, "x"), _spread(row.cpu_ratio, "x"), _spread(row.first_added_ms, ""), _plain(row.first_p50_ms),
        _plain(row.first_p99_ms), front, everything,
    ]  # fmt: skip


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _plain(value: float) -> str:
    return f"{value:.3g}" if value else "0"


def _spread(found: Summary | None, unit: str) -> str:
    if found is None:
        return ""
    return f"{shown(found.median, unit).strip()} ({shown(found.low, '').strip()} to {shown(found.high, '').strip()})"

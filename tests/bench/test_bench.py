"""The benchmark must not flatter: what it counts, what it refuses to count, and how it judges."""

import asyncio
import json
import random
import time
import xml.etree.ElementTree as ElementTree
from typing import Any

import msgspec
import pytest

from tests.bench import chart, method, report, sections, targets, wire
from tests.bench.client import Driver, Job, Load
from tests.bench.contestant import Contestant, Wrong
from tests.bench.load import request
from tests.bench.method import Sample
from tests.bench.upstream import Provider


def sample(ok: int = 1000, seconds: float = 1.0, cpu_s: float = 0.5, p50_ms: float = 2.0, **more: Any) -> Sample:
    seen = Load(ok=ok, bad=0, unfinished=0, seconds=seconds, p50_ms=p50_ms, p99_ms=9.0, body_bytes=0)
    shares = {
        "gateway_core_busy": 1.0,
        "other_cores_busy": 0.5,
        "foreign_share": 0.0,
        "steal_share": 0.0,
        "drain_s": 0.0,
    }
    return Sample(load=seen, served=ok, cpu_s=cpu_s, front_cpu_s=cpu_s, **{**shares, **more})


class TestWire:
    def test_a_body_has_its_size(self) -> None:
        for size in (1024, 32 * 1024, 300 * 1024):
            assert abs(len(wire.request_body(size_bytes=size)) - size) < 8

    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
    def test_the_upstream_understands_re_encoded_bodies(self, order: int, separators: tuple[str, str]) -> None:
        tree = json.loads(wire.request_body("bench-50ms", 5000, stream=True))
        body = json.dumps(dict(list(tree.items())[::order]), separators=separators).encode()
        assert wire.delay_ms(body) == 50
        assert wire.wants_stream(body)

    def test_a_changed_answer_is_wrong(self) -> None:
        assert wire.wrong_json(200, wire.answer_json()) is None
        assert wire.wrong_json(500, wire.answer_json())
        assert wire.wrong_json(200, wire.answer_json().replace(b"very", b"VERY"))
        assert wire.wrong_json(200, b"{}")

    def test_a_cut_or_thinned_stream_is_wrong(self) -> None:
        chunks = wire.answer_chunks()
        assert wire.wrong_stream(200, b"".join(chunks)) is None
        assert wire.wrong_stream(200, b"".join(chunks[:-1]))
        assert wire.wrong_stream(200, b"".join(chunks[:7] + chunks[8:]))
        assert wire.wrong_stream(200, b"".join(chunks[:-1]) + b"data: [DONE]\n\n")  # usage is missing


class TestMethod:
    def test_ratios_are_taken_inside_a_cycle(self) -> None:
        samples = {"bare": [sample(1000), sample(4000)], "ours": [sample(2000), sample(8000)]}
        assert method.ratios(samples, "ours", "bare", targets.throughput) == [2.0, 2.0]

    def test_cpu_is_divided_by_the_calls_that_reached_the_upstream(self) -> None:
        assert sample(ok=1000, cpu_s=0.5).cpu_ms == pytest.approx(0.5)

    def test_a_full_load_side_makes_a_lower_bound(self) -> None:
        assert sample(other_cores_busy=1.0, cpu_s=0.7).client_limited
        assert not sample(other_cores_busy=1.0, cpu_s=0.99).client_limited

    @pytest.mark.parametrize(
        ("seen", "served"),
        [({"ok": 10, "bad": 1}, 11), ({"ok": 10, "bad": 0}, 9), ({"ok": 0, "bad": 0}, 0)],
        ids=["a failed call", "an answer the upstream never gave", "no answer"],
    )
    def test_a_wrong_slice_fails_the_run(
        self, seen: dict[str, Any], served: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counts = iter([0, served])
        monkeypatch.setattr(method.Upstream, "served", lambda _: next(counts))
        load = Load(unfinished=0, seconds=0.01, p50_ms=1, p99_ms=1, body_bytes=0, **seen)
        with pytest.raises(Wrong):
            method.measure(Contestant("one", 1, None), lambda _: load, method.Upstream(1, 1))

    def test_a_disturbed_slice_is_repeated_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = iter([sample(foreign_share=0.5), sample(foreign_share=0.4)])
        monkeypatch.setattr(method, "measure", lambda *_: next(taken))
        one = Contestant("one", 1, None)
        found = method.cycles(
            [one], lambda _: sample().load, method.Upstream(1, 1), 1, random.Random(1), lambda _: None
        )
        assert [(s.repeated, s.foreign_share) for s in found["one"]] == [(True, 0.4)]


class TestTargets:
    @pytest.mark.parametrize(("ok", "verdict"), [(1700, "stretch"), (900, "gate"), (800, "MISSED")])
    def test_throughput_is_judged_by_its_median(self, ok: int, verdict: str) -> None:
        results = {"throughput": {"bare": [sample(1000)] * 3, "tollgate": [sample(ok)] * 3}}
        assert targets.judge(results, targets.Facts())[0].verdict == verdict

    @pytest.mark.parametrize(("p50_ms", "verdict"), [(2.2, "stretch"), (2.9, "gate"), (3.1, "MISSED")])
    def test_latency_is_judged_by_what_it_adds(self, p50_ms: float, verdict: str) -> None:
        results = {"latency": {"bare": [sample(p50_ms=2.0)] * 3, "tollgate": [sample(p50_ms=p50_ms)] * 3}}
        row = next(v for v in targets.judge(results, targets.Facts()) if v.what.startswith("added p50"))
        assert row.verdict == verdict

    def test_what_was_not_measured_is_not_passed(self) -> None:
        assert {v.verdict for v in targets.judge({}, targets.Facts())} == {"not measured"}


class TestSections:
    def test_only_keeps_the_reference(self) -> None:
        chosen = sections.only(sections.full(1), {"throughput", "envoy"})
        assert [(s.name, s.contestants) for s in chosen] == [("throughput", ("envoy", "bare"))]

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(ValueError, match="unknown: nonsense"):
            sections.only(sections.full(1), {"nonsense"})


def test_the_chart_is_a_document_with_a_row_for_each_contestant() -> None:
    samples = {"bare": [sample(1000)] * 3, "tollgate": [sample(1600)] * 3, "litellm": [sample(17)] * 3}
    made = report.section_report(sections.quick(1)[0], samples)
    tree = ElementTree.fromstring(chart.svg(made, "a <caption>"))
    texts = [text.text for text in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert {"bare", "tollgate", "litellm", "1.6x", "0.017x", "a <caption>"} <= set(texts)


class TestClient:
    async def drive(self, server: type[asyncio.Protocol], **job: Any) -> Load:
        listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        port = listening.sockets[0].getsockname()[1]
        body = wire.request_body("bench-10ms", stream=True) if job.get("stream") else wire.request_body()
        try:
            return await Driver(Job(port=port, request=request(port, {}, body), connections=4, **job)).run()
        finally:
            listening.close()

    async def test_closed_loop_and_upstream_agree(self) -> None:
        before = Provider.served
        seen = await self.drive(Provider, seconds=0.2)
        assert seen.ok > 50
        assert seen.bad == 0
        assert seen.ok <= Provider.served - before <= seen.ok + seen.unfinished

    async def test_a_stream_counts_when_it_is_whole_and_its_first_chunk_is_timed(self) -> None:
        seen = await self.drive(Provider, seconds=0.3, rate=20.0, stream=True)
        assert (seen.ok, seen.bad) == (6, 0)
        assert seen.first_p50_ms < 200 < seen.p50_ms

    async def test_a_call_waits_from_when_it_was_due(self) -> None:
        """A server that stalls once for 300 ms delays the calls due meanwhile, and each of them
        shows it.
        """

        class Stalling(Provider):
            stalled = False

            def on_message_complete(self) -> None:
                if not Stalling.stalled:
                    Stalling.stalled = True
                    time.sleep(0.3)  # the loop is the client's too: nothing can be sent meanwhile
                super().on_message_complete()

        seen = await self.drive(Stalling, seconds=0.4, rate=100.0)
        assert seen.ok == 40
        assert seen.p50_ms > 50

    async def test_an_error_status_is_bad(self) -> None:
        class Failing(Provider):
            def on_message_complete(self) -> None:
                self.transport.write(b"HTTP/1.1 503 Unavailable\r\nContent-Length: 2\r\n\r\nno")

        seen = await self.drive(Failing, seconds=0.1, rate=50.0)
        assert (seen.ok, seen.bad) == (0, 5)
        assert seen.trouble.startswith("status 503")


def test_a_report_survives_json() -> None:
    samples = {"bare": [sample(1000)] * 3, "tollgate": [sample(1600)] * 3}
    made = report.section_report(sections.quick(1)[0], samples)
    assert msgspec.json.decode(msgspec.json.encode(made), type=report.SectionReport) == made

"""Guardrails run side by side, each with its deadline; whoever can't answer is an error, never
silence.
"""

import asyncio
import time

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from services.moderation.guardrails import Finding, Inspection
from services.moderation.guardrails.loaded import Loaded
from services.moderation.screen import Screen
from shared.guardrails import Enabled, Spec
from shared.requests import Redaction, ScreenRequest
from tests.moderation.moderation_kit import answered


class Stub:
    """A guardrail that does what it is told."""

    def __init__(
        self,
        name: str,
        findings: list[Finding] | Exception | None = None,
        *,
        takes_s: float = 0,
        deadline_ms: int = 1000,
        redacts: bool = False,
    ) -> None:
        self.name = name
        self.deadline_ms = deadline_ms
        self.spec = Spec(integration=name, may=("pre_call",), redacts=redacts, window_characters=4)
        self._findings = findings
        self._takes_s = takes_s
        self.read: list[list[str]] = []

    async def inspect(self, inspection: Inspection) -> list[Finding]:
        self.read.append(inspection.texts)
        await asyncio.sleep(self._takes_s)
        if isinstance(self._findings, Exception):
            raise self._findings
        return self._findings or []

    def open_from(self, text: str) -> int | None:
        return None


def screen_of(*stubs: Stub) -> Screen:
    return Screen(
        Loaded(Enabled(name=s.name, spec=s.spec, stages=("pre_call",), deadline_ms=s.deadline_ms), s) for s in stubs
    )


def request(*names: str, stage: str = "pre_call") -> ScreenRequest:
    return ScreenRequest(list(names), stage, ["one", "two"])


async def test_only_the_named_ones_run_in_the_table_s_order() -> None:
    a, b, c = Stub("a"), Stub("b"), Stub("c")
    verdict = await answered(screen_of(a, b, c).screen(request("c", "a", "c")))
    assert [(o.name, o.action) for o in verdict.outcomes] == [("a", "allow"), ("c", "allow")]
    assert (a.read, b.read, c.read) == ([["one", "two"]], [], [["one", "two"]])


@pytest.mark.alone
async def test_they_run_side_by_side() -> None:
    screen = screen_of(*(Stub(name, takes_s=0.2) for name in "abcde"))
    started = time.perf_counter()
    verdict = await answered(screen.screen(request(*"abcde")))
    assert time.perf_counter() - started < 0.9
    assert all(outcome.duration_ms >= 190 for outcome in verdict.outcomes)


async def test_a_name_nobody_has_is_an_error() -> None:
    """LiteLLM ignores it, and a misspelt guardrail protects nobody."""
    with capture_logs() as logs:
        verdict = await answered(screen_of(Stub("a")).screen(request("hide_sekrets", "a")))
    assert verdict.action == "error"
    assert [(o.name, o.action) for o in verdict.outcomes] == [("a", "allow"), ("hide_sekrets", "error")]
    assert logs[0]["event"] == "unknown_guardrails"


async def test_a_stage_it_is_not_made_for_is_an_error() -> None:
    stub = Stub("a")
    assert (await answered(screen_of(stub).screen(request("a", stage="post_call")))).action == "error"
    assert stub.read == []


@pytest.mark.alone
async def test_too_slow_is_an_error_at_its_deadline_and_the_others_count() -> None:
    slow = Stub("slow", [Finding(block=True, message="no")], takes_s=30, deadline_ms=100)
    found = Stub("found", [Finding(redactions=[Redaction(0, 0, 1, "x")])])
    started = time.perf_counter()
    verdict = await answered(screen_of(slow, found).screen(request("slow", "found")))
    assert time.perf_counter() - started < 2
    assert verdict.action == "error"
    assert [o.action for o in verdict.outcomes] == ["error", "redact"]
    assert verdict.redactions == [Redaction(0, 0, 1, "x")]
    assert 90 <= verdict.outcomes[0].duration_ms < 2000


async def test_one_that_fails_is_an_error_and_its_words_stay_out_of_the_log() -> None:
    with capture_logs() as logs:
        verdict = await answered(screen_of(Stub("a", ValueError("the prompt was: TOP SECRET"))).screen(request("a")))
    assert verdict.action == "error"
    assert "TOP SECRET" not in str(logs)
    assert logs[0] == {**logs[0], "event": "guardrail_failed", "guardrail": "a", "error": "ValueError"}


async def test_a_block_reaches_the_caller() -> None:
    screen = screen_of(Stub("a"), Stub("b", [Finding(block=True, message="because", status=451)]))
    verdict = await answered(screen.screen(request("a", "b")))
    assert (verdict.action, verdict.message, verdict.status) == ("block", "because", 451)


async def test_unknown_names_share_one_series() -> None:
    screen = screen_of()
    for i in range(50):
        await answered(screen.screen(request(f"junk{i}")))
    names = {
        sample.labels["guardrail"]
        for metric in REGISTRY.collect()
        if metric.name == "tollgate_guardrail_outcomes"
        for sample in metric.samples
    }
    assert "unknown" in names and not any(name.startswith("junk") for name in names)


async def test_a_redaction_is_seen_by_the_next_and_its_spans_are_of_the_text_that_was_asked() -> None:
    hides = Stub("hides", [Finding(redactions=[Redaction(0, 0, 1, "[REDACTED]")])], redacts=True)
    objects = Stub("objects", [Finding(redactions=[Redaction(0, 10, 11, "N")])])
    last = Stub("last")
    verdict = await answered(screen_of(hides, objects, last).screen(request("hides", "objects", "last")))
    assert hides.read == [["one", "two"]]
    assert objects.read == last.read == [["[REDACTED]ne", "two"]]
    assert verdict.action == "redact"
    assert verdict.redactions == [Redaction(0, 0, 1, "[REDACTED]"), Redaction(0, 1, 2, "N")]


async def test_after_a_block_nobody_else_is_asked() -> None:
    blocks = Stub("blocks", [Finding(block=True, message="no")], redacts=True)
    later = Stub("later")
    verdict = await answered(screen_of(blocks, later).screen(request("blocks", "later")))
    assert verdict.action == "block" and later.read == []


async def test_of_a_partial_text_the_window_of_every_guardrail_is_open() -> None:
    asked = ScreenRequest(["a"], "pre_call", ["a long text", "x"], partial=True)
    assert (await answered(screen_of(Stub("a")).screen(asked))).open_from == [7, 0]

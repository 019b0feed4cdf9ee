"""The checker notices each kind of fault; and one round of kills, seeded, leaves none."""

from pathlib import Path

import pytest

from tests.chaos.kill_each import INPUT_PICOUSD, OUTPUT_PICOUSD, PROCESSES, Counts, Row, Seen, check, run

COST = 3 * INPUT_PICOUSD + 7 * OUTPUT_PICOUSD


def seen(**changes: object) -> Seen:
    return Seen(**{"id": "a", "complete": True, "status": 200, "words": 7, **changes})


def row(**changes: object) -> Row:
    fields = {"litellm_call_id": "a", "outcome": "success", "output_tokens": 7, "input_tokens": 3, "cost_picousd": COST}
    return Row(**{**fields, **changes})


def test_a_whole_book_has_no_fault() -> None:
    assert check([seen(), seen(id="b", complete=False, status=503)], [row()], 0, 1, COST).faults == 0


@pytest.mark.parametrize(
    ("what", "rows", "still_open", "rollup"),
    [
        ("lost", [], 0, (0, 0)),
        ("lost", [row(outcome="expired")], 0, (1, COST)),
        ("duplicated", [row(), row()], 0, (2, 2 * COST)),
        ("mischarged", [row(cost_picousd=COST + 1)], 0, (1, COST + 1)),
        ("mischarged", [row(output_tokens=8)], 0, (1, COST)),
        ("unended", [row()], 1, (1, COST)),
        ("rollup_differs", [row()], 0, (2, COST)),
        ("rollup_differs", [row()], 0, (1, COST - 1)),
    ],
)
def test_each_kind_of_fault_is_noticed(what: str, rows: list[Row], still_open: int, rollup: tuple[int, int]) -> None:
    counts: Counts = check([seen()], rows, still_open, *rollup)
    assert getattr(counts, what) == 1 and counts.faults == 1


@pytest.mark.timeout(200)
async def test_killing_any_process_loses_and_repeats_nothing(tmp_path: Path) -> None:
    assert await run(tmp_path, list(PROCESSES), rounds=1, requests=80, seed=7) == 0

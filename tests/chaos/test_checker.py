"""The checker notices each kind of fault: planted into records that agree."""

from collections.abc import Callable
from datetime import date

import msgspec
import pytest

from tests.chaos.checker import Price, Verdict, check, report
from tests.chaos.records import BillLine, Book, Call, Records, RollupRow, Row

PRICES = {"chaos": Price(2, 3)}
COST = 5 * 2 + 7 * 3
DAY = date(2026, 1, 1)


def call(user: str = "a", **changes: object) -> Call:
    fields = {
        "user": user, "key_sha256": "k", "tags": ["t"], "stream": False, "prompt_tokens": 5, "completion_tokens": 7,
        "outcome": "complete", "status": 200, "request_id": f"id-{user}",
    }  # fmt: skip
    return Call(**{**fields, **changes})


def bill(user: str = "a", event: str = "complete", **changes: object) -> BillLine:
    fields = {"user": user, "event": event, "prompt_tokens": 5, "completion_tokens": 7, "at": 100.0}
    return BillLine(**{**fields, **changes})


def row(user: str = "a", **changes: object) -> Row:
    fields = {
        "id": f"id-{user}", "day": DAY, "user": user, "provisional": False, "outcome": "success", "status": 200,
        "input_tokens": 5, "output_tokens": 7, "usage_source": "provider", "cost_picousd": COST, "key_sha256": "k",
        "tags": ["t"], "model": "chaos",
    }  # fmt: skip
    return Row(**{**fields, **changes})


def rollups(rows: list[Row]) -> list[RollupRow]:
    """Those that agree with the rows."""
    seen = [r for r in rows if not (r.provisional and any(o.id == r.id and not o.provisional for o in rows))]
    found = []
    for dimension, value, of in [
        ("total", "", seen),
        ("key", "k", [r for r in seen if r.key_sha256 == "k"]),
        ("model", "chaos", [r for r in seen if r.outcome != "refused"]),
        ("tag", "t", [r for r in seen if r.outcome != "refused"]),
        *(
            ("customer", u, [r for r in seen if r.user == u and r.outcome != "refused"])
            for u in {r.user or "" for r in seen}
        ),
    ]:
        sums = [sum(getattr(r, name) or 0 for r in of) for name in ("input_tokens", "output_tokens", "cost_picousd")]
        if of:
            found.append(RollupRow(dimension=dimension, value=value, requests=len(of), input_tokens=sums[0],
                                   output_tokens=sums[1], spend_picousd=sums[2]))  # fmt: skip
    return found


def records(calls: list[Call], lines: list[BillLine], rows: list[Row]) -> Records:
    book = Book(rows=rows, open_users=[], rollups=rollups(rows), anomalies=[])
    return Records(calls=calls, bill=lines, book=book)


def agreeing() -> Records:
    """One of each: answered, left by its client, killed with its edge, failed at the provider,
    refused.
    """
    expired = {"outcome": "expired", "status": 0, "cost_picousd": None, "input_tokens": 0, "output_tokens": 0}
    return records(
        [
            call(),
            call("left", outcome="left", status=0, request_id=None),
            call("dead", outcome="cut", status=0, request_id=None),
            call("failed", outcome="error", status=503, scripted="status"),
            call("stranger", key_sha256=None, outcome="error", status=401, request_id=None),
            call("down", outcome="error", status=503, request_id=None),
        ],
        [
            bill(event="started"), bill(), bill("left", "started"), bill("left", "cancelled"), bill("dead", "started"),
            bill("failed", "started"), bill("failed", "error"),
        ],
        [
            row(),
            row("left", outcome="client_gone", output_tokens=2, cost_picousd=16, usage_source="lower_bound"),
            row("dead", provisional=True, **expired),
            row("failed", outcome="provider_error", input_tokens=0, output_tokens=0, cost_picousd=0, usage_source="none"),
            row("stranger", outcome="refused", key_sha256=None, input_tokens=0, output_tokens=0, cost_picousd=0),
        ],
    )  # fmt: skip


def counted(verdict: Verdict) -> dict[str, int]:
    return {name: n for name, n in verdict.counts.items() if n}


def test_records_that_agree_have_no_fault() -> None:
    verdict = check(agreeing(), PRICES)
    assert verdict.clean and counted(verdict) == {} and verdict.unavailable == 1


def test_budgets_are_said_to_be_unchecked_rather_than_clean() -> None:
    assert check(agreeing(), PRICES).counts["overspent"] is None


def test_a_late_settlement_beside_its_provisional_row_is_no_duplicate() -> None:
    rows = [row(), row(provisional=True, outcome="expired", cost_picousd=None, input_tokens=0, output_tokens=0)]
    assert check(records([call()], [bill(event="started"), bill()], rows), PRICES).clean


def drop_row(user: str, provisional: bool = False) -> Callable[[Records], Records]:
    def plant(r: Records) -> Records:
        rows = [each for each in r.book.rows if each.user != user]
        if provisional:
            gone = next(each for each in r.book.rows if each.user == user)
            rows.append(msgspec.structs.replace(gone, provisional=True, outcome="expired"))
        return records(r.calls, r.bill, rows)

    return plant


def change_row(user: str, **changes: object) -> Callable[[Records], Records]:
    def plant(r: Records) -> Records:
        rows = [msgspec.structs.replace(x, **changes) if x.user == user else x for x in r.book.rows]
        return records(r.calls, r.bill, rows)

    return plant


def add_row(*rows: Row) -> Callable[[Records], Records]:
    return lambda r: records(r.calls, r.bill, [*r.book.rows, *rows])


def add_phantom(r: Records) -> Records:
    return records([*r.calls, call("b")], r.bill, [*r.book.rows, row("b")])


def change_call(user: str, **changes: object) -> Callable[[Records], Records]:
    return lambda r: records(
        [msgspec.structs.replace(x, **changes) if x.user == user else x for x in r.calls], r.bill, r.book.rows
    )


def add_bill(*lines: BillLine) -> Callable[[Records], Records]:
    return lambda r: records(r.calls, [*r.bill, *lines], r.book.rows)


def change_rollup(dimension: str, **changes: int) -> Callable[[Records], Records]:
    def plant(r: Records) -> Records:
        for i, each in enumerate(r.book.rollups):
            if each.dimension == dimension:
                by = {name: getattr(each, name) + n for name, n in changes.items()}
                r.book.rollups[i] = msgspec.structs.replace(each, **by)
                break
        return r

    return plant


def still_open(r: Records) -> Records:
    r.book.open_users.append("dead")
    return r


def alarm(r: Records) -> Records:
    r.book.anomalies.append("conflict id-a another end of the same request")
    return r


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("lost", drop_row("a", provisional=True)),
        ("lost", drop_row("failed", provisional=True)),
        ("lost", change_call("dead", outcome="error", status=502)),
        ("lost", change_call("dead", outcome="error_event", status=200)),
        ("lost", change_row("a", id="another-id")),
        ("lost", change_rollup("total", requests=-1)),
        ("lost", change_rollup("tag", spend_picousd=-1)),
        ("duplicated", add_row(row(id="second-id"))),
        ("duplicated", add_row(row("dead", id="second-id", provisional=True, outcome="expired", cost_picousd=None))),
        ("duplicated", change_rollup("customer", requests=1)),
        ("duplicated", change_rollup("key", spend_picousd=COST)),
        ("unpriced", change_row("a", cost_picousd=None)),
        ("mischarged", change_row("a", cost_picousd=COST + 1)),
        ("mischarged", change_row("a", output_tokens=8, cost_picousd=COST + 3)),
        ("mischarged", change_row("a", tags=["t", "other"])),
        ("mischarged", change_row("a", key_sha256="other")),
        ("mischarged", change_row("a", outcome="client_gone")),
        ("unended", still_open),
        ("unbilled", drop_row("left")),
        ("unbilled", drop_row("dead")),
        ("phantom", add_phantom),
        ("called_twice", add_bill(bill())),
        ("wrongly_refused", change_call("down", status=401)),
        ("wrongly_refused", change_call("failed", status=403, request_id=None)),
        ("wrongly_admitted", change_call("stranger", outcome="complete", status=200)),
        ("wrongly_admitted", add_bill(bill("stranger", "started"))),
        ("internal", change_call("down", status=500)),
        ("crossed", change_call("a", whole=False)),
        ("unrecovered", change_call("down", afterwards=True)),
        ("alarms", alarm),
        ("behind", lambda r: msgspec.structs.replace(r, behind="3 messages")),
    ],
)
def test_each_kind_of_fault_is_noticed(kind: str, plant: Callable[[Records], Records]) -> None:
    verdict = check(plant(agreeing()), PRICES)
    assert verdict.counts[kind], counted(verdict)
    assert not verdict.clean


@pytest.mark.parametrize(("at", "tolerated"), [(100.0, 1), (200.0, 0)])
def test_what_was_opened_while_edge_and_broker_died_together_is_counted_apart(at: float, tolerated: int) -> None:
    planted = drop_row("dead")(agreeing())
    planted.double_failures.append((at - 1, at + 1))
    verdict = check(planted, PRICES)
    assert (verdict.unbilled_in_double_failure, verdict.counts["unbilled"]) == (tolerated, 1 - tolerated)


def test_a_complete_answer_is_never_tolerated_to_be_lost() -> None:
    planted = drop_row("a")(agreeing())
    planted.double_failures.append((0, 1000))
    assert check(planted, PRICES).counts["lost"]


def test_the_report_shows_seed_and_history_of_a_fault() -> None:
    planted = drop_row("a")(agreeing())
    text = report(check(planted, PRICES), planted, seed=77)
    assert "LOST (seed 77) a:" in text and "client    Call(user='a'" in text and "provider  BillLine(user='a'" in text
    assert "not enforced yet" in text

"""Facts into rows and rollups, on a real PostgreSQL, without a broker: what a batch does to the
book.
"""

import asyncio
import uuid
from datetime import UTC, date, datetime

import asyncpg
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ledger.book import Position, PositionMovedError, Tally
from services.ledger.facts_in import Batch
from services.ledger.message import Message
from services.ledger.rollup import _lanes
from shared.billing import Price
from shared.ids import RequestId, new_request_id
from tests.ledger.ledger_kit import ALICE, BOB, Book, now_ms, opened, packed, refused, settled


async def test_spend_by_tag_is_tokens_times_price_to_the_last_unit(book: Book) -> None:
    first = opened(tags=["a", "b"], price=Price(18_750, 75_001))
    await book.post((first, settled(first, (123, 45))), (settled(opened(tags=["b"], price=Price(7, 11)), (1, 3)),))
    assert await book.spend("tag", "a") == (1, 123 * 18_750 + 45 * 75_001)
    assert await book.spend("tag", "b") == (2, 123 * 18_750 + 45 * 75_001 + 7 + 33)
    assert await book.spend() == (2, 123 * 18_750 + 45 * 75_001 + 7 + 33)
    assert await book.rollups_agree()


async def test_every_dimension_is_counted_and_a_tag_once_a_request(book: Book) -> None:
    await book.post(settled(opened(tags=["t", "t"], customer_id="c9")), settled(opened(caller=BOB, model="other")))
    for dimension, value in [
        ("key", ALICE.key_sha256), ("team", "team-a"), ("user", "alice"), ("customer", "c9"), ("model", "gpt"), ("tag", "t"),
    ]:  # fmt: skip
        assert (await book.spend(dimension, value or ""))[0] == 1, dimension
    assert (await book.spend("deployment", "d1"))[0] == (await book.spend("provider", "openai"))[0] == 2


@given(lanes=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=6, max_size=6), spend=st.integers())
def test_sums_of_any_sign_come_out_of_their_one_integer(lanes: list[int], spend: int) -> None:
    assert _lanes(sum(value << (64 * place) for place, value in enumerate([*lanes, spend]))) == [*lanes, spend]


async def test_an_unpriced_call_is_counted_as_unpriced_and_never_as_free(book: Book) -> None:
    await book.post(settled(opened(price=None)))
    row = (await book.fetch("SELECT priced, cost_picousd FROM request_book"))[0]
    assert row == {"priced": False, "cost_picousd": None}
    assert await book.value("SELECT unpriced FROM rollup WHERE dimension = 'total'") == 1
    assert await book.rollups_agree()


async def test_the_same_batch_again_changes_nothing(book: Book) -> None:
    first = opened()
    again = (first, settled(first))
    await book.post(again)
    before = await book.fetch("SELECT * FROM rollup ORDER BY 1, 2, 3, 4")
    written = await book.post(again, again)
    assert (written.rows, written.duplicates) == (
        0,
        3,
    )  # two ends of the first two, and the opened again in its own batch
    assert await book.fetch("SELECT * FROM rollup ORDER BY 1, 2, 3, 4") == before
    assert await book.anomalies() == []


async def test_a_position_that_moved_refuses_the_batch_whole(book: Book) -> None:
    await book.post(settled())
    batch = Batch(now_ms())
    batch.add(Message(1, 1_001, "traffic.0", packed(settled())))
    with pytest.raises(PositionMovedError):
        await book.tally.post(batch, Position(0, 0), now_ms())
    assert await book.spend() == (1, 13_500_000)


async def test_the_same_id_with_another_content_is_an_anomaly_with_its_bytes(book: Book) -> None:
    call = opened()
    await book.post(settled(call, (10, 20)))
    await book.post(settled(call, (99, 99)))
    await book.post((settled(call, (98, 98)), settled(call, (97, 97))))
    assert await book.anomalies() == ["conflict"] * 3
    assert await book.spend() == (1, 13_500_000)
    kept = await book.fetch("SELECT raw, sha256, sha256(raw) AS again FROM anomalies")
    assert all(row["sha256"] == row["again"] for row in kept)


async def test_opened_conflicts_and_repeats_while_open(book: Book) -> None:
    call = opened()
    await book.post(call)
    assert (await book.post(call)).duplicates == 1
    await book.post(msgspec.structs.replace(call, model="another"))
    assert await book.anomalies() == ["conflict"]
    assert await book.value("SELECT count(*) FROM request_open") == 1


async def test_an_end_closes_what_an_earlier_batch_opened(book: Book) -> None:
    call = opened()
    await book.post(call)
    assert await book.value("SELECT count(*) FROM request_open") == 1
    await book.post(settled(call))
    assert await book.value("SELECT count(*) FROM request_open") == 0
    assert (await book.spend())[0] == 1


async def test_opened_after_its_end_opens_nothing(book: Book) -> None:
    call = opened()
    await book.post(settled(call))
    await book.post(call)
    assert await book.value("SELECT count(*) FROM request_open") == 0
    assert (await book.spend())[0] == 1


async def test_an_end_without_opened_is_a_whole_row(book: Book) -> None:
    await book.post(settled(opened(spend_logs_metadata={"hello": "world"}, tags=["x"])))
    row = (await book.fetch("SELECT * FROM request_book"))[0]
    assert (row["user_id"], row["tags"], row["spend_logs_metadata"]) == ("alice", ["x"], '{"hello":"world"}')


async def test_a_refusal_is_a_row_counted_only_under_what_policy_vouches_for(book: Book) -> None:
    await book.post(refused(tags=["junk"], model="nonsense-1", customer_id="anyone"))
    row = (await book.fetch("SELECT outcome, status, error_code, refused_by, cost_picousd FROM request_book"))[0]
    assert tuple(row.values()) == ("refused", 403, "model_not_allowed", "policy", 0)
    counted = {r["dimension"] for r in await book.fetch("SELECT dimension FROM rollup")}
    assert counted == {"total", "key", "team", "user"}
    assert await book.rollups_agree()


async def test_expired_then_settled_leaves_both_rows_and_counts_one(book: Book) -> None:
    call = opened(expires_at_ms=1, tags=["late"])
    await book.post(call)
    assert await book.tally.expire(await book.position(), now_ms(), now_ms(), 100) == 1
    row = (await book.fetch("SELECT outcome, status, provisional, cost_picousd FROM request_book"))[0]
    assert tuple(row.values()) == ("expired", 0, True, None)
    total = "SELECT requests, failures, successes, unpriced FROM rollup WHERE dimension = 'total'"
    assert tuple((await book.fetch(total))[0].values()) == (1, 1, 0, 1)
    assert await book.rollups_agree()

    assert (await book.post(settled(call))).outranked == 1
    assert tuple((await book.fetch(total))[0].values()) == (1, 0, 1, 0)
    assert await book.value("SELECT count(*) FROM request_log") == 2
    assert await book.value("SELECT count(*) FROM request_book") == 1
    assert await book.spend("tag", "late") == (1, 13_500_000)
    assert await book.rollups_agree()


async def test_a_late_settlement_elsewhere_takes_the_expired_share_out_where_it_was(book: Book) -> None:
    """The provisional row was counted under the deployment that was tried first."""
    call = opened(expires_at_ms=1)
    await book.post(call)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await book.post(settled(msgspec.structs.replace(call, deployment_id="d2")))
    assert (await book.spend("deployment", "d1"))[0] == 0
    assert (await book.spend("deployment", "d2"))[0] == 1
    assert await book.rollups_agree()


async def test_opened_again_after_it_expired_opens_nothing(book: Book) -> None:
    call = opened(expires_at_ms=1)
    await book.post(call)
    await book.tally.expire(await book.position(), now_ms(), now_ms(), 100)
    await book.post(call)
    assert await book.tally.expire(await book.position(), now_ms(), now_ms(), 100) == 0
    assert (await book.spend())[0] == 1


async def test_only_what_is_due_expires_and_in_bounded_steps(book: Book) -> None:
    await book.post(tuple(opened(expires_at_ms=1_000 + n) for n in range(5)), opened())
    assert await book.tally.expire(await book.position(), 1_002, now_ms(), 2) == 2
    assert await book.tally.expire(await book.position(), 1_002, now_ms(), 2) == 1
    assert await book.tally.expire(await book.position(), 1_002, now_ms(), 2) == 0
    assert await book.value("SELECT count(*) FROM request_open") == 3


async def test_expiry_refuses_a_position_that_moved(book: Book) -> None:
    await book.post(opened(expires_at_ms=1))
    with pytest.raises(PositionMovedError):
        await book.tally.expire(Position(7, 7), now_ms(), now_ms(), 100)
    assert (await book.spend())[0] == 0


async def test_unreadable_messages_and_facts_are_kept_and_the_others_recorded(book: Book) -> None:
    good = packed(settled())
    half = b"\x92" + good[5:] + b"\xc0"  # a list of one good fact and nil
    await book.post(b"\xff\xfejunk", b"", half, b"\x91\xa3\xed\xa0\x80", good[:40], settled())
    assert await book.anomalies() == ["unreadable"] * 5
    assert (await book.spend())[0] == 2
    assert [r["seq"] for r in await book.fetch("SELECT seq FROM anomalies ORDER BY n")] == [1, 2, 3, 4, 5]
    assert await book.value("SELECT raw FROM anomalies ORDER BY n LIMIT 1") == b"\xff\xfejunk"


async def test_an_id_that_is_no_time_ordered_uuid_is_an_anomaly(book: Book) -> None:
    await book.post((settled(opened(id=RequestId("chatcmpl-1"))), settled(opened(id=RequestId("\x00")))))
    far = RequestId(str(uuid.UUID(int=(2**48 - 1) << 80)))  # the year 10889
    await book.post(settled(opened(id=far)), settled())
    assert await book.anomalies() == ["invalid_id"] * 3
    assert (await book.spend())[0] == 1


async def test_an_id_in_another_spelling_is_the_same_request(book: Book) -> None:
    call = opened()
    await book.post(call)
    loud = msgspec.structs.replace(call, id=RequestId(call.id.upper().replace("-", "")))
    await book.post((settled(loud), settled(call)))
    assert await book.anomalies() == ["conflict"]  # their bytes differ; but it is one request
    assert await book.value("SELECT count(*) FROM request_open") == 0
    assert str(await book.value("SELECT id FROM request_book")) == call.id


async def test_impossible_amounts_are_flagged_and_kept_out_of_the_sums(book: Book) -> None:
    await book.post(settled(cost_picousd=-5), settled(cost_picousd=2**63), settled(tokens=(-1, 2**62), cost_picousd=1))
    assert await book.anomalies() == ["out_of_range"] * 3
    assert (await book.spend())[0] == 3
    assert [r["cost_picousd"] for r in await book.fetch("SELECT cost_picousd FROM request_book ORDER BY id")][:2] == [
        None
    ] * 2
    assert await book.rollups_agree()


async def test_days_get_partitions_on_demand_and_odd_days_the_default_one(book: Book) -> None:
    def on(day: date) -> RequestId:
        unix_ms = int(datetime(day.year, day.month, day.day, 12, tzinfo=UTC).timestamp() * 1000)
        return RequestId(str(uuid.UUID(f"{unix_ms:012x}" + new_request_id().replace("-", "")[12:])))

    days = [date(2021, 3, 4), date(1999, 12, 31), date(2500, 1, 1)]
    await book.post(*(settled(opened(id=on(day))) for day in days))
    found = await book.fetch("SELECT tableoid::regclass::text AS place, day FROM request_log ORDER BY day")
    assert [(r["place"], r["day"]) for r in found] == [
        ("request_log_default", days[1]), ("request_log_20210304", days[0]), ("request_log_default", days[2]),
    ]  # fmt: skip
    assert await book.rollups_agree()
    assert await book.value("SELECT request_log_ensure_day('2500-01-01')") is False


async def test_a_row_postgresql_refuses_all_the_same_does_not_block_the_others(book: Book) -> None:
    """Nothing is known to get this far; should it, the row is set aside with its bytes."""
    await book.owner.execute("ALTER TABLE request_log ADD CONSTRAINT poison CHECK (model <> 'poison')")
    written = await book.post(*(settled(opened(model="poison" if n == 3 else "gpt")) for n in range(8)), opened())
    assert await book.anomalies() == ["rejected"]
    assert [a.kind for a in written.anomalies] == ["rejected"]
    assert (await book.spend())[0] == await book.value("SELECT count(*) FROM request_book") == 7
    assert await book.value("SELECT count(*) FROM request_open") == 1
    assert (await book.position()).seq == 9
    assert await book.rollups_agree()


async def test_two_recorders_on_one_position_post_a_batch_once(book: Book) -> None:
    other = Tally(await book.database.writer(), "TRAFFIC", 0)
    known = await book.position()
    batches = []
    for _ in range(2):
        batch = Batch(now_ms())
        batch.add(Message(1, 5, "traffic.0", packed(*(settled() for _ in range(50)))))
        batches.append(batch)
    results = await asyncio.gather(
        book.tally.post(batches[0], known, now_ms()), other.post(batches[1], known, now_ms()), return_exceptions=True
    )
    other.terminate()
    assert sorted(type(result).__name__ for result in results) == ["PositionMovedError", "Written"]
    assert (await book.spend())[0] == 50


@pytest.mark.parametrize("table", ["request_log", "audit_log", "batch_log", "request_log_default"])
async def test_the_book_is_append_only_even_for_its_owner(book: Book, table: str) -> None:
    await book.post(settled(), settled(opened(id=RequestId(f"00000000-0001-{new_request_id()[14:]}"))))
    await book.owner.execute(
        "INSERT INTO audit_log (n, previous_sha256, sha256, seq, subject, message) VALUES (1, '', '', 1, 's', '')"
    )
    column = "n" if table in ("audit_log", "batch_log") else "status"
    for statement in (f"UPDATE {table} SET {column} = 9", f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await book.owner.execute(statement)
    partition = await book.value("SELECT tableoid::regclass::text FROM request_log ORDER BY day DESC LIMIT 1")
    for statement in (f"UPDATE {partition} SET status = 9", f"DELETE FROM {partition}", f"TRUNCATE {partition}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await book.owner.execute(statement)


async def test_the_writers_login_may_only_add(book: Book) -> None:
    assert book.database.made
    writer = await book.database.writer()
    assert str(await writer.fetchval("SELECT session_user")).startswith("tollgate_writer_")
    for statement in (
        "UPDATE request_log SET status = 1", "DELETE FROM audit_log", "TRUNCATE request_log", "DELETE FROM anomalies",
        "DELETE FROM batch_log", "UPDATE batch_log SET n = 9", "DROP TABLE request_log_default",
        "ALTER TABLE request_log DISABLE TRIGGER ALL", "CREATE TABLE mine (a int)",
    ):  # fmt: skip
        with pytest.raises(asyncpg.InsufficientPrivilegeError) as refusal:
            await writer.execute(statement)
        assert "append-only" not in str(refusal.value)
    writer.terminate()

"""`restore-control`: CONTROL from a dump of the audit log, on a real broker."""

import asyncio
import io
from typing import Any

import msgspec
import pytest
from nats.aio.client import Client
from nats.js.errors import NotFoundError

from services.policy import restore as run
from services.policy.restore import Restored, RestoreError, restore
from shared import streams, subjects
from shared.audit_chain import EMPTY, Entry, link
from shared.facts import Caller, ControlFact, decode_control, encode_control
from shared.feed import REBUILD, ControlFeed


def fact(number: int, team: str) -> tuple[str, bytes]:
    made = ControlFact(f"id-{number}", number, "team", team, "updated", Caller(), None, {"team_id": team, "n": number})
    return subjects.control("team", team), encode_control(made)


def answer(number: int) -> tuple[str, bytes]:
    made = ControlFact(f"id-{number}", number, "replay", f"r{number}", "created", Caller(), None, {"id": f"r{number}"})
    return subjects.control("replay", f"r{number}"), encode_control(made)


def dump(facts: list[tuple[str, bytes]]) -> list[bytes]:
    lines, end = [], EMPTY
    for number, (subject, message) in enumerate(facts):
        end = link(end, 10 + number, subject, message)
        lines.append(msgspec.json.encode(Entry(end.n, 10 + number, subject, message, end.sha256)) + b"\n")
    return lines


FACTS = [fact(1, "a"), fact(2, "b"), ("control.team.a", b"junk"), fact(3, "a")]


async def stored(client: Client) -> list[tuple[str, bytes]]:
    js = client.jetstream()
    last = (await js.stream_info("CONTROL")).state.last_seq
    messages = [await js.get_msg("CONTROL", seq) for seq in range(1, last + 1)]
    return [(message.subject or "", message.data or b"") for message in messages if message.subject != REBUILD]


async def test_an_empty_stream_gets_every_readable_fact_in_order(client: Client) -> None:
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(3, 0, 0, 1)
    assert await stored(client) == [FACTS[0], FACTS[1], FACTS[3]]


async def test_one_that_was_interrupted_goes_on(client: Client) -> None:
    await client.jetstream().publish(*FACTS[0])
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(2, 1, 0, 1)
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(0, 3, 0, 1)
    assert await stored(client) == [FACTS[0], FACTS[1], FACTS[3]]


async def test_a_history_that_ends_with_a_remembered_answer_is_whole_also_when_that_has_ended(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every call with an Idempotency-Key leaves it."""
    monkeypatch.setattr("services.policy.restore.KEPT_S", 1)
    facts = [fact(1, "a"), answer(2), fact(3, "a"), answer(4), answer(5)]
    assert await restore(client, io.BytesIO(b"".join(dump(facts)))) == Restored(5, 0, 0, 0)
    async with asyncio.timeout(10):
        while (await streams.state(client, subjects.CONTROL_STREAM)).messages > 4:
            await asyncio.sleep(0.02)
        follower = ControlFeed(client, lambda facts: None, on_reset=lambda: None)
        await follower.start()
        while not follower.caught_up:
            await asyncio.sleep(0.01)
    await follower.close()


async def test_an_answer_that_is_missing_before_the_first_missing_fact_stops_nobody(client: Client) -> None:
    facts = [fact(1, "a"), answer(2), fact(3, "a")]
    await client.jetstream().publish(*facts[0])
    assert await restore(client, io.BytesIO(b"".join(dump(facts)))) == Restored(2, 1, 0, 0)
    assert await stored(client) == [facts[0], facts[1], facts[2]]


async def test_a_run_that_lacks_remembered_answers_alone_holds_nobody_up(client: Client) -> None:
    facts = [fact(1, "a"), answer(2)]
    await client.jetstream().publish(*facts[0])
    assert await restore(client, io.BytesIO(b"".join(dump(facts)))) == Restored(1, 1, 0, 0)
    with pytest.raises(NotFoundError):
        await client.jetstream().get_last_msg("CONTROL", REBUILD)


async def test_a_write_in_between_does_not_make_half_a_history_whole(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops the run, and nobody is answered until another run has ended."""
    follower = ControlFeed(client, lambda facts: None, on_reset=lambda: None)
    await follower.start()
    publish, stray = run._publish, fact(9, "stray")

    async def beside(client: Client, subject: str, *rest: Any, **more: Any) -> int:
        seq = await publish(client, subject, *rest, **more)
        if subject == FACTS[0][0]:
            monkeypatch.setattr(run, "_publish", publish)
            await client.jetstream().publish(*stray)
        return seq

    monkeypatch.setattr(run, "_publish", beside)
    with pytest.raises(RestoreError):
        await restore(client, io.BytesIO(b"".join(dump(FACTS))))
    assert await stored(client) == [FACTS[0], stray]
    assert await follower.wait_for(3, 5_000) and not follower.caught_up and follower.restoring
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(2, 1, 0, 1)
    async with asyncio.timeout(10):
        while not follower.caught_up:
            await asyncio.sleep(0.01)
    await follower.close()


async def test_a_run_that_was_stopped_behind_its_last_fact_is_ended_by_the_next(client: Client) -> None:
    subject, message, _ = run._said("begun")
    await client.jetstream().publish(subject, message)
    for each in (FACTS[0], FACTS[1], FACTS[3]):
        await client.jetstream().publish(*each)
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(0, 3, 0, 1)
    last = await client.jetstream().get_last_msg("CONTROL", REBUILD)
    assert decode_control(last.data or b"").action == "ended"
    before = (await streams.state(client, subjects.CONTROL_STREAM)).last_seq
    await restore(client, io.BytesIO(b"".join(dump(FACTS))))
    assert (await streams.state(client, subjects.CONTROL_STREAM)).last_seq == before, "nothing to do leaves nothing"


async def test_what_an_earlier_run_said_of_itself_is_no_history(client: Client) -> None:
    said = run._said("begun")
    assert await restore(client, io.BytesIO(b"".join(dump([FACTS[0], said[:2], FACTS[1]])))) == Restored(2, 0, 0, 0)
    assert await stored(client) == FACTS[:2]


async def test_what_was_changed_since_stands(client: Client) -> None:
    newer = fact(9, "a")
    await client.jetstream().publish(*newer)
    assert await restore(client, io.BytesIO(b"".join(dump(FACTS)))) == Restored(1, 0, 2, 1)
    assert await stored(client) == [newer, FACTS[1]]


@pytest.mark.parametrize("damage", ["changed", "missing", "reordered", "no line", "nothing"])
async def test_a_log_that_isnt_whole_restores_nothing(client: Client, damage: str) -> None:
    lines = dump(FACTS)
    if damage == "changed":
        lines[1] = lines[1].replace(b"team.b", b"team.c")
    elif damage == "missing":
        del lines[1]
    elif damage == "reordered":
        lines[0], lines[1] = lines[1], lines[0]
    elif damage == "no line":
        lines.append(b"{")
    else:
        lines = []
    with pytest.raises(RestoreError):
        await restore(client, io.BytesIO(b"".join(lines)))
    assert await stored(client) == []

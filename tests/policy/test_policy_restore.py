"""`restore-control`: CONTROL from a dump of the audit log, on a real broker."""

import asyncio
import io

import msgspec
import pytest
from nats.aio.client import Client

from services.policy.restore import Restored, RestoreError, restore
from shared import streams, subjects
from shared.audit_chain import EMPTY, Entry, link
from shared.facts import Caller, ControlFact, encode_control
from shared.feed import ControlFeed


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
    return [(message.subject or "", message.data or b"") for message in messages]


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
        while (await streams.state(client, subjects.CONTROL_STREAM)).messages > 2:
            await asyncio.sleep(0.02)
        follower = ControlFeed(client, lambda facts: None, on_reset=lambda: None)
        await follower.start()
        while not follower.caught_up:
            await asyncio.sleep(0.01)
    await follower.close()


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

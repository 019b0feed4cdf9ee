"""Rotation: by hand with a grace, and by itself once, however many replicas look; nothing is lost,
whatever it stops after.
"""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.policy.commands import rotation, rotation_times
from services.policy.plan import Plan
from shared.entities import Key
from shared.errors import Refusal
from shared.grant import Denial, Grant
from shared.ids import digest_key
from shared.secrets import Secret, SecretError
from tests.policy.conftest import Replica, replica
from tests.policy.test_policy_live import facts_of
from tests.policy.world import MASTER_KEY, NOW, World, digest, key, secret
from tests.support.broker import Broker

DAY = 86_400_000
ROTATING = {"auto_rotate": True, "rotation_interval": "1s"}


class Files:
    """Keys under their aliases, one file each, as a secret manager has them."""

    def __init__(self, directory: Path, fail: Callable[[], bool] = lambda: False) -> None:
        self.directory, self.fail, self.delivered = directory, fail, 0

    def refuses(self, key: Key) -> str | None:
        return None if key.key_alias else "needs a key_alias to be stored under"

    async def deliver(self, key: Key, plaintext: Secret) -> None:
        if self.fail():
            raise SecretError("unreachable", "files", str(key.key_alias))
        await asyncio.sleep(0.05)
        self.delivered += 1
        (self.directory / f"{key.key_alias}.new").write_text(plaintext.reveal())
        os.replace(self.directory / f"{key.key_alias}.new", self.directory / str(key.key_alias))

    def stored(self, alias: str) -> str:
        return (self.directory / alias).read_text()


def world(**more: Any) -> World:
    return World(undeliverable=Files(Path(".")).refuses, **more)


def made(w: World, **fields: Any) -> Any:
    return w.call("/key/generate", {"token": digest("a"), "key_name": "sk-...cdef", "key_alias": "a", **fields})


def test_it_needs_an_interval_somebody_who_delivers_and_a_name() -> None:
    def refusal(w: World, **fields: Any) -> tuple[int, str | None]:
        found = made(w, **fields)
        assert isinstance(found, Refusal), found
        return found.status, found.param

    assert refusal(World(), **ROTATING) == (400, "auto_rotate")
    assert refusal(world(), **{**ROTATING, "key_alias": None}) == (400, "auto_rotate")
    assert refusal(world(), auto_rotate=True) == (400, "rotation_interval")
    assert refusal(world(), auto_rotate=True, rotation_interval="x") == (400, "rotation_interval")


def test_when_it_is_due() -> None:
    w = world()
    made(w, auto_rotate=True, rotation_interval="30d")
    assert not rotation.due(w.directory, NOW + 30 * DAY - 1)
    assert [key.key_alias for key in rotation.due(w.directory, NOW + 30 * DAY)] == ["a"]
    w.call("/key/update", {"key": digest("a"), "rotation_interval": "60d"}, now_ms=NOW + DAY)
    assert not rotation.due(w.directory, NOW + 61 * DAY - 1)
    w.call("/key/block", {"key": digest("a")})
    assert not rotation.due(w.directory, NOW + 90 * DAY)
    w.call("/key/unblock", {"key": digest("a")})
    w.call("/key/update", {"key": digest("a"), "auto_rotate": False})
    assert not rotation.due(w.directory, NOW + 90 * DAY) and not w.directory.find("key", "rotates", "True")


def test_a_rotation_by_hand_starts_the_interval_anew() -> None:
    w = world()
    made(w, auto_rotate=True, rotation_interval="30d")
    w.call("/key/regenerate", {"key": digest("a"), "token": digest("b"), "key_name": "sk-...b"}, now_ms=NOW + 20 * DAY)
    assert not rotation.due(w.directory, NOW + 50 * DAY - 1)
    assert [key.token for key in rotation.due(w.directory, NOW + 50 * DAY)] == [digest("b")]


def test_after_each_failure_it_waits_longer_and_the_key_works_all_along() -> None:
    w = world()
    made(w, **ROTATING)
    now, waits = NOW + DAY, []
    for number in range(8):
        plan = own(w, rotation.claim, f"new-{number}", now)
        assert isinstance(plan, Plan)
        assert isinstance(w.decide(secret("a"), model="gpt", now_ms=now), Grant)
        assert isinstance(w.decide(secret(f"new-{number}"), model="gpt", now_ms=now), Grant)
        again = own(w, rotation.claim, f"other-{number}", now + 1)
        assert isinstance(again, Refusal) and again.status == 409
        until = w.directory.keys[digest("a")].extra["rotation_claim"]["until_ms"]
        waits.append(until - now)
        now = until
    assert waits[0] == rotation_times.CLAIM_MS and waits[-1] == rotation_times.CLAIM_MS_MAX and waits == sorted(waits)
    late = NOW + 3 * DAY
    assert isinstance(w.decide(secret("new-0"), model="gpt", now_ms=late), Denial), "what never became the key ends"
    assert isinstance(w.decide(secret("a"), model="gpt", now_ms=late), Grant)


def own(w: World, command: Any, new: str, now_ms: int) -> Any:
    """As `Admin.own` does it."""
    from services.policy.commands import run_own
    from services.policy.plan import Call
    from shared.facts import Caller

    body = {"key": digest("a"), "token": digest(new), "key_name": "sk-...cdef"}
    actor = Caller(user_id="tollgate", role="proxy_admin")
    plan = run_own(command, Call(w.directory, {}, body, actor, now_ms, w.new_id, w.catalog, "/key/regenerate"))
    if isinstance(plan, Plan):
        for change in plan.changes:
            w.fold(change.kind, change.entity_id, change.after, change.action, change.before)
    return plan


def test_the_master_key_is_rotated_where_it_stands() -> None:
    w = world()
    made(w)
    minted = {"token": digest("n"), "key_name": "sk-..."}
    for body in (
        {"key": digest_key(MASTER_KEY)},
        {"key": digest_key(MASTER_KEY), "new_master_key": digest("m")},
        {"new_master_key": "x"},
    ):
        refusal = w.call("/key/regenerate", {**minted, **body})
        assert (
            isinstance(refusal, Refusal)
            and refusal.param == "new_master_key"
            and "general_settings.master_key" in refusal.message
        )
    assert isinstance(w.call("/key/regenerate", minted, params={"key": digest_key(MASTER_KEY)}), Refusal)


async def test_exactly_once_over_three_replicas(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Files(tmp_path)
    environ = {"LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS": "1"}
    async with (
        replica(broker, "one", monkeypatch, environ, deliverer=lambda _: store) as one,
        replica(broker, "two", monkeypatch, environ, deliverer=lambda _: store),
        replica(broker, "three", monkeypatch, environ, deliverer=lambda _: store) as three,
    ):
        names = [f"key-{number}" for number in range(6)]
        for name in names:
            body = {"token": digest(name), "key_name": "sk-...cdef", "key_alias": name, "max_budget": 5, **ROTATING}
            assert (await one.admin("/key/generate", body))[0] == 200
        await until(lambda: all((tmp_path / name).exists() for name in names))
        for name in names:  # one rotation each is what is looked at
            await insist(one, name)
        seen = store.delivered
        await asyncio.sleep(2.5)
        assert store.delivered == seen
        _, listed, reply = await one.admin("/key/list", query={"return_full_object": "true", "size": "100"})
        rows = {row["key_alias"]: row for row in listed["keys"]}
        assert sorted(rows) == names
        for name in names:
            stored, row = store.stored(name), rows[name]
            assert row["token"] == digest_key(stored) and row["max_budget"] == 5 and row["rotation_count"] >= 1
            assert row["key_name"] == f"sk-...{stored[-4:]}" and "rotation_claim" not in row
            assert isinstance(await three.decide(stored, min_seq=reply.control_seq), Grant)
            assert isinstance(await three.decide(secret(name), min_seq=reply.control_seq), Denial)
        assert sum(row["rotation_count"] for row in rows.values()) == store.delivered
        facts = await facts_of(broker)
        claims = [fact for fact in facts if fact.action == "rotating"]
        assert len(claims) == store.delivered
        for fact in claims + [fact for fact in facts if fact.action == "rotated"]:
            assert fact.actor.user_id == "tollgate"
        text = json.dumps([[fact.before, fact.after] for fact in facts])
        assert not any(store.stored(name) in text for name in names), "a plaintext is in a fact"


async def test_while_the_store_is_away_the_old_key_works(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotation_times, "CLAIM_MS", 500)
    tried = 0

    def fail() -> bool:
        nonlocal tried
        tried += 1
        return tried <= 2

    store = Files(tmp_path, fail)
    environ = {"LITELLM_KEY_ROTATION_CHECK_INTERVAL_SECONDS": "1"}
    async with replica(broker, "one", monkeypatch, environ, deliverer=lambda _: store) as one:
        body = {"token": digest("a"), "key_name": "sk-...cdef", "key_alias": "a", "auto_rotate": True}
        assert (await one.admin("/key/generate", {**body, "rotation_interval": "1s"}))[0] == 200
        await until(lambda: tried == 1)
        assert isinstance(await one.decide(secret("a")), Grant)
        await until(lambda: (tmp_path / "a").exists())
        assert tried == 3
        await insist(one, "a")
        assert isinstance(await one.decide(store.stored("a")), Grant)


async def insist(one: Replica, alias: str) -> None:
    """Turn a key's automatic rotation off, however often somebody else is faster."""
    for _ in range(50):
        status, answer, _ = await one.admin("/key/update", {"key_alias": alias, "auto_rotate": False})
        if status == 200:
            return
        assert status == 409, answer
        await asyncio.sleep(0.1)
    raise AssertionError("never got through")


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not what():
            await asyncio.sleep(0.02)


# By hand.


def test_a_rotated_key_stands_for_its_successor_until_its_grace_ends() -> None:
    world = World(key("a", key_alias="prod", models=["gpt"], expires_at_ms=NOW + 10_000_000))

    def rotate(old: str, new: str, now_ms: int, **body: Any) -> Any:
        minted = {"key": digest(old), "token": digest(new), "key_name": "sk-...cdef"}
        return world.call("/key/regenerate", {**minted, **body}, now_ms=now_ms)

    def can(name: str, now_ms: int) -> bool:
        return isinstance(world.decide(secret(name), model="gpt", now_ms=now_ms), Grant)

    answer = rotate("a", "b", NOW, grace_period="1h")
    assert answer["key_alias"] == "prod" and answer["models"] == ["gpt"]
    assert [(f.kind, f.action) for f in world.facts] == [("key", "rotated"), ("key", "rotated"), ("alias", "updated")]
    rotate("b", "c", NOW + 600_000, grace_period="1h")
    hour = 3_600_000
    for name, end in (("a", NOW + hour), ("b", NOW + 600_000 + hour), ("c", NOW + 10_000_000)):
        assert can(name, end - 1) and not can(name, end), name
        grant = world.decide(secret(name), model="gpt")
        assert grant.caller.key_alias == "prod" and grant.expires_at_ms == end
    assert world.directory.keys[digest("c")].previous_tokens == [digest("a"), digest("b")]
    refusal = rotate("a", "d", NOW + 700_000)
    assert isinstance(refusal, Refusal) and refusal.status == 400, "rotated already"
    world.call("/key/block", {"key": digest("c")})
    assert not any(can(name, NOW + 700_000) for name in "abc"), "what binds the new key binds the old ones"
    world.call("/key/unblock", {"key": digest("c")})
    rotate("c", "e", NOW + 800_000)
    assert [can(name, NOW + 800_001) for name in "abce"] == [False, False, False, True], "without grace all end at once"
    assert set(world.directory.keys) == {digest("e")}


@pytest.mark.parametrize("wrong", ["soon", 5, "1y", ["1h"], "-1h"])
def test_a_malformed_grace_period_changes_nothing(wrong: Any) -> None:
    world = World(key("a"))
    minted = {"key": digest("a"), "token": digest("b"), "key_name": "sk-..."}
    refusal = world.call("/key/regenerate", {**minted, "grace_period": wrong})
    assert isinstance(refusal, Refusal) and (refusal.status, refusal.param) == (400, "grace_period")
    assert world.facts == []


def test_automatic_rotation_is_refused_until_somebody_can_hand_the_new_key_out() -> None:
    body = {"token": digest("a"), "key_name": "sk-...", "auto_rotate": True, "rotation_interval": "30d"}
    refusal = World().call("/key/generate", body)
    assert isinstance(refusal, Refusal) and (refusal.status, refusal.param) == (400, "auto_rotate")

"""Commands planned on replicas that are behind, against a broker that checks: whatever the order,
the invariants hold.

The broker is modelled: a batch lands whole or not at all, each fact only on the sequence its
command saw. Replicas fold what landed with a lag of their own. Invariants after every step, on what
the stream says:

    aliases      no two keys have one alias, and every alias a key has is reserved for it
    folds        a replica that has caught up equals a fold of the last fact of every subject
    rotation     a key in its grace period stands for one that is there, or can't be used; the chain ends; only the last has the alias
    teams        a key whose team is gone can't be used
    members      a user's teams are those that have them as a member, and whoever a team has is a user
    updates      what an accepted update set is there until another accepted one changes it; so is a customer's block
    refusals     a refused command or batch leaves no fact
"""  # noqa: W505

import random
import tracemalloc
from operator import attrgetter
from typing import Any

import msgspec
import pytest

from services.policy.commands import run
from services.policy.decide import MASTER, decide
from services.policy.directory import Directory
from services.policy.ordering import Order
from services.policy.plan import Call, Plan
from shared import subjects
from shared.entities import Team
from shared.facts import ControlFact, decode_control, encode_control
from shared.grant import Grant
from shared.ids import KeyDigest, digest_key
from shared.requests import DecideRequest
from tests.policy.world import NOW, World, catalog, digest, key

CATALOG = catalog()
ALIASES = ["prod", "dev"]
TEAMS = ["t", "s"]
USERS = ["ann", "bob"]
BLOCKS = {"/customer/block": True, "/customer/unblock": False}


class Broker:
    def __init__(self) -> None:
        self.log: list[tuple[str, bytes]] = []
        self.last: dict[str, int] = {}

    def publish(self, plan: Plan) -> bool:
        subjects_ = [change.subject for change in plan.changes]
        assert len(set(subjects_)) == len(subjects_)
        if any(self.last.get(c.subject, 0) != c.expected_seq for c in plan.changes):
            return False
        for c in plan.changes:
            fact = ControlFact("id", NOW, c.kind, c.entity_id, c.action, MASTER, c.before, c.after)
            self.log.append((c.subject, encode_control(fact)))
            self.last[c.subject] = len(self.log)
        return True


class Replica:
    def __init__(self, broker: Broker) -> None:
        self.broker, self.at, self.directory = broker, 0, Directory()

    def follow(self, facts: int | None = None) -> None:
        end = len(self.broker.log) if facts is None else min(len(self.broker.log), self.at + facts)
        for seq in range(self.at + 1, end + 1):
            subject, message = self.broker.log[seq - 1]
            self.directory.apply(subject, decode_control(message), seq)
        self.at = end


def simulate(seed: int, steps: int) -> tuple[int, int]:
    """(accepted, refused by the broker)"""
    draw = random.Random(seed)
    broker = Broker()
    replicas = [Replica(broker), Replica(broker)]
    written: dict[str, Any] = {}
    accepted = conflicts = number = 0
    for step in range(steps):
        replica = draw.choice(replicas)
        replica.follow(draw.choice([0, 1, 2, 100]))
        number += 1
        route, body = _command(draw, replica.directory, number)
        call = Call(replica.directory, {}, body, MASTER, NOW + step, lambda: "new", CATALOG, route)
        before = len(broker.log)
        plan = run(call)
        if not isinstance(plan, Plan) or not plan.changes:
            assert len(broker.log) == before
            continue
        if not broker.publish(plan):
            conflicts += 1
            assert len(broker.log) == before
            continue
        accepted += 1
        if route == "/key/update" and "colour" in body:
            written[body["key"]] = body["colour"]
        elif route == "/key/regenerate" and body["key"] in written:
            written[body["token"]] = written[body["key"]]
        elif route in BLOCKS:
            written["customer"] = BLOCKS[route]
        elif route == "/customer/delete":
            written.pop("customer", None)
        check(broker, written)
    return accepted, conflicts


def simulated(runs: int, steps: int) -> tuple[int, int]:
    """(accepted, refused by the broker) of so many, each drawn anew."""
    accepted = conflicts = 0
    for seed in range(runs):
        a, c = simulate(seed, steps)
        accepted, conflicts = accepted + a, conflicts + c
    return accepted, conflicts


def _command(draw: random.Random, directory: Directory, number: int) -> tuple[str, dict[str, Any]]:
    tokens = list(directory.keys) or [digest("nobody")]
    token = draw.choice(tokens)
    minted = {"token": digest_key(f"sk-{number}-0123456789abcdef"), "key_name": "sk-..."}
    alias, team = draw.choice([*ALIASES, None]), draw.choice([*TEAMS, None])
    member = {"team_id": draw.choice(TEAMS), "user_id": draw.choice(USERS)}
    commands: list[tuple[str, dict[str, Any]]] = [
        ("/key/generate", {**minted, "key_alias": alias, "team_id": team}),
        ("/key/generate", {**minted, "key_alias": alias}),
        ("/key/update", {"key": token, "key_alias": alias}),
        ("/key/update", {"key": token, "colour": number}),
        ("/key/update", {"key": token, "team_id": team}),
        ("/key/regenerate", {**minted, "key": token, "grace_period": draw.choice([None, "1h"])}),
        ("/key/delete", {"keys": [token, draw.choice(tokens)]}),
        ("/key/block", {"key": token}),
        ("/key/unblock", {"key": token}),
        ("/team/new", {"team_id": draw.choice(TEAMS)}),
        ("/team/delete", {"team_ids": [draw.choice(TEAMS)]}),
        ("/team/member_add", {**member, "member": {"role": "user", "user_id": member["user_id"]}}),
        ("/team/member_delete", member),
        ("/user/new", {"user_id": member["user_id"], "auto_create_key": False}),
        ("/user/delete", {"user_ids": [member["user_id"]]}),
        ("/key/generate", {**minted, **member}),
        (draw.choice([*BLOCKS]), {"user_ids": ["customer"]}),
        ("/customer/delete", {"user_ids": ["customer"]}),
    ]
    return draw.choice(commands)


ORDERS = ("created_at_ms", "key_alias", "expires_at_ms", "updated_at_ms")


def check(broker: Broker, written: dict[str, Any]) -> None:
    replica = Replica(broker)
    for attribute in ORDERS:
        replica.directory.order("key", attribute)  # kept from the first fact on
    replica.directory.containing("key", "key_alias", "x")
    replica.follow()
    directory = replica.directory
    short = Directory()
    for subject, seq in sorted(broker.last.items(), key=lambda item: item[1]):
        short.apply(subject, decode_control(broker.log[seq - 1][1]), seq)
    assert (short.tables, short._seqs) == (directory.tables, directory._seqs)
    for attribute in ORDERS:
        kept, anew = directory.order("key", attribute), Order(short._listed["key"], attrgetter(attribute))
        assert (kept.having, kept.lacking) == (anew.having, anew.lacking)
    for part in ("", "a", "A", "zzz"):
        found = {k.token for k in directory.containing("key", "key_alias", part)}
        assert found == {
            t
            for t, k in directory.keys.items()
            if k.replaced_by is None and part.lower() in (k.key_alias or "-").lower() and k.key_alias
        }
    aliases = [k.key_alias for k in directory.keys.values() if k.key_alias is not None]
    assert len(set(aliases)) == len(aliases)
    for token, held in directory.keys.items():
        if held.key_alias is not None:
            owner = directory.alias_owner(held.key_alias)
            assert owner is not None and owner.token == token
        if held.replaced_by is not None:
            assert held.key_alias is None and held.expires_at_ms is not None
            seen = {token}
            at = held
            while at.replaced_by is not None:
                assert at.replaced_by not in seen
                seen.add(at.replaced_by)
                successor = directory.keys.get(at.replaced_by)
                if successor is None:  # deleted by somebody who had seen only half of the rotation: it fails closed
                    assert not usable(directory, token)
                    break
                at = successor
        if held.replaced_by is None and held.team_id is not None and held.team_id not in directory.teams:
            assert not usable(directory, token)
        if token in written and held.replaced_by is None:
            assert held.extra["colour"] == written[token], "an accepted update is lost"

    for user_id, user in directory.users.items():
        of = [each.team_id for each in directory.teams.values() if each.role_of(user_id) is not None]
        assert sorted(user.teams) == sorted(of), (user_id, user.teams, of)
    for each in directory.teams.values():
        assert {member["user_id"] for member in each.members_with_roles} <= {*directory.users, MASTER.user_id}
    if "customer" in written:
        assert directory.customers["customer"].blocked is written["customer"]


def usable(directory: Directory, token: str) -> bool:
    question = DecideRequest(KeyDigest(token), "/chat/completions", "gpt")
    return isinstance(decide(directory, CATALOG, question, NOW, 1), Grant)


def test_ten_thousand_interleavings_keep_the_invariants() -> None:
    """So many commands, each on a replica that is behind as it comes; `make prove` has more."""
    accepted, conflicts = simulated(250, 40)
    assert accepted > 2_000 and conflicts > 200, (accepted, conflicts)


def test_a_key_costs_less_than_a_kilobyte_and_a_half() -> None:
    count = 3_000
    messages = []
    for i in range(count):
        made = key(f"k{i}", key_alias=f"alias-{i}", team_id=f"team-{i % 30}", user_id=f"user-{i % 100}", models=["gpt"],
                   metadata={"tags": ["a"]}, created_at_ms=NOW + i, created_by="default_user_id")  # fmt: skip
        fact = ControlFact(f"f{i}", NOW, "key", made.token, "created", MASTER, None, msgspec.to_builtins(made))
        messages.append((subjects.control("key", made.token), encode_control(fact)))
    directory = Directory()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for seq, (subject, message) in enumerate(messages, 1):
        directory.apply(subject, decode_control(message), seq)
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown / count < 1_500, grown / count


@pytest.mark.parametrize("size", [1, 3, 10])
def test_pages_of_the_newest_are_those_of_a_sort(size: int) -> None:
    world = World(Team(team_id="t"), *(key(f"k{i}", created_at_ms=NOW + i % 7) for i in range(23)))
    wanted = [t for _, t in sorted(((k.created_at_ms, k.token) for k in world.directory.keys.values()), reverse=True)]
    found: list[str] = []
    for page in range(1, 40):
        answer = world.call("/key/list", query={"page": str(page), "size": str(size)})
        assert answer["total_count"] == 23
        found += answer["keys"]
    assert found == wanted
    assert len(world.directory.ordered("key", "created_at_ms")) == 23

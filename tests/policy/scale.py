"""What many entities cost policy: folding them, keeping them, deciding about them. By the CPU's
time, which other programs don't change.
"""

import gc
import random
import time
import tracemalloc
from typing import NamedTuple

import msgspec

from services.policy.decide import MASTER, decide
from services.policy.directory import Directory
from shared import subjects
from shared.entities import KINDS, Customer, Team
from shared.facts import ControlFact, decode_control, encode_control
from shared.requests import DecideRequest
from tests.policy.world import NOW, World, key

DECISIONS = 20_000


class Figures(NamedTuple):
    fold_s: float
    bytes_a_key: float
    decide_us: tuple[float, float, float]
    """p50, p99, worst; the worst of a cold decision."""

    def __str__(self) -> str:
        p50, p99, worst = self.decide_us
        return f"fold {self.fold_s:.1f} s, {self.bytes_a_key:.0f} B a key, decide p50 {p50:.0f} p99 {p99:.0f} worst {worst:.0f} µs of CPU"


def measured(keys: int, teams: int, customers: int) -> Figures:
    """Facts on the wire → a directory → cold decisions about keys drawn at random."""
    others = [Team(team_id=f"t{i}", models=["gpt", "mini"], metadata={"tags": ["x"]}) for i in range(teams)]
    others += [Customer(user_id=f"c{i}", alias=f"Customer {i}") for i in range(customers)]  # type: ignore[misc]
    directory = Directory()
    messages = [_message(each) for each in others]
    start = time.process_time()
    _fold(directory, messages, 1)
    spent = time.process_time() - start
    tokens = []
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    sample = min(keys, 5_000)
    for first in range(0, keys, 5_000):
        made = [
            key(
                f"k{i}", key_alias=f"alias-{i}", team_id=f"t{i % teams}", user_id=f"u{i % 1000}", models=["gpt"], metadata={"tags": ["a"]},
                created_at_ms=NOW + i, created_by="default_user_id",
            )
            for i in range(first, min(first + 5_000, keys))
        ]  # fmt: skip
        messages = [_message(each) for each in made]
        tokens += [each.token for each in made]
        if first == 0:
            before = tracemalloc.get_traced_memory()[0]
        start = time.process_time()
        _fold(directory, messages, first + 1)
        if first == 0:
            bytes_a_key = (tracemalloc.get_traced_memory()[0] - before) / sample
            tracemalloc.stop()
        else:
            spent += time.process_time() - start
    world = World()
    gc.collect()
    gc.freeze()
    draw, took = random.Random(5), []
    try:
        for _ in range(DECISIONS):
            question = DecideRequest(draw.choice(tokens), "/chat/completions", "gpt")
            begun = time.thread_time_ns()
            decide(directory, world.catalog, question, NOW, 1)
            took.append((time.thread_time_ns() - begun) / 1000)
    finally:
        gc.unfreeze()
    took.sort()
    return Figures(spent, bytes_a_key, (took[len(took) // 2], took[int(len(took) * 0.99)], took[-1]))


def _message(entity: object) -> tuple[str, bytes]:
    kind = next(kind for kind in KINDS.values() if kind.struct is type(entity))
    entity_id = kind.id_of(entity)
    fact = ControlFact(
        f"f-{entity_id}", NOW, kind.name, entity_id, "created", MASTER, None, msgspec.to_builtins(entity)
    )
    return subjects.control(kind.name, entity_id), encode_control(fact)


def _fold(directory: Directory, messages: list[tuple[str, bytes]], seq: int) -> None:
    for number, (subject, message) in enumerate(messages, seq):
        directory.apply(subject, decode_control(message), number)

"""Breaks a copy of Tollgate on purpose, and shows that the checker notices: `python -m
tests.chaos.sabotage [NAME ...]`.

Each sabotage takes one guarantee out of a snapshot of the tree (the tree itself stays as it is),
and runs the load under the fault that this guarantee is there for. First the same fault meets the
snapshot as it is, which must come out clean. Exit status 1 when a sabotage isn't noticed, or the
healthy one isn't clean.
"""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.chaos import nemesis
from tests.chaos.schedule import Fault
from tests.chaos.trial import Trial, conduct
from tests.chaos.world import World, snapshot

SEED = 5
GRACE_S = 20.0
ROUND_S = 7.0


class Sabotage(NamedTuple):
    what: str
    file: str
    old: str
    new: str
    faults: tuple[Fault, ...]
    """Of a round; their times count from its beginning."""
    rounds: int
    noticed_as: frozenset[str]
    """Any of these counts; whichever it is, the run isn't clean."""

    def apply(self, tree: Path) -> None:
        """Raises ValueError when the tree no longer has what is to be taken out."""
        path = tree / self.file
        text = path.read_text()
        if text.count(self.old) != 1:
            raise ValueError(f"{self.file} has changed: {self.old!r} is there {text.count(self.old)} times")
        path.write_text(text.replace(self.old, self.new))


SABOTAGES = {
    "ack": Sabotage(
        "the answer goes out before its end is acknowledged",
        "services/edge/account.py",
        "                await batch.wait_durable()\n",
        "                pass\n",
        (Fault(0, "kill_with_broker", "edge", 0.3, 0.0),),
        3,
        frozenset({"lost"}),
    ),
    "position": Sabotage(
        "the ledger moves its position in a transaction of its own, before the rows",
        "services/ledger/book.py",
        "            end = await self._hold(known)\n            postings =",
        "            end = await self._hold(known)\n"
        "            await self._move(to, end)\n"
        "        await __import__('asyncio').sleep(0.1)\n"
        "        async with self._connection.transaction():\n"
        "            postings =",
        (Fault(0, "kill", "ledger", 1.0, 0.0),),
        5,
        frozenset({"lost", "unbilled"}),
    ),
    "position-kept": Sabotage(
        "the ledger never moves its position",
        "services/ledger/book.py",
        "            await self._move(to, end)\n            await self._write_anomalies(postings",
        "            await self._write_anomalies(postings",
        (Fault(0, "kill", "ledger", 1.0, 0.0),),
        2,
        frozenset({"behind", "unended"}),
    ),
    "journal": Sabotage(
        "what the broker doesn't take is called safe without being written to the journal",
        "services/edge/group_commit.py",
        "await _finish(asyncio.to_thread(self._journal.append, message_id, payload))",
        "pass",
        (Fault(0, "kill_with_broker", "nats", 2.5, 0.0),),
        2,
        frozenset({"lost"}),
    ),
    "trim": Sabotage(
        "the ledger trims the stream of everything, not only of what the book has",
        "services/ledger/trim.py",
        "        due = self._trimmed_at is None or time.monotonic() - self._trimmed_at >= EVERY_S\n"
        "        if not (full or due):\n"
        "            return None\n"
        "        keep_from = position_seq if full else min(position_seq, await self._first_younger())\n",
        "        keep_from = state.last_seq + 1\n",
        (Fault(0, "pause", "postgres", 4.0, 0.0), Fault(3.5, "kill", "ledger", 1.0, 0.0)),
        1,
        frozenset({"lost", "unbilled"}),
    ),
    "revoked": Sabotage(
        "a control fact doesn't drop the grants that depend on it",
        "services/edge/grants.py",
        "            for key in self._by_subject.pop(name, ()):\n                self._drop(key)\n",
        "",
        (Fault(0, "cut", "nats", 1.0, 0.0),),
        1,
        frozenset({"wrongly_admitted"}),
    ),
}


def say(text: str) -> None:
    print(text, flush=True)


async def under(faults: Sequence[Fault], rounds: int, directory: Path, root: Path) -> Trial:
    async with World(directory, linked=True, root=root) as world:

        async def trouble() -> None:
            due = [f._replace(at_s=2.0 + ROUND_S * number + f.at_s) for number in range(rounds) for f in faults]
            await nemesis.carry_out(world, due, lambda _: None)
            await asyncio.sleep(3.0)

        return await conduct(world, "sabotage", SEED, trouble, grace_s=GRACE_S)


def _named(faults: Sequence[Fault]) -> str:
    return ", ".join(f"{fault.kind} {fault.target}" for fault in faults)


async def main(names: Sequence[str]) -> bool:
    fine = True
    with tempfile.TemporaryDirectory(prefix="tollgate-sabotage-") as folder:
        for name in names or SABOTAGES:
            sabotage = SABOTAGES[name]
            say(f"{name}: {sabotage.what}; {sabotage.rounds} x {_named(sabotage.faults)}")
            for broken in (False, True):
                directory = Path(folder) / f"{name}-{'broken' if broken else 'healthy'}"
                tree = snapshot(directory)
                if broken:
                    sabotage.apply(tree)
                trial = await under(sabotage.faults, sabotage.rounds, directory, tree)
                counts = {kind: n for kind, n in trial.verdict.counts.items() if n}
                as_it_should = bool(sabotage.noticed_as & counts.keys()) if broken else not counts
                fine &= as_it_should
                say(f"  {'broken ' if broken else 'healthy'}  {len(trial.records.calls)} requests  "
                    f"{counts or 'all counts zero'}  {'' if as_it_should else 'WRONG'}")  # fmt: skip
                if not as_it_should and not broken:
                    say(str(trial))
    return fine


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(main(sys.argv[1:])) else 1)

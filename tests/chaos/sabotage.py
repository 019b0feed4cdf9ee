"""Breaks a copy of Tollgate on purpose, and shows that the checker notices: `python -m tests.chaos.sabotage [NAME ...]`.

Each sabotage takes one guarantee out of a snapshot of the tree (the tree itself stays as it is), and runs the load under the
fault that this guarantee is there for. First the same fault meets the snapshot as it is, which must come out clean.
Exit status 1 when a sabotage isn't noticed, or the healthy one isn't clean.
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
    fault: Fault
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
        "services/edge/exchange.py",
        "            await self._settled.wait_durable()\n",
        "            pass\n",
        Fault(0, "kill_with_broker", "edge", 0.3, 0.0),
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
        Fault(0, "kill", "ledger", 1.0, 0.0),
        5,
        frozenset({"lost", "unbilled"}),
    ),
    "position-kept": Sabotage(
        "the ledger never moves its position",
        "services/ledger/book.py",
        "            await self._move(to, end)\n            await self._write_anomalies(postings",
        "            await self._write_anomalies(postings",
        Fault(0, "kill", "ledger", 1.0, 0.0),
        2,
        frozenset({"behind", "unended"}),
    ),
    "journal": Sabotage(
        "what the broker doesn't take is called safe without being written to the journal",
        "services/edge/recorder.py",
        "await _finish(asyncio.to_thread(self._journal.append, message_id, payload))",
        "pass",
        Fault(0, "kill_with_broker", "nats", 2.5, 0.0),
        2,
        frozenset({"lost"}),
    ),
}


def say(text: str) -> None:
    print(text, flush=True)


async def under(fault: Fault, rounds: int, directory: Path, root: Path) -> Trial:
    async with World(directory, linked=True, root=root) as world:

        async def trouble() -> None:
            faults = [fault._replace(at_s=2.0 + ROUND_S * number) for number in range(rounds)]
            await nemesis.carry_out(world, faults, lambda _: None)
            await asyncio.sleep(3.0)

        return await conduct(world, "sabotage", SEED, trouble, grace_s=GRACE_S)


async def main(names: Sequence[str]) -> bool:
    fine = True
    with tempfile.TemporaryDirectory(prefix="tollgate-sabotage-") as folder:
        for name in names or SABOTAGES:
            sabotage = SABOTAGES[name]
            say(f"{name}: {sabotage.what}; {sabotage.rounds} x {sabotage.fault.kind} {sabotage.fault.target}")
            for broken in (False, True):
                directory = Path(folder) / f"{name}-{'broken' if broken else 'healthy'}"
                tree = snapshot(directory)
                if broken:
                    sabotage.apply(tree)
                trial = await under(sabotage.fault, sabotage.rounds, directory, tree)
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

"""`drain-journal FILE`: send what a journal holds that no edge will come back to: of an edge that
was scaled away, or of a disk that was moved.

The file is left empty, and may then be deleted. Run it with the edge's own broker user
(TOLLGATE_NATS_URL). It may be stopped and run again: every message keeps its id, so what arrived
already is recognised, by the broker for two minutes and by the book for ever.
"""

import asyncio
import os
import sys
from pathlib import Path

import nats.errors

from services.edge.config import EdgeSettings
from services.edge.journal import Journal, JournalTakenError
from services.edge.publisher import Publisher, PublishError, publisher_for
from shared import bus, settings, streams, subjects
from shared.settings import SettingsError

TRIES_MAX = 20
"""For one message, half a second apart."""
PAUSE_S = 0.5
PAYLOADS = "payload-journal"
"""The journal of prompts and answers has another stream than facts."""


def main(path: str) -> int:
    """Exit status: 0 the journal is empty, 1 it isn't."""
    try:
        if not Path(path).is_file():
            raise SettingsError(f"{path} is no journal")
        sent = asyncio.run(_run(settings.read(EdgeSettings, os.environ), Path(path)))
    except (SettingsError, JournalTakenError, PublishError, nats.errors.Error, OSError, TimeoutError) as error:
        print(f"drain-journal: {str(error) or type(error).__name__}", file=sys.stderr)
        return 1
    print(f"drain-journal: {sent} messages sent, the journal is empty", file=sys.stderr)
    return 0


async def _run(conf: EdgeSettings, path: Path) -> int:
    client = await bus.connect_once("edge", conf.nats_url)
    journal = Journal(path, 0)
    try:
        traffic = await streams.state(client, subjects.TRAFFIC_STREAM)
        name = conf.edge_name or path.parent.name
        publisher = await publisher_for(client)
        subject = subjects.traffic(subjects.shard_of(name, traffic.shards))
        return await drain(journal, publisher, subjects.payload(0) if path.name == PAYLOADS else subject)
    finally:
        journal.close()
        await bus.close(client)


async def drain(journal: Journal, publisher: Publisher, subject: str) -> int:
    """Oldest first. Returns how many were sent. Raises PublishError; what was acknowledged isn't
    sent again.
    """
    sent = 0
    while (record := journal.oldest()) is not None:
        for left in range(TRIES_MAX, 0, -1):
            try:
                await publisher.publish(subject, *record, _nothing, 2_000)
                break
            except PublishError:
                if left == 1:
                    raise
                await asyncio.sleep(PAUSE_S)
        journal.acknowledged()
        sent += 1
    return sent


def _nothing() -> None:
    pass

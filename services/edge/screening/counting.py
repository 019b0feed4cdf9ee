"""How many tokens texts are, where a provider gave no usage: moderation counts, a rule of thumb
when it can't.
"""

import structlog

from services.edge.screening.slices import slices
from shared import bus, subjects
from shared.bus import BusClient
from shared.requests import CountReply, CountRequest

log = structlog.get_logger()

COUNT_TIMEOUT_MS = 2_500
"""The first question after a start waits for the tokenizer."""
CHARACTERS_PER_TOKEN = 4
"""The rule of thumb where even moderation can't count."""


async def count_tokens(client: BusClient, model: str, said: list[str]) -> int:
    """How many tokens these texts are. Never raises."""
    total = 0
    for part in slices(said, 0):
        pieces = [piece.said for piece in part]
        try:
            reply = await bus.ask(
                client, subjects.MODERATION_COUNT, CountRequest(model, pieces), CountReply, COUNT_TIMEOUT_MS
            )
            total += sum(reply.tokens)
        except bus.BusError as error:
            log.warning("count_failed", error=error.code)
            total += sum(-(-len(piece) // CHARACTERS_PER_TOKEN) for piece in pieces)
    return total

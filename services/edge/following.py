"""What an edge knows by control facts, kept in step by one feed: grants, customers, and the
endpoints and models that were added by API.
"""

import asyncio
import contextlib
from functools import partial

from services.edge import metrics
from services.edge.grants import Grants
from services.edge.passthrough.named import Named
from services.edge.setup import Setup
from shared.bus import BusClient
from shared.notices import ControlNotices

FEED_WAIT_S = 2.0


class Following:
    def __init__(self, client: BusClient, setup: Setup) -> None:
        conf = setup.conf
        self._stale_ms_max = conf.edge_feed_stale_ms
        self.feed = ControlNotices(client, self._forget, self._forget_all)
        self.added = setup.connect_stored(client, self._seen_seq)
        grants = partial(
            Grants,
            client,
            lambda: self.feed,
            ttl_ms=conf.edge_grant_ttl_ms,
            timeout_ms=conf.edge_policy_timeout_ms,
            stale_ms=conf.edge_feed_stale_ms,
        )
        self.grants = grants(entries_max=conf.edge_grants_max, claims=setup.tokens.claims, prepare=self.added.ready)
        self.customers = grants(entries_max=conf.edge_customers_max)
        self.named = Named(client, setup.named_outbound, self._seen_seq)

    async def start(self) -> None:
        """Until the feed has begun, or for a moment: what is decided before would have to be asked
        again.
        """
        metrics.feed_stale.set_function(lambda: self.feed.stale_ms / 1000)
        await self.feed.start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.feed.begun.wait(), FEED_WAIT_S)

    def look(self) -> None:
        """Ask for what was added by API."""
        self.named.start()
        self.added.start()

    def reason_not_ready(self) -> str | None:
        """A feed that never began: nothing would tell of a revoked key. One that stopped is looked
        after by each decision (grants.py).
        """
        feed = self.feed
        begun = feed.caught_up or self.grants.seen_seq or feed.seq
        return None if begun or feed.stale_ms <= self._stale_ms_max else "the control feed has not started"

    async def close(self) -> None:
        await self.named.close()
        await self.added.close()
        await self.feed.close()

    def _seen_seq(self) -> int:
        return self.grants.seen_seq

    def _forget(self, subject: str, seq: int) -> None:
        self.grants.forget(subject, seq)
        self.customers.forget(subject, seq)
        self.named.changed(subject)
        self.added.changed(subject)

    def _forget_all(self) -> None:
        self.grants.forget_all()
        self.customers.forget_all()
        self.look()

"""What a cache is while an edge runs: its store, the calls whose answers may come to be in it, and
what was counted.
"""

import asyncio

import structlog

from services.edge.asked import Asked
from services.edge.cache import control, key
from services.edge.cache.control import Control, Settings
from services.edge.cache.store import Kept, Store

log = structlog.get_logger()

WRITE_WAIT_S = 0.020
"""How long a call waits for its answer to be kept; a slow store goes on alone."""
WRITES_MAX = 256


class Cache:
    def __init__(self, settings: Settings, store: Store) -> None:
        self.settings = settings
        self.store = store
        self.flights: dict[str, asyncio.Future[Kept | None]] = {}
        """Looks and calls under way, whose answers may be kept."""
        self._writes: set[asyncio.Task[None]] = set()
        self._bodies = key.Bodies()
        self._usual: dict[str, Control] = {}
        """By call type, for requests about which nobody says anything."""
        self.hits = self.misses = 0

    def control(self, asked: Asked) -> Control:
        """What this call wants of it."""
        grant, call_type, said = asked.permit.grant, asked.route.call_type, asked.call.fields.get("cache")
        if said is None and not grant.cache:
            found = self._usual.get(call_type)
            if found is None:
                found = self._usual[call_type] = control.control(self.settings, call_type, None, {})
            return found
        return control.control(self.settings, call_type, said, grant.cache)

    def digest(self, asked: Asked, wanted: Control, more: bytes) -> str | None:
        """Under which its answer lies; None: neither looked for nor kept.

        Args:
            more: of what would be forwarded beside the body.
        """
        if wanted.look or wanted.keep:
            return key.digest(asked.call, self._apart(asked, wanted.namespace), self._bodies, more)
        return None

    def _apart(self, asked: Asked, namespace: str) -> key.Apart:
        permit, prepared, scope = asked.permit, asked.prepared, self.settings.scope
        found = prepared.apart if permit is prepared.permit else None
        if found is None or found[0] != namespace or found[1] != scope:
            found = key.apart(permit, asked.route.name, asked.call.model, namespace, scope)
            if permit is prepared.permit:
                prepared.apart = found
        return found

    async def keep(self, digest: str, kept: Kept, ttl_s: float) -> None:
        if len(self._writes) >= WRITES_MAX:
            return
        writing = asyncio.get_running_loop().create_task(self.store.put(digest, kept, ttl_s))
        self._writes.add(writing)
        writing.add_done_callback(self._written)
        await asyncio.wait((writing,), timeout=WRITE_WAIT_S)

    def _written(self, writing: "asyncio.Task[None]") -> None:
        self._writes.discard(writing)
        if not writing.cancelled() and (error := writing.exception()) is not None:
            log.error("answer_not_kept", exc_info=error)

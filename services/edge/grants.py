"""Grants the edge keeps for a while, and forgets the moment a fact says otherwise.

A decision is kept under (digest, route, model) until its time is up, a control fact on one of
`depends_on` arrives, or the cache is full (then the oldest goes). What is in flight while its
subject changes isn't kept: an answer carries the CONTROL sequence it was made at, and `_changed`
knows at which sequence each subject last changed.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from services.edge.metrics import note_grant
from services.edge.prepared import Prepared
from services.edge.tokens import Claims
from shared import bus, errors, subjects
from shared.bus import BusClient
from shared.errors import RefusedError
from shared.facts import Caller
from shared.grant import Denial, Grant
from shared.identity.own import SHAPE
from shared.ids import KeyDigest
from shared.notices import ControlNotices
from shared.requests import DecideReply, DecideRequest

CacheKey = tuple[KeyDigest | None, str, str]
Decision = Grant | Denial

CUSTOMER = KeyDigest(":customer")
"""Stands for credential and route in a question about a customer; the model is their id."""
CHANGED_MAX = 10_000
DECIDE_TRIES = 3
"""Within the timeout: a replica that hangs is asked once, then mostly another."""
TRIES = 3
"""Askings for one decision while the control stream moves under it."""
DENIALS_MAX_PART = 8
"""Denials have one part in so many of the room: whoever tries out keys can't push out those that
are good.
"""
POLICY_AWAY_S = 0.5
"""After a failed asking, how long a still valid grant is used without asking again."""


class _OtherStreamError(Exception):
    """The control stream turned out to be another one (or the feed has only now begun) while policy
    was being asked.
    """


class Entry(msgspec.Struct):
    prepared: Prepared
    until: float
    """time.monotonic() seconds."""


class Grants:
    """
    Args:
        feed: the notices of control facts that were given to `forget`.
        stale_ms: when nothing was heard from the feed for so long, policy is asked first, and a
            kept grant serves only if policy can't answer.
        claims: of a verified token, by its digest; None: the credential is no token.
        prepare: makes this edge able to carry out a decision that it has just been given.
    """

    def __init__(
        self,
        client: BusClient,
        feed: Callable[[], ControlNotices],
        *,
        ttl_ms: int,
        entries_max: int,
        timeout_ms: int,
        stale_ms: int,
        claims: Callable[[KeyDigest | None], Claims | None] = lambda digest: None,
        prepare: Callable[[Grant], Awaitable[None]] | None = None,
    ) -> None:
        self._prepare = prepare
        self._client = client
        self._feed = feed
        self._ttl_s = ttl_ms / 1000
        self._max = entries_max
        self._timeout_ms = timeout_ms
        self._stale_ms = stale_ms
        self._claims = claims
        self._entries: dict[CacheKey, Entry] = {}
        self._denied: dict[CacheKey, None] = {}
        """Those of the entries that are denials, the oldest first."""
        self._seen: dict[KeyDigest | None, Caller] = {}
        """Credentials that were granted something lately, and whose they are."""
        self._good: dict[KeyDigest | None, int] = {}
        """How many of the entries of a credential are grants."""
        self._by_subject: dict[str, set[CacheKey]] = {}
        self._changed: dict[str, int] = {}
        self._changed_floor = 0
        self._asking: dict[CacheKey, asyncio.Task[Decision]] = {}
        self._streams = 0
        """How often the control stream turned out to be another one: sequences only compare within
        one.
        """
        self._policy_away_until = 0.0
        self.seen_seq = 0
        """The highest CONTROL sequence this edge has seen, from the feed or in an answer."""

    def forget(self, subject: str, seq: int) -> None:
        """A fact on `subject` at `seq`: drop what depends on it. Synchronous, microseconds."""
        self.seen_seq = max(self.seen_seq, seq)
        if len(self._changed) >= CHANGED_MAX:
            self._changed_floor = max(self._changed.values())
            self._changed.clear()
        whole_kind = subject[: subject.rfind(".")] + ".>"
        for name in (subject, whole_kind):
            self._changed[name] = max(seq, self._changed.get(name, 0))
            for key in self._by_subject.pop(name, ()):
                self._drop(key)

    def seen(self, digest: KeyDigest | None) -> bool:
        """Whether this credential was granted something here lately. Says nothing of what it may do
        now.
        """
        return digest in self._seen

    def caller(self, digest: KeyDigest | None) -> Caller | None:
        """Whose credential this was when it was last granted something; None: nobody's that we have
        seen.
        """
        return self._seen.get(digest)

    def knows(self, digest: KeyDigest | None) -> bool:
        """Whether a kept grant of this credential still serves, whatever it is for."""
        return digest in self._good and (
            self._feed().is_current(self._stale_ms) or time.monotonic() < self._policy_away_until
        )

    def forget_all(self) -> None:
        """The control stream is another one: nothing we know holds, nor what is being answered."""
        self._streams += 1
        self._denied.clear()
        self._entries.clear()
        self._good.clear()
        self._by_subject.clear()
        self._changed.clear()
        self._changed_floor = self.seen_seq = 0

    def kept(self, digest: KeyDigest | None, route: str, model: str) -> Prepared | None:
        """What `decide` would say without asking anybody; None: it would ask."""
        entry = self._entries.get((digest, route, model))
        if entry is None:
            return None
        now = time.monotonic()
        if now >= entry.until or not (self._feed().is_current(self._stale_ms) or now < self._policy_away_until):
            return None
        note_grant("cached")
        return entry.prepared

    async def decide(self, digest: KeyDigest | None, shape: str, route: str, model: str) -> Decision:
        """A grant or denial for this request. Raises RefusedError (policy_unavailable) when nobody
        can say.
        """
        kept = self.kept(digest, route, model)
        if kept is not None:
            return kept.decision
        key = (digest, route, model)
        entry = self._entries.get(key)
        if entry is not None and time.monotonic() >= entry.until:
            self._drop(key)
            entry = None
        try:
            for _ in range(TRIES):
                try:
                    decision = await self._ask_once(key, shape)
                except _OtherStreamError:
                    continue
                if not self._outdated(decision):  # also by what came between the answer and our turn
                    return decision
            raise bus.BusError("behind")
        except bus.BusError:
            note_grant("failed")
            self._policy_away_until = time.monotonic() + POLICY_AWAY_S
            if entry is not None and time.monotonic() < entry.until and self._entries.get(key) is entry:
                return entry.prepared.decision
            raise RefusedError(errors.policy_unavailable()) from None

    async def customer(self, customer_id: str) -> Decision:
        """Whether calls may be made for this customer, and to which models; whoever makes them."""
        return await self.decide(CUSTOMER, "none", CUSTOMER, customer_id)

    async def _ask_once(self, key: CacheKey, shape: str) -> Decision:
        """Policy's answer to one asking, which all who want the same share; it goes on when they
        leave.
        """
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._ask(key, shape))
            task.add_done_callback(_retrieved)
        return await asyncio.shield(task)

    async def _ask(self, key: CacheKey, shape: str) -> Decision:
        digest, route, model = key
        stream = self._streams
        try:
            note_grant("asked")
            # The feed begins at some sequence: what was decided before it could be changed without
            # our hearing of it.
            seq = max(self.seen_seq, self._feed().seq)
            if route == CUSTOMER:
                question = DecideRequest(None, "", "", seq, customer_id=model)
            else:
                question = DecideRequest(digest, route, model, seq, shape)
            said = self._claims(digest) if shape in ("jwt", SHAPE) else None
            if said is not None:
                question = msgspec.structs.replace(question, claims=said.claims, team_id=said.team_id)
            reply = await bus.ask(
                self._client,
                subjects.POLICY_DECIDE,
                question,
                DecideReply,
                self._timeout_ms,
                tries=DECIDE_TRIES,
                together=True,
            )
            if stream != self._streams:
                raise _OtherStreamError
            decision = reply.decision
            if self._prepare is not None and isinstance(decision, Grant):
                await self._prepare(decision)
                if stream != self._streams:
                    raise _OtherStreamError
            self.seen_seq = max(self.seen_seq, decision.control_seq)
            if not self._outdated(decision):
                self._keep(key, decision)
            return decision
        finally:
            del self._asking[key]  # here and not in a callback: nobody may join an asking that is over

    def _outdated(self, decision: Decision) -> bool:
        changed, floor = self._changed, self._changed_floor
        return any(changed.get(subject, floor) > decision.control_seq for subject in decision.depends_on)

    def _keep(self, key: CacheKey, decision: Decision) -> None:
        denied = isinstance(decision, Denial)
        if isinstance(decision, Grant):
            self._seen.pop(key[0], None)
            if len(self._seen) >= self._max:
                del self._seen[next(iter(self._seen))]
            self._seen[key[0]] = decision.caller
        elif decision.refusal.status == 401:
            self._seen.pop(key[0], None)
        if self._ttl_s == 0:
            return
        if denied and len(self._denied) >= max(1, self._max // DENIALS_MAX_PART):
            self._drop(next(iter(self._denied)))
        if len(self._entries) >= self._max:
            self._drop(next(iter(self._denied or self._entries)))
        self._drop(key)
        if denied:
            self._denied[key] = None
        self._entries[key] = Entry(Prepared(decision), time.monotonic() + self._ttl_s)
        if isinstance(decision, Grant):
            self._good[key[0]] = self._good.get(key[0], 0) + 1
        for subject in decision.depends_on:
            self._by_subject.setdefault(subject, set()).add(key)

    def _drop(self, key: CacheKey) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._denied.pop(key, None)
        if isinstance(entry.prepared.decision, Grant):
            left = self._good[key[0]] - 1
            if left:
                self._good[key[0]] = left
            else:
                del self._good[key[0]]
        for subject in entry.prepared.decision.depends_on:
            keys = self._by_subject.get(subject)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._by_subject[subject]


def _retrieved(task: "asyncio.Task[Decision]") -> None:
    """Its failure is nobody's when all who asked have left."""
    if not task.cancelled():
        task.exception()

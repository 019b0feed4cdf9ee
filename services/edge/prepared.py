"""What all calls of one decision have in common, worked out once and kept as long as the decision
(grants.py).

Nothing here decides: it is what the decision, and the functions that apply it, come to whenever a
request adds nothing of its own.
"""

from services.edge import metrics
from services.edge.cache.key import Apart
from services.edge.clock import Clock
from services.edge.providers.base import Target
from services.edge.routing.way import Way
from services.edge.series import SERIES
from services.edge.tallies import Totals
from shared import admission
from shared.facts import encode_heading
from shared.grant import Candidate, Denial, Grant, Permit
from shared.routes import Route

HEADINGS_MAX = 64
"""Candidates of a decision; past these the oldest is made again."""


class Heading:
    """Of the book of calls to one candidate."""

    __slots__ = ("about", "candidate", "encoded", "totals")

    def __init__(self, edge_id: str, route: Route, grant: Grant, model: str, candidate: Candidate) -> None:
        name, upstream, provider = candidate.deployment_id, candidate.upstream_model, candidate.provider
        self.candidate = candidate
        self.encoded = encode_heading(
            edge_id, grant.caller, route.call_type, route.name, model, name, provider, upstream, candidate.price
        )
        """See shared.facts."""
        self.about: tuple[Target | None, str] | None = None
        """What answers say of it (account.about_of), once there was one, and of which target that
        was.
        """
        calls = SERIES.calls_of(grant.caller, route.name, model, upstream, name, provider)
        self.totals: tuple[Totals, ...] = calls, metrics.of_route(route.name)
        """What they are added to."""


class Prepared:
    __slots__ = ("apart", "decision", "headings", "permit", "way")

    def __init__(self, decision: Grant | Denial) -> None:
        self.decision = decision
        self.permit: Permit | None = admission.standing(decision)
        """Of every request that adds nothing of its own (formats.base.Call.plain), until the
        credential ends; None: each is looked at.
        """
        self.apart: Apart | None = None
        """What keeps answers to `permit` apart from others' (cache/), once they were looked for."""
        self.way: Way | None = None
        """Of requests with this permit (groups.py)."""
        self.headings: dict[int, Heading] = {}
        """By the identity of their candidates, which they hold."""

    def permit_at(self, clock: Clock) -> Permit | None:
        """`permit`, while the credential holds."""
        permit = self.permit
        if permit is None or (ends_ms := permit.grant.expires_at_ms) is None or clock.unix_ms() < ends_ms:
            return permit
        return None

    def heading(self, edge_id: str, route: Route, grant: Grant, model: str, candidate: Candidate) -> Heading:
        """A new one, kept."""
        if len(self.headings) >= HEADINGS_MAX:
            del self.headings[next(iter(self.headings))]
        found = self.headings[id(candidate)] = Heading(edge_id, route, grant, model, candidate)
        return found

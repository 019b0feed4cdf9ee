"""What the handlers of the ledger's HTTP API share: who asks, the book, and what answers are made
from.
"""

from collections.abc import Callable

from aiohttp import web

from services.ledger import answers
from services.ledger.asking import ADMIN_ROLES, Asking
from services.ledger.exporter import Exporter
from services.ledger.price_list import PriceList
from services.ledger.queries import Report
from services.ledger.retention import Terms
from services.ledger.telling import Teller
from shared import errors
from shared.bus import BusClient
from shared.errors import RefusedError
from shared.facts import Caller

WRITERS = frozenset(("proxy_admin",))

EVERYTHING = Terms()


class Api:
    def __init__(
        self,
        asking: Asking,
        report: Callable[[], Report | None],
        client: BusClient,
        prices: PriceList,
        exporter: Exporter,
        terms: Terms = EVERYTHING,
        *,
        shows_audit: bool = True,
        max_budget_usd: float | None = None,
    ) -> None:
        self.max_budget_usd = max_budget_usd
        """`litellm_settings.max_budget`, as it was at the start."""
        self._shows_audit = shows_audit
        self.client = client
        self.teller = Teller(client)
        self.prices = prices
        self.exporter = exporter
        self.terms = terms
        self.asking = asking
        self._report = report
        """None while there is no database yet."""

    async def identify(self, request: web.Request, route: str) -> Caller:
        """The caller, allowed to take this route. Raises RefusedError."""
        return (await self.identified(request, route))[0]

    async def identified(self, request: web.Request, route: str) -> tuple[Caller, int]:
        """The same, and the CONTROL sequence at which they are that."""
        body = await answers.read_body(request)
        return await self.asking.identified(request.headers.get, route, request.method, request.raw_path, body)

    async def identify_admin(self, request: web.Request, route: str, *, write: bool = False) -> Caller:
        """Policy has the say; that only admins see the whole book, and only those who may write
        change it, is checked here once more.
        """
        caller = await self.identify(request, route)
        if route.startswith("/audit") and not self._shows_audit:
            raise RefusedError(errors.not_found(request.method, request.path))
        if caller.role not in (WRITERS if write else ADMIN_ROLES):
            raise RefusedError(errors.admin_only_route(route) if write else errors.admin_only(route, caller.role))
        return caller

    def book(self) -> Report:
        """Raises RefusedError while there is no database."""
        report = self._report()
        if report is None:
            raise RefusedError(errors.ledger_unavailable())
        return report

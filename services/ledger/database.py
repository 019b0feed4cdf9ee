"""Connections to PostgreSQL: how they are made, what they may do, and which of their errors mean
what.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import structlog

log = structlog.get_logger()

SCHEMA = "tollgate"
ROLE = "tollgate_ledger"
CONNECT_TIMEOUT_S = 3
WRITE_TIMEOUT_MS = 20_000
"""Of one statement of a recording transaction."""
OWNER_TIMEOUT_S = 600.0
"""Of a migration, with the wait for another ledger's."""
LOCK_TIMEOUT_MS = 10_000
IDLE_IN_TRANSACTION_MS = 5_000
"""The server ends the transaction of a recorder that stopped half-way (SIGSTOP, a lost machine):
another can go on.
"""
READ_TIMEOUT_MS = 5_000
"""Of a question over HTTP."""

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
else:  # generic in the stubs alone
    Connection, Pool = asyncpg.Connection, asyncpg.Pool

DATA_ERRORS = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.StatementTooComplexError,
)
"""The database refuses what it was given, and will refuse it again."""

DATABASE_ERRORS = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""The third is what asyncpg says of a connection on which the server has said its last word, and
that isn't closed yet.
"""


_PRISMA_PARAMETERS = frozenset(
    ("schema", "connection_limit", "pool_timeout", "connect_timeout", "socket_timeout", "pgbouncer", "sslaccept",
     "statement_cache_size")
)  # fmt: skip


def plain_url(url: str) -> str:
    """A URL as LiteLLM's users write it (for Prisma), without what PostgreSQL wouldn't
    understand.
    """
    head, mark, query = url.partition("?")
    kept = [part for part in query.split("&") if part.partition("=")[0] not in _PRISMA_PARAMETERS]
    return f"{head}?{'&'.join(kept)}" if mark and any(kept) else head


class Given(NamedTuple):
    """Logins that the operator made, as URLs; empty: none. See logins.py."""

    owner: str = ""
    reader: str = ""
    keeper: str = ""


NONE_GIVEN = Given()


class Database:
    """Where the book is. Connections come from here with the search path, limits and login each
    purpose needs.
    """

    def __init__(
        self, url: str, renewed: Callable[[], Awaitable[str | None]] | None = None, given: Given = NONE_GIVEN
    ) -> None:
        """
        Args:
            url: the writer's, where the operator gave the owner's too; else the owner's.
            renewed: asked when the server refuses who we are: the URL as it is now; None: it is the
                same.
        """
        self._url = plain_url(url)
        self._renewed = renewed
        self.given = given
        self.restricted = False
        """Whether connections take on the service's own role, for want of a login."""
        self.made: dict[str, tuple[str, str | None]] = {}
        """Purpose -> user and password of a login that the ledger made for it."""
        self.made_again: Callable[[], Awaitable[None]] | None = None
        """Makes them so again, when the server refuses one: somebody changed the owner's password,
        from which theirs follow.
        """

    def use(self, url: str) -> None:
        """Connect by this from now on; connections that stand go on standing."""
        self._url = plain_url(url)

    @property
    def url(self) -> str:
        return self._url

    def url_of(self, purpose: str) -> str:
        """purpose: owner, writer, reader, keeper."""
        return plain_url(getattr(self.given, purpose, "") or self._url)

    async def owner(self) -> Connection:
        """For migrations. Raises one of DATABASE_ERRORS."""
        return await self._connect("owner", "tollgate-ledger-owner", {}, OWNER_TIMEOUT_S)

    async def keeper(self) -> Connection:
        """For retention. Raises one of DATABASE_ERRORS."""
        return await self._connect("keeper", "tollgate-ledger-keeper", {}, OWNER_TIMEOUT_S)

    async def inspector(self) -> Connection:
        """For what reads much: verify, export. Raises one of DATABASE_ERRORS."""
        return await self._connect("reader", "tollgate-ledger-inspector", {}, OWNER_TIMEOUT_S)

    async def writer(self, timeout_ms: int = WRITE_TIMEOUT_MS) -> Connection:
        """For one recorder's transactions."""
        connection = await self._connect(
            "writer",
            "tollgate-ledger-writer",
            {
                **_write_limits(timeout_ms),
                # Batches differ too much for one plan; and only a plan for the very day leaves out
                # the other partitions.
                "plan_cache_mode": "force_custom_plan",
            },
            timeout_ms / 1000 + 5,
        )
        return await self._as_role(connection)

    async def lock_holder(self, idle_timeout_ms: int) -> Connection:
        """For an advisory lock. The server closes it, and so frees the lock, when nothing is heard
        for `idle_timeout_ms`.
        """
        return await self._connect("writer", "tollgate-ledger-lock", {"idle_session_timeout": str(idle_timeout_ms)})

    async def readers(self, connections_max: int) -> Pool:
        """For questions over HTTP: read-only, each statement bounded. Connects when first used."""
        settings = {
            "statement_timeout": str(READ_TIMEOUT_MS),
            "default_transaction_read_only": "on",
            "plan_cache_mode": "force_custom_plan",
            # Sums of a month by tag and team are sorted in it.
            "work_mem": "32MB",
            # Parallel workers take longer to start than most sums take; and code to be compiled.
            "jit": "off",
            "min_parallel_table_scan_size": "64MB",
            "min_parallel_index_scan_size": "64MB",
        }
        timeout_s = READ_TIMEOUT_MS / 1000 + 1
        return await self._pool("reader", "tollgate-ledger-reader", settings, timeout_s, connections_max)

    async def workers(self, connections_max: int) -> Pool:
        """As the writer, for several short statements at a time. Connects when first used."""
        settings, timeout_s = _write_limits(WRITE_TIMEOUT_MS), WRITE_TIMEOUT_MS / 1000 + 5
        return await self._pool("writer", "tollgate-ledger-worker", settings, timeout_s, connections_max)

    async def _pool(
        self, purpose: str, name: str, settings: dict[str, str], timeout_s: float, connections_max: int
    ) -> Pool:
        return await asyncpg.create_pool(
            self._url,
            connect=partial(self._dial, purpose),
            min_size=0,
            max_size=connections_max,
            max_inactive_connection_lifetime=60,
            init=self._init,
            **_options(name, settings, timeout_s),
        )

    async def _init(self, connection: Connection) -> None:
        await self._as_role(connection)

    async def _connect(
        self, purpose: str, name: str, settings: dict[str, str], timeout_s: float = WRITE_TIMEOUT_MS / 1000 + 5
    ) -> Connection:
        return await self._dial(purpose, **_options(name, settings, timeout_s))

    async def _dial(self, purpose: str, *_: Any, **options: Any) -> Connection:
        """By URL and login of this moment, whatever a pool was made with; a refused password is
        looked up once more.
        """
        tried, login = self.url_of(purpose), self.made.get(purpose)
        try:
            return await _connected(tried, login, options)
        except asyncpg.InvalidAuthorizationSpecificationError:
            found = None if self._renewed is None else await self._renewed()
            if found is not None:
                self.use(found)
            if login is not None and self.made_again is not None:
                await self.made_again()
            if (self.url_of(purpose), self.made.get(purpose)) == (tried, login) and login is None:
                raise
            return await _connected(self.url_of(purpose), self.made.get(purpose), options)

    async def _as_role(self, connection: Connection) -> Connection:
        if self.restricted:
            await connection.execute(f"SET ROLE {ROLE}")
        return connection


def _options(name: str, settings: dict[str, str], timeout_s: float) -> dict[str, Any]:
    """Of every connection; `timeout_s` of one statement."""
    return {
        "timeout": CONNECT_TIMEOUT_S,
        "command_timeout": timeout_s,
        "server_settings": {"application_name": name, "search_path": SCHEMA, "jit": "off", **settings},
    }


def _write_limits(timeout_ms: int) -> dict[str, str]:
    return {
        "statement_timeout": str(timeout_ms),
        "lock_timeout": str(LOCK_TIMEOUT_MS),
        "idle_in_transaction_session_timeout": str(max(IDLE_IN_TRANSACTION_MS, timeout_ms // 4)),
    }


async def _connected(url: str, login: tuple[str, str | None] | None, options: dict[str, Any]) -> Connection:
    if login is None:
        return await asyncpg.connect(url, **options)
    return await asyncpg.connect(url, user=login[0], password=login[1], **options)


async def ahead(
    connection: Connection, query: str, *arguments: Any, rows: int, timeout_s: float
) -> AsyncGenerator[list[asyncpg.Record]]:
    """What a query finds, so many rows at a time; while some are looked at, the server reads the
    next. In a transaction, and in `aclosing`.

    The connection is busy until the last of them came: nothing else may be asked on it meanwhile.
    """
    cursor = await connection.cursor(query, *arguments, timeout=timeout_s)
    found = await cursor.fetch(rows, timeout=timeout_s)
    while found:
        coming = asyncio.ensure_future(cursor.fetch(rows, timeout=timeout_s))
        try:
            await asyncio.sleep(0)  # the question is sent
            yield found
        finally:
            found = await coming


def _parse_queries(text: str) -> dict[str, str]:
    """`-- name --` begins a query; it ends where the next begins. Comment lines are left out."""
    parts = re.split(r"^-- (\w+) --$", text, flags=re.MULTILINE)
    return {
        name: "\n".join(line for line in body.splitlines() if not line.lstrip().startswith("--")).strip()
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }


SQL = resources.files("services.ledger") / "sql"
QUERIES = {
    name: query
    for file in (
        "queries.sql", "filling.sql", "cube.sql", "latency.sql", "retention.sql", "sinks.sql", "checkpoints.sql", "payload.sql", "price.sql",
    )
    for name, query in _parse_queries((SQL / file).read_text("utf-8")).items()
}  # fmt: skip
"""The files of sql/, by name."""

"""Copies of checkpoints, wherever the operator named: a folder, a bucket (s3://, gs://, az://), a
webhook (https://).

Each target is served by itself, from its own position in the table: one that is down delays
nothing, and gets what it missed later, in order. Nothing is overwritten: a file's name has the hash
of what it holds.

    keys/<number>-<id>.json              who signs
    checkpoints/<number>-<sha256>.json   what was signed
"""

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import structlog

from services.ledger import checkpoint, metrics
from services.ledger.database import DATABASE_ERRORS, QUERIES, Connection, Database
from services.ledger.export_target import SCHEMES, TargetError, open_target
from services.ledger.lock import raise_if_cancelled
from shared.outbound import Outbound, OutboundError
from shared.settings import SettingsError
from shared.waiting import set_within, together

log = structlog.get_logger()

AT_ONCE = 200
IDLE_S = 2.0
PAUSE_S_MAX = 60.0
DEADLINE_S = 30.0
TARGETS_MAX = 8


class CopyError(Exception):
    """The file isn't there."""


class CopyTarget(Protocol):
    label: str
    """For the log, metrics and its row: without credentials."""

    async def put(self, path: str, data: bytes) -> None:
        """Raises CopyError."""
        ...


class Files:
    """A folder or a bucket."""

    def __init__(self, where: str, environ: Mapping[str, str]) -> None:
        self.label = where
        self._where = where
        self._environ = environ

    async def put(self, path: str, data: bytes) -> None:
        try:
            # Opened each time: a folder that isn't mounted yet may be there later.
            target = await asyncio.to_thread(open_target, self._where, self._environ)
            await target.put(path, data)
        except TargetError as error:
            raise CopyError(str(error)) from None


class Webhook:
    """A POST of each file; any 2xx says that it is kept."""

    def __init__(self, url: str, outbound: Outbound) -> None:
        parts = urlsplit(url)
        self.label = f"{parts.scheme}://{parts.hostname}{parts.path} {hashlib.sha256(url.encode()).hexdigest()[:8]}"
        self._url = url
        self._outbound = outbound

    async def put(self, path: str, data: bytes) -> None:
        headers = {
            "content-type": "application/json", "x-tollgate-path": path, "idempotency-key": hashlib.sha256(data).hexdigest(),
        }  # fmt: skip
        try:
            answer = await self._outbound.send(
                "POST",
                self._url,
                headers=headers,
                body=data,
                deadline_ms=int(DEADLINE_S * 1000),
                answer_bytes_max=65_536,
            )
        except OutboundError as error:
            raise CopyError(str(error)) from None
        if not 200 <= answer.status < 300:
            raise CopyError(f"answered {answer.status}")


def targets(text: str, environ: Mapping[str, str], outbound: Outbound) -> list[CopyTarget]:
    """Of TOLLGATE_CHECKPOINT_COPIES: separated by commas. Raises SettingsError."""
    found: list[CopyTarget] = []
    for where in (part.strip() for part in text.split(",")):
        scheme = where.partition("://")[0].lower() if "://" in where else ""
        if not where:
            continue
        if scheme in ("http", "https"):
            found.append(Webhook(where, outbound))
        elif scheme in ("", "file", *SCHEMES):
            found.append(Files(where.rstrip("/"), environ))
        else:
            raise SettingsError(
                f"TOLLGATE_CHECKPOINT_COPIES: {where[:60]!r}: a folder, https://, {', '.join(f'{name}://' for name in SCHEMES)}"
            )
    if len(found) > TARGETS_MAX:
        raise SettingsError(f"TOLLGATE_CHECKPOINT_COPIES: at most {TARGETS_MAX} places")
    return found


class Copies:
    """Runs beside the checkpoints, in the same process. One connection for all targets: sending is
    what takes time.
    """

    def __init__(self, database: Database, copy_to: list[CopyTarget], stopping: asyncio.Event) -> None:
        self._database = database
        self._targets = copy_to
        self._stopping = stopping
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()

    async def run(self) -> None:
        try:
            await together(self._stopped(), *map(self._serve, self._targets))
        finally:
            self._drop()

    async def _stopped(self) -> None:
        """It runs also where there is nothing to copy to."""
        await self._stopping.wait()

    async def _serve(self, target: CopyTarget) -> None:
        pause_s = 1.0
        while not self._stopping.is_set():
            wait_s = IDLE_S
            try:
                await self.catch_up(target)
                pause_s = 1.0
            except (CopyError, TimeoutError) as error:
                metrics.CHECKPOINT_COPY_FAILURES.labels(target.label).inc()
                log.warning("checkpoint_not_copied", target=target.label, reason=str(error)[:200] or "timeout")
                wait_s = pause_s = min(PAUSE_S_MAX, pause_s * 2)
            except DATABASE_ERRORS as error:
                raise_if_cancelled()
                log.warning("copying_interrupted", error=type(error).__name__)
                self._drop()
            await set_within(self._stopping, wait_s)

    async def catch_up(self, target: CopyTarget) -> None:
        """All that the target doesn't have. Raises CopyError, TimeoutError, or one of
        DATABASE_ERRORS.
        """
        while not self._stopping.is_set():
            n, key_number = await self._position(target)
            keys = [row for row in await self._fetch(QUERIES["checkpoint_keys"]) if row["number"] > key_number]
            rows = await self._fetch(QUERIES["checkpoint_after"], n, AT_ONCE)
            if not keys and not rows:
                return
            for row in keys:
                await self._put(target, checkpoint.key_file(row["number"], row["id"]), row["envelope"])
            if keys:
                key_number = keys[-1]["number"]
            for row in rows:
                signed = checkpoint.envelope(row["envelope"])
                await self._put(target, checkpoint.checkpoint_file(row["n"], signed), row["envelope"])
                n = row["n"]
            async with self._turn:
                await (await self._open()).execute(QUERIES["checkpoint_copy_move"], target.label, n, key_number)
            metrics.CHECKPOINT_COPIED.labels(target.label).set(n)

    async def _put(self, target: CopyTarget, path: str, text: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            await target.put(path, text.encode())

    async def _position(self, target: CopyTarget) -> tuple[int, int]:
        rows = await self._fetch(QUERIES["checkpoint_copied"], target.label)
        return (rows[0]["n"], rows[0]["key_number"]) if rows else (0, 0)

    async def _fetch(self, query: str, *arguments: object) -> list[dict[str, Any]]:
        async with self._turn:
            return [dict(row) for row in await (await self._open()).fetch(query, *arguments)]

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._database.writer()
        return self._connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

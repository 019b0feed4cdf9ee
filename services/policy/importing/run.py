"""`python -m services.policy import-litellm [--dry-run] [--overwrite]`: rows on standard input,
facts into CONTROL.

Each line is `{"table": ..., "row": {...}}`; the last is `{"left": {table: rows}}`, of what nobody
reads. It may be stopped and run again, and services may run meanwhile: what they change at the same
instant is looked at once more.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

import msgspec
import nats.errors
from nats.aio.client import Client

from services.policy import offline
from services.policy.config import PolicySettings
from services.policy.importing import plan, rows
from services.policy.importing.plan import Tally
from services.policy.importing.secrets import VARIABLES, Secrets
from services.policy.offline import Stopped
from services.policy.plan import Change
from services.policy.replica import Replica
from shared import logging, sealing, settings
from shared.clock import unix_ms
from shared.decoding import UNREADABLE
from shared.errors import RefusedError
from shared.facts import Caller, decode_control, encode_control
from shared.sealing import SealingError
from shared.settings import SettingsError

CHUNK_ROWS = 200
LINE_BYTES_MAX = 4 * 1024 * 1024
REMARKS_SHOWN_MAX = 1_000
ACTOR = Caller(user_id="import-litellm", role="proxy_admin")


class _Line(msgspec.Struct):
    table: str = ""
    row: dict[str, Any] = {}
    left: dict[str, int] | None = None


def main(arguments: list[str]) -> int:
    """Exit status: 0 everything is here; 1 stopped, or rows were refused."""
    parser = argparse.ArgumentParser(prog="import-litellm", description=__doc__)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args(arguments)
    logging.configure("policy")
    try:
        wanted = settings.read(PolicySettings, os.environ)
        keys = [value for name in VARIABLES if (value := os.environ.get(name))]
        secrets = Secrets(keys, sealing.ring(os.environ))
        tally = asyncio.run(_run(wanted, sys.stdin.buffer, secrets, dry_run=given.dry_run, overwrite=given.overwrite))
    except (SettingsError, Stopped, RefusedError, OSError, TimeoutError, nats.errors.Error) as error:
        print(
            f"import-litellm: stopped: {str(error) or type(error).__name__}. What was written stands; run it again.",
            file=sys.stderr,
        )
        return 1
    for remark in tally.remarks[:REMARKS_SHOWN_MAX]:
        print(f"  {remark}")
    if len(tally.remarks) > REMARKS_SHOWN_MAX:
        print(f"  and {len(tally.remarks) - REMARKS_SHOWN_MAX} more")
    print("would be written (nothing was):" if given.dry_run else "imported:")
    for line in plan.summary(tally):
        print(f"  {line}")
    return 1 if tally.refused else 0


async def _run(wanted: PolicySettings, lines: BinaryIO, secrets: Secrets, *, dry_run: bool, overwrite: bool) -> Tally:
    async with offline.connected(wanted) as client:
        return await import_rows(client, lines, secrets, dry_run=dry_run, overwrite=overwrite)


async def import_rows(
    client: Client, lines: BinaryIO, secrets: Secrets, *, dry_run: bool = False, overwrite: bool = False
) -> Tally:
    """Raises Stopped, or RefusedError where the broker refuses."""
    async with offline.following(client) as replica:
        return await _Import(client, replica, secrets, dry_run=dry_run, overwrite=overwrite).all(lines)


class _Import:
    def __init__(self, client: Client, replica: Replica, secrets: Secrets, *, dry_run: bool, overwrite: bool) -> None:
        self._client, self._replica = client, replica
        self._dry_run, self._overwrite = dry_run, overwrite
        self._secrets = secrets
        self._source = rows.Source(secrets)
        self.tally = Tally()

    async def all(self, lines: BinaryIO) -> Tally:
        ended = False
        chunk: list[_Line] = []
        table = ""
        for line in _lines(lines):
            if line.left is not None:
                ended = True
                for name, number in line.left.items():
                    self.tally.remark(name, f"{number} rows, which aren't taken over")
                continue
            if self._source.keep(line.table, line.row):
                continue
            if len(chunk) >= CHUNK_ROWS or line.table != table:  # a table's rows refer to those of the tables before it
                await self._chunk(chunk)
                chunk, table = [], line.table
            chunk.append(line)
        await self._chunk(chunk)
        if not ended:
            raise Stopped("the rows broke off")
        return self.tally

    async def _chunk(self, chunk: list[_Line]) -> None:
        """All of its rows, planned on what is there now and written while that is so."""
        planned = partial(self._planned, chunk)
        changes, tally = await offline.write_planned(self._client, self._replica, planned, ACTOR, dry_run=self._dry_run)
        if self._dry_run:
            self._pretend(changes)
        self.tally.add(tally)

    def _pretend(self, changes: list[Change]) -> None:
        """Later rows of a dry run see what earlier ones would have written: in this process's copy
        alone.
        """
        for publication in offline.publications(changes, ACTOR):
            data = encode_control(publication.fact)
            self._replica.directory.apply(publication.subject, decode_control(data), publication.expected_seq)

    def _planned(self, chunk: list[_Line]) -> tuple[list[Change], Tally]:
        tally, taken = Tally(), set[str]()
        changes: dict[str, Change] = {}
        for line in chunk:
            place = f"{line.table} {_name(line)}"
            try:
                found = rows.read(self._source, line.table, line.row, unix_ms())
                planned = plan.planned(
                    self._replica.directory, self._secrets, found, place, taken, tally, overwrite=self._overwrite
                )
                changes.update((each.subject, each) for each in planned)
            except RefusedError as refused:
                tally.count(line.table, "refused")
                tally.remark(place, f"refused: {refused.refusal.message}")
            except (KeyError, ValueError, TypeError, AttributeError, SealingError) as error:
                tally.count(line.table, "refused")
                tally.remark(place, f"refused: it can't be read ({type(error).__name__})")
        return list(changes.values()), tally


def _lines(lines: BinaryIO) -> Iterator[_Line]:
    decode = msgspec.json.Decoder(_Line).decode
    while line := lines.readline(LINE_BYTES_MAX):
        try:
            yield decode(line)
        except UNREADABLE:
            raise Stopped("a row can't be read") from None


def _name(line: _Line) -> str:
    """What the row is called; of a key its digest's beginning."""
    ids_ = ("key_alias", "team_id", "organization_id", "project_id", "user_id", "tag_name", "token")
    if line.table in ("LiteLLM_VerificationToken", "LiteLLM_DeprecatedVerificationToken"):
        alias = line.row.get("key_alias")
        return str(alias or str(line.row.get("token"))[:12])[:80]
    own = {
        "LiteLLM_UserTable": "user_id", "LiteLLM_EndUserTable": "user_id", "LiteLLM_ProjectTable": "project_id",
        "LiteLLM_BudgetTable": "budget_id", "LiteLLM_CredentialsTable": "credential_name", "LiteLLM_ProxyModelTable": "model_name",
    }  # fmt: skip
    name = own.get(line.table) or next((each for each in ids_ if each in line.row), "")
    return str(line.row.get(name))[:80]

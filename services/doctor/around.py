"""Everything that isn't the broker: the configuration file, the database, other services, the data
directory.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import asyncpg

from services.doctor.diagnosis import Diagnosis, user_of
from shared import config
from shared.config import ConfigError
from shared.settings import SettingsError
from shared.subjects import PERMISSIONS

TIMEOUT_S = 5.0
FREE_BYTES_MIN = 1024**3
SKEW_S_MAX = 2.0
SERVER_VERSION_MIN = 140_000
PROBES = {"edge": 4001, "ledger": 4101, "policy": 4201, "moderation": 4301}


async def configuration(environ: Mapping[str, str]) -> list[Diagnosis]:
    """As the service reads it whose environment this is: it has its own secrets alone."""
    path, user = environ.get("TOLLGATE_CONFIG", "config.example.yaml"), user_of(environ)
    try:
        loaded = config.load(path, environ, user if user in PERMISSIONS else None)
    except (ConfigError, SettingsError) as error:
        return [Diagnosis("wrong", "configuration", str(error))]
    found = [Diagnosis("ok", "configuration", f"{path}: {len(loaded.model_names)} models")]
    found += [Diagnosis("warning", "configuration", warning) for warning in loaded.warnings]
    return found


async def database(environ: Mapping[str, str]) -> list[Diagnosis]:
    url = environ.get("TOLLGATE_DATABASE_URL", "")
    if not url:
        return [Diagnosis("skipped", "database", "TOLLGATE_DATABASE_URL isn't set (only the ledger has it)")]
    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        return [Diagnosis("wrong", "database", f"not reached: {type(error).__name__}: {str(error)[:120]}")]
    try:
        return await _database(connection)
    finally:
        connection.terminate()


async def _database(connection: "asyncpg.Connection[asyncpg.Record]") -> list[Diagnosis]:
    version = int(await connection.fetchval("SHOW server_version_num"))
    level = "ok" if version >= SERVER_VERSION_MIN else "wrong"
    found = [Diagnosis(level, "database", f"PostgreSQL {version // 10_000}; 14 or later is needed")]
    if await connection.fetchval("SELECT pg_is_in_recovery()"):
        found.append(
            Diagnosis(
                "wrong", "database", "it is a standby: name all hosts and target_session_attrs=read-write in the URL"
            )
        )
    skew_s = time.time() - float(await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())"))
    if abs(skew_s) > SKEW_S_MAX:
        found.append(Diagnosis("warning", "clock", f"{skew_s:+.1f} s from the database's"))
    applied = await connection.fetchval("SELECT to_regclass('tollgate.schema_migration')")
    if applied is None:
        found.append(Diagnosis("warning", "schema", "not made yet: the ledger does at its start"))
    else:
        last = await connection.fetchval("SELECT max(name) FROM tollgate.schema_migration")
        found.append(Diagnosis("ok", "schema", str(last)))
        anomalies = await connection.fetchval(
            "SELECT count(*) FROM tollgate.anomalies WHERE at > now() - interval '1 day'"
        )
        if anomalies:
            found.append(
                Diagnosis("warning", "book", f"{anomalies} anomalies in a day: look into the table tollgate.anomalies")
            )
    if await connection.fetchval("SHOW synchronous_commit") == "off":
        found.append(Diagnosis("wrong", "database", "synchronous_commit is off: a crash loses what was acknowledged"))
    if await connection.fetchval("SHOW fsync") == "off":
        found.append(Diagnosis("wrong", "database", "fsync is off"))
    return found


async def services(environ: Mapping[str, str]) -> list[Diagnosis]:
    """Where they are on this machine, or where TOLLGATE_<SERVICE>_PROBE_HOST and _PORT say."""
    found = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session:
        for kind, port in PROBES.items():
            host = environ.get(f"TOLLGATE_{kind.upper()}_PROBE_HOST", "127.0.0.1").replace("0.0.0.0", "127.0.0.1")  # noqa: S104
            address = f"{host}:{environ.get(f'TOLLGATE_{kind.upper()}_PROBE_PORT', port)}"
            try:
                async with session.get(f"http://{address}/ready") as answer:
                    said = await answer.json(content_type=None)
                    level = "ok" if answer.status == 200 else "wrong"
                    found.append(
                        Diagnosis(level, kind, str(said.get("reason", said.get("status", ""))) + f" ({address})")
                    )
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                found.append(Diagnosis("skipped", kind, f"nobody answers at {address}"))
    return found


async def disk(environ: Mapping[str, str]) -> list[Diagnosis]:
    """The edge's journals lie there."""
    path = Path(environ.get("TOLLGATE_DATA_DIR", ".tollgate"))
    if not path.is_dir():  # noqa: ASYNC240 - a command, not a service
        return [Diagnosis("skipped", "data directory", f"{path} isn't there yet")]
    if not os.access(path, os.W_OK):
        return [Diagnosis("wrong", "data directory", f"{path} can't be written by this user")]
    state = os.statvfs(path)
    free = state.f_bavail * state.f_frsize
    waiting = sum(file.stat().st_size for file in path.glob("edge-*/journal"))  # noqa: ASYNC240
    level = "warning" if free < FREE_BYTES_MIN or waiting else "ok"
    return [Diagnosis(level, "data directory", f"{free // 1024**2} MiB free, {waiting} bytes of journals waiting")]

"""The ledger's settings: `TOLLGATE_<FIELD>`, read once at start."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import msgspec

from services.ledger import retention
from services.ledger.database import Database, Given
from services.ledger.retention import Terms
from shared import settings
from shared.config import Config
from shared.config.schema import GeneralSettings
from shared.settings import SettingsError
from shared.startup import Source

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Count = Annotated[int, msgspec.Meta(ge=1)]


POOL_CONNECTIONS_MAX = 200
PAYLOAD_RETENTION = "30d"


class LedgerSettings(msgspec.Struct, frozen=True, kw_only=True):
    nats_url: str = "nats://127.0.0.1:4222"
    database_url: str = ""
    """Empty: `general_settings.database_url` of the configuration file. PostgreSQL itself, or a
    pooler that keeps sessions: advisory locks live in them."""
    database_owner_url: str = ""
    """The login that owns the book and migrates it, where `database_url` is one that can only add
    to it. Empty: `database_url` owns the book, and logins for writing, reading and retention are
    made at the start, if it may."""
    database_reader_url: str = ""
    """A login that can only read, for questions over HTTP, exports and `verify`."""
    database_keeper_url: str = ""
    """A login that can only call retention's functions."""
    config: str = "config.example.yaml"
    ledger_host: str = "127.0.0.1"
    ledger_port: Port = 4100
    ledger_probe_host: str = "127.0.0.1"
    ledger_probe_port: Port = 4101
    traffic_shards: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """How many `traffic.<shard>` subjects the edges write, at least: the stream keeps the number,
    edges and ledgers read it from there, and it never goes down. Each shard has one recorder, on
    one of the ledgers."""
    stream_replicas: Annotated[int, msgspec.Meta(ge=0, le=5)] = 0
    """Of TRAFFIC, on a cluster of NATS servers: 3. 0: as the stream is."""
    traffic_stream_bytes_max: Annotated[int, msgspec.Meta(ge=1_048_576)] = 8 * 1024**3
    """Of the TRAFFIC stream where it must be made. When it is full, the broker refuses facts and
    edges fall back to their journals.
    """
    cache_bytes_max: Annotated[int, msgspec.Meta(ge=1_048_576)] = 128 * 1024**2
    """Of the broker's memory, for the answers that all edges share (`litellm_settings.cache`); the
    oldest ones go first.
    """
    traffic_keep_hours: Annotated[float, msgspec.Meta(ge=0)] = 24
    """How long recorded messages stay in TRAFFIC, should the book have to be restored from a
    backup. When the stream is half full, recorded messages go at once."""
    expire_check_ms: Count = 1_000
    expire_slack_ms: Annotated[int, msgspec.Meta(ge=0)] = 5_000
    """Added to a call's own `expires_at_ms`, for clocks that differ."""
    batch_messages_max: Count = 500
    batch_bytes_max: Annotated[int, msgspec.Meta(ge=1024)] = 4 * 1024**2
    """About 10,000 facts."""
    linger_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 20
    """A quiet stream's messages are gathered this long, so that the database does at most 50 small
    transactions a second.
    """
    gather_ms: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 200
    """A busy stream's messages are gathered this long after those before them: what a transaction
    costs, and what it adds to the same sums, is then shared by more of them. A message that comes
    alone waits for `linger_ms` only."""
    spend_logs_retention: str = ""
    """How long rows of request_log stay (`general_settings.maximum_spend_logs_retention_period`):
    30d, 4w, 12mo. Empty: for ever.
    """
    audit_logs_retention: str = ""
    """The same of the audit log (`maximum_audit_logs_retention_period`), by whole months."""
    rollup_retention: str = ""
    """The same of sums (`maximum_rollup_retention_period`), by whole months."""
    payload_retention: str = ""
    """The same of prompts and answers (`maximum_payload_retention_period`), by days; empty: 30d."""
    payload_stream_bytes_max: Annotated[int, msgspec.Meta(ge=1_048_576)] = 1024**3
    """Of the PAYLOAD stream where it must be made."""
    retention_interval: str = ""
    """How often retention runs (`maximum_spend_logs_retention_interval`); empty: daily."""
    retention_cron: str = ""
    """When it runs, in UTC (`maximum_spend_logs_cleanup_cron`); goes before the interval."""
    export_url: str = ""
    """Where `POST /export` and the schedule put the book's days: a folder, s3://bucket/prefix,
    gs://..., az://... Empty: nowhere.
    """
    export_format: Literal["parquet", "csv", "jsonl"] = "parquet"
    export_proof: bool = False
    """With what it takes to check the files without the database (`export --proof`): 64 bytes a row
    more.
    """
    export_cron: str = ""
    """When all whole days that aren't there yet are exported, in UTC. Empty: only when asked."""
    sink_networks: str = ""
    """Private networks that sinks named by keys and teams may go to: comma-separated, like
    10.1.0.0/16.
    """
    checkpoint_minutes: Annotated[float, msgspec.Meta(ge=0)] = 10
    """How often the ends of all chains are signed, also when nothing happened. 0: never."""
    checkpoint_copies: str = ""
    """Where copies of the checkpoints go, separated by commas: a folder, s3://bucket/prefix,
    gs://..., az://..., https:// (a webhook). Choose a place that the database's owner can't
    write."""
    checkpoint_key: str = ""
    """What signs them: an Ed25519 key (PEM, or 32 bytes in base64), or a reference to a secret
    (`vault/...`, `file/...`). Empty: made, and kept in `checkpoint.key` in the data directory;
    several ledgers need the same one."""
    checkpoint_old_keys: str = ""
    """Keys before that one, separated by commas: the last of them signs that the new one follows
    it.
    """
    data_dir: str = ".tollgate"
    """For `checkpoint.key`."""
    ledger_pool_connections: Annotated[int, msgspec.Meta(ge=1, le=POOL_CONNECTIONS_MAX)] = 8
    """For questions over HTTP. Beside them: two connections for each stream recorded here."""


def database(found: LedgerSettings, renewed: Callable[[], Awaitable[str | None]] | None = None) -> Database:
    given = Given(found.database_owner_url, found.database_reader_url, found.database_keeper_url)
    return Database(found.database_url, renewed, given)


def terms(settings: LedgerSettings) -> Terms:
    """Raises SettingsError."""
    return Terms(
        retention.days("maximum_spend_logs_retention_period", settings.spend_logs_retention),
        retention.days("maximum_audit_logs_retention_period", settings.audit_logs_retention),
        retention.days("maximum_rollup_retention_period", settings.rollup_retention),
        retention.days("maximum_payload_retention_period", settings.payload_retention or PAYLOAD_RETENTION),
    )


def _pool(found: LedgerSettings, in_file: int | None, environ: Mapping[str, str]) -> int:
    """Ours, where the environment says it; else the file's."""
    if in_file is None or environ.get("TOLLGATE_LEDGER_POOL_CONNECTIONS"):
        return found.ledger_pool_connections
    return max(1, min(in_file, POOL_CONNECTIONS_MAX))


class Loaded(NamedTuple):
    settings: LedgerSettings
    source: Source | None
    """None: there is no configuration file, and none is needed."""

    @property
    def file(self) -> Config | None:
        """For models' prices and for sinks."""
        return None if self.source is None else self.source.config


async def load(environ: Mapping[str, str]) -> Loaded:
    """Settings with the database found (ours, the file's, LiteLLM's DATABASE_URL), and the file's
    terms where the environment has none.

    Raises SettingsError or ConfigError."""
    found = settings.read(LedgerSettings, environ)
    if found.database_url and not await asyncio.to_thread(Path(found.config).is_file):
        return Loaded(found, None)
    source = await Source.open(found.config, environ, "ledger")
    try:
        return Loaded(completed(source), source)
    except BaseException:
        await source.close()
        raise


async def read(environ: Mapping[str, str]) -> LedgerSettings:
    """The settings of `load`, for a command that ends."""
    loaded = await load(environ)
    if loaded.source is not None:
        await loaded.source.close()
    return loaded.settings


def _rows_stay(general: GeneralSettings) -> str:
    return "1d" if general.disable_spend_logs else general.maximum_spend_logs_retention_period or ""


def completed(source: Source) -> LedgerSettings:
    """Of what the source says now. Raises SettingsError."""
    file, plain = source.config, source.environ
    found = settings.read(LedgerSettings, plain)
    url, general = file.database_url.reveal() if file.database_url else plain.get("DATABASE_URL", ""), file.general
    if not found.database_url and not url:
        raise SettingsError(
            "no database: set TOLLGATE_DATABASE_URL or DATABASE_URL, or general_settings.database_url in the configuration file"
        )
    return msgspec.structs.replace(
        found,
        database_url=found.database_url or url,
        ledger_pool_connections=_pool(found, general.database_connection_pool_limit, plain),
        spend_logs_retention=found.spend_logs_retention or _rows_stay(general),
        audit_logs_retention=found.audit_logs_retention or general.maximum_audit_logs_retention_period or "",
        rollup_retention=found.rollup_retention or general.maximum_rollup_retention_period or "",
        payload_retention=found.payload_retention or general.maximum_payload_retention_period or "",
        retention_interval=found.retention_interval or general.maximum_spend_logs_retention_interval or "",
        retention_cron=found.retention_cron or general.maximum_spend_logs_cleanup_cron or "",
    )

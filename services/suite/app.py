"""`python -m services`: what is started, in which order, with which settings.

    nats, postgres  →  policy, moderation, ledger  →  edge

Exit status: 0 after a clean stop, 1 when something failed or had to be killed, 2 for a setting that
can't be used.
"""

import argparse
import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import structlog

from services.suite import nats, postgres
from services.suite.banner import banner, http_url
from services.suite.datadir import DataDir, Running, SuiteState, choose_port
from services.suite.ports import require_free
from services.suite.probe import status_of
from services.suite.process import Program, StartError
from services.suite.settings import LOOPBACK, ListeningPort, Member, SuiteSettings, members
from services.suite.supervisor import Supervisor
from shared import logging, settings, startup
from shared.config import Config, ConfigError, opening
from shared.settings import SettingsError

log = structlog.get_logger()

SECOND_SIGNAL_S = 0.5
"""A signal that comes sooner after the first is its echo (a terminal and a `make` both send
one).
"""
_SECRET = ("TOLLGATE_DATABASE_URL", "TOLLGATE_NATS_URL_")
"""Begin the names of what only one kind of service is told."""
_SEALING = ("LITELLM_SALT_KEY", "TOLLGATE_OLD_SALT_KEYS")
"""Moderation has nothing to open."""
EDGE_STOP_SLACK_S = 15.0
"""On top of the edge's own drain limit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM; a second one kills what is still stopping."""
    os.umask(0o077)  # what the children write (streams, journals, the book) is nobody else's to read
    logging.configure("suite")
    parser = argparse.ArgumentParser(prog="python -m services", description="Run all of Tollgate on this machine.")
    parser.add_argument("--config", metavar="PATH", help="LiteLLM's config.yaml (or TOLLGATE_CONFIG)")
    chosen = parser.parse_args(arguments).config
    environ = {**os.environ, "TOLLGATE_CONFIG": chosen} if chosen else dict(os.environ)
    try:
        suite_settings = settings.read(SuiteSettings, environ)
        configuration, plain = asyncio.run(startup.configuration(suite_settings.config, environ, "suite"))
        print(_about(suite_settings.config, configuration), file=sys.stderr)
        opening.refuse(configuration.master_key, suite_settings.edge_host, allow=configuration.allow_open_gateway)
        data = DataDir.open(suite_settings.data_dir)
        try:
            return asyncio.run(
                _live(Suite(suite_settings, configuration, environ, data, plain.get("DATABASE_URL", "")))
            )
        finally:
            data.close()
    except (SettingsError, ConfigError) as error:
        print(f"tollgate: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the loop took the signal over
        return 1


def _about(file: str, configuration: Config) -> str:
    """One block: what of the file isn't acted on."""
    idle = sum(key.verdict in ("no effect", "unknown") for key in configuration.keys)
    left_out = [f"  {each.model_name or each.place} is left out: {each.reason}" for each in configuration.left_out]
    words = f"tollgate: {file}: {len(configuration.keys)} keys, {idle} of them without effect (tollgate check-config says which and why)"
    return "\n".join([words, *left_out])


class Suite:
    """The parts and how they fit: settings in, programs out.

    Args:
        environ: as it was given: what is encrypted in it goes to the services encrypted.
        database_url: LiteLLM's DATABASE_URL, where the file names none.

    Making one checks the ports and makes the embedded servers' files. Raises SettingsError, with
    nothing started.
    """

    def __init__(
        self,
        suite_settings: SuiteSettings,
        configuration: Config,
        environ: Mapping[str, str],
        data: DataDir,
        database_url: str = "",
    ) -> None:
        self.settings = suite_settings
        self.config = configuration
        self.members = members(suite_settings)
        self.ready = False
        self._environ = environ
        self._data = data
        self._embedded = data.remembered()
        in_file = configuration.database_url
        self._told_database_url = suite_settings.database_url
        """What the ledger is told; a URL of the file or of the environment it finds, and decrypts,
        by itself.
        """
        self._database_url = self._told_database_url or (in_file.reveal() if in_file else database_url)
        listeners = self._listeners()
        require_free(listeners)
        servers = self._servers({listener.port for listener in listeners})
        self._shown_database_url = self._without_secret()
        inner = [self._service(member) for member in self.members if member.kind != "edge"]
        edges = [self._service(member) for member in self.members if member.kind == "edge"]
        self.supervisor = Supervisor([servers, inner, edges], self.write_state)

    def _listeners(self) -> list[ListeningPort]:
        """Every port that has to be this one. The embedded servers take any, unless they were told
        which.
        """
        listeners = [listener for member in self.members for listener in member.listeners]
        if not self.settings.nats_url and self.settings.nats_port:
            listeners.append(ListeningPort("NATS", LOOPBACK, self.settings.nats_port, "TOLLGATE_NATS_PORT"))
        if not self._database_url and self.settings.postgres_port:
            listeners.append(
                ListeningPort("PostgreSQL", LOOPBACK, self.settings.postgres_port, "TOLLGATE_POSTGRES_PORT")
            )
        return listeners

    def _servers(self, taken: set[int]) -> list[Program]:
        """NATS and PostgreSQL, each unless another one was named. `taken`: ports already spoken
        for.
        """
        embedded, data = self._embedded, self._data
        embedded.nats_port = choose_port(self.settings.nats_port, embedded.nats_port, taken)
        embedded.nats_monitor_port = choose_port(0, embedded.nats_monitor_port, taken)
        embedded.postgres_port = choose_port(self.settings.postgres_port, embedded.postgres_port, taken)
        nats.add_passwords(embedded)
        data.remember(embedded)
        servers = []
        if not self.settings.nats_url:
            servers.append(nats.program(data, embedded, self.settings.nats_sync))
        if not self._database_url:
            servers.append(postgres.program(data, embedded))
            self._database_url = self._told_database_url = postgres.url(embedded)
        return servers

    def _service(self, member: Member) -> Program:
        stop_s = self.settings.edge_drain_ms / 1000 + EDGE_STOP_SLACK_S if member.kind == "edge" else 20.0

        async def ready(_: int) -> bool:
            return await status_of(member.probe_port, "/ready") == 200

        return Program(
            name=member.name,
            command=[sys.executable, "-m", f"services.{member.kind}"],
            env=self._environment(member),
            ready=ready,
            port=member.api.port if member.api else member.probe_port,
            probe_port=member.probe_port,
            stop_s=stop_s,
            reloads=True,
        )

    def _environment(self, member: Member) -> dict[str, str]:
        """Ours, with what this service alone is told: its own NATS user, and the database only for
        the ledger.
        """
        env = {name: value for name, value in self._environ.items() if not name.startswith(_SECRET)}
        env["TOLLGATE_CONFIG"] = str(Path(self.settings.config).absolute())
        env["TOLLGATE_DATA_DIR"] = str(self._data.path)
        env["TOLLGATE_NATS_URL"] = self._nats_url(member.kind)
        env["TOLLGATE_EDGE_HOST"] = self.settings.edge_host
        env.update((listener.variable, str(listener.port)) for listener in member.listeners)
        if member.kind == "moderation":
            for name in _SEALING:
                env.pop(name, None)
        if member.kind == "ledger":
            if self._told_database_url:
                env["TOLLGATE_DATABASE_URL"] = self._told_database_url
            env["TOLLGATE_LEDGER_HOST"] = self.settings.ledger_host
        if member.kind == "edge":
            env["TOLLGATE_EDGE_DRAIN_IDLE_MS"] = str(self.settings.edge_drain_idle_ms)
            env.setdefault("TOLLGATE_LEDGER_URL", self._urls("ledger")[0])
        return env

    def _nats_url(self, user: str) -> str:
        """Of an operator's own broker: as it was given for this service, or for all."""
        given = getattr(self.settings, f"nats_url_{user}", "") or self.settings.nats_url
        return given or nats.url(self._embedded, user)

    def _urls(self, kind: str) -> list[str]:
        urls = [http_url(member.api) for member in self.members if member.kind == kind and member.api is not None]
        if kind == "edge" and any(
            os.environ.get(name) for name in ("TOLLGATE_EDGE_TLS_CERT_FILE", "SSL_CERTFILE_PATH")
        ):
            urls = [url.replace("http://", "https://", 1) for url in urls]
        return urls

    def state(self) -> SuiteState:
        return SuiteState(
            supervisor_pid=os.getpid(),
            ready=self.ready,
            edge_urls=self._urls("edge"),
            ledger_urls=self._urls("ledger"),
            nats_url=self._nats_url(nats.OPERATOR),
            nats_control_url=self._nats_url(nats.CONTROL_OPERATOR),
            database_url=self._shown_database_url,
            processes={
                child.program.name: Running(
                    pid=child.pid,
                    port=child.program.port,
                    probe_port=child.program.probe_port,
                    restarts=child.restarts,
                )
                for child in self.supervisor.children
            },
        )

    def _without_secret(self) -> str:
        """A URL that was given as a secret (a ciphertext, a reference) isn't written down in the
        clear.
        """
        url = self._database_url
        if self._told_database_url or url in self._environ.values() or url in Path(self.settings.config).read_text():
            return url
        return re.sub(r"(?<=:)[^:@/]*(?=@)", "***", url)

    def write_state(self) -> None:
        """Keep `suite.json` current. A full disk must not end the suite: the file is for tools."""
        try:
            self._data.write("suite.json", msgspec.json.format(msgspec.json.encode(self.state())))
        except OSError as error:
            log.error("state_not_written", error=str(error))


async def _live(suite: Suite) -> int:
    stopping, hurry = asyncio.Event(), asyncio.Event()
    _listen_to_signals(stopping, hurry)
    if not sys.stdin.isatty():  # a terminal that is closed ends what it started
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, suite.supervisor.reload)
    starting = asyncio.create_task(suite.supervisor.start())
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait({starting, told}, return_when=asyncio.FIRST_COMPLETED)
    status = 0
    if starting.done() and (failure := starting.exception()) is not None:
        status = _report(failure)
    elif not stopping.is_set():
        suite.ready = True
        suite.write_state()
        print(banner(suite.state(), suite.config), flush=True)
        await told
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    log.info("stopping")
    suite.ready = False
    clean = await suite.supervisor.stop(hurry)
    suite.write_state()
    log.info("stopped")
    return status or (0 if clean else 1)


def _report(failure: BaseException) -> int:
    """Say why the start failed. The exit status for it."""
    if isinstance(failure, BaseExceptionGroup):
        for inner in failure.exceptions:
            if isinstance(inner, StartError):
                print(f"tollgate: {inner}", file=sys.stderr)
                return inner.status
    raise failure


def _listen_to_signals(stopping: asyncio.Event, hurry: asyncio.Event) -> None:
    first_at = 0.0

    def received() -> None:
        nonlocal first_at
        if not stopping.is_set():
            first_at = time.monotonic()
            stopping.set()
        elif time.monotonic() - first_at > SECOND_SIGNAL_S:
            hurry.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, received)

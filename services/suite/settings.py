"""The suite's settings (`TOLLGATE_<FIELD>`), and the list of replicas and ports made from them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from shared.settings import SettingsError

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
AnyPort = Annotated[int, msgspec.Meta(ge=0, le=65535)]
"""0: any free port, remembered in the data directory."""

KINDS = ("policy", "moderation", "ledger", "edge")
REPLICA_PORT_STEP = 10
REPLICAS_MAX = 9
"""Of one kind: with the default ports the tenth edge would meet the ledger's."""

LOOPBACK = "127.0.0.1"


class SuiteSettings(msgspec.Struct, frozen=True, kw_only=True):
    data_dir: str = ".tollgate"
    config: str = "config.example.yaml"
    nats_url: str = ""
    """Set: this broker is used, and none is started."""
    nats_url_policy: str = ""
    """With a broker of one's own: the URL with this service's user; empty: `nats_url`."""
    nats_url_moderation: str = ""
    nats_url_ledger: str = ""
    nats_url_edge: str = ""
    nats_port: AnyPort = 0
    nats_sync: Literal["always", "default"] = "always"
    """always: every message is on the disk before it is acknowledged; default: NATS's own (every
    two minutes).
    """
    database_url: str = ""
    """Set (or `general_settings.database_url`): this PostgreSQL is used, and none is started."""
    postgres_port: AnyPort = 0
    edge_host: str = LOOPBACK
    """0.0.0.0: everybody who can reach this machine can reach the gateway. It then needs a strong
    master key.
    """
    edge_port: Port = 4000
    edge_probe_port: Port = 4001
    edge_drain_ms: Annotated[int, msgspec.Meta(ge=0)] = 60_000
    """The edge's own setting: a stopping suite waits that long for its streams."""
    edge_drain_idle_ms: Annotated[int, msgspec.Meta(ge=0)] = 500
    """The edge's own setting, shorter than its default: mostly everything here ends together. 20000
    where clients go from one edge to the next."""
    ledger_host: str = LOOPBACK
    ledger_port: Port = 4100
    ledger_probe_port: Port = 4101
    policy_probe_port: Port = 4201
    moderation_probe_port: Port = 4301
    replicas: str = ""
    """More of one kind: `edge=2,policy=2`. Replica n listens on the port of the first + 10 × (n -
    1), its probe too.
    """


@dataclass(frozen=True)
class ListeningPort:
    """A place to listen on, and the variable that moves it."""

    what: str
    host: str
    port: int
    variable: str


@dataclass(frozen=True)
class Member:
    """One service process: the nth of its kind."""

    kind: str
    number: int
    listeners: tuple[ListeningPort, ...]
    """The probe first; then, for edge and ledger, the port of its API."""

    @property
    def name(self) -> str:
        """`edge`, `edge-2`."""
        return self.kind if self.number == 1 else f"{self.kind}-{self.number}"

    @property
    def probe_port(self) -> int:
        return self.listeners[0].port

    @property
    def api(self) -> ListeningPort | None:
        return self.listeners[1] if len(self.listeners) > 1 else None


def members(settings: SuiteSettings) -> list[Member]:
    """Every service process to run, in starting order. Raises SettingsError."""
    counts = _replica_counts(settings.replicas)
    return [member for kind in KINDS for member in _of_kind(kind, counts.get(kind, 1), settings)]


def _replica_counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = re.fullmatch(r"([a-z]+)=([0-9]{1,4})", part)
        if match is None or match[1] not in KINDS or not 1 <= int(match[2]) <= REPLICAS_MAX:
            raise SettingsError(
                f"TOLLGATE_REPLICAS: {part!r} is not one of {', '.join(KINDS)}, '=' and a number from 1 to {REPLICAS_MAX}"
            )
        counts[match[1]] = int(match[2])
    return counts


def _of_kind(kind: str, count: int, settings: SuiteSettings) -> Iterator[Member]:
    hosts = {"edge": settings.edge_host, "ledger": settings.ledger_host}
    for number in range(1, count + 1):
        shift = REPLICA_PORT_STEP * (number - 1)
        listeners = [_listener(f"{kind}'s probes", LOOPBACK, f"{kind}_probe_port", shift, settings)]
        if kind in hosts:
            listeners.append(_listener(kind, hosts[kind], f"{kind}_port", shift, settings))
        yield Member(kind, number, tuple(listeners))


def _listener(what: str, host: str, field: str, shift: int, settings: SuiteSettings) -> ListeningPort:
    port = getattr(settings, field) + shift
    variable = f"TOLLGATE_{field.upper()}"
    if port > 65535:
        raise SettingsError(f"{variable}: with TOLLGATE_REPLICAS {what} would need port {port}")
    return ListeningPort(what, host, port, variable)

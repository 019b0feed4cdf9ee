"""TLS, and several servers: both connections of a service, on real brokers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.edge.publisher import WirePublisher
from shared import bus, streams
from shared.bus import BusError
from shared.bus_tls import BusSettings
from shared.requests import CountReply, CountRequest
from shared.settings import SettingsError
from shared.wire import Wire
from tests.support.broker import AccountsBroker
from tests.support.ports import free_port
from tools.k8s_secrets import certificates


class TlsBroker(AccountsBroker):
    """With a certificate for `localhost`."""

    def __init__(self, directory: Path, *, verify: bool = False) -> None:
        super().__init__(directory)
        self.files: dict[str, str] = {}
        for name, text in certificates().items():
            (directory / name).write_text(text)
            self.files[name] = str(directory / name)
        self._verify = verify

    def settings(self) -> dict[str, Any]:
        tls: dict[str, Any] = {"cert_file": self.files["tls.crt"], "key_file": self.files["tls.key"]}
        if self._verify:
            tls |= {"ca_file": self.files["ca.crt"], "verify": True}
        return {**super().settings(), "tls": tls}

    def url(self, user: str) -> str:
        return super().url(user).replace("nats://", "tls://").replace("127.0.0.1", "localhost")


async def not_let_in(broker: TlsBroker) -> None:
    """It goes on trying. (On 3.11 the library may swallow one cancellation: hence more than
    one.)
    """
    trying = asyncio.create_task(bus.connect("edge", broker.url("edge")))
    done, _ = await asyncio.wait({trying}, timeout=1)
    assert not done
    while not trying.done():
        trying.cancel()
        await asyncio.wait({trying}, timeout=0.05)


@pytest.fixture
def broker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsBroker]:
    with TlsBroker(tmp_path) as running:
        monkeypatch.setenv("TOLLGATE_NATS_CA_FILE", running.files["ca.crt"])
        yield running


async def test_questions_streams_and_facts_go_over_tls_on_the_wire(broker: TlsBroker) -> None:
    moderation = await bus.connect("moderation", broker.url("moderation"))
    edge = await bus.connect("edge", broker.url("edge"))
    ledger = await bus.connect("ledger", broker.url("ledger"))
    assert moderation.wire is not None and edge.wire is not None and ledger.wire is not None, "not by the library"
    echo = await bus.answer(
        moderation, "moderation.count", "q", CountRequest, lambda q: CountReply([len(text) for text in q.texts])
    )
    answers = await asyncio.gather(
        *(
            bus.ask(edge, "moderation.count", CountRequest("m", ["x" * n]), CountReply, 2_000, together=True)
            for n in range(50)
        )
    )
    assert [answer.tokens for answer in answers] == [[n] for n in range(50)]
    large = await bus.ask(edge, "moderation.count", CountRequest("m", ["x" * 900_000]), CountReply, 5_000)
    assert large.tokens == [900_000]
    await streams.ensure_traffic(ledger, 64 * 1024**2)
    on_wire: list[bool] = []
    publisher = WirePublisher(edge.wire)
    assert await publisher.publish("traffic.0", "id-1", b"x" * 50_000, lambda: on_wire.append(True), 2_000) == 1
    assert on_wire == [True]
    await echo.drain(1)
    for client in (moderation, edge, ledger):
        await bus.close(client)


async def test_a_certificate_of_somebody_elses_is_refused(
    broker: TlsBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.crt"
    other.write_text(certificates()["ca.crt"])
    monkeypatch.setenv("TOLLGATE_NATS_CA_FILE", str(other))
    await not_let_in(broker)
    assert not await Wire(broker.url("edge"), "edge", BusSettings(nats_ca_file=str(other)).context("tls://x")).start()


async def test_a_certificate_for_another_name_is_refused(broker: TlsBroker) -> None:
    url = broker.url("edge").replace("localhost", "127.0.0.1")
    assert not await Wire(url, "edge", BusSettings(nats_ca_file=broker.files["ca.crt"]).context(url)).start()


async def test_a_server_that_talks_tls_down_is_refused(tmp_path: Path) -> None:
    """Credentials go to nobody in the clear where the URL says tls."""
    with AccountsBroker(tmp_path) as plain:
        url = plain.url("edge").replace("nats://", "tls://")
        assert not await Wire(url, "edge", BusSettings().context(url)).start()


async def test_the_broker_may_want_a_certificate_of_us(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with TlsBroker(tmp_path, verify=True) as broker:
        monkeypatch.setenv("TOLLGATE_NATS_CA_FILE", broker.files["ca.crt"])
        await not_let_in(broker)
        monkeypatch.setenv("TOLLGATE_NATS_CERT_FILE", broker.files["tls.crt"])
        monkeypatch.setenv("TOLLGATE_NATS_KEY_FILE", broker.files["tls.key"])
        client = await bus.connect("edge", broker.url("edge"))
        assert client.wire is not None
        await bus.close(client)


def test_a_file_that_isnt_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="TOLLGATE_NATS_CA_FILE"):
        BusSettings(nats_ca_file="/nowhere").context("tls://x")
    assert BusSettings(nats_ca_file="/nowhere").context("nats://x") is None


async def test_a_server_that_is_away_is_passed_over(tmp_path: Path) -> None:
    with AccountsBroker(tmp_path) as broker:
        dead = [f"nats://edge:x@127.0.0.1:{free_port()}" for _ in range(2)]
        client = await bus.connect("edge", ",".join([*dead, broker.url("edge")]))
        assert client.wire is not None, "the wire looks at all of them, as the library does"
        await bus.close(client)


async def test_a_question_survives_the_loss_of_its_connection(tmp_path: Path) -> None:
    """Where it may be asked again: a broker's rolling restart fails nobody's call."""
    with AccountsBroker(tmp_path) as broker:
        moderation = await bus.connect("moderation", broker.url("moderation"))
        edge = await bus.connect("edge", broker.url("edge"))

        async def slowly(question: CountRequest) -> CountReply:
            await asyncio.sleep(0.1)
            return CountReply([1])

        await bus.answer(moderation, "moderation.count", "q", CountRequest, slowly)
        assert edge.wire is not None
        question = CountRequest("m", ["x"])
        asked = asyncio.create_task(bus.ask(edge, "moderation.count", question, CountReply, 3_000, tries=3))
        await asyncio.sleep(0.02)
        assert edge.wire._connection is not None and edge.wire._connection._transport is not None
        edge.wire._connection._transport.abort()
        assert await asked == CountReply([1])
        with pytest.raises(BusError, match="unreachable"):
            once = asyncio.create_task(bus.ask(edge, "moderation.count", question, CountReply, 3_000))
            await asyncio.sleep(0.02)
            if edge.wire._connection._transport is not None:
                edge.wire._connection._transport.abort()
            else:
                raise BusError("unreachable")
            await once
        for client in (edge, moderation):
            await bus.close(client)

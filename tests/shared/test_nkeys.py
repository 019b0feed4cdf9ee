"""A key of one's own instead of a password: on a real broker, by both connections of a service."""

import asyncio
import base64
import binascii
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared import bus, nkeys
from shared.bus_tls import BusSettings
from shared.requests import CountReply, CountRequest
from shared.settings import SettingsError
from shared.wire import Wire
from shared.wire_connection import WireError
from tests.edge.fakes import until
from tests.support.broker import AccountsBroker
from tests.support.ports import free_port

KNOWN_SEED, KNOWN_KEY = (
    "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY",
    "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4",
)
"""As NATS's own documentation prints them."""


def seed(number: int, kind: int = 20 << 3) -> str:
    raw = bytes([18 << 3 | kind >> 5, (kind & 31) << 3]) + bytes([number]) * 32
    return base64.b32encode(raw + binascii.crc_hqx(raw, 0).to_bytes(2, "little")).decode().rstrip("=")


class KeyBroker(AccountsBroker):
    """Its users are known by keys; `numbers`: user -> which."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.numbers = dict.fromkeys(self._passwords, 1)

    def settings(self) -> dict[str, Any]:
        settings = super().settings()
        for account in settings["accounts"].values():
            for user in account["users"]:
                del user["password"]
                name = user.pop("user")
                user["nkey"] = nkeys.public_key(seed(self.numbers[name] + 10 * list(self._passwords).index(name)))
        return settings

    def seed(self, user: str) -> str:
        return seed(self.numbers[user] + 10 * list(self._passwords).index(user))

    @property
    def bare_url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[KeyBroker]:
    with KeyBroker(tmp_path) as running:
        yield running


async def connected(broker: KeyBroker, user: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bus.BusClient:
    (tmp_path / f"{user}.nk").write_text(broker.seed(user) + "\n")
    monkeypatch.setenv("TOLLGATE_NATS_NKEY_FILE", str(tmp_path / f"{user}.nk"))
    return await asyncio.wait_for(bus.connect(user, broker.bare_url), 5)


def test_a_seed_and_its_key_are_those_of_nats_itself() -> None:
    assert nkeys.public_key(KNOWN_SEED) == KNOWN_KEY


async def test_both_connections_sign_and_go_on_with_a_changed_key(
    broker: KeyBroker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moderation = await connected(broker, "moderation", tmp_path, monkeypatch)
    edge = await connected(broker, "edge", tmp_path, monkeypatch)
    assert moderation.wire is not None and edge.wire is not None
    answering = await bus.answer(
        moderation, "moderation.count", "q", CountRequest, lambda q: CountReply([len(q.texts)])
    )

    async def ask() -> list[int]:
        return (await bus.ask(edge, "moderation.count", CountRequest("m", ["x"]), CountReply, 500)).tokens

    assert await ask() == [1]
    assert await edge.request("$JS.API.STREAM.INFO.TRAFFIC", b"", timeout=2), "the library's too"
    for user in ("moderation", "edge"):
        broker.numbers[user] = 2
        (tmp_path / f"{user}.nk").write_text(broker.seed(user))
    broker.reload()  # who signed with the old keys is put out
    await until(lambda: not (edge.is_up and moderation.is_up))
    await until(lambda: edge.is_up and moderation.is_up)
    assert await ask() == [1]
    await answering.drain(1)
    for client in (moderation, edge):
        await bus.close(client)


async def test_another_key_is_refused(broker: KeyBroker, tmp_path: Path) -> None:
    (tmp_path / "wrong.nk").write_text(seed(200))
    assert not await Wire(broker.bare_url, "edge", None, str(tmp_path / "wrong.nk")).start()
    (tmp_path / "edge.nk").write_text(broker.seed("edge"))
    wire = Wire(broker.bare_url, "edge", None, str(tmp_path / "edge.nk"))
    assert await wire.start()
    await wire.close()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no user's seed"),
        (KNOWN_SEED[:-1] + "A", "damaged|can't be read"),
        (seed(1, 0), "no user's seed"),  # an account's: SA...
        ("SU" + "A" * 56, "damaged|not a user"),
    ],
)
def test_a_file_that_cant_be_used_is_named_and_not_shown(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "nk").write_text(text)
    with pytest.raises(SettingsError, match=why) as refused:
        BusSettings(nats_nkey_file=str(tmp_path / "nk")).nkey()
    assert "TOLLGATE_NATS_NKEY_FILE" in str(refused.value)
    assert not text or text not in str(refused.value)
    with pytest.raises(SettingsError, match="can't be read"):
        BusSettings(nats_nkey_file="/nowhere").nkey()


def test_a_credentials_file_is_a_jwt_and_a_signature(tmp_path: Path) -> None:
    path = tmp_path / "edge.creds"
    path.write_text(
        f"-----BEGIN NATS USER JWT-----\neyJ0.eyJ1.sig\n------END NATS USER JWT------\n\n"
        f"************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{KNOWN_SEED}\n------END USER NKEY SEED------\n"
    )
    said = nkeys.login(str(path), "nonce")
    assert (said.jwt, said.nkey) == ("eyJ0.eyJ1.sig", "") and said.sig


async def test_servers_that_are_away_at_the_start_are_waited_for(tmp_path: Path) -> None:
    """As the library waits; a wire that gave up would leave its service slow for its whole life."""
    broker = AccountsBroker(tmp_path)
    wire = Wire(f"{broker.url('edge')},nats://edge:x@127.0.0.1:{free_port()}", "edge")
    assert await wire.start() and not wire.is_connected
    with broker:
        await until(lambda: wire.is_connected)
        with pytest.raises(WireError, match="no_responders"):
            await wire.request("policy.decide", b"", 2.0)
    await wire.close()

"""TLS on the clients' port: real clients, renewed certificates, and what a client does that speaks
something else.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from services.edge import setup
from services.edge.config import EdgeSettings
from services.edge.http import Certificate, tls
from shared.settings import SettingsError
from tests.edge.fakes import until
from tests.edge.harness import Edge
from tools.k8s_secrets import certificates

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-x\r\n"


class World:
    edge: Edge
    port: int

    def __init__(self, directory: Path) -> None:
        self.cert, self.key, self.ca = (str(directory / name) for name in ("tls.crt", "tls.key", "ca.crt"))
        self.write()

    def write(self) -> None:
        for name, text in certificates().items():
            Path(self.cert).with_name(name).write_text(text)

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca)

    async def serial(self) -> str:
        _, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context(), server_hostname="localhost"
        )
        found: Any = writer.get_extra_info("peercert")
        writer.close()
        return str(found["serialNumber"])


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with Edge({"m": ["mock:over TLS"]}) as made.edge:
        listener = made.edge.server.listener(Certificate(made.cert, made.key))
        listening = socket.create_server(("127.0.0.1", 0))
        made.port = listening.getsockname()[1]
        await listener.listen_on(listening)
        yield made
        await listener.close()


async def test_the_openai_client_over_tls_plain_and_stream(world: World) -> None:
    async with httpx.AsyncClient(verify=world.context()) as inner:
        client = openai.AsyncOpenAI(
            base_url=f"https://localhost:{world.port}/v1", api_key="sk-x", http_client=inner, max_retries=0
        )
        whole = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi " * 200_000}])
        assert whole.choices[0].message.content == "over TLS"
        stream = await client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]) == "over TLS"
    assert len(world.edge.settled()) == 2


async def test_a_refused_body_is_answered_before_the_connection_ends(world: World) -> None:
    reader, writer = await asyncio.open_connection(
        "127.0.0.1", world.port, ssl=world.context(), server_hostname="localhost"
    )
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer sk-x\r\nContent-Length: 99999999999\r\n\r\n"
        + bytes(100_000)
    )
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 5)
    writer.transport.abort()


async def test_plain_http_and_garbage_get_nothing_and_hurt_nobody(world: World) -> None:
    for said in (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"x" * 100, b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        writer.write(said)
        writer.write_eof()
        try:
            assert b"HTTP/1.1 200" not in await asyncio.wait_for(reader.read(), 5)
        except ConnectionError:
            pass
        writer.close()
    async with httpx.AsyncClient(verify=world.context()) as client:
        answer = await client.get(f"https://localhost:{world.port}/health/liveliness")
        assert answer.status_code == 200
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.load_verify_locations(world.ca)
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", world.port, ssl=old, server_hostname="localhost")


async def test_a_client_that_leaves_ends_its_call(world: World) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", world.port, ssl=world.context(), server_hostname="localhost")
    writer.write(POST + b"Content-Length: 500\r\n\r\n{")
    await until(lambda: world.edge.server.running)
    writer.transport.abort()
    await until(lambda: not world.edge.server.running)


async def test_a_renewed_certificate_is_used_and_half_a_pair_is_not(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.edge.http.listener.EVERY_S", 0.0)
    before = await world.serial()
    key = Path(world.key).read_text()
    world.write()
    renewed = Path(world.key).read_text()
    Path(world.key).write_text(key)  # not there yet
    with pytest.raises(ssl.SSLError):  # the old one, which the new authority knows nothing of
        await world.serial()
    Path(world.key).write_text(renewed + "\n")
    assert await world.serial() != before


def test_what_is_no_pair_is_said_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = World(tmp_path)
    assert setup.certificate_of(EdgeSettings(), os.environ) is None
    for cert, key, said in (
        (made.cert, "", "both"),
        ("", made.key, "both"),
        (made.cert, made.ca, "can't be used"),
        ("nowhere", made.key, "nowhere"),
    ):
        with pytest.raises(SettingsError, match=said):
            setup.certificate_of(EdgeSettings(edge_tls_cert_file=cert, edge_tls_key_file=key), os.environ)
    monkeypatch.setenv("SSL_CERTFILE_PATH", made.cert)
    monkeypatch.setenv("SSL_KEYFILE_PATH", made.key)
    found = setup.certificate_of(EdgeSettings(), os.environ)
    assert found is not None and not found.refresh()
    assert tls.HANDSHAKE_S <= 10

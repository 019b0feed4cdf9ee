"""TLS: whose certificates are taken, and that nobody cuts an answer unnoticed."""

import asyncio
import socket
import struct
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from services.edge.upstream import Client, Origin, UpstreamError
from services.edge.upstream.tls import context
from shared.outbound import Guard, Outbound, OutboundError, OutboundSettings
from shared.settings import SettingsError
from tests.edge.upstream.upstream_kit import OK, QUICK, Authority, Make, Peer, Server, answers, call, refused


async def test_tls_with_a_trusted_authority_works_and_is_kept(make: Make, authority: Authority) -> None:
    client = make(ssl_context=authority.client())
    body = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nok\r\n", b"0\r\n\r\n"
    async with Server(answers(*body), tls=authority.server("localhost"), host="localhost") as server:
        for _ in range(3):
            assert await call(client, server, body=b"x" * 300_000) == b"ok"
        assert server.connections == 1


async def test_ssl_verify_says_whose_certificates_are_taken(make: Make, authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ours.pem"
    file.write_text(authority.root)
    async with Server(answers(OK), tls=authority.server("other.test")) as server:
        for any_of_them in (False, "False"):
            assert await call(make(ssl_context=context(any_of_them)), server) == b"ok"
        for verify in (None, True, "true", "", str(file)):  # the last one: its name is another
            assert (await refused(make(ssl_context=context(verify)), server)).kind == "tls"
    async with Server(answers(OK), tls=authority.server("127.0.0.1")) as server:
        assert await call(make(ssl_context=context(str(file))), server) == b"ok"
    with pytest.raises(SettingsError, match="ssl_verify"):
        context(str(tmp_path / "nowhere.pem"))


async def test_an_origin_says_itself_whose_certificates_are_taken(
    ours: Callable[..., Client], authority: Authority, tmp_path: Path
) -> None:
    """Two entries of one address: what one of them takes is no matter of the other's."""
    file = tmp_path / "ours.pem"
    file.write_text(authority.root)
    client = ours()
    async with Server(answers(OK), tls=authority.server("127.0.0.1")) as server:
        for verify in (False, str(file), None, False):
            origin = msgspec.structs.replace(server.origin, verify=verify)
            if verify is None:
                with pytest.raises(UpstreamError) as raised:
                    await client.send(origin, "POST", "/", [], b"", QUICK)
                assert raised.value.kind == "tls"
            else:
                assert await (await client.send(origin, "POST", "/", [], b"", QUICK)).read(10) == b"ok"
        url = f"https://127.0.0.1:{server.origin.port}/"
        for said, tls, goes in (
            (None, client.tls(False), True),
            (None, client.tls(str(file)), True),
            (None, None, False),
            (False, None, True),  # what stands for SSL_VERIFY
            (str(file), None, True),
        ):
            outbound = Outbound(OutboundSettings.read({}, said), Guard(any_address=True))
            try:
                async with outbound.stream("POST", url, deadline_ms=5000, idle_ms=5000, tls=tls) as answer:
                    assert goes and answer.status == 200
            except OutboundError:
                assert not goes
            finally:
                await outbound.close()


async def test_tls_checks_the_host_name_and_the_authority(make: Make, authority: Authority) -> None:
    async with Server(answers(OK), tls=authority.server("other.test")) as server:
        error = await refused(make(ssl_context=authority.client()), server)
        assert error.kind == "tls"
    async with Server(answers(OK), tls=authority.server("127.0.0.1")) as server:
        assert await call(make(ssl_context=authority.client()), server) == b"ok"
        assert (await refused(make(), server)).kind == "tls"  # the system's trust doesn't include ours


async def test_tls_to_a_server_without_tls_is_a_tls_or_connect_error(make: Make) -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(10)
        await peer.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")
        await peer.gone(1)

    async with Server(script) as server:
        server.origin = Origin("https", "127.0.0.1", server.port)
        assert (await refused(make(), server)).kind in ("tls", "connect")


@pytest.mark.parametrize("clean", [True, False])
async def test_tls_a_body_until_eof_needs_a_clean_end(
    ours: Callable[..., Client], authority: Authority, clean: bool
) -> None:
    """Else whoever cuts the connection cuts the answer, unnoticed."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        await asyncio.sleep(0.02)
        if clean:
            peer.writer.close()
        else:
            raw = peer.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            peer.writer.transport.abort()

    client = ours(ssl_context=authority.client())
    async with Server(script, tls=authority.server("127.0.0.1")) as server:
        if clean:
            assert await call(client, server) == b"all of it"
        else:
            assert (await refused(client, server)).kind in ("reset", "tls")

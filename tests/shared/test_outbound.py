"""Connections to others: what the guard refuses, what comes back bounded, and that nothing is
followed.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from shared.outbound import Guard, Outbound, OutboundError, OutboundSettings, guard_of
from shared.settings import SettingsError
from tests.support.ports import free_port
from tests.support.serving import handled_by, serving

PUBLIC = Guard.for_named_targets()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.8.8.8", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.0.1", "169.254.169.254", "100.64.0.1",
        "192.0.0.8", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
        "fd12:3456::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001:db8::1", "localhost", "", "0x7f000001", "1.2.3", "1.2.3.4.5",
    ],
)  # fmt: skip
def test_private_and_reserved_addresses_are_refused(address: str) -> None:
    assert not PUBLIC.permits(address)
    assert Guard(any_address=True).permits(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_asked(address: str) -> None:
    assert PUBLIC.permits(address)


def test_listed_private_networks_are_asked() -> None:
    guard = Guard.for_named_targets(["10.1.0.0/16", "fd00::5"])
    assert guard.permits("10.1.2.3") and guard.permits("::ffff:10.1.2.3") and guard.permits("fd00::5")
    assert not guard.permits("10.2.0.1") and not guard.permits("fd00::6")
    with pytest.raises(ValueError):
        Guard.for_named_targets(["internal"])


def test_offline_only_listed_networks_may_be_asked_by_name() -> None:
    guard = guard_of("10.1.0.0/16", "X", offline=True)
    asked = ("10.1.2.3", "::ffff:10.1.2.3", "1.1.1.1", "2606:4700::1111", "10.2.0.1", "::ffff:1.1.1.1")
    assert [guard.permits(address) for address in asked] == [True, True, False, False, False, False]
    assert guard_of("", "X").permits("1.1.1.1")


class Target:
    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[web.Request] = []
        self.bodies: list[bytes] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
async def target() -> AsyncIterator[Target]:
    found = Target()

    async def answer(request: web.Request) -> web.StreamResponse:
        found.asked.append(request)
        found.bodies.append(await request.read())
        kind = request.path.strip("/")
        if kind == "moved":
            raise web.HTTPFound("/elsewhere")
        if kind == "large":
            response = web.StreamResponse()
            await response.prepare(request)
            for _ in range(100):
                await response.write(b"x" * 10_000)
            return response
        if kind == "slow":
            await asyncio.sleep(5)
        if kind == "cut":
            assert request.transport is not None
            request.transport.close()
        return web.Response(status=418, headers={"X-Thing": "Yes", "Set-Cookie": "a=b"}, body=b"said")

    async with serving(handled_by(answer), port=found.port):
        yield found


@pytest.fixture
async def anywhere() -> AsyncIterator[Outbound]:
    outbound = Outbound(OutboundSettings(), Guard(any_address=True))
    yield outbound
    await outbound.close()


@pytest.fixture
async def guarded() -> AsyncIterator[Outbound]:
    outbound = Outbound(OutboundSettings(), PUBLIC)
    yield outbound
    await outbound.close()


async def test_an_answer_comes_whole_with_any_status(anywhere: Outbound, target: Target) -> None:
    for _ in range(2):
        answer = await anywhere.send("POST", target.url + "/x?a=1", headers={"A": "b"}, body=b"hello", deadline_ms=2000)
        assert (answer.status, answer.headers["x-thing"], answer.body) == (418, "Yes", b"said")
    assert target.bodies == [b"hello", b"hello"]
    assert target.asked[1].headers["A"] == "b" and target.asked[1].query_string == "a=1"
    assert "Cookie" not in target.asked[1].headers  # nothing of one answer goes with the next question


async def test_a_redirect_is_an_answer(anywhere: Outbound, target: Target) -> None:
    answer = await anywhere.send("GET", target.url + "/moved", deadline_ms=2000)
    assert answer.status == 302 and len(target.asked) == 1


async def failure(outbound: Outbound, url: str, **options: Any) -> str:
    with pytest.raises(OutboundError) as failed:
        await outbound.send("GET", url, **{"deadline_ms": 2000, **options})
    assert "secret" not in str(failed.value)
    return failed.value.code


async def test_failures_have_codes(anywhere: Outbound, target: Target) -> None:
    assert await failure(anywhere, target.url + "/large", answer_bytes_max=50_000) == "too_large"
    assert await failure(anywhere, target.url + "/slow", deadline_ms=100) == "timeout"
    assert await failure(anywhere, target.url + "/cut?secret") == "broken"
    assert await failure(anywhere, f"http://127.0.0.1:{free_port()}/secret") == "unreachable"
    assert await failure(anywhere, "http://no-such-host.invalid/secret") == "unreachable"


@pytest.mark.parametrize(
    "url",
    ["", "secret", "ftp://host/", "file:///etc/passwd", "http:///x", "http://u:secret@host/", "http://host:99999/", "http://[::1/",
     "http://ho\nst/", "unix:///x"],
)  # fmt: skip
async def test_what_is_no_address_is_refused(anywhere: Outbound, url: str) -> None:
    assert await failure(anywhere, url) == "bad_address"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0",
        "[::]",
    ],
)
async def test_callers_cannot_name_what_is_inside(guarded: Outbound, target: Target, host: str) -> None:
    code = await failure(guarded, f"http://{host}:{target.port}/")
    assert code in ("refused_address", "unreachable", "bad_address") and target.asked == []


async def test_a_name_is_resolved_once_and_that_address_is_asked(
    guarded: Outbound, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers with a public address first, and with ours to the next question, doesn't
    get in.
    """
    answers = iter(["198.51.100.1", "127.0.0.1", "127.0.0.1"])
    loop = asyncio.get_running_loop()

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", (next(answers), port))]

    monkeypatch.setattr(loop, "getaddrinfo", resolve)
    for _ in range(2):
        await failure(guarded, f"http://changing.example:{target.port}/", deadline_ms=300)
    assert target.asked == []


async def test_a_proxy_is_used_and_does_not_open_what_the_guard_closes(target: Target) -> None:
    settings = OutboundSettings.read({"HTTP_PROXY": target.url, "NO_PROXY": "direct.example"})
    anywhere, guarded = Outbound(settings, Guard(any_address=True)), Outbound(settings, PUBLIC)
    answer = await anywhere.send("GET", "http://somewhere.example/path", deadline_ms=2000)
    assert answer.status == 418 and target.asked[0].headers["Host"] == "somewhere.example"
    assert await failure(guarded, f"http://localhost:{target.port}/") == "refused_address"
    assert len(target.asked) == 1
    for each in (anywhere, guarded):
        await each.close()


def test_settings_are_read_by_the_usual_names(tmp_path: Any) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("x")
    read = OutboundSettings.read
    assert read({}) == OutboundSettings()
    assert read({"SSL_VERIFY": "False"}).verify is False
    assert read({"SSL_VERIFY": str(ca)}) == OutboundSettings(ca_file=str(ca))
    assert read({"https_proxy": "http://p:1"}).proxy_for("https", "a.example") == "http://p:1"
    with pytest.raises(SettingsError, match="ca_file: there is no file"):
        read({"SSL_CERT_FILE": str(tmp_path / "missing")})
    with pytest.raises(SettingsError, match="a certificate can't be read"):
        read({"SSL_CERT_FILE": str(ca)}).tls()
    some = read({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "a.example, .b.example,*.c.example"})
    direct = [
        host
        for host in ("a.example", "x.a.example", "xa.example", "b.example", "x.c.example")
        if not some.proxy_for("https", host)
    ]
    assert direct == ["a.example", "x.a.example", "b.example", "x.c.example"]
    assert read({"HTTPS_PROXY": "http://p:1", "NO_PROXY": "*"}).proxy_for("https", "a.example") is None

"""Pass-through bodies: of any size in flat memory, within the limits on real bytes, and their files
seen as they flow by.
"""

import asyncio
import resource

import pytest

from services.edge.passthrough.files import Files
from services.edge.sizes import Sizes
from tests.edge.fakes import Caller_, until
from tests.edge.passthrough.passthrough_kit import MB, World, head


@pytest.mark.alone
async def test_uploads_and_downloads_flow_through(world: World) -> None:
    """Memory stays flat: 20 uploads of 10 MB, and an answer of 100 MB."""
    world.endpoint(include_subpath=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    most = 0
    for _ in range(20):
        caller = await Caller_.connect(world.edge.port)
        await caller.send(
            head("/their/upload", "PUT")[: -len("\r\n")].replace(b"Content-Length: 0", b"Content-Length: 10485760")
            + b"\r\n"
        )
        for _ in range(40):
            await caller.send(bytes(262_144))
            most = max(most, world.edge.server._budget.held_bytes)
        assert (await caller.answer()).status == 200
        caller.leave()
    assert world.target.received == 20 * 10 * MB
    caller = await Caller_.connect(world.edge.port)
    await caller.send(head("/their/large", "GET"))
    await caller.head()
    size = 0
    while piece := await caller.chunk():
        size += len(piece)
    caller.leave()
    assert size == 100 * MB
    assert most < 4 * MB
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 60, grown_mb  # the target and the client are in this process too


async def test_limits_hold_on_real_bytes(world: World) -> None:
    world.endpoint(include_subpath=True)
    world.edge.parts.sizes = Sizes(request_mb=1, response_mb=2)
    answer = await world.ask("/their/upload", body=bytes(MB + 1))
    assert answer.status == 400 and "Request size is too large" in answer.json()["error"]["message"]
    assert world.target.received == 0 and not world.edge.facts()
    async with await world.edge.connect() as caller:
        chunked = head("/their/upload", "PUT").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        await caller.send(chunked)
        for _ in range(5):
            caller.writer.write(b"40000\r\n" + bytes(262_144) + b"\r\n")
        answer = await caller.answer()
        assert answer.status == 400 and "Request size is too large" in answer.json()["error"]["message"]
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await world.ask("/their/large", "GET")
    await until(lambda: len(world.edge.settled()) == 2)
    assert [fact.error_code for fact in world.edge.settled()] == ["request_too_large", "response_too_large"]


# ── files ──


def form(*parts: tuple[str, bytes], boundary: str = "b0") -> bytes:
    lines = b"".join(
        b'--%b\r\nContent-Disposition: form-data; name="f"%b\r\n\r\n%b\r\n'
        % (boundary.encode(), f'; filename="{name}"'.encode() if name else b"", data)
        for name, data in parts
    )
    return lines + b"--%b--\r\n" % boundary.encode()


FORM = form(("a.txt", b"12345"), ("", b"no file.exe"), ("b.PDF", b"\r\n--b\r\n--b1"), ("empty.txt", b""))


@pytest.mark.parametrize("step", [1, 2, 3, 7, 64, 10_000])
@pytest.mark.parametrize("quoted", [True, False])
def test_files_are_seen_however_the_body_is_cut(step: int, quoted: bool) -> None:
    seen: dict[str, int] = {}

    def check(name: str, size: int) -> None:
        seen[name] = size

    files = Files('multipart/form-data; boundary="b0"' if quoted else "multipart/form-data; boundary=b0", check)
    for at in range(0, len(FORM), step):
        assert files.feed(FORM[at : at + step]) is None
    assert seen == {"a.txt": 5, "b.PDF": 11, "empty.txt": 0}


async def test_a_files_limits_hold_while_it_flows_by(world: World) -> None:
    world.endpoint(include_subpath=True)
    world.edge.parts.sizes = Sizes(file_mb=0.5, blocked_extensions=("exe",))
    kind = {"Content-Type": "multipart/form-data; boundary=b0"}
    good = form(("a.txt", bytes(400_000)), ("b.txt", bytes(400_000)))
    assert (await world.ask("/their/upload", body=good, **kind)).status == 200
    assert world.target.received == len(good)
    answer = await world.ask("/their/upload", body=form(("a.txt", bytes(600_000))), **kind)
    assert answer.status == 400 and "File size is too large" in answer.json()["error"]["message"]
    answer = await world.ask("/their/upload", body=form(("a.txt", b"x"), ("B.EXE", b"x")), **kind)
    assert answer.status == 400 and "'exe'" in answer.json()["error"]["message"]
    await until(lambda: len(world.edge.settled()) == 3)
    assert [fact.outcome for fact in world.edge.settled()] == ["success", "blocked", "blocked"]
    assert (await world.ask("/their/upload", body=good, **{"Content-Type": "multipart/form-data"})).status == 400
    assert (await world.ask("/their/upload", body=good, **kind, **{"Content-Encoding": "gzip"})).status == 400

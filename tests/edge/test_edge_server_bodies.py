"""Bodies: too large, too slow, bombs, and what is not what it says. A clear answer in OpenAI's
shape, in bounded memory.
"""

import asyncio
import gzip
import resource
import time
import zlib

import pytest

from tests.edge.harness import Edge
from tests.edge.raw import GOOD, HEAD, MB, chunked, refused, request, sent
from tests.support.pace import at_pace

# ── bodies ──


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"model":"m"}',
        b'{"model":"m","messages":["\xff"]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":1}x',
    ],
)
async def test_a_bad_body_is_a_400_and_the_connection_goes_on(edge: Edge, body: bytes) -> None:
    async with await edge.connect() as caller:
        for _ in range(2):
            await caller.send(request(body))
            answer = await caller.answer()
            assert (answer.status, answer.error()["type"]) == (400, "invalid_request_error")
        await caller.send(request())
        assert (await caller.answer()).status == 200


async def test_thirty_megabytes_are_refused_before_they_are_read(edge: Edge) -> None:
    before = time.monotonic()
    answer = await refused(edge, HEAD + b"Content-Length: %d\r\n\r\n" % (30 * MB))
    assert (answer.status, answer.error()["param"]) == (413, "content-length")
    assert answer.error()["message"] == "Request size is too large. Request size is 30.0 MB. Max size is 25.0 MB"
    assert time.monotonic() - before < 1


async def test_a_client_that_sends_thirty_megabytes_first_and_reads_then_gets_its_413(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(HEAD + b"Content-Length: %d\r\n\r\n" % (30 * MB))
        piece = bytes(MB)
        try:
            for _ in range(30):
                await caller.send(piece)
        except ConnectionError:
            pytest.fail("cut off in the middle of sending")
        assert (await caller.answer()).status == 413


@pytest.mark.parametrize("size", [25 * MB, 25 * MB + 1])
async def test_an_undeclared_body_is_cut_off_at_the_limit(edge: Edge, size: int) -> None:
    padding = size - len(GOOD) - len(b',"x":""')
    body = GOOD[:-1] + b',"x":"' + b"a" * padding + b'"}'
    assert len(body) == size
    answer = await sent(edge, chunked(*(body[i : i + MB] for i in range(0, size, MB))))
    assert answer is not None
    assert answer.status == (200 if size == 25 * MB else 413)
    if answer.status == 413:
        answer.error()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "GZIP", "two members", "raw deflate"])
async def test_a_compressed_body_is_read(edge: Edge, encoding: str) -> None:
    body = gzip.compress(GOOD)
    if encoding == "deflate":
        body = zlib.compress(GOOD)
    elif encoding == "two members":
        encoding, body = "gzip", gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:])
    elif encoding == "raw deflate":
        encoding, body = "deflate", zlib.compress(GOOD)[2:-4]
    answer = await sent(edge, request(body, b"Content-Encoding: " + encoding.encode()))
    assert answer is not None
    assert answer.status == 200


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip", "x\xff"])
async def test_an_encoding_we_do_not_know_is_refused(edge: Edge, encoding: str) -> None:
    answer = await refused(edge, request(GOOD, b"Content-Encoding: " + encoding.encode("latin-1")))
    assert answer.status in (400, 415)


@pytest.mark.parametrize(
    "body",
    [b"not gzip", gzip.compress(GOOD)[:-12], b"", gzip.compress(GOOD)[:4] + b"\xff" * 30],
    ids=["text", "cut off", "empty", "damaged"],
)
async def test_a_body_that_is_not_what_its_encoding_says_is_a_400(edge: Edge, body: bytes) -> None:
    assert (await refused(edge, request(body, b"Content-Encoding: gzip"))).status == 400


def bomb(unpacked_mb: int) -> bytes:
    """About 1 kB for each MB it unpacks to."""
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(MB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + block * (unpacked_mb - 1)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.alone
async def test_a_bomb_of_a_gigabyte_is_cut_off_with_bounded_memory(edge: Edge, declared: bool) -> None:
    body = bomb(1024)
    assert len(body) < 2 * MB
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu = time.process_time()  # until the connection is closed: nothing of it may go on being unpacked
    head = b"Content-Encoding: deflate\r\n"
    data = (
        request(body, head.strip())
        if declared
        else chunked(*(body[i : i + 65536] for i in range(0, len(body), 65536)), headers=head)
    )
    async with await edge.connect() as caller:
        caller.writer.write(data)
        answer = await caller.answer()
        assert answer.status == 413
        answer.error()
        try:
            await asyncio.wait_for(caller.reader.read(), 10)
        except ConnectionError:
            pass
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "kilobytes"
    assert time.process_time() - cpu < at_pace(0.5)


async def test_a_body_that_comes_too_slowly_is_given_up_and_the_connection_ends(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(HEAD + b"Content-Length: 100\r\n\r\n{")
        before = time.monotonic()
        answer = await caller.answer()
        assert 0.2 < time.monotonic() - before < 3
        assert answer.status == 400
        answer.error()
        assert await asyncio.wait_for(caller.reader.read(), 10) == b""


async def test_a_client_that_waits_to_be_told_to_send_is_told(edge: Edge) -> None:
    async with await edge.connect() as caller:
        await caller.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(GOOD))
        assert (await asyncio.wait_for(caller.reader.readuntil(b"\r\n\r\n"), 10)).startswith(b"HTTP/1.1 100 ")
        await caller.send(GOOD)
        assert (await caller.answer()).status == 200


async def test_a_client_that_waits_with_too_much_is_told_no_instead(edge: Edge) -> None:
    answer = await refused(edge, HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % (30 * MB))
    assert answer.status == 413

"""The static upstream: `python -m tests.bench.upstream PORT`.

Answers are prebuilt bytes; a request is parsed (httptools) and answered only when it has arrived
whole. It counts what it served, so that a gateway's answers can be compared with the calls that
really reached the provider (`GET /stats`).
"""

import asyncio
import json
import sys
from typing import ClassVar, cast

import httptools
import uvloop

from tests.bench import wire


def _http(body: bytes, kind: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (kind, len(body), body)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


JSON_ANSWER = _http(wire.answer_json())
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM_CHUNKS = [_chunk(event) for event in wire.answer_chunks()]
STREAM_CHUNKS[-1] += b"0\r\n\r\n"
BURST = STREAM_HEAD + b"".join(STREAM_CHUNKS)


class Provider(asyncio.Protocol):
    """One connection of a gateway."""

    served: ClassVar[int] = 0
    served_bytes: ClassVar[int] = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's don't inherit from it
        self.loop = asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.parts: list[bytes] = []
        self.url = b""
        self.timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, part: bytes) -> None:
        self.parts.append(part)

    def on_message_complete(self) -> None:
        url, self.url = self.url, b""
        parts, self.parts = self.parts, []
        if url == b"/stats":
            counts = {"served": Provider.served, "served_bytes": Provider.served_bytes}
            self.transport.write(_http(json.dumps(counts).encode()))
            return
        Provider.served += 1
        Provider.served_bytes += sum(map(len, parts))
        ends = parts[0] if len(parts) == 1 else b"".join(parts[:1])[:512] + b"".join(parts[-2:])[-512:]
        delay_ms = wire.delay_ms(ends)
        if wire.wants_stream(ends):
            if delay_ms:
                self.transport.write(STREAM_HEAD)
                self._stream(0, self.loop.time(), delay_ms / 1000)
            else:
                self.transport.write(BURST)
        elif delay_ms:
            self.timer = self.loop.call_later(delay_ms / 1000, self.transport.write, JSON_ANSWER)
        else:
            self.transport.write(JSON_ANSWER)

    def _stream(self, number: int, started: float, gap_s: float) -> None:
        self.transport.write(STREAM_CHUNKS[number])
        if number + 1 < len(STREAM_CHUNKS) and not self.transport.is_closing():
            due = started + (number + 1) * gap_s
            self.timer = self.loop.call_at(due, self._stream, number + 1, started, gap_s)


async def main(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))

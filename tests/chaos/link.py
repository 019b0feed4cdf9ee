"""A TCP link that can be made slow, cut, and silent; slow also for one service alone."""

import asyncio
import re

CHUNK_BYTES = 64 * 1024
IN_FLIGHT_CHUNKS_MAX = 64
_NAME = re.compile(rb'"name": ?"([a-z]+)')
"""In the first words of a NATS client: `policy`, `edge` (of `edge-facts` too)."""


class Link:
    """Listens on `port` and forwards to `target_port`, both on 127.0.0.1."""

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._pumps: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self.latency_s = 0.0
        """Added to every chunk, each way."""
        self.latency_of: dict[str, float] = {}
        """The same for the connections of one service: NATS clients name themselves."""

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, backlog=256)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._pumps:
            task.cancel()
        self.cut()
        await asyncio.gather(*self._pumps, return_exceptions=True)

    def cut(self) -> None:
        """Drop every connection, with what was on its way. New ones are accepted."""
        for writer in list(self._writers):
            writer.transport.abort()

    def silence(self) -> None:
        """Nothing gets through, nothing is closed: what is on its way arrives after `heal`, as
        after a partition.
        """
        self._open.clear()

    def heal(self) -> None:
        self.latency_s = 0.0
        self.latency_of.clear()
        self._open.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pumps.add(task)
        self._writers.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            await self._open.wait()
            answers, there = await asyncio.open_connection("127.0.0.1", self._target_port)
            self._writers.add(there)
            async with asyncio.TaskGroup() as group:
                who: list[str] = []
                self._pump(group, reader, there, who)
                self._pump(group, answers, writer, who)
        except* OSError:
            pass
        finally:
            self._pumps.discard(task)
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    def _pump(
        self, group: asyncio.TaskGroup, source: asyncio.StreamReader, sink: asyncio.StreamWriter, who: list[str]
    ) -> None:
        """One direction. `who` gets the client's name once it is known; both directions share
        it.
        """
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(IN_FLIGHT_CHUNKS_MAX)
        now = asyncio.get_running_loop().time

        async def read() -> None:
            while True:
                data = await source.read(CHUNK_BYTES)
                if not who and (named := _NAME.search(data)):
                    who.append(named[1].decode())
                latency_s = max(self.latency_s, self.latency_of.get(who[0], 0.0) if who else 0.0)
                await queue.put((now() + latency_s, data))
                if not data:
                    return

        async def write() -> None:
            while True:
                due, data = await queue.get()
                if (wait := due - now()) > 0:
                    await asyncio.sleep(wait)
                await self._open.wait()
                if not data:
                    raise ConnectionResetError  # one side is over: both are
                sink.write(data)
                await sink.drain()

        group.create_task(read())
        group.create_task(write())
